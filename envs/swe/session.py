"""One agent's world: a sandbox with the repository in it, and the three tools that work on it."""

import asyncio
import posixpath
import time
from collections.abc import Callable
from typing import Any

from envs.adoption import Outlives
from envs.blobs import BlobStore
from envs.evidence import FULL, SNIPPET, Coverage, Evidence
from envs.score import Submission
from envs.swe.command import Lines, Reading, reading
from envs.swe.disk import refuse_full_disk, speaks_of_full_disk
from envs.swe.editor import EditRefused, Undo, inserted, replaced, view
from envs.swe.extract import extract_patch
from envs.swe.looked import Said, line_coverage, shown_of
from envs.swe.looking import Longest, perhaps_shown
from envs.swe.observed import Observed, ending, observe
from envs.swe.sandbox import Sandbox
from envs.swe.tools import BashArguments, EditorArguments
from envs.swe.tree import media
from envs.swe.world import SweWorld, Tree
from envs.tool import MalformedCall, ToolResult

FILE_LIMIT = (4 << 20) - 1
"""Files larger than this are neither viewed nor edited, and are evidence without their bytes."""
LOOKED_FILES = 64
"""Files of one command that become evidence with their contents; a `grep -r` may name thousands. Those over it
are evidence without contents."""


class SweSession:
    def __init__(
        self,
        sandbox: Sandbox,
        world: SweWorld,
        tree: Tree,
        blobs: BlobStore,
        seconds: float,
        shown_bytes: int,
        longest: Callable[[], Longest],
    ) -> None:
        self._sandbox = sandbox
        self._world = world
        self._tree = tree
        self._blobs = blobs
        self._seconds = seconds
        self._shown_bytes = shown_bytes
        self._longest = longest
        """The tree's `longest_lines`: long to make, and alike for every session of a task."""
        self._undo = Undo()
        self._former: dict[str, str] = {}
        """Blobs of what can be taken back."""

    def standing(self) -> dict[str, Any] | None:
        """As `envs.adoption.Outlives`: the sandbox's own, and what `undo_edit` would need."""
        sandbox = self._sandbox.standing() if isinstance(self._sandbox, Outlives) else None
        if sandbox is None:
            return None
        undo = [(path, None if text is None else self._kept(text)) for path, text in self._undo.each()]
        return {"sandbox": sandbox, "undo": undo}

    def take_up(self, undo: list[tuple[str, str | None]]) -> None:
        """What `standing` told of an earlier session's edits."""
        for path, blob in undo:
            text = None if blob is None else self._blobs.get(blob).decode("utf-8", "surrogateescape")
            self._undo.remember(path, text)

    def _kept(self, text: str) -> str:
        if text not in self._former:
            data = text.encode("utf-8", "surrogateescape")
            self._former[text] = self._blobs.put(data, *media(data)).hash
        return self._former[text]

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        began = time.monotonic()
        if tool == "bash":
            result = await self._bash(arguments)
        elif tool == "str_replace_editor":
            result = await self._edit(arguments)
        elif tool == "submit":
            result = await self._submit()
        else:
            raise MalformedCall(f"unknown tool {tool!r}; there are bash, str_replace_editor and submit")
        return result.model_copy(update={"seconds": time.monotonic() - began})

    async def submission(self) -> Submission | None:
        """The edits so far; None where there are none."""
        patch, _ = await extract_patch(self._sandbox, self._world.workdir)
        return Submission(kind="patch", text=patch) if patch else None

    async def close(self) -> None:
        await self._sandbox.close()

    async def _submit(self) -> ToolResult:
        patch, reason = await extract_patch(self._sandbox, self._world.workdir)
        if reason:
            return ToolResult(text=f"Not handed in: {reason}.", is_error=True)
        return ToolResult(text="Handed in.", submission=Submission(kind="patch", text=patch))

    async def _bash(self, arguments: BashArguments) -> ToolResult:
        before = self._sandbox.directory
        output = await self._sandbox.run(arguments.command, self._seconds)
        if speaks_of_full_disk(output.data):
            await refuse_full_disk(self._sandbox, self._world.workdir)
        seen = observe(output.data, self._shown_bytes, output.left_out, output.cut_at)
        last = ending(output, self._seconds, self._sandbox.directory)
        gap = "\n" if last and seen.text and not seen.text.endswith("\n") else ""
        text = f"{seen.text}{gap}{last}" or "[no output]"
        evidence = await self._looked(arguments.command, before, seen) if seen.raw.strip() else []
        return self._result(text, seen, evidence, is_error=output.ended != "exited")

    def _result(self, text: str, seen: Observed, evidence: list[Evidence], is_error: bool = False) -> ToolResult:
        return ToolResult(
            text=text,
            raw=seen.blob(self._blobs),
            shown=seen.shown,
            hidden_bytes=seen.hidden,
            lost_bytes=seen.lost,
            is_error=is_error,
            evidence=tuple(evidence),
        )

    async def _looked(self, command: str, directory: str, seen: Observed) -> list[Evidence]:
        """Evidence of every file that the command's words or its output name, as far as the output bears it out."""
        read = reading(command, directory)
        said = Said(seen.raw, seen.shown)
        files = await asyncio.to_thread(self._perhaps_shown, read, said)
        pieces: list[Evidence] = []
        for path, lines in files.items():
            if len(pieces) < LOOKED_FILES:
                pieces += await self._shown_file(path, said, lines)
            elif self._seems_shown(path, said):
                pieces.append(self._file(path, None, SNIPPET))
        if read.lists:
            pieces.append(self._listing(read.directory, seen))
        return pieces

    def _perhaps_shown(self, read: Reading, said: Said) -> dict[str, Lines | None]:
        known = self._tree.files
        found: dict[str, Lines | None] = {}
        for path, lines in perhaps_shown(read, said, self._world.workdir, known, self._base, self._longest).items():
            found.setdefault(self._led_to(path), lines)
        return found

    def _seems_shown(self, path: str, said: Said) -> bool:
        """By the name, or by the text in the base tree."""
        known = path in self._tree.files
        return said.names(path) or (known and shown_of(self._base(path), said, None, path) is not None)

    def _base(self, path: str) -> bytes:
        return self._blobs.get(self._tree.files[path].blob)

    async def _shown_file(self, path: str, said: Said, lines: Lines | None) -> list[Evidence]:
        content = await self._sandbox.read(f"{self._world.workdir}/{path}", FILE_LIMIT + 1)
        if content is None:
            return []
        if len(content) > FILE_LIMIT:
            shown = path not in self._tree.files or self._seems_shown(path, said)
            return [self._file(path, None, SNIPPET)] if shown else []
        coverage = shown_of(content, said, lines, path)
        return [self._file(path, content, coverage)] if coverage is not None else []

    def _file(self, path: str, content: bytes | None, coverage: Coverage) -> Evidence:
        path = self._led_to(path)
        blob = self._blobs.put(content, *media(content)) if content is not None else None
        base = None
        entry = self._tree.files.get(path)
        if entry is not None and blob is not None and entry.blob != blob.hash:
            data = self._blobs.get(entry.blob)
            base = self._blobs.put(data, *media(data))
        return Evidence(
            kind="file",
            source=path,
            version=self._world.tree,
            how="opened",
            coverage=coverage,
            blob=blob,
            base=base,
            title=path,
        )

    def _led_to(self, path: str) -> str:
        """The file that a link of the base tree leads to; the path itself where it is no link to a file of the tree."""
        entry = self._tree.files.get(path)
        if entry is None or entry.mode != "120000":
            return path
        target = self._blobs.get(entry.blob).decode("utf-8", "surrogateescape")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return there if there in self._tree.files else path

    def _listing(self, directory: str, seen: Observed) -> Evidence:
        relative = posixpath.relpath(directory, self._world.workdir)
        return Evidence(
            kind="listing",
            source=directory if relative.startswith("..") else relative,
            version=self._world.tree,
            how="listed",
            coverage=FULL if not seen.lost else SNIPPET,
            blob=self._blobs.put(seen.raw, *media(seen.raw)),
        )

    async def _edit(self, arguments: EditorArguments) -> ToolResult:
        path = posixpath.normpath(posixpath.join(self._world.workdir, arguments.path))
        if "\0" in path:
            return ToolResult(text="A path holds no NUL character.", is_error=True)
        try:
            if arguments.command == "view":
                return await self._view(path, arguments.view_range)
            if arguments.command == "create":
                return await self._create(path, arguments.file_text)
            if arguments.command == "undo_edit":
                return await self._take_back(path)
            return await self._change(path, arguments)
        except EditRefused as e:
            return ToolResult(text=str(e), is_error=True)

    async def _view(self, path: str, view_range: list[int] | None) -> ToolResult:
        content = await self._content(path)
        if content is None:
            return await self._view_folder(path)
        text, first, last = view(_text(path, content), view_range)
        seen = observe(text.encode(), self._shown_bytes)
        lines = None if (first, last) == (1, content.count(b"\n") + (not content.endswith(b"\n"))) else (first, last)
        if not seen.hidden:
            coverage: Coverage | None = line_coverage(content, first, last) if lines else FULL
        else:
            coverage = shown_of(content, Said(seen.raw, seen.shown), (first, last), "")
        evidence = self._evidence_at(path, content, coverage or SNIPPET)
        return self._result(seen.text, seen, evidence)

    def _evidence_at(self, path: str, content: bytes, coverage: Coverage) -> list[Evidence]:
        workdir = self._world.workdir.rstrip("/")
        if not path.startswith(workdir + "/"):
            return []
        return [self._file(path[len(workdir) + 1 :], content, coverage)]

    async def _view_folder(self, path: str) -> ToolResult:
        program = 'cd -- "$0" && find . -mindepth 1 -maxdepth 2 -not -path "*/.*" | sort | sed "s,^\\./,,"'
        output = await self._sandbox.execute(["/bin/bash", "-c", program, path], 30)
        if not output.ok:
            raise EditRefused(f"{path} does not exist (or cannot be read)")
        seen = observe(output.data, self._shown_bytes)
        text = f"Files in {path}, two levels deep:\n{seen.text}"
        return self._result(text, seen, [self._listing(path, seen)])

    async def _create(self, path: str, text: str | None) -> ToolResult:
        if text is None:
            raise EditRefused("create needs file_text")
        former = await self._content(path)
        await self._write(path, text)
        self._undo.remember(path, None if former is None else former.decode("utf-8", "surrogateescape"))
        return ToolResult(text=f"{path} {'was written over' if former is not None else 'was created'}.")

    async def _change(self, path: str, arguments: EditorArguments) -> ToolResult:
        content = await self._content(path)
        if content is None:
            raise EditRefused(f"{path} is no file")
        before = _text(path, content)
        change = replaced if arguments.command == "str_replace" else inserted
        after, around = change(before, arguments)
        await self._write(path, after)
        self._undo.remember(path, before)
        seen = observe(around.encode("utf-8", "replace"), self._shown_bytes)
        coverage = shown_of(after.encode(), Said(seen.raw, seen.shown), None, "")
        evidence = self._evidence_at(path, after.encode(), coverage) if coverage else []
        return ToolResult(text=f"{path} was changed; it now reads there:\n{seen.text}", evidence=tuple(evidence))

    async def _take_back(self, path: str) -> ToolResult:
        former = self._undo.last(path)
        try:
            if former is not None:
                await self._write(path, former)
                return ToolResult(text=f"The last edit of {path} was taken back.")
        except EditRefused:
            self._undo.remember(path, former)
            raise
        await self._sandbox.execute(["/bin/rm", "-f", "--", path], 30)
        return ToolResult(text=f"{path} was removed; it did not exist before.")

    async def _content(self, path: str) -> bytes | None:
        """A file's bytes, all of them; None where there is no file. Raises `EditRefused` for one that is too large."""
        content = await self._sandbox.read(path, FILE_LIMIT + 1)
        if content is not None and len(content) > FILE_LIMIT:
            raise EditRefused(f"{path} is larger than {FILE_LIMIT} bytes; use bash")
        return content

    async def _write(self, path: str, text: str) -> None:
        reason = await self._sandbox.write(path, text.encode("utf-8", "surrogateescape"))
        if reason:
            if speaks_of_full_disk(reason.encode("utf-8", "replace")):
                await refuse_full_disk(self._sandbox, self._world.workdir)
            raise EditRefused(f"{path} could not be written: {reason}")


def _text(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise EditRefused(f"{path} is not UTF-8 text; use bash") from None
