"""What trajc adds to a model call: CPU a turn beside a bare aiohttp loop that sends the same bytes.

64 rollouts at once against an instantaneous endpoint in a process of its own; observations of 4 KB. Each side runs
in a fresh process, is warmed up by three turns, and the median of `ROUNDS` counts. The long rows go on to turn 105 with
about 128k tokens of history.
"""

# ruff: noqa: ARG002

import asyncio
import gc
import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel

from benchmarks.run import row
from envs.errors import EnvironmentFailure
from envs.score import Score, Submission
from envs.task import Limits, Reference, Task
from envs.tool import ToolResult, ToolSpec
from rollout.client import body_pieces, request_head
from rollout.loop import run_agent
from rollout.member import Endpoint
from rollout.model import Conversation, Model, Reply
from rollout.pool import Pool
from rollout.record import Identity, Record
from rollout.transport import Origin, Transport

ROUNDS = 3
ROLLOUTS = 64
SAMPLING = {"temperature": 1.0, "max_tokens": 1024}
REPLY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Let me look at the next page of it.",
                "tool_calls": [
                    {
                        "id": "call_00000000",
                        "type": "function",
                        "function": {"name": "look", "arguments": '{"page": 3}'},
                    }
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 30, "total_tokens": 1030},
}


class Serving(asyncio.Protocol):
    """Just enough HTTP: a reply for each request, alike but for its call's id, after about `delay` seconds."""

    delay = 0.0
    before, after = b"", b""
    replies = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.head, self.left = b"", 0

    def data_received(self, data: bytes) -> None:
        if self.left == 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = self.head[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.left, data, self.head = int(length or 0), self.head[end + 4 :], b""
        self.left -= len(data)
        if self.left <= 0:
            self.left = 0
            if self.delay:
                asyncio.get_running_loop().call_later(
                    self.delay * random.uniform(0.5, 1.5), self.transport.write, self.answer()
                )
            else:
                self.transport.write(self.answer())

    def answer(self) -> bytes:
        return b"%scall_%08d%s" % (self.before, next(self.replies), self.after)


async def serve(delay: float, tool: str, arguments: str) -> None:
    message = REPLY["choices"][0]["message"]
    message["tool_calls"][0]["function"] = {"name": tool, "arguments": arguments}
    body = json.dumps(REPLY).encode()
    Serving.delay = delay
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    Serving.before, _, Serving.after = (head + body).partition(b"call_00000000")
    server = await asyncio.get_running_loop().create_server(Serving, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Look(BaseModel):
    page: int


class Pages:
    """An environment whose only tool gives `size` bytes that nobody has seen before."""

    name, system_prompt, takes_text = "pages", "You read pages.", True
    tools: Sequence[ToolSpec] = (ToolSpec("look", "Look at a page", Look),)

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0

    def prompt(self, task: Task) -> str:
        return task.question

    async def start(self, task: Task, owner: Mapping[str, str]) -> "Pages":
        return self

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        self.count += 1
        line = f'{self.count:08d} the quick brown fox said "hello" to the lazy dog.\n'
        return ToolResult(text=line * (self.size // len(line)))

    async def submission(self) -> Submission | None:
        return None

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        return task, reference

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        raise EnvironmentFailure("pages have no score")

    async def close(self) -> None:
        pass


class Lockstep:
    """Lets all rollouts make their n-th call together and notes the process's CPU between the meetings."""

    def __init__(self, parties: int) -> None:
        self.barrier = asyncio.Barrier(parties)
        self.cpu: list[float] = []

    async def meet(self) -> None:
        if await self.barrier.wait() == 0:
            self.cpu.append(time.process_time())


class Meeting:
    """A model whose callers wait for each other before each call."""

    def __init__(self, model: Model, lockstep: Lockstep) -> None:
        self.name, self.model, self.lockstep = model.name, model, lockstep

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        await self.lockstep.meet()
        return await self.model.complete(conversation, sampling)


def record_of(index: int, turns: int) -> Record:
    task = Task(
        id=f"t{index}", environment="pages", question="What is on the last page?", limits=Limits(max_turns=turns)
    )
    return Record(task, Identity(run="r", rollout=f"r{index}", attempt=1, trajectory=f"t{index}"), "m")


async def drive(model: Model, turns: int, size: int) -> None:
    async with asyncio.TaskGroup() as group:
        for i in range(ROLLOUTS):
            group.create_task(run_agent(record_of(i, turns), Pages(size), model, sampling=SAMPLING, owner={}))


async def ours(port: int, turns: int, size: int, lockstep: bool) -> dict[str, Any]:
    steps = Lockstep(ROLLOUTS)
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", slots=ROLLOUTS)
    async with Transport() as http, Pool("m", [endpoint], http=http) as pool:
        await drive(pool, 3, size)
        began = time.process_time()
        await drive(Meeting(pool, steps) if lockstep else pool, turns, size)
        return {"cpu": time.process_time() - began, "steps": steps.cpu}


class Capturing:
    """Takes down the request bodies of one rollout."""

    name = "m"

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.bodies: list[bytes] = []

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        self.bodies.append(b"".join(body_pieces(request_head("m", conversation, sampling), conversation)))
        return await self.pool.complete(conversation, sampling)


async def captured(port: int, turns: int, size: int) -> list[bytes]:
    """The bodies of one rollout's requests."""
    async with Transport() as http, Pool("m", [Endpoint(f"http://127.0.0.1:{port}/v1")], http=http) as pool:
        capturing = Capturing(pool)
        await run_agent(record_of(0, turns), Pages(size), capturing, sampling=SAMPLING, owner={})
    return capturing.bodies


Post = Callable[[memoryview], Awaitable[Any]]


async def sending(post: Post, port: int, turns: int, size: int, lockstep: bool) -> dict[str, Any]:
    """Each rollout sends ever more of its own copy of the last body: nobody sends from a cache that others have not."""
    bodies, steps = await captured(port, turns, size), Lockstep(ROLLOUTS)

    async def rollout(sizes: list[int], lockstep: bool) -> None:
        whole = memoryview(bytes(bytearray(bodies[-1])))
        for size in sizes:
            if lockstep:
                await steps.meet()
            await post(whole[:size])

    sizes = [len(body) for body in bodies]
    await asyncio.gather(*(rollout(sizes[:3], False) for _ in range(ROLLOUTS)))
    began = time.process_time()
    await asyncio.gather(*(rollout(sizes, lockstep) for _ in range(ROLLOUTS)))
    return {"cpu": time.process_time() - began, "steps": steps.cpu}


async def bare(port: int, turns: int, size: int, lockstep: bool) -> dict[str, Any]:
    """As many bytes to the same endpoint, and nothing else."""
    url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def post(body: memoryview) -> None:
            async with http.post(url, data=body, headers=headers) as response:
                await response.read()

        return await sending(post, port, turns, size, lockstep)


async def lean(port: int, turns: int, size: int, lockstep: bool) -> dict[str, Any]:
    """What `bare` does, over our own transport."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: "
    async with Transport() as http:

        async def post(body: memoryview) -> None:
            await http.ask(Origin("127.0.0.1", port), [b"".join((head, b"%d\r\n\r\n" % len(body), body))], 10.0)

        return await sending(post, port, turns, size, lockstep)


async def memory(port: int, turns: int, size: int, rollouts: int) -> dict[str, Any]:
    """Peak memory of all rollouts in flight, to their end, against the bytes of their texts."""
    records = [record_of(i, turns) for i in range(rollouts)]
    gc.collect()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", slots=rollouts)
    async with Transport() as http, Pool("m", [endpoint], http=http) as pool, asyncio.TaskGroup() as group:
        for record in records:
            group.create_task(run_agent(record, Pages(size), pool, sampling=SAMPLING, owner={}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    texts = sum(len((m.content or "").encode()) for r in records for m in r.conversation.messages)
    return {"bytes": (peak - idle) * 1024, "texts": texts}


@contextmanager
def endpoint(delay: float = 0.0, tool: str = "look", arguments: str = '{"page": 3}') -> Iterator[int]:
    """The port of an endpoint in a process of its own, whose every reply calls this tool."""
    process = subprocess.Popen(_command("serve", delay, tool, arguments), stdout=subprocess.PIPE, text=True, cwd=_ROOT)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def measured(role: str, port: int, *args: Any) -> dict[str, Any]:
    return child("benchmarks.orchestration_turn", role, port, *args)


def child(program: str | Path, *args: Any, python: str | Path = sys.executable) -> dict[str, Any]:
    """What a module, or a script, prints as JSON on its last line when run in a fresh process."""
    command = [python, *(["-m", program] if isinstance(program, str) else [program]), *map(str, args)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


_ROOT = Path(__file__).parent.parent


def _command(*args: Any) -> list[str]:
    return [sys.executable, "-m", "benchmarks.orchestration_turn", *map(str, args)]


def a_turn(port: int, turns: int, size: int, side: str = "ours") -> tuple[float, float]:
    """Milliseconds of CPU a turn: this side, bare."""
    runs = [(measured(side, port, turns, size, 0), measured("bare", port, turns, size, 0)) for _ in range(ROUNDS)]
    scale = 1000 / ROLLOUTS / turns
    return statistics.median(o["cpu"] for o, _ in runs) * scale, statistics.median(b["cpu"] for _, b in runs) * scale


def at_turn(result: dict[str, Any], turn: int) -> float:
    """Milliseconds of CPU a turn around one turn (ten of them)."""
    cpu = result["steps"]
    return float(cpu[turn + 4] - cpu[turn - 6]) * 1000 / ROLLOUTS / 10


def run() -> list[dict[str, Any]]:
    with endpoint() as port:
        transport, short, long = a_turn(port, 20, 4096, "lean"), a_turn(port, 20, 4096), a_turn(port, 100, 5120)
        pairs = [(measured("ours", port, 105, 5120, 1), measured("bare", port, 105, 5120, 1)) for _ in range(ROUNDS)]
    own = {t: statistics.median(at_turn(o, t) - at_turn(b, t) for o, b in pairs) for t in (10, 100)}
    with endpoint(delay=1.0) as port:
        held = measured("memory", port, 100, 5120, 200)
    return [
        row("orchestration/transport_turn_20", *transport, "ms CPU/turn", "<=0.7"),
        row("orchestration/loop_turn_20", *short, "ms CPU/turn", "<=4.5"),
        row("orchestration/loop_turn_100", *long, "ms CPU/turn", "<=4.5"),
        row("orchestration/loop_turn_100_vs_10", own[100], own[10], "ms CPU/turn over bare", "<=1.5"),
        row("orchestration/loop_memory_200", held["bytes"] / 1e6, held["texts"] / 1e6, "MB", "<=2.5"),
    ]


def main() -> None:
    role, *args = sys.argv[1:]
    if role == "serve":
        asyncio.run(serve(float(args[0]), *args[1:]))
    elif role == "memory":
        print(json.dumps(asyncio.run(memory(*map(int, args)))))
    else:
        port, turns, size, lockstep = map(int, args)
        side = {"ours": ours, "bare": bare, "lean": lean}[role]
        print(json.dumps(asyncio.run(side(port, turns, size, bool(lockstep)))))


if __name__ == "__main__":
    main()
