"""Software engineering: mend a repository in a sandbox until its hidden tests pass.

Settings (all optional): `sandbox` ("docker" or "bubblewrap"), `docker_url`, `image` (instead of trajc's base image),
`rootfs` (folder, for bubblewrap), `shown_bytes` (of one command's output), `memory_bytes`, `cpus`, `processes`,
`warm` (containers kept waiting), `network` (True lets tasks out; off by default), `required_limits` (names of
`sandbox.Limit`).
"""

import asyncio
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from envs.blobs import BlobMissing
from envs.environment import Site
from envs.errors import SandboxError, TaskError
from envs.score import Score, Submission
from envs.swe.bubblewrap import BubblewrapSandboxes
from envs.swe.engine.baseimage import BASE_IMAGE
from envs.swe.engine.engine import DEFAULT_URL, DockerSandboxes
from envs.swe.engine.pool import WarmPool
from envs.swe.gitdir import File
from envs.swe.sandbox import Bounds, Sandboxes, SandboxSpec
from envs.swe.scoring import judge
from envs.swe.session import SweSession
from envs.swe.tools import TOOLS
from envs.swe.tree import load_files, load_tree, safe_path, seed
from envs.swe.world import SweReference, SweWorld, Tree
from envs.task import Reference, Task

AGENT_ID = 1000
SEEDS_KEPT = 32

SYSTEM_PROMPT = """You are a software engineer. You work on a repository in a sandbox, by the tools that you are given.

Find the cause of the issue before you change anything: look at the files that it concerns and run the code. Make the \
smallest change of the source that resolves the issue for good. Do not change the tests. Run the tests that bear on \
your change. When the issue is resolved, call submit."""

PROMPT = """The repository {repository} is in {workdir}. Resolve this issue:

{question}

You have a shell without a network. Your change will be judged by tests that you may not have seen. Call submit when \
you are done."""


class SweEnvironment:
    """One for each process; belongs to one event loop once a session was started."""

    name = "swe"
    tools = TOOLS
    system_prompt = SYSTEM_PROMPT
    takes_text = False

    def __init__(self, site: Site, sandboxes: Sandboxes | None = None) -> None:
        self._site = site
        self._settings = site.settings
        self._sandboxes = sandboxes
        self._tree = lru_cache(maxsize=256)(self._load_tree)
        self._seed = lru_cache(maxsize=SEEDS_KEPT)(self._make_seed)

    def prompt(self, task: Task) -> str:
        world = parse_world(task)
        return PROMPT.format(repository=world.repository, workdir=world.workdir, question=task.question.strip())

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        """Nothing is filled in: the tree's hash is the fingerprint. Everything that it names must be stored."""
        world = parse_world(task)
        tree = load_tree(world.tree, self._site.blobs)
        for path, entry in tree.files.items():
            if not self._site.blobs.has(entry.blob):
                raise TaskError(f"world.tree: the bytes of {path} (blob {entry.blob}) are not stored")
        if not world.workdir.startswith("/") or world.workdir == "/":
            raise TaskError(f"world.workdir: {world.workdir!r} must be an absolute path below /")
        if reference is not None:
            parsed = parse_reference(reference)
            for path, blob in parsed.hidden_tests.items():
                if not safe_path(path):
                    raise TaskError(f"reference.hidden_tests: {path!r} is no path inside of the repository")
                if not self._site.blobs.has(blob):
                    raise TaskError(f"reference.hidden_tests: the bytes of {path} (blob {blob}) are not stored")
        return task, reference

    async def start(self, task: Task, owner: Mapping[str, str]) -> SweSession:
        world = parse_world(task)
        tree = await asyncio.to_thread(self._tree, world.tree)
        spec = await self._spec(world, owner)
        sandbox = await self.sandboxes.start(spec)
        shown = int(self._settings.get("shown_bytes", 16_000))
        return SweSession(sandbox, world, tree, self._site.blobs, task.limits.tool_seconds, shown)

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        """The submission is a patch. Runs the hidden tests in a fresh sandbox. Raises `TrajcError`."""
        world, parsed = parse_world(task), parse_reference(reference)
        tree = await asyncio.to_thread(self._tree, world.tree)
        spec = await self._spec(world, {"service": "trajc", "use": "score"}, parsed)
        return await judge(self.sandboxes, spec, parsed, tree.files, submission.text)

    async def close(self) -> None:
        if self._sandboxes is not None:
            await self._sandboxes.close()
            self._sandboxes = None

    @property
    def sandboxes(self) -> Sandboxes:
        """Made at first use. Raises `SandboxError` for a kind that does not exist."""
        if self._sandboxes is None:
            kind = self._settings.get("sandbox", "docker")
            if kind == "docker":
                docker = DockerSandboxes(str(self._settings.get("docker_url") or DEFAULT_URL))
                warm = int(self._settings.get("warm", 0))
                self._sandboxes = WarmPool(docker, warm) if warm else docker
            elif kind == "bubblewrap":
                rootfs = self._settings.get("rootfs")
                self._sandboxes = BubblewrapSandboxes(Path(str(rootfs)) if rootfs else None)
            else:
                raise SandboxError(f"unknown sandbox {kind!r}; known: docker, bubblewrap")
        return self._sandboxes

    async def _spec(
        self, world: SweWorld, owner: Mapping[str, str], reference: SweReference | None = None
    ) -> SandboxSpec:
        base = world.image is None
        hidden = tuple(sorted(reference.hidden_tests.items())) if reference else ()
        data = await asyncio.to_thread(self._seed, world.tree, world.workdir, AGENT_ID if base else 0, hidden)
        return SandboxSpec(
            image=world.image_digest or world.image or str(self._settings.get("image", BASE_IMAGE)),
            workdir=world.workdir,
            user="agent" if base else "root",
            seed=data,
            clear=not base,
            labels={"service": "trajc", "host": socket.gethostname(), **owner},
            requires=frozenset(self._settings.get("required_limits", ("network", "filesystem", "time"))),
            network=bool(self._settings.get("network", False)),
            bounds=Bounds(
                memory_bytes=int(self._settings.get("memory_bytes", Bounds.memory_bytes)),
                cpus=float(self._settings.get("cpus", Bounds.cpus)),
                processes=int(self._settings.get("processes", Bounds.processes)),
            ),
        )

    def _load_tree(self, hash: str) -> Tree:
        return load_tree(hash, self._site.blobs)

    def _make_seed(self, tree: str, workdir: str, user_id: int, hidden: tuple[tuple[str, str], ...]) -> bytes:
        files = load_files(self._tree(tree), self._site.blobs)
        try:
            over = {path: File(self._site.blobs.get(blob)) for path, blob in hidden}
        except BlobMissing as e:
            raise TaskError(f"reference.hidden_tests: blob {e} is not stored") from None
        return seed(files, workdir, user_id, over)


def parse_world(task: Task) -> SweWorld:
    """Raises `TaskError` naming the field."""
    try:
        return SweWorld.model_validate(task.world)
    except ValidationError as e:
        raise TaskError(f"world.{_fault(e)}") from None


def parse_reference(reference: Reference) -> SweReference:
    """Raises `TaskError` naming the field."""
    try:
        return SweReference.model_validate(reference.data)
    except ValidationError as e:
        raise TaskError(f"reference.{_fault(e)}") from None


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
