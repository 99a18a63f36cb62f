"""Compilations as jobs: failed with words, picked up when forgotten, stopped without leaving anything."""

import asyncio
import dataclasses
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from api.compile_jobs import compile_claim, queue_compilation, requeue_forgotten
from api.compile_steps import KIND, Step, take_step, words_of
from api.service import Service
from compiler.recipe import Decontamination, Recipe
from compiler.work import compilation_folder
from rollout.engine import Broken, Done
from rollout.runs import Claim, RunSpec
from tests.ports import free_port


def claimed(service: Service) -> Claim:
    (claim,) = service.store.claim("w", (KIND,), 1, service.store.now(), 60)
    return claim


def a_run(service: Service) -> str:
    return service.store.create_run(RunSpec(environment="search", model="m")).id


def test_a_recipe_that_cannot_be_read_fails_with_the_fields_name(service: Service) -> None:
    id = service.store.create_compilation({"token_budgets": 1}, "d").id
    take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id))
    compilation = service.store.compilation(id)
    assert compilation.state == "failed"
    assert "token_budgets" in compilation.error


def test_the_same_key_queues_one_compilation(service: Service) -> None:
    recipe = Recipe(runs=(a_run(service),))
    first, again = (queue_compilation(service, recipe, "d", "key") for _ in range(2))
    assert first.id == again.id
    assert len(service.store.compilations().items) == 1


async def test_a_compilation_whose_job_was_never_written_is_done_after_all(service: Service) -> None:
    """As if the process had died between the two."""
    recipe = Recipe(runs=(a_run(service),))
    id = service.store.create_compilation(recipe.model_dump(mode="json"), "d").id
    requeue_forgotten(service)
    assert await compile_claim(service, claimed(service)) == Done(result={"compilation": id})
    done = service.store.compilation(id)
    assert (done.state, done.error) == ("succeeded", "")
    assert [v.version for v in service.store.versions("d")] == [done.version]


async def test_a_folder_called_api_where_the_service_was_started_is_not_taken_for_ours(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").write_text("raise SystemExit('the user's own')")
    monkeypatch.chdir(tmp_path)
    made = queue_compilation(service, Recipe(runs=(a_run(service),)), "d")
    await compile_claim(service, claimed(service))
    assert (service.store.compilation(made.id).state, service.store.compilation(made.id).error) == ("succeeded", "")


async def test_a_process_that_compiled_ends_without_a_word_of_leaked_instances(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    queue_compilation(service, Recipe(runs=(a_run(service),)), "d")
    await compile_claim(service, claimed(service))
    assert capfd.readouterr().err == ""


def test_a_compilation_whose_model_calls_fail_says_what_was_answered(service: Service) -> None:
    id = queue_compilation(service, Recipe(runs=(a_run(service),), tokenizer="nowhere"), "d").id
    service.store.order("generation", {"gen_1": {"compilation": id}, "gen_2": {"compilation": "comp_other"}})
    for call in service.store.claim("w", ("generation",), 2, service.store.now(), 60):
        service.store.fail(call, "model_error", f"{call.job} answered 401", permanent=True)
    take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id), alone=True)
    words = service.store.compilation(id).error
    assert words.endswith(". A model call of it that failed: model_error: gen_1 answered 401"), words


async def test_a_second_job_for_a_compilation_that_is_done_changes_nothing(service: Service) -> None:
    made = queue_compilation(service, Recipe(runs=(a_run(service),)), "d")
    requeue_forgotten(service)
    await compile_claim(service, claimed(service))
    done = service.store.compilation(made.id)
    await compile_claim(service, claimed(service))
    assert service.store.compilation(made.id) == done


async def test_a_process_that_dies_of_itself_fails_the_compilation(service: Service) -> None:
    made = queue_compilation(service, Recipe(runs=(a_run(service),)), "d")
    blocked = service.settings.home / "datasets"
    blocked.write_text("a file where the folder should be")
    service.store.set_compilation(made.id, "running")
    outcome = await compile_claim(service, claimed(service))
    assert isinstance(outcome, Done | Broken)
    failed = service.store.compilation(made.id)
    assert failed.state == "failed"
    assert "datasets" in failed.error


async def test_a_compilation_that_is_stopped_leaves_nothing_but_what_the_next_attempt_goes_on_from(
    service: Service,
) -> None:
    def left() -> set[str]:
        return {path.name for path in service.settings.datasets.glob("d/*")}

    def known() -> set[str]:
        return {found.version for found in service.store.versions("d")} if service.store.datasets() else set()

    made = queue_compilation(service, Recipe(runs=(a_run(service),)), "d")
    claim = claimed(service)
    work = asyncio.create_task(compile_claim(service, claim))
    await asyncio.sleep(0.2)
    if work.cancel():  # else it was done by then
        with pytest.raises(asyncio.CancelledError):
            await work
    assert left() - {compilation_folder(service.settings.datasets / "d", made.id).name} == known()
    await compile_claim(service, claim)
    assert service.store.compilation(made.id).state == "succeeded"
    assert left() == known() != set()


async def test_a_database_that_was_away_for_a_moment_does_not_fail_a_compilation(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    made = queue_compilation(service, Recipe(runs=(a_run(service),)), "d")
    claim = claimed(service)
    nobody = f"postgresql+psycopg://u:hidden@127.0.0.1:{free_port()}/d"
    away = dataclasses.replace(service, settings=service.settings.model_copy(update={"database_url": nobody}))
    assert await compile_claim(away, claim) == Broken(
        "environment_error", "its process ended with 75; the service's log says more"
    )
    told = capfd.readouterr().err
    assert "the database did not do its part" in told
    assert "hidden" not in told
    assert service.store.compilation(made.id).state == "queued"
    assert await compile_claim(service, claim) == Done(result={"compilation": made.id})
    assert service.store.compilation(made.id).state == "succeeded"


def test_a_database_that_goes_away_while_a_step_is_taken_leaves_it_to_another_attempt(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = queue_compilation(service, Recipe(runs=(a_run(service),)), "d").id

    def away(*_: object, **__: object) -> None:
        raise sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))

    monkeypatch.setattr(service.store, "publish", away)
    with pytest.raises(sa.exc.OperationalError):
        take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id), alone=True)
    assert service.store.compilation(id).state == "running"
    monkeypatch.undo()
    take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id), alone=True)
    assert service.store.compilation(id).state == "succeeded"


def test_a_file_that_a_recipe_names_and_that_is_not_here_is_no_fault_of_trajc(service: Service) -> None:
    recipe = Recipe(runs=(a_run(service),), decontamination=Decontamination(files=("nowhere.jsonl",)))
    id = queue_compilation(service, recipe, "d").id
    take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id), alone=True)
    assert service.store.compilation(id).error == "[Errno 2] No such file or directory: 'nowhere.jsonl'"


def test_a_full_disk_is_no_fault_of_trajc_whoever_tells_of_it(tmp_path: Path) -> None:
    full = sqlite3.connect(tmp_path / "selection.sqlite")
    full.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as told:
        full.execute("CREATE TABLE entries (id TEXT)")
    full.close()
    assert words_of(told.value, tmp_path) == f"{tmp_path}: database or disk is full"
    assert words_of(OSError(28, "No space left on device"), tmp_path) == "[Errno 28] No space left on device"
    assert words_of(KeyError("x"), tmp_path) == "a fault of trajc: KeyError: 'x'"
