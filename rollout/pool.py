"""One model behind several endpoints.

A rollout stays on the endpoint that holds its prefix cache until that one is unwell or clearly busier than the rest.
Each endpoint has its own bound on calls in flight and its own queue; a freed slot takes from its own queue first,
then from a clearly busier one. Endpoints may come and go while rollouts run.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from rollout.balance import BREAKER, Breaker, choose
from rollout.capacity import BOUNDS, Bounds, read_metrics
from rollout.client import TIMEOUTS, ChatClient, Timeouts, addresses
from rollout.member import Endpoint, Member, Status
from rollout.model import ContextLengthExceeded, Conversation, ModelError, ModelRefused, Reply, TimeExceeded
from rollout.retry import BACKOFF, Backoff, Trouble, persist
from rollout.transport import Transport


@dataclass(frozen=True)
class Policy:
    shed: float = 1.5
    """A rollout leaves its endpoint where another call there costs this many times the cheapest."""
    patience: float = 300.0
    """Seconds to wait while no endpoint is well."""
    cold: float = 10.0
    """The same while none has ever answered: perhaps there is none."""
    poll: float = 5.0
    """Seconds between readings of the engines' figures."""
    bounds: Bounds = BOUNDS
    breaker: Breaker = BREAKER


POLICY = Policy()

Told = Callable[[str, Reply | Exception], None]
"""Hears what came of each request: the endpoint's URL, and the reply or what went wrong."""


def deaf(_: str, __: Reply | Exception) -> None:
    """A `Told` for nobody."""


class Pool:
    """A `Model`. `http` may be shared; who made it closes it. From its first call until `close` it
    reads the engines' figures in a task of its own."""

    def __init__(
        self,
        model: str,
        endpoints: Iterable[Endpoint],
        *,
        http: Transport,
        policy: Policy = POLICY,
        timeouts: Timeouts = TIMEOUTS,
        backoff: Backoff = BACKOFF,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = model
        self._policy, self._timeouts, self._backoff = policy, timeouts, backoff
        self._clock, self._chance = clock, chance
        self._members: dict[str, Member] = {}
        self._stranded: deque[tuple[float, asyncio.Future[Member]]] = deque()
        self._http = http
        self._answered = False
        """Whether anybody ever did, as an endpoint does: a web page is no answer."""
        self._cold_since: float | None = None
        self._reader: asyncio.Task[None] | None = None
        for endpoint in endpoints:
            self.add(endpoint)

    async def __aenter__(self) -> "Pool":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Calls that wait for a slot are cancelled."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        for waiter in [w for m in self._members.values() for w in m.queue] + [w for _, w in self._stranded]:
            waiter.cancel()
        for member in self._members.values():
            member.endpoint.gate.listeners.remove(self._dispatch)

    def add(self, endpoint: Endpoint) -> None:
        """A new endpoint takes calls at once; one that is there gets these slots and this key."""
        url, _ = addresses(endpoint.base_url)
        member = self._members.get(url)
        if member is not None and member.endpoint == endpoint:
            return
        client = ChatClient(
            endpoint.base_url, self.name, api_key=endpoint.api_key, timeouts=self._timeouts, http=self._http
        )
        if member is None:
            self._members[url] = Member(endpoint, client, self._policy.breaker)
            endpoint.gate.listeners.append(self._dispatch)
        else:
            member.change(replace(endpoint, gate=member.endpoint.gate), client)
        self._dispatch()

    def become(self, endpoints: Iterable[Endpoint]) -> None:
        """Have these endpoints and no others. Raises `ModelRefused`, when all is done, of one that cannot be had: it is
        left as it was."""
        wanted = {addresses(endpoint.base_url)[0]: endpoint for endpoint in endpoints}
        refused: ModelRefused | None = None
        for endpoint in wanted.values():
            try:
                self.add(endpoint)
            except ModelRefused as e:
                refused = e
        for url in [url for url in self._members if url not in wanted]:
            self.remove(url)
        if refused is not None:
            raise refused

    def remove(self, base_url: str) -> None:
        """Its calls in flight finish; its rollouts, and no others, go elsewhere. Raises `KeyError`."""
        url, _ = addresses(base_url)
        if url not in self._members:
            raise KeyError(f"no endpoint {url}; there are: {', '.join(self._members) or 'none'}")
        member = self._members.pop(url)
        member.endpoint.gate.listeners.remove(self._dispatch)
        self._move_queue(member)

    def status(self) -> tuple[Status, ...]:
        now, usual = self._clock(), self._usual()
        return tuple(m.status(now, usual) for m in self._members.values())

    @property
    def stranded(self) -> int:
        """Calls that wait because no endpoint is well."""
        return len(self._stranded)

    async def complete(self, conversation: Conversation, sampling: dict[str, Any], told: Told = deaf) -> Reply:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_for_ever(), name=f"figures of {self.name}")
        return await persist(
            lambda: self._once(conversation, sampling, told),
            self._backoff,
            chance=self._chance,
            clock=self._clock,
            sleep=asyncio.sleep,
        )

    async def _once(self, conversation: Conversation, sampling: dict[str, Any], told: Told) -> Reply:
        member = await self._seat(conversation.home)
        began = self._clock()
        try:
            reply = await member.client.send(conversation, sampling)
        except Trouble as trouble:
            told(member.url, trouble)
            raise self._troubled(member, trouble, began) from None
        except TimeExceeded as e:
            member.cut_off(str(e), began, self._clock(), self._usual())
            self._avoid(member)
            raise
        except (ContextLengthExceeded, ModelRefused) as e:
            self._answered = True
            if isinstance(e, ModelRefused):
                told(member.url, e)
            else:
                member.breaker = member.breaker.succeeded()
            raise
        else:
            self._answered = True
            member.served(reply, self._clock())
            told(member.url, reply)
            conversation.home = member.url
            return reply
        finally:
            self._leave(member, began)

    def _troubled(self, member: Member, trouble: Trouble, began: float) -> Trouble | ModelError:
        """Note it, and what to raise: where another endpoint can take the call, nobody waits for this one."""
        now = self._clock()
        if trouble.after is not None:  # a server may ask for a day, or write milliseconds
            trouble.after = min(trouble.after, self._backoff.longest_after)
        member.troubled(trouble, began, now)
        if trouble.kind not in ("connection", "timeout", "garbled"):
            self._answered = True
        if not self._answered and self._is_cold(now) and not self._elsewhere(member, now):
            return self._nobody()
        self._avoid(member)
        others = any(m.admits(now) for m in self._members.values())
        return Trouble(trouble.kind, str(trouble), None if others else trouble.after)

    def _avoid(self, member: Member) -> None:
        """Nobody waits for one that rests or is to be tried later."""
        now, back = self._clock(), max(member.resting_until, member.breaker.until)
        if back > now:
            asyncio.get_running_loop().call_later(back - now, self._dispatch)
            self._move_queue(member)

    def _is_cold(self, now: float) -> bool:
        """Whether, for as long as that counts, there were calls and no answer."""
        self._cold_since = now if self._cold_since is None else self._cold_since
        return now - self._cold_since >= self._policy.cold

    def _elsewhere(self, member: Member, now: float) -> bool:
        return any(m.admits(now) for m in self._members.values() if m is not member)

    @property
    def _patience(self) -> float:
        return self._policy.patience if self._answered else self._policy.cold

    def _nobody(self) -> ModelError:
        told = "; ".join(m.last_trouble or f"{m.url}: nobody knows" for m in self._members.values())
        told = told or "there is none"
        if self._answered:
            return ModelError(f"no endpoint of {self.name} was well for {self._patience:g} s ({told})")
        return ModelError(f"no endpoint of {self.name} answers ({told}); start it, or name another")

    async def _seat(self, home: str | None) -> Member:
        """A slot, which the caller gives back by `_leave`. Raises `ModelError` after the policy's patience."""
        member = self._chosen(home)
        if member is not None and not member.queue and member.has_room(self._clock()):
            member.enter()
            return member
        waiter: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self._enqueue(waiter, member)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._leave(waiter.result(), self._clock())
            self._forget(waiter)
            raise

    def _leave(self, member: Member, began: float) -> None:
        member.leave(began)
        self._dispatch()

    def _chosen(self, home: str | None) -> Member | None:
        now = self._clock()
        if len(self._members) == 1:
            (only,) = self._members.values()
            return only if only.admits(now) else None
        usual = self._usual()
        url = choose((m.standing(now, usual) for m in self._members.values()), home, self._policy.shed)
        return None if url is None else self._members[url]

    def _enqueue(self, waiter: "asyncio.Future[Member]", member: Member | None) -> None:
        if member is not None:
            member.queue.append(waiter)
            return
        self._stranded.append((self._clock(), waiter))
        asyncio.get_running_loop().call_later(self._patience_since(self._clock()), self._give_up)

    def _dispatch(self) -> None:
        """Fill every free slot that somebody waits for."""
        if not self._stranded and not any(m.queue for m in self._members.values()):
            return
        now = self._clock()
        for member in self._members.values():
            while member.has_room(now) and (waiter := self._next(member, now)) is not None:
                if not waiter.done():
                    member.enter()
                    waiter.set_result(member)

    def _next(self, member: Member, now: float) -> "asyncio.Future[Member] | None":
        """Who gets the member's free slot: its own queue, those without an endpoint, a clearly busier queue."""
        if member.queue:
            return member.queue.popleft()
        if self._stranded:
            return self._stranded.popleft()[1]
        queues = [m for m in self._members.values() if m.queue]
        if not queues:
            return None
        usual = self._usual()
        busiest = max(queues, key=lambda m: m.standing(now, usual).cost)
        clearly = busiest.standing(now, usual).cost > self._policy.shed * member.standing(now, usual).cost
        return busiest.queue.popleft() if clearly else None

    def _move_queue(self, member: Member) -> None:
        """Those who wait for a member that takes nobody choose anew."""
        waiting, member.queue = member.queue, deque()
        for waiter in waiting:
            self._enqueue(waiter, self._chosen(None))
        self._dispatch()

    def _forget(self, waiter: "asyncio.Future[Member]") -> None:
        for member in self._members.values():
            if waiter in member.queue:
                member.queue.remove(waiter)
        self._stranded = deque(s for s in self._stranded if s[1] is not waiter)

    def _give_up(self) -> None:
        while self._stranded and self._patience_since(self._stranded[0][0]) <= 0.001:
            waiter = self._stranded.popleft()[1]
            if not waiter.done():
                waiter.set_exception(self._nobody())
        if self._stranded:  # somebody answered meanwhile: there is reason to wait longer
            asyncio.get_running_loop().call_later(self._patience_since(self._stranded[0][0]), self._give_up)

    def _patience_since(self, waiting: float) -> float:
        """Seconds left to wait for who waits since then; all of a pool that never answered have waited alike."""
        since = waiting if self._answered or self._cold_since is None else min(waiting, self._cold_since)
        return since + self._patience - self._clock()

    def _usual(self) -> float:
        """Seconds that a call takes anywhere in the pool; 1 before the first one."""
        weight = sum(m.pace.weight for m in self._members.values())
        return sum(m.pace.total for m in self._members.values()) / weight if weight else 1.0

    async def _read_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._policy.poll)
            await asyncio.gather(*(self._read(m) for m in list(self._members.values())))
            self._dispatch()

    async def _read(self, member: Member) -> None:
        text = await member.client.metrics(self._policy.poll)
        now = self._clock()
        member.read(None if text is None else read_metrics(text, now), now, self._policy.bounds)
