"""Whether a dataset version is what it says: every byte of context from its source, every count counted again.

Shares no code with the compiler that wrote it; reads only the version folder and the blobs.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from compiler.verify_asked import asked_faults
from compiler.verify_formats import checks, format_rows, target
from compiler.verify_render import Recount, conversation, defused, recounter, rendered
from compiler.verify_split import Apart, Stem, stems
from envs.blobs import BlobMissing, BlobStore
from envs.frozen import Frozen


class Fault(Frozen):
    where: str
    """A file, or the id of an example."""
    what: str


class Report(Frozen):
    version: str
    examples: int
    pieces: int
    tokens: int
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        return not self.faults


def verify(version_dir: Path, blobs: BlobStore, tokenizer_json: Path | None = None) -> Report:
    """`tokenizer_json` recounts with Hugging Face tokenizers; without it `qwen3` is recounted with tiktoken.

    Every fault is listed. The folder may have any name, as a pulled one does; a name that has a version's form
    must be this version's. Raises `FileNotFoundError` where there is no manifest.
    """
    data = (version_dir / "manifest.json").read_bytes()
    manifest = json.loads(data)
    faults = []
    version = hashlib.sha256(data).hexdigest()[:40]
    if re.fullmatch("[0-9a-f]{40}", version_dir.name) and version_dir.name != version:
        faults.append(Fault(where="manifest.json", what="its hash is not the version's name"))
    faults += _files(version_dir, manifest)
    check = _Rows(manifest, blobs, recounter(manifest["tokenizer"]["name"], tokenizer_json))
    for config in manifest["statistics"]["examples"]:
        faults += _readable(config, check.config(version_dir, config))
    faults += check.sums()
    faults += _readable("accounts", _accounts(version_dir, manifest, check))
    return Report(
        version=version,
        examples=sum(check.examples.values()),
        pieces=check.pieces,
        tokens=check.tokens,
        faults=tuple(faults),
    )


def _readable(where: str, found: Iterator[Fault]) -> Iterator[Fault]:
    """A file that is too broken to be read is a fault like any other."""
    try:
        yield from found
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as e:
        yield Fault(where=where, what=f"cannot be read: {type(e).__name__}: {e}"[:500])


def _files(folder: Path, manifest: dict[str, Any]) -> Iterator[Fault]:
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    for extra in sorted(present - manifest["files"].keys()):
        yield Fault(where=extra, what="the manifest does not name this file")
    for name, entry in manifest["files"].items():
        if name not in present:
            yield Fault(where=name, what="missing")
            continue
        with open(folder / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                yield Fault(where=name, what="its bytes do not have the manifest's sha256")


def _accounts(folder: Path, manifest: dict[str, Any], check: "_Rows") -> Iterator[Fault]:
    books = manifest["accounts"]
    if books["selected"] != books["yielded"] + sum(books["trajectories_dropped"].values()):
        yield Fault(where="manifest.json", what="trajectories: selected is not yielded + dropped")
    if books["built"] != books["published"] + sum(books["examples_dropped"].values()):
        yield Fault(where="manifest.json", what="examples: built is not published + dropped")
    if books["yielded"] != books["built"]:
        yield Fault(where="manifest.json", what="examples built is not trajectories yielded")
    if dict(check.examples) != manifest["statistics"]["examples"] or books["published"] != check.examples.total():
        yield Fault(where="manifest.json", what=f"published examples: {dict(check.examples)} rows were found")
    drops: Counter[tuple[str, str]] = Counter()
    accounted = set(check.trajectories)
    with open(folder / "drops.jsonl", "rb") as lines:
        for drop in map(json.loads, lines):
            drops[(drop["stage"], drop["reason"])] += 1
            accounted.add(drop["trajectory"])
    said = {("trajectory", r): n for r, n in books["trajectories_dropped"].items()}
    said |= {("example", r): n for r, n in books["examples_dropped"].items()}
    if dict(drops) != said:
        yield Fault(where="drops.jsonl", what="its reasons do not add up to the manifest's")
    sources = (folder / "trajectories.txt").read_text().split("\n")[:-1]
    if len(sources) != books["selected"] or set(sources) != accounted:
        yield Fault(where="trajectories.txt", what="its trajectories are not those published and dropped")


class _Rows:
    """Checks row by row, keeping only counts and ids."""

    def __init__(self, manifest: dict[str, Any], blobs: BlobStore, recount: Recount):
        self._manifest = manifest
        self._recipe = manifest["recipe"]
        self._blobs = blobs
        self._count = recount.count
        self._apart = Apart(manifest)
        self._formats = checks(self._recipe, recount.decode)
        self.examples: Counter[str] = Counter()
        self.trajectories: set[str] = set()
        self.pieces = 0
        self.tokens = 0

    def config(self, folder: Path, config: str) -> Iterator[Fault]:
        for stem in stems(self._recipe, config):
            if stem.split is None or self._manifest["splits"][config][stem.split]:
                yield from self._rows(folder, config, stem)

    def _rows(self, folder: Path, config: str, stem: Stem) -> Iterator[Fault]:
        rows = 0
        with open(folder / stem.released, "rb") as lines:
            for rows, row in enumerate(_canonical(folder, stem.name), 1):
                self.examples[config] += 1
                self.trajectories.add(row["trajectory"])
                for what in [*self._example(row, config), *self._apart.row(row, stem.split)]:
                    yield Fault(where=row["id"], what=what)
                line = lines.readline()
                if not line or json.loads(line) != _released(row):
                    yield Fault(where=stem.released, what=f"row {rows} is not {row['id']}")
            if lines.readline():
                yield Fault(where=stem.released, what="more rows than examples")
        for name in self._recipe["formats"]:
            if name != "acc":
                yield from self._format(folder, name, stem.name)

    def sums(self) -> Iterator[Fault]:
        yield from (Fault(where="manifest.json", what=what) for what in self._apart.sums())

    def _format(self, folder: Path, name: str, config: str) -> Iterator[Fault]:
        for row, example in zip_longest(format_rows(folder, name, config), _canonical(folder, config)):
            if row is None or example is None:
                yield Fault(where=f"{name}/{config}", what="its rows are not as many as the examples")
                return
            for what in self._formats[name](row, example):
                yield Fault(where=f"{name}/{config}", what=f"row of {example['id']}: {what}")

    def _example(self, row: dict[str, Any], config: str) -> Iterator[str]:
        prompt = row["prompt"].encode()
        if row["config"] != config:
            yield f"config {row['config']} in the files of {config}"
        if prompt[slice(*row["question_at"])].decode("utf-8", "replace") != row["question"]:
            yield "the question does not stand where it should"
        rest, at = [], 0
        for start, end in [tuple(row["question_at"]), *((p["start"], p["end"]) for p in row["pieces"])]:
            if not at <= start <= end <= len(prompt):
                yield f"byte range {start}-{end} overlaps or leaves the prompt"
                return
            rest.append(prompt[at:start])
            at = end
        template = b"".join([*rest, prompt[at:]])
        if hashlib.sha256(template).hexdigest() != self._manifest["templates"].get(row["template"]):
            yield f"the text around question and pieces is not the template {row['template']}"
        if _holds(template.decode("utf-8", "replace"), row["ground_truth"]):
            yield "the template's own text holds the answer"
        for piece in row["pieces"]:
            self.pieces += 1
            for what in [*self._piece(piece, prompt), *_place(piece, prompt, row)]:
                yield f"piece {piece['source']}: {what}"
        if self._recipe["target"] == "answer_only" and row["answer"] != defused(row["ground_truth"]):
            yield "the answer is not the neutralised ground truth"
        yield from asked_faults(row, self._recipe)
        yield from self._counts(row)

    def _piece(self, piece: dict[str, Any], prompt: bytes) -> Iterator[str]:
        placed = prompt[piece["start"] : piece["end"]]
        if hashlib.sha256(placed).hexdigest() != piece["rendered"]:
            yield "the placed bytes do not have the recorded hash"
        if self._count(placed.decode("utf-8", "replace")) != piece["tokens"]:
            yield "wrong token count"
        try:
            source = self._blobs.get(piece["blob"])
        except BlobMissing:
            yield f"its blob {piece['blob']} is not in the store"
            return
        if hashlib.sha256(source).hexdigest() != piece["blob"]:
            yield "the store's blob does not have its hash"
        try:
            again = rendered(source, piece["encoding"], piece["steps"])
        except (ValueError, LookupError, TypeError) as e:
            yield f"cannot be rendered again: {e}"
            return
        if again != placed:
            yield "the placed bytes are not what its steps make of its blob"

    def _counts(self, row: dict[str, Any]) -> Iterator[str]:
        given, reply = conversation(self._recipe["chat_template"], row["prompt"], target(row))
        tokens = self._count(given) + self._count(reply)
        self.tokens += tokens
        found = (self._count(row["prompt"]), self._count(target(row)), tokens)
        if found != (row["prompt_tokens"], row["target_tokens"], row["tokens"]):
            yield f"wrong token counts: prompt, target, all are {found}"
        if not self._recipe["min_tokens"] <= tokens <= self._recipe["token_budget"]:
            yield f"{tokens} tokens are outside the recipe's bounds"


def _canonical(folder: Path, config: str) -> Iterator[dict[str, Any]]:
    return format_rows(folder, "canonical", config)


def _released(row: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": target(row)}]
    return {
        "dialogs": messages,
        "ground_truth_answer": row["ground_truth"],
        "context_length": row["context_length"],
    }


def _place(piece: dict[str, Any], prompt: bytes, row: dict[str, Any]) -> Iterator[str]:
    if (piece["role"] == "needed") != (piece["tier"] == 0):
        yield f"role {piece['role']} in tier {piece['tier']}"
    if row["config"] == "search_agent" and piece["tier"] >= 3:
        text = prompt[piece["start"] : piece["end"]].decode("utf-8", "replace")
        if _holds(text, defused(row["ground_truth"])):
            yield "it comes from another trajectory and holds the answer"


def _holds(text: str, answer: str) -> bool:
    """As a whole token. Three characters or fewer stand in any text; there the template's hash is the proof."""
    words = answer.strip().lower()
    at = text.lower().find(words) if len(words) > 3 else -1
    while at >= 0:
        around = text[at - 1 : at] + text[at + len(words) : at + len(words) + 1]
        if not re.search(r"\w", around):
            return True
        at = text.lower().find(words, at + 1)
    return False
