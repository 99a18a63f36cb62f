"""A chat server whose answers a test scripts, and a small environment that a test can look into."""

# ruff: noqa: ARG002

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import BaseModel, Field

from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult, ToolSpec

Answer = web.StreamResponse | Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ChatServer:
    """Plays `answers` in order, then the last one for ever. `seen` holds each request's headers and JSON."""

    answers: list[Callable[[web.Request], Awaitable[web.StreamResponse]]]
    seen: list[tuple[Mapping[str, str], dict[str, Any]]] = field(default_factory=list)
    routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=dict)
    base_url: str = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.headers, await request.json()))
        return await self.answers[min(len(self.seen), len(self.answers)) - 1](request)

    async def start(self) -> TestServer:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/chat/completions", self.chat)
        for path, handler in self.routes.items():
            app.router.add_get(path, handler)
        server = TestServer(app)
        await server.start_server(shutdown_timeout=0.1)
        self.base_url = f"http://127.0.0.1:{server.port}/v1"
        return server


Serve = Callable[..., Awaitable[ChatServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(answer, ..., routes={})` starts a server on a port of its own."""
    started: list[TestServer] = []

    async def start(*answers: Any, routes: dict[str, Any] | None = None) -> ChatServer:
        server = ChatServer(list(answers), routes=routes or {})
        started.append(await server.start())
        return server

    yield start
    for server in started:
        await server.close()


class Echo(BaseModel):
    text: str = Field(description="What to say")
    times: int = 1


class Submit(BaseModel):
    pass


@dataclass
class EchoSession:
    """Says what it is told to, unless told one of its special words."""

    log: list[str]

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        if tool == "submit":
            return ToolResult(text="Handed in.", submission=Submission(kind="text", text="submitted"))
        self.log.append(arguments.text)
        if arguments.text == "hang":
            await asyncio.Event().wait()
        if arguments.text == "break":
            raise RuntimeError("the world broke")
        return ToolResult(text=arguments.text * arguments.times, seconds=1.0)

    async def submission(self) -> Submission | None:
        return Submission(kind="text", text=" ".join(self.log)) if self.log else None

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.log.append("closed")


@dataclass
class EchoEnvironment:
    """Tools `echo` and `submit`. `logs` holds what each of its sessions saw."""

    takes_text: bool = False
    name: str = "echo"
    system_prompt: str = "You are a parrot."
    tools: Sequence[ToolSpec] = (
        ToolSpec("echo", "Say something", Echo),
        ToolSpec("submit", "End the task", Submit),
    )
    logs: list[list[str]] = field(default_factory=list)

    def prompt(self, task: Task) -> str:
        return f"Task: {task.question}"

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        return task, reference

    async def start(self, task: Task, owner: Mapping[str, str]) -> EchoSession:
        self.logs.append([])
        return EchoSession(self.logs[-1])

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        right = submission.text == reference.data["answer"]
        return Score(scorer="echo", version="1", value=float(right), verdict="right" if right else "wrong")

    async def close(self) -> None:
        pass


@pytest.fixture
def echo() -> EchoEnvironment:
    return EchoEnvironment()


@pytest.fixture
def talking() -> EchoEnvironment:
    """The same world, where a plain message is the answer."""
    return EchoEnvironment(takes_text=True)
