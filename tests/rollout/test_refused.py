"""What an endpoint refuses for good is not asked three times over; samples of one task differ by their seed."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from envs.task import Task
from rollout.client import ChatClient
from rollout.model import Conversation, ModelRefused
from rollout.requeue import delay_after
from rollout.runs import Claim, RunSpec, Work
from rollout.trajectory import Message
from rollout.worker import sampling_of


async def test_a_refused_request_fails_its_rollout_at_once() -> None:
    asked = 0

    async def refuse(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"error": {"message": "no such model: nobody"}}, status=404)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", refuse)
    conversation = Conversation(key="r")
    conversation.append(Message(role="user", content="?"))
    async with TestServer(app) as server, ChatClient(str(server.make_url("/v1")), "nobody") as client:
        with pytest.raises(ModelRefused, match="no such model: nobody") as caught:
            await client.complete(conversation, {})
    assert asked == 1
    assert delay_after(caught.value.failure, 1, 3, permanent=caught.value.permanent) is None
    assert delay_after(caught.value.failure, 1, 3) is not None


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (
            "https://me:secret@host:8443/v1/chat/completions?token=secret#secret",
            "https://host:8443/v1/chat/completions,",
        ),
        ("/login?next=secret", "to /login,"),
        ("http://me:secret@[no", "to [no,"),
    ],
)
async def test_a_redirect_is_told_with_where_it_leads_and_not_followed(location: str, told: str) -> None:
    async def move(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": location})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", move)
    conversation = Conversation(key="r")
    conversation.append(Message(role="user", content="?"))
    async with TestServer(app) as server, ChatClient(str(server.make_url("/v1")), "nobody", api_key="key") as client:
        with pytest.raises(ModelRefused) as caught:
            await client.complete(conversation, {})
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_samples_of_one_task_get_seeds_of_their_own() -> None:
    task = Task(id="t", environment="search", question="?")

    def seeds(sampling: dict[str, object]) -> list[dict[str, object]]:
        work = Work(
            run="r", spec=RunSpec(environment="search", model="m", sampling=sampling), task=task, reference=None
        )
        claims = [Claim("j", "rollout", 1, "w", "r", sample, "g", {}) for sample in range(3)]
        return [sampling_of(claim, work) for claim in claims]

    assert seeds({"seed": 7, "top_p": 0.9}) == [{"seed": s, "top_p": 0.9} for s in (7, 8, 9)]
    assert seeds({"top_p": 0.9}) == [{"top_p": 0.9}] * 3
