"""Replies kept as they come: read back after a kill, torn lines and other processes included."""

from pathlib import Path
from typing import Any

from api.kept_replies import KeptReplies
from rollout.model import ContextLengthExceeded
from rollout.scripted import ScriptedModel, say


def kept(path: Path, *script: Any, sampling: dict[str, Any] | None = None) -> KeptReplies:
    return KeptReplies(ScriptedModel(script=script, name="m"), path, sampling or {})


async def test_what_was_said_once_is_read_back_by_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first = kept(path, say("one"))
    assert await first.write("prompt", 0) == "one"
    assert await first.write("prompt", 0) == "one"
    assert (first.asked, first.found) == (1, 1)
    again = kept(path, say("two"))
    assert [await again.write("prompt", 0), await again.write("prompt", 1)] == ["one", "two"]
    assert (again.asked, again.found) == (1, 1)
    other = kept(path, say("warm"), sampling={"temperature": 1})
    assert await other.write("prompt", 0) == "warm", "other sampling is another question"
    assert len(path.read_text().splitlines()) == 3


async def test_a_torn_line_is_asked_for_anew_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    assert await kept(path, say("one")).write("prompt", 0) == "one"
    path.write_bytes(path.read_bytes()[:-9])
    assert await kept(path, say("anew")).write("prompt", 0) == "anew"
    path.open("a").write("\n[1]\n{}\n")
    last = kept(path)
    assert (await last.write("prompt", 0), last.found) == ("anew", 1)


async def test_a_prompt_that_is_too_long_and_an_empty_reply_are_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    assert await kept(path, ContextLengthExceeded("too long")).write("long", 0) is None
    assert await kept(path, say("")).write("short", 0) is None
    last = kept(path)
    assert [await last.write("long", 0), await last.write("short", 0)] == [None, None]
