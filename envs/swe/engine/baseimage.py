"""trajc's own image for agents: from a registry's Debian where one answers, else from Debian's packages.

docker build (Dockerfile beside this file)   needs a registry of images
debootstrap + a build from nothing           needs root and Debian's package archive
a root file system given by path             needs neither
"""

import asyncio
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import aiodocker

from envs.errors import SandboxError
from envs.swe.engine.words import engine_words

BASE_IMAGE = "trajc-base:1"
PACKAGES = ("python3", "python3-pytest", "git", "procps", "patch", "ca-certificates")
LEFT_OUT = (
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/zoneinfo/right",
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
)
EMPTY = ("proc", "sys", "dev", "tmp", "run", "var/cache", "var/log")
AGENT = "RUN useradd -m -u 1000 -s /bin/bash agent && mkdir -p /testbed /var/lib/trajc && chown agent:agent /testbed"
FROM_NOTHING = f"FROM scratch\nADD rootfs.tar /\n{AGENT}\n"
BUILD_SECONDS = 900.0


async def ensure_base_image(
    client: aiodocker.Docker,
    rootfs: Path | None = None,
    image: str = BASE_IMAGE,
    say: Callable[[str], None] = lambda _: None,
) -> str:
    """The image's id (`sha256:...`), made first where the engine has none.

    `rootfs` is an unpacked Debian with the packages in `PACKAGES`; None tries the registry, then debootstrap.
    `say` hears one line for each step. Raises `SandboxError`.
    """
    found = await image_id(client, image)
    if found is not None:
        return found
    if rootfs is not None:
        say(f"making {image} from {rootfs}")
        await _from_rootfs(client, rootfs, image)
    else:
        try:
            say(f"building {image}")
            await _build(client, {"Dockerfile": Path(__file__).with_name("Dockerfile").read_bytes()}, image)
        except SandboxError as registry:
            say("no registry answers; making it from Debian's packages")
            await _from_packages(client, image, registry)
    made = await image_id(client, image)
    if made is None:
        raise SandboxError(f"the engine built {image} and does not show it")
    return made


async def image_id(client: aiodocker.Docker, image: str) -> str | None:
    """The id of an image that the engine has; None where it has none of this name. Raises `SandboxError`."""
    with engine_words(f"looking for the image {image}"):
        try:
            return str((await client.images.inspect(image))["Id"])
        except aiodocker.DockerError as e:
            if e.status == 404:
                return None
            raise


async def _from_packages(client: aiodocker.Docker, image: str, registry: SandboxError) -> None:
    debootstrap = shutil.which("debootstrap")
    if debootstrap is None:
        raise SandboxError(
            f"{image} could not be made: {registry}; and debootstrap, the way without a registry, is not installed "
            "(`apt-get install debootstrap`)"
        )
    with tempfile.TemporaryDirectory(prefix="trajc-base-") as folder:
        root = Path(folder) / "rootfs"
        process = await asyncio.create_subprocess_exec(
            debootstrap,
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            "bookworm",
            str(root),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            last = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise SandboxError(f"{image} could not be made: {registry}; and debootstrap said: {last}")
        await _from_rootfs(client, root, image)


async def _from_rootfs(client: aiodocker.Docker, rootfs: Path, image: str) -> None:
    if not (rootfs / "usr" / "bin").is_dir():
        raise SandboxError(f"{rootfs} is no root file system: it has no usr/bin")
    with tempfile.TemporaryFile() as packed:
        await asyncio.to_thread(_pack, rootfs, packed)
        packed.seek(0)
        await _build(client, {"Dockerfile": FROM_NOTHING.encode()}, image, packed)


def _pack(rootfs: Path, target: io.BufferedIOBase) -> None:
    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        name = member.name.removeprefix("./")
        return None if any(name == left or name.startswith(left + "/") for left in LEFT_OUT) else member

    with tarfile.open(fileobj=target, mode="w") as tar:
        for name in sorted(p.name for p in rootfs.iterdir()):
            tar.add(rootfs / name, arcname=name, filter=keep)
        for name in EMPTY:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)


async def _build(
    client: aiodocker.Docker, files: dict[str, bytes], image: str, rootfs: io.BufferedIOBase | None = None
) -> None:
    with tempfile.TemporaryFile() as context:
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            if rootfs is not None:
                member = tarfile.TarInfo("rootfs.tar")
                member.size = rootfs.seek(0, io.SEEK_END)
                rootfs.seek(0)
                await asyncio.to_thread(tar.addfile, member, rootfs)
        context.seek(0)
        try:
            with engine_words(f"building {image}"):
                async with asyncio.timeout(BUILD_SECONDS):
                    await client.images.build(fileobj=context, encoding="identity", tag=image, rm=True, forcerm=True)
        except TimeoutError:
            raise SandboxError(f"building {image} took more than {BUILD_SECONDS:.0f} s") from None
