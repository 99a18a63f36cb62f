"""SWE tasks whose bugs and issues a model writes: the command against a real server, bad replies and kills included."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import TRAJC
from tests.envs.swe.tiny import ARCHIVE, write_archive

FUNCTION = re.compile(r"```python\n(def (\w+).*?)```", re.DOTALL)
ISSUE = """A number below the lower bound comes back as something else

I keep temperatures in a range with `clamp`. For a reading under the range I expected its lower end, and got the \
upper one."""
LEAKY = f"{ISSUE} The test test_clamp shows it."
LONGER = '''

def clamp(value, low, high):
    """Keep a value within bounds."""
    if value < low:
        return low
    if value > high:
        return high
    return value


def spread(values):
    """How far apart the values lie."""
    values = list(values)
    largest = max(values)
    return largest - min(values)


def first_words(text, count):
    return text.split()[:count]
'''


class Writing(ThreadingHTTPServer):
    """Answers as a model would whose every reply is decided by `says(prompt, take)`; counts what it was asked."""

    daemon_threads = True

    def __init__(self, says: Callable[[str, int], str]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.says = says
        self.asked: Counter[str] = Counter()
        self.hold_after: int | None = None
        """From this request on nothing is answered until the caller is gone."""
        self.lock = threading.Lock()
        self.held = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Answer(BaseHTTPRequestHandler):
    server: Writing
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        with self.server.lock:
            take = self.server.asked[prompt]
            self.server.asked[prompt] += 1
            hold = self.server.hold_after is not None and self.server.asked.total() > self.server.hold_after
        if hold:
            self.server.held.set()
            time.sleep(600)
            return
        content = self.server.says(prompt, take)
        finish = "length" if content == "CUT" else "stop"
        message = {"role": "assistant", "content": content}
        self.reply(
            {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": {"prompt_tokens": 9}}
        )

    def do_GET(self) -> None:
        self.send_error(404)

    def reply(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def says(prompt: str, take: int) -> str:
    """Of `spread` only rubbish, another piece each time; of `clamp` a good bug from the second time on. The first
    issue text names a hidden test."""
    found = FUNCTION.search(prompt)
    if found is None:
        return LEAKY if take == 0 else ISSUE
    code, name = found.groups()
    if name == "spread":
        rubbish = ["I'd rather not.", "```python\ndef spread(values:\n```", f"```python\n{code}```", "CUT"]
        return rubbish[take % len(rubbish)]
    if take == 0:
        return f"```python\nimport os\n{code}```"
    return f"Sure!\n```python\n{code.replace('return low', 'return high')}```"


@pytest.fixture
def writing() -> Iterator[Writing]:
    server = Writing(says)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.needs("docker")
def test_written_bugs_and_issues_become_tasks_bad_ones_are_counted_and_no_reply_is_paid_twice(
    new_trajc: Callable, tmp_path: Path, writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHIVE, "src/tiny/__init__.py", LONGER)
    archive, trajc = write_archive(tmp_path), new_trajc()
    words = ["tasks", "make-swe", str(archive), "--out", str(tmp_path / "t.jsonl"), "--count", "1", "--parallel", "1"]
    words += ["--bugs-by", "llm", "--issues-by", "llm", "--model", "m", "--base-url", writing.url, "--json"]

    # Killed while its third reply is under way: the first two are kept.
    writing.hold_after = 2
    first = subprocess.Popen([TRAJC, *words], env=trajc.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert writing.held.wait(300)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    replies = tmp_path / "t.replies.jsonl"
    assert len(replies.read_text().splitlines()) == 2
    with replies.open("a") as torn:
        torn.write('{"key": "cut sho')

    writing.hold_after = None
    paid = writing.asked.total() - 1
    done = subprocess.run([TRAJC, *words], env=trajc.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tasks"] == 1
    assert told["tried"] == 1 + sum(told["dropped"].values())
    assert set(told["dropped"]) <= {
        "written bug: no code in the reply",
        "written bug: it does not parse",
        "written bug: it changes nothing",
        "written bug: it is not the one function asked for",
    }
    assert told["dropped"]
    (task,) = map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines())
    assert task["question"].startswith(ISSUE)
    assert "test_clamp" not in task["question"]
    assert "-        return high\n+        return low\n" in task["reference"]["gold_patch"]
    assert 0 < task["world"]["difficulty"]["estimate"] < 1
    kept = [line for line in replies.read_text().splitlines() if line.endswith("}")]
    assert len(kept) == writing.asked.total() - 1, "every answered request is kept, and the held one was asked again"
    assert f"{len(kept) - paid} replies asked for, {paid} found" in done.stderr

    # All again: not one request, and the same tasks.
    before, tasks = writing.asked.total(), (tmp_path / "t.jsonl").read_bytes()
    again = subprocess.run([TRAJC, *words], env=trajc.environ, capture_output=True, text=True, check=False)
    assert (again.returncode, writing.asked.total()) == (0, before)
    assert (tmp_path / "t.jsonl").read_bytes() == tasks


def test_an_endpoint_that_refuses_ends_the_command_in_one_sentence(new_trajc: Callable, tmp_path: Path) -> None:
    trajc = new_trajc()
    words = ["tasks", "make-swe", str(write_archive(tmp_path)), "--bugs-by", "llm"]
    done = subprocess.run([TRAJC, *words], env=trajc.environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "trajc: which model writes? name one with --model, or set TRAJC_MODEL\n",
    )
