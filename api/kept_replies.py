"""A model's replies kept in a file as they come: what was paid for once is read back after a kill.

One JSON line a reply, synced before anybody uses it, found again by what was asked. A line that a kill cut short is
passed over and asked for anew.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson

from api.asking import seeded
from envs.frozen import content_hash
from rollout.model import ContextLengthExceeded, Conversation, Model
from rollout.trajectory import Message


class KeptReplies:
    """A `Writer` over a model. `asked` and `found` count the replies that were paid for and those read back."""

    def __init__(self, model: Model, path: Path, sampling: dict[str, Any]) -> None:
        self.name = model.name
        self.asked = self.found = 0
        self._model = model
        self._path = path
        self._sampling = sampling
        self._replies = dict(_read(path))

    async def write(self, prompt: str, take: int) -> str | None:
        """None where the reply is empty or was cut off, or the prompt is too long for the model. Raises
        `ModelError`."""
        sampling = seeded(self._sampling, take)
        key = content_hash([self.name, prompt, sampling, take])
        reply = self._replies.get(key)
        if reply is None:
            self.asked += 1
            reply = await self._ask(key, prompt, sampling)
            self._replies[key] = reply
        else:
            self.found += 1
        return str(reply["content"]) if reply["content"] and reply["finish_reason"] in (None, "stop") else None

    async def _ask(self, key: str, prompt: str, sampling: dict[str, Any]) -> dict[str, Any]:
        conversation = Conversation(key)
        conversation.append(Message(role="user", content=prompt))
        said: dict[str, Any] = {"key": key, "model": self.name}
        try:
            reply = await self._model.complete(conversation, sampling)
        except ContextLengthExceeded:
            said |= {"content": "", "finish_reason": "context_length"}
        else:
            said |= {"content": reply.content or "", "finish_reason": reply.finish_reason}
            said |= {"reasoning": reply.reasoning, **reply.usage.model_dump()}
        # Kept even where nobody waits for it any more.
        await asyncio.shield(asyncio.to_thread(self._keep, said))
        return said

    def _keep(self, said: dict[str, Any]) -> None:
        with self._path.open("ab+") as lines:
            # One write, so that the lines of two processes never mix. It begins a line of its own after a torn one.
            whole = not lines.tell() or _last_byte(lines.fileno(), lines.tell()) == b"\n"
            lines.write((b"" if whole else b"\n") + orjson.dumps(said) + b"\n")
            lines.flush()
            os.fsync(lines.fileno())


def _last_byte(handle: int, size: int) -> bytes:
    return os.pread(handle, 1, size - 1)


def _read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            said = orjson.loads(line)
            found.append((str(said["key"]), {"content": said["content"], "finish_reason": said["finish_reason"]}))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue
    return found
