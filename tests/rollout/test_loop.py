"""The agent loop with a scripted model: every way that a rollout ends, and what is kept of it."""

import asyncio
from typing import Any

import pytest

from envs.errors import EnvironmentFailure, SandboxError
from envs.score import Submission
from envs.task import Limits, Task
from envs.tool import ToolResult
from rollout.loop import run_agent
from rollout.model import ContextLengthExceeded, Model, ModelError, Reply, TimeExceeded
from rollout.packed import Turn
from rollout.record import Identity, Record
from rollout.scripted import ScriptedModel, call, calls, say
from rollout.trajectory import Message, Trajectory

TICKS = Identity(run="run", rollout="roll", attempt=1, trajectory="traj", group="g")


def record_of(**limits: Any) -> Record:
    task = Task(id="t", environment="echo", question="say a", limits=Limits(**limits))
    return Record(task, TICKS, "scripted", now=lambda: 0.0)


async def play(environment: Any, *script: Any, model: Model | None = None, **limits: Any) -> Trajectory:
    model = model or ScriptedModel(script)
    return await run_agent(record_of(**limits), environment, model, sampling={"temperature": 1}, owner={})


def shown(trajectory: Trajectory) -> list[str | None]:
    """What the model was told after the prompt."""
    return [m.content for m in trajectory.messages[2:] if m.role != "assistant"]


async def test_a_rollout_is_recorded_whole(echo: Any) -> None:
    trajectory = await play(echo, call("echo", {"text": "a"}, content="Now.", reasoning="think"), call("submit"))
    assert [(m.role, m.content, m.reasoning, len(m.tool_calls)) for m in trajectory.messages] == [
        ("system", "You are a parrot.", None, 0),
        ("user", "Task: say a", None, 0),
        ("assistant", "Now.", "think", 1),
        ("tool", "a", None, 0),
        ("assistant", None, None, 1),
        ("tool", "Handed in.", None, 0),
    ]
    assert [c.input for c in trajectory.calls] == [((0, 2),), ((0, 4),)]
    assert [c.output for c in trajectory.calls] == [2, 4]
    assert [(s.call, s.message, s.malformed) for s in trajectory.steps] == [(0, 3, False), (1, 5, False)]
    assert trajectory.calls[0].sampling == {"temperature": 1}
    assert (trajectory.stop, trajectory.submission) == ("answered", Submission(kind="text", text="submitted"))
    assert trajectory.tools == tuple(t.schema for t in echo.tools)
    assert (trajectory.failure, trajectory.error) == (None, "")
    assert echo.logs == [["a", "closed"]]


async def test_a_plain_message_is_the_answer_where_the_environment_takes_text(talking: Any) -> None:
    trajectory = await play(talking, call("echo", {"text": "a"}), say("  Answer: a\n"))
    assert (trajectory.stop, trajectory.submission) == ("answered", Submission(kind="text", text="Answer: a"))


async def test_a_plain_message_elsewhere_gets_one_nudge_then_ends_the_rollout(echo: Any) -> None:
    trajectory = await play(echo, call("echo", {"text": "a"}), say("Done!"), say("Really."))
    assert (trajectory.stop, trajectory.submission) == ("no_tool_call", Submission(kind="text", text="a"))
    assert shown(trajectory)[1:] == ["Your message called no tool. Go on by calling one of these tools: echo, submit."]


async def test_a_nudge_that_helped_is_forgotten(echo: Any) -> None:
    trajectory = await play(echo, say("Hm"), call("echo", {"text": "a"}), say("Hm"), call("submit"))
    assert trajectory.stop == "answered"


async def test_empty_and_cut_messages_are_no_answers(talking: Any) -> None:
    trajectory = await play(talking, say(None), say("Answer: ha", finish_reason="length"), say("Answer: a"))
    assert trajectory.submission == Submission(kind="text", text="Answer: a")
    assert [words and words.split(".")[0] for words in shown(trajectory)] == [
        "Your message was empty",
        "Your message was cut off at the token limit before it held a tool call",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("echo", '{"text": ', "echo: the arguments are not valid JSON"),
        ("echo", "[]", "echo: the arguments must be a JSON object, not list; it takes text, times (optional)"),
        ("echo", "", "echo: text: Field required; it takes text, times (optional)"),
        ("echo", '{"text": "a", "times": "x"}', "echo: times: Input should be a valid integer"),
        ("shout", "{}", "There is no tool 'shout'; the tools are: echo, submit."),
        ("", "{}", "The call names no tool; the tools are: echo, submit."),
    ],
)
async def test_a_malformed_call_is_answered_with_the_way_out(echo: Any, name: str, arguments: str, words: str) -> None:
    trajectory = await play(echo, call(name, arguments), call("submit", ""))
    assert trajectory.stop == "answered"
    step = trajectory.steps[0]
    assert (step.malformed, step.result.is_error) == (True, True)
    assert step.result.text.startswith(words)
    assert shown(trajectory)[0] == step.result.text


async def test_malformed_calls_are_bounded(echo: Any) -> None:
    trajectory = await play(echo, *[call("shout")] * 9, max_malformed=2)
    assert (trajectory.stop, len(trajectory.calls), len(trajectory.steps)) == ("malformed_calls", 3, 3)


async def test_several_calls_in_one_message_are_all_answered_in_order(echo: Any) -> None:
    message = calls(("echo", {"text": "a"}), ("echo", "oops"), ("submit", {}), ("echo", {"text": "b"}))
    trajectory = await play(echo, message)
    ids = [c.id for c in trajectory.messages[2].tool_calls]
    assert [m.tool_call_id for m in trajectory.messages[3:]] == ids
    assert [s.malformed for s in trajectory.steps] == [False, True, False, False]
    assert shown(trajectory)[3] == "Not run: an earlier call of this message ended the task."
    assert echo.logs == [["a", "closed"]]


@pytest.mark.parametrize(
    ("stop", "script", "limits"),
    [
        ("max_turns", [call("echo", {"text": "a"})] * 5, {"max_turns": 3}),
        ("max_tokens", [call("echo", {"text": "a"}, content="two words")] * 9, {"max_tokens": 9}),
        ("timeout", [call("echo", {"text": "a"})] * 5, {"max_seconds": 2.5}),
        ("context_length", [call("echo", {"text": "a"})] * 3 + [ContextLengthExceeded("too long")], {}),
        ("timeout", [call("echo", {"text": "a"})] * 3 + [TimeExceeded()], {}),
    ],
)
async def test_limits_are_normal_ends_that_hand_in_what_stands(echo: Any, stop: Any, script: Any, limits: Any) -> None:
    trajectory = await play(echo, *script, **limits)
    assert (trajectory.stop, len(trajectory.calls)) == (stop, 3)
    assert trajectory.submission == Submission(kind="text", text="a a a")
    assert echo.logs[-1][-1] == "closed"


class Spy:
    """Notes what it is asked with."""

    name = "spy"

    def __init__(self, *script: Any) -> None:
        self.script = ScriptedModel(script)
        self.sampling: list[dict[str, Any]] = []
        self.left: list[float | None] = []

    async def complete(self, conversation: Any, sampling: dict[str, Any]) -> Reply:
        self.sampling.append(sampling)
        self.left.append(conversation.seconds_left)
        return await self.script.complete(conversation, sampling)


async def test_a_call_is_allowed_no_more_tokens_and_seconds_than_are_left(echo: Any) -> None:
    spy = Spy(call("echo", {"text": "a"}, content="two words"), call("submit"))
    trajectory = await play(echo, model=spy, max_tokens=10, max_seconds=5)
    assert spy.sampling == [{"temperature": 1, "max_tokens": 10}, {"temperature": 1, "max_tokens": 6}]
    assert spy.left == [5, 4]
    assert [c.sampling for c in trajectory.calls] == spy.sampling


async def test_waiting_for_an_endpoint_does_not_count_towards_timeout(echo: Any) -> None:
    class Waiting(Spy):
        async def complete(self, conversation: Any, sampling: dict[str, Any]) -> Reply:
            reply = await super().complete(conversation, sampling)
            await asyncio.sleep(0.05)
            return reply

    trajectory = await play(echo, model=Waiting(*[call("nope")] * 3, call("submit")), max_seconds=0.1)
    assert trajectory.stop == "answered"
    assert trajectory.seconds < 0.1


async def test_a_hung_tool_is_ended_and_answered(echo: Any) -> None:
    trajectory = await play(echo, call("echo", {"text": "hang"}), call("submit"), tool_seconds=0.05)
    assert shown(trajectory)[0] == "echo: no result within 0.05 seconds; the call was ended."
    assert (trajectory.stop, trajectory.steps[0].result.is_error) == ("answered", True)
    assert trajectory.steps[0].result.seconds >= 0.05


async def test_a_tool_that_outlasts_the_rollouts_time_ends_it_as_timeout(echo: Any) -> None:
    trajectory = await play(echo, call("echo", {"text": "hang"}), call("submit"), max_seconds=0.05)
    assert (trajectory.stop, len(trajectory.steps)) == ("timeout", 1)


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (call("echo", {"text": "break"}), EnvironmentFailure, "echo: tool echo: RuntimeError: the world broke"),
        (ModelError("gone"), ModelError, "gone"),
        (RuntimeError("closed"), ModelError, "scripted: asking for turn 1: RuntimeError: closed"),
    ],
)
async def test_a_failure_keeps_what_was_done_and_closes_the_session(
    echo: Any, line: Any, error: type[ModelError], words: str
) -> None:
    record = record_of()
    with pytest.raises(error) as e:
        await run_agent(record, echo, ScriptedModel([call("echo", {"text": "a"}), line]), sampling={}, owner={})
    partial = record.freeze(failure=e.value.failure, error=str(e.value))
    assert (partial.stop, partial.failure, partial.error) == (None, error.failure, words)
    assert shown(partial) == ["a"]
    assert len(partial.steps) == 1
    assert echo.logs[0][-1] == "closed"


async def test_a_session_that_cannot_start_is_a_failure_of_its_own_class(echo: Any) -> None:
    async def broken(*_: Any) -> Any:
        raise SandboxError("no Docker engine answers; start one")

    echo.start = broken
    with pytest.raises(SandboxError, match="no Docker engine"):
        await play(echo, call("submit"))


async def test_a_cancelled_rollout_keeps_what_was_done_and_closes_its_session_though_cancelled_twice(echo: Any) -> None:
    record, closing = record_of(), asyncio.Event()
    model = ScriptedModel([call("echo", {"text": "a"}), call("echo", {"text": "hang"})])
    begin = echo.start

    async def start(*args: Any) -> Any:
        session = await begin(*args)
        close = session.close

        async def slow() -> None:
            closing.set()
            await asyncio.sleep(0.05)
            await close()

        session.close = slow
        return session

    echo.start = start
    rollout = asyncio.create_task(run_agent(record, echo, model, sampling={}, owner={}))
    while not echo.logs or "hang" not in echo.logs[0]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    rollout.cancel()
    await closing.wait()
    rollout.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rollout
    assert echo.logs == [["a", "hang", "closed"]]
    assert [m.role for m in record.freeze().messages] == ["system", "user", "assistant", "tool", "assistant"]


async def test_a_session_that_does_not_close_costs_no_trajectory(echo: Any, caplog: pytest.LogCaptureFixture) -> None:
    begin = echo.start

    async def start(*args: Any) -> Any:
        session = await begin(*args)

        async def close() -> None:
            raise OSError("stuck")

        session.close = close
        return session

    echo.start = start
    assert (await play(echo, call("submit"))).stop == "answered"
    assert "rollout roll: session not closed" in caplog.text


async def test_each_turn_is_journalled_before_the_next_model_call(echo: Any) -> None:
    happened: list[str] = []
    turns: list[Turn] = []

    class Journal:
        async def turn(self, turn: Turn) -> None:
            await asyncio.sleep(0)
            happened.append("journal")
            turns.append(turn)

    class Model(Spy):
        async def complete(self, conversation: Any, sampling: dict[str, Any]) -> Reply:
            happened.append("model")
            return await super().complete(conversation, sampling)

    model = Model(calls(("echo", {"text": "a"}), ("nope", {})), say("Hm"), call("submit"))
    record = record_of()
    trajectory = await run_agent(record, echo, model, sampling={}, owner={}, journal=Journal())
    assert happened == ["model", "journal"] * 3
    assert [t.index for t in turns] == [0, 1, 2]
    assert sum((t.messages for t in turns), ()) == trajectory.messages[2:]
    assert sum((t.steps for t in turns), ()) == trajectory.steps
    assert tuple(t.call for t in turns) == trajectory.calls


async def test_a_call_that_never_came_is_not_journalled_twice(echo: Any) -> None:
    turns: list[Turn] = []

    class Journal:
        async def turn(self, turn: Turn) -> None:
            turns.append(turn)

    model = ScriptedModel([call("echo", {"text": "a"}), ContextLengthExceeded()])
    await run_agent(record_of(), echo, model, sampling={}, owner={}, journal=Journal())
    assert len(turns) == 1


async def test_bytes_that_are_no_text_do_not_break_the_history(echo: Any) -> None:
    begin = echo.start

    async def start(*args: Any) -> Any:
        session = await begin(*args)

        async def odd(*_: Any) -> ToolResult:
            return ToolResult(text="ab\udcff")

        session.call = odd
        return session

    echo.start = start
    trajectory = await play(echo, call("echo", {"text": "a"}), say("x"), say("x"))
    assert shown(trajectory)[0] == "ab?"
    assert Trajectory.model_validate_json(trajectory.model_dump_json()) == trajectory


async def test_the_same_script_gives_the_same_hash(echo: Any) -> None:
    script = [call("echo", {"text": "a"}), call("submit")]
    assert (await play(echo, *script)).hash == (await play(echo, *script)).hash
    assert (await play(echo, *script)).hash != (await play(echo, call("echo", {"text": "b"}), call("submit"))).hash


async def test_a_finished_trajectory_survives_json(echo: Any) -> None:
    trajectory = await play(echo, call("echo", {"text": "a"}, reasoning="r"), call("submit"))
    assert Trajectory.model_validate_json(trajectory.model_dump_json()) == trajectory
    assert trajectory.messages[2] == Message(
        role="assistant", reasoning="r", tool_calls=trajectory.messages[2].tool_calls
    )
