"""The oracle over HTTP: chat completions, models, health, metrics and counts."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.oracle.chance import Chance
from api.oracle.completion import choice, tokens
from api.oracle.connections import reset
from api.oracle.conversation import Conversation, read_request
from api.oracle.faults import transport_fault
from api.oracle.known import Known
from api.oracle.mind import Mind
from api.oracle.refusal import Refusal
from api.oracle.stats import Stats, Talk


@dataclass
class Oracle:
    """One server's own state: what it counts, and the bound on requests at work."""

    mind: Mind
    stats: Stats = field(default_factory=Stats)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at shutdown: lets go of requests left hanging."""

    def __post_init__(self) -> None:
        slots = self.mind.settings.slots
        self._slots = asyncio.Semaphore(slots) if slots else None

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/health", self.health),
                Route("/metrics", self.metrics),
                Route("/stats", self.counts),
            ]
        )

    async def chat(self, request: Request) -> Response:
        self.stats.requests += 1
        try:
            return await self._chat(request)
        except Refusal as refusal:
            self.stats.refused[str(refusal.status)] += 1
            return refusal.response()

    async def models(self, _: Request) -> Response:
        settings = self.mind.settings
        model = {"id": settings.model, "object": "model", "owned_by": "trajc", "max_model_len": settings.context_length}
        return _json({"object": "list", "data": [model]})

    async def health(self, _: Request) -> Response:
        return Response(status_code=200)

    async def metrics(self, _: Request) -> Response:
        settings = self.mind.settings
        return PlainTextResponse(self.stats.prometheus(settings.model, settings.kv_tokens))

    async def counts(self, _: Request) -> Response:
        return _json(self.stats.view())

    async def _chat(self, request: Request) -> Response:
        settings = self.mind.settings
        conversation = read_request(await request.body())
        known = self.mind.find(conversation)
        talk = self.stats.talk(conversation.key, known.task.id)
        talk.requests += 1
        talk.tries[conversation.turn] += 1
        if (most := settings.context_length) is not None and conversation.prompt_tokens > most:
            raise Refusal(
                400,
                f"This model's maximum context length is {most} tokens. However, your messages have "
                f"{conversation.prompt_tokens} tokens. Please reduce the length of the messages.",
                param="messages",
            )
        chance = Chance((str(settings.seed), conversation.key))
        attempt = talk.tries[conversation.turn]
        match transport_fault(settings.faults, chance, conversation.turn, attempt):
            case "rate_limited":
                raise Refusal(429, "too many requests (a fault that was asked for)", retry_after=settings.retry_after)
            case "server_error":
                raise Refusal(500, "internal error (a fault that was asked for)")
            case "reset":
                self.stats.refused["reset"] += 1
                return reset(request)
            case "hang":
                self.stats.refused["hang"] += 1
                return await self._hang(request)
        async with self._slot(conversation.prompt_tokens):
            await asyncio.sleep(
                max(
                    0.0,
                    settings.latency + settings.jitter * (2 * chance.draw("latency", conversation.turn, attempt) - 1),
                )
            )
            return self._complete(conversation, known, talk)

    def _complete(self, conversation: Conversation, known: Known, talk: Talk) -> Response:
        mind, settings = self.mind, self.mind.settings
        choices = [
            choice(
                mind.decide(known, conversation, sample),
                sample,
                chance=mind.chance(known, conversation, sample),
                turn=conversation.turn,
                faults=settings.faults,
                reasoning=settings.reasoning,
                max_tokens=conversation.max_tokens,
            )
            for sample in range(conversation.samples)
        ]
        generated = sum(tokens(one["message"]) for one in choices)
        usage = {
            "prompt_tokens": conversation.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": conversation.prompt_tokens + generated,
            "prompt_tokens_details": {"cached_tokens": min(talk.tokens, conversation.prompt_tokens)},
        }
        talk.tokens = conversation.prompt_tokens
        talk.answered[conversation.turn] += 1
        self.stats.completions += 1
        self.stats.prompt_tokens += conversation.prompt_tokens
        self.stats.completion_tokens += generated
        return _json(
            {
                "id": f"chatcmpl-{conversation.key}-{conversation.turn}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": settings.model,
                "system_fingerprint": f"oracle-{settings.seed}",
                "choices": choices,
                "usage": usage,
            }
        )

    async def _hang(self, request: Request) -> Response:
        """Until the client goes away or the server closes."""
        gone = asyncio.ensure_future(_gone(request))
        closing = asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = gone.done()
            gone.cancel()
            closing.cancel()
        return Response(status_code=500) if left else reset(request)

    @asynccontextmanager
    async def _slot(self, prompt_tokens: int) -> AsyncIterator[None]:
        """A place at work; the wait for it counts as waiting."""
        if self._slots is not None:
            self.stats.waiting += 1
            try:
                await self._slots.acquire()
            finally:
                self.stats.waiting -= 1
        self.stats.running += 1
        self.stats.running_tokens += prompt_tokens
        try:
            yield
        finally:
            self.stats.running -= 1
            self.stats.running_tokens -= prompt_tokens
            if self._slots is not None:
                self._slots.release()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
