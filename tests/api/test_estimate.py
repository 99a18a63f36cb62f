"""What a recipe's models would be asked, told before anybody is: upper bounds that what is known already lowers."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.asking import QueuedAsker
from api.compile_steps import candidates
from api.estimate import Asked, Estimate, estimate
from api.service import Service
from compiler.build import outcomes
from compiler.compilation import renderings_file
from compiler.errors import CompileError
from compiler.recipe import Recipe
from compiler.recipe_asking import ClosedBook, Necessity, TeacherPolicy
from compiler.render import Renderer
from compiler.renderings import FileRenderings
from compiler.tokens import load_tokenizer
from envs.evidence import FULL, Evidence
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult
from rollout.runs import RunSpec
from rollout.trajectory import Source, ToolCall, ToolStep, Trajectory

SCORERS = {"search": "s@1"}
RECIPE = Recipe(
    closed_book=ClosedBook(model="small", samples=2, sampling={"max_tokens": 10}),
    target="teacher",
    teacher=TeacherPolicy(model="large"),
    necessity=Necessity(model="large"),
    near_duplicates=None,
)


def answered(service: Service, id: str) -> None:
    """A right trajectory that visited two pages."""
    pages = [service.blobs.put(f"Page {n} of {id}.\n".encode()) for n in range(2)]
    evidence = tuple(
        Evidence(
            kind="document", source=f"{id}-{n}", version="1", how="opened", coverage=FULL, blob=blob, title=f"P{n}"
        )
        for n, blob in enumerate(pages)
    )
    step = ToolStep(
        call=0,
        tool_call=ToolCall(id="c", name="visit", arguments="{}"),
        message=0,
        result=ToolResult(text="shown", evidence=evidence),
    )
    trajectory = Trajectory(
        id=id,
        run="",
        rollout="",
        attempt=1,
        task=Task(id=f"t-{id}", environment="search", question=f"What is {id}?", world={"corpus": "c"}),
        model="m",
        steps=(step,),
        submission=Submission(kind="text", text=f"the {id}"),
        stop="answered",
        source=Source(kind="imported"),
    )
    service.store.save_trajectory(trajectory, Reference(data={"answers": [f"the {id}"], "gold_docs": []}))
    service.store.add_score(id, Score(scorer="s", version="1", value=1.0, verdict="right"))


@pytest.fixture
def two(service: Service) -> Service:
    for id in ("harbour", "lighthouse"):
        answered(service, id)
    return service


def estimated(service: Service, scorers: dict[str, str] = SCORERS) -> Estimate:
    return estimate(service.store, service.blobs, service.settings.datasets, RECIPE, scorers)


def prompt_tokens(service: Service) -> list[int]:
    renderer = Renderer(
        service.blobs, load_tokenizer("qwen3"), FileRenderings(renderings_file(service.settings.datasets))
    )
    plain = RECIPE.model_copy(update={"closed_book": None, "necessity": None, "target": "answer_only"})
    found = [one for _, one in outcomes(plain, candidates(service.store, ["harbour", "lighthouse"]), renderer)]
    return [one.prompt_tokens for one in found if not isinstance(one, Exception)]


def test_every_call_and_its_tokens_are_counted_before_one_is_made(two: Service) -> None:
    found = estimated(two)
    assert (found.trajectories, found.examples, found.dropped) == (2, 2, {})
    whole = sum(prompt_tokens(two))
    assert {name: (one.model, one.calls, one.kept, one.completion_tokens) for name, one in found.asked.items()} == {
        "closed_book": ("small", 4, 0, 40),
        "teacher": ("large", 2, 0, None),
        "necessity": ("large", 6, 0, None),
    }
    assert found.asked["teacher"].prompt_tokens == whole
    assert 2 * whole < found.asked["necessity"].prompt_tokens < 3 * whole
    assert found.asked["closed_book"].prompt_tokens < 2 * whole
    assert two.store.claim("w", ["generation"], 99, two.store.now(), 60) == ()
    assert list(two.settings.datasets.glob("[!.]*")) == []


def reply(service: Service, right: bool) -> None:
    """What is queued gets this for a reply."""
    for claim in service.store.claim("w", ["generation"], 99, service.store.now(), 60):
        blob = service.blobs.put(b'{"content": "the harbour"}').hash
        service.store.finish(claim, result={"reply": blob, "right": right, "words": ""})


def test_what_is_known_decides_and_costs_nothing(two: Service) -> None:
    asker = QueuedAsker(two.store, two.blobs, SCORERS, lambda _: None)
    renderer = Renderer(two.blobs, load_tokenizer("qwen3"), FileRenderings(renderings_file(two.settings.datasets)))
    harbour, lighthouse = candidates(two.store, ["harbour", "lighthouse"])
    audited = RECIPE.model_copy(update={"target": "answer_only", "necessity": None})
    for candidate, right in ((harbour, True), (lighthouse, False)):
        outcome = outcomes(audited, [candidate], renderer, Replying(asker, two, right))
        assert len(list(outcome)) == 1
    found = estimated(two)
    assert found.dropped == {"closed_book": 1}
    assert found.asked["closed_book"] == Asked(model="small", calls=4, kept=4, completion_tokens=0)
    assert found.asked["teacher"].calls == 1
    # Another version of the scorer judges kept replies anew: nothing is paid for, and nothing is known yet.
    anew = estimated(two, {"search": "s@2"})
    assert anew.dropped == {}
    assert (anew.asked["closed_book"].calls, anew.asked["closed_book"].kept) == (4, 4)


class Replying:
    """An `Asker` whose jobs are replied to as soon as they are ordered."""

    def __init__(self, asker: QueuedAsker, service: Service, right: bool) -> None:
        self.asker, self.service, self.right = asker, service, right

    def ask(self, *given: Any) -> Any:
        samples = self.asker.ask(*given)
        reply(self.service, self.right)
        return samples


def test_a_recipe_that_names_no_model_is_refused(client: TestClient, service: Service) -> None:
    run = service.store.create_run(RunSpec(environment="search", model="m")).id
    wanted = {"dataset": "d", "recipe": {"runs": [run], "closed_book": {}}}
    answer = client.post("/v1/compilations/estimate", json=wanted)
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "no model to ask: give the recipe closed_book.model, or start the service with TRAJC_MODEL",
    )
    answered(service, "harbour")
    unnamed = Recipe(closed_book=ClosedBook())
    with pytest.raises(CompileError, match="neither the recipe nor the service named one"):
        estimate(service.store, service.blobs, service.settings.datasets, unnamed, SCORERS)
