"""Software engineering: mend a repository in a sandbox until its hidden tests pass."""

import asyncio
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from envs.adoption import NotAdopted
from envs.blobs import BlobMissing
from envs.environment import Site
from envs.errors import TaskError
from envs.score import Score, Submission
from envs.swe.bubblewrap import BubblewrapSandboxes
from envs.swe.engine.adopt import abandon, adopt
from envs.swe.engine.engine import FIRST_SECONDS, DockerSandboxes
from envs.swe.engine.owner import PROCESS, this_process
from envs.swe.engine.pool import WarmPool
from envs.swe.images import Images
from envs.swe.looking import Longest, longest_lines
from envs.swe.sandbox import Bounds, Sandbox, Sandboxes, SandboxSpec
from envs.swe.scope import locked
from envs.swe.scoring import SCORER, VERSION, judge
from envs.swe.session import SweSession
from envs.swe.settings import parse_settings
from envs.swe.tools import TOOLS
from envs.swe.tree import laid_over, load_files, load_tree, safe_path, seed
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
    scorer = f"{SCORER}@{VERSION}"

    def __init__(self, site: Site, sandboxes: Sandboxes | None = None) -> None:
        self._site = site
        self._settings = parse_settings(site.settings)
        self._sandboxes = sandboxes
        self._images = Images(self._settings)
        self._tree = lru_cache(maxsize=256)(self._load_tree)
        self._seed = lru_cache(maxsize=SEEDS_KEPT)(self._make_seed)
        self._longest = lru_cache(maxsize=SEEDS_KEPT)(self._longest_lines)

    def prompt(self, task: Task) -> str:
        world = parse_world(task)
        return PROMPT.format(repository=world.repository, workdir=world.workdir, question=task.question.strip())

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        """Fills in which image it will run in, where that can be told here; the tree's hash is there already, and
        everything that it names must be stored."""
        world = parse_world(task)
        tree = load_tree(world.tree, self._site.blobs)
        for path, entry in tree.files.items():
            if not self._site.blobs.has(entry.blob):
                raise TaskError(f"world.tree: the bytes of {path} (blob {entry.blob}) are not stored")
        if reference is not None:
            parsed = parse_reference(reference)
            for path, blob in parsed.hidden_tests.items():
                if not safe_path(path):
                    raise TaskError(f"reference.hidden_tests: {path!r} is no path inside of the repository")
                if not self._site.blobs.has(blob):
                    raise TaskError(f"reference.hidden_tests: the bytes of {path} (blob {blob}) are not stored")
        pinned = self._images.pinned(world)
        if pinned != world:
            task = task.model_copy(update={"world": pinned.model_dump(mode="json")})
        return task, reference

    async def start(self, task: Task, owner: Mapping[str, str]) -> SweSession:
        world = parse_world(task)
        tree = await asyncio.to_thread(self._tree, world.tree)
        spec = await self._spec(world, owner)
        async with self._images.told(world):
            sandbox = await self.sandboxes.start(spec)
        return self._session(sandbox, world, tree, task)

    async def adopt(self, task: Task, owner: Mapping[str, str], standing: Mapping[str, Any]) -> SweSession:
        """As `envs.adoption.Adopts`: the container goes on, with the shell's state and the edits to take back."""
        docker = self._docker
        if docker is None:
            raise NotAdopted(f"sandboxes of {self._settings.sandbox} end with their worker")
        world = parse_world(task)
        tree = await asyncio.to_thread(self._tree, world.tree)
        sandbox = await adopt(docker.client, await self._spec(world, owner), standing["sandbox"])
        session = self._session(sandbox, world, tree, task)
        await asyncio.to_thread(session.take_up, standing["undo"])
        return session

    async def abandon(self, standing: Mapping[str, Any]) -> None:
        if (docker := self._docker) is not None:
            await abandon(docker.client, standing["sandbox"])

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        """The submission is a patch. Runs the hidden tests in a fresh sandbox. Raises `TrajcError`."""
        world, parsed = parse_world(task), parse_reference(reference)
        tree = await asyncio.to_thread(self._tree, world.tree)
        spec = await self._spec(world, {"use": "score", PROCESS: this_process()}, parsed)
        async with self._images.told(world):
            return await judge(self.sandboxes, spec, parsed, tree.files, submission.text)

    async def close(self) -> None:
        if self._sandboxes is not None:
            await self._sandboxes.close()
            self._sandboxes = None

    @property
    def sandboxes(self) -> Sandboxes:
        """Made at first use."""
        if self._sandboxes is None:
            settings = self._settings
            if settings.sandbox == "docker":
                docker = DockerSandboxes(settings.docker_url, first=FIRST_SECONDS)
                self._sandboxes = WarmPool(docker, settings.warm) if settings.warm else docker
            else:
                self._sandboxes = BubblewrapSandboxes(settings.rootfs)
        return self._sandboxes

    @property
    def _docker(self) -> DockerSandboxes | None:
        found = self.sandboxes.inner if isinstance(self.sandboxes, WarmPool) else self.sandboxes
        return found if isinstance(found, DockerSandboxes) else None

    def _session(self, sandbox: Sandbox, world: SweWorld, tree: Tree, task: Task) -> SweSession:
        seconds, shown = task.limits.tool_seconds, self._settings.shown_bytes
        return SweSession(
            sandbox, world, tree, self._site.blobs, seconds, shown, longest=lambda: self._longest(world.tree)
        )

    async def _spec(
        self, world: SweWorld, owner: Mapping[str, str], reference: SweReference | None = None
    ) -> SandboxSpec:
        base = world.image is None
        hidden = tuple(sorted(reference.hidden_tests.items())) if reference else ()
        lock = locked(reference, self._tree(world.tree).files) if reference else ()
        data = await asyncio.to_thread(self._seed, world.tree, world.workdir, AGENT_ID if base else 0, hidden, lock)
        return SandboxSpec(
            image=world.image_digest or world.image or self._settings.image,
            workdir=world.workdir,
            user="agent" if base else "root",
            seed=data,
            keeps_owners=bool(lock),
            clear=not base,
            labels={"service": self._site.service, "host": socket.gethostname(), **owner},
            requires=self._settings.required_limits,
            network=self._settings.network,
            bounds=Bounds(
                memory_bytes=self._settings.memory_bytes,
                cpus=self._settings.cpus,
                processes=self._settings.processes,
                disk_bytes=self._settings.disk_bytes,
            ),
        )

    def _load_tree(self, hash: str) -> Tree:
        return load_tree(hash, self._site.blobs)

    def _longest_lines(self, hash: str) -> Longest:
        files = self._tree(hash).files
        return longest_lines(files, lambda path: self._site.blobs.get(files[path].blob))

    def _make_seed(
        self, tree: str, workdir: str, user_id: int, hidden: tuple[tuple[str, str], ...], lock: tuple[str, ...]
    ) -> bytes:
        files = load_files(self._tree(tree), self._site.blobs)
        try:
            over = laid_over(dict(hidden), files, self._site.blobs)
        except BlobMissing as e:
            raise TaskError(f"reference.hidden_tests: blob {e} is not stored") from None
        return seed(files, workdir, user_id, over, lock)


def parse_world(task: Task) -> SweWorld:
    """Raises `TaskError` naming the field."""
    try:
        world = SweWorld.model_validate(task.world)
    except ValidationError as e:
        raise TaskError(f"world.{_fault(e)}") from None
    parts = PurePosixPath(world.workdir).parts
    if not world.workdir.startswith("/") or len(parts) == 1 or ".." in parts or "\0" in world.workdir:
        raise TaskError(f"world.workdir: {world.workdir!r} must be an absolute path below /")
    return world


def parse_reference(reference: Reference) -> SweReference:
    """Raises `TaskError` naming the field."""
    try:
        return SweReference.model_validate(reference.data)
    except ValidationError as e:
        raise TaskError(f"reference.{_fault(e)}") from None


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
