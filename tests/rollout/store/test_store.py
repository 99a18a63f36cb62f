"""Task sets, compilations, datasets and events."""

import os
import socket
import threading
from typing import Any

import pytest

from rollout.database import Conflict, NotFound, engine_for
from rollout.ids import CountedIds, Ids
from rollout.store import Store


def test_a_task_set_comes_back_in_order_and_the_same_rows_are_the_same_version(store: Store, kit: Any) -> None:
    rows = kit.rows(2100)[::-1]
    first = store.put_task_set("colours", rows)
    assert (first.version, first.size) == (1, 2100)
    assert list(store.task_set_rows("colours")) == rows
    assert store.put_task_set("colours", rows) == first


def test_a_changed_task_set_is_a_new_version_beside_the_old(store: Store, kit: Any) -> None:
    store.put_task_set("colours", kit.rows(2))
    second = store.put_task_set("colours", kit.rows(3))
    assert (second.version, store.task_sets()) == (2, (second,))
    assert list(store.task_set_rows("colours", 1)) == kit.rows(2)
    with pytest.raises(NotFound, match="no task set 'colours version 3'; known: colours"):
        store.task_set("colours", 3)


def test_a_task_set_whose_stream_breaks_is_not_there(store: Store, kit: Any) -> None:
    def stream() -> Any:
        yield from kit.rows(1500)
        raise ValueError("line 1501: not JSON")

    with pytest.raises(ValueError, match="line 1501"):
        store.put_task_set("colours", stream())
    assert store.task_sets() == ()


def test_a_compilation_ends_once(store: Store) -> None:
    made = store.create_compilation({"budget": 8192}, "acc", idempotency_key="k")
    assert store.create_compilation({"budget": 8192}, "acc", idempotency_key="k") == made
    with pytest.raises(Conflict, match="'k' was used for another request"):
        store.create_compilation({"budget": 4096}, "acc", idempotency_key="k")
    store.set_compilation(made.id, "running")
    ended = store.set_compilation(made.id, "succeeded", version="v" * 40, accounts={"selected": 1})
    assert (ended.state, ended.version, ended.accounts, ended.finished) == (
        "succeeded",
        "v" * 40,
        {"selected": 1},
        store.now(),
    )
    assert store.set_compilation(made.id, "succeeded") == ended
    with pytest.raises(Conflict, match=f"compilation {made.id} has succeeded and stays so"):
        store.set_compilation(made.id, "failed", error="late")
    assert store.compilations().items == (ended,)


def test_a_version_is_immutable_and_found_by_its_name(store: Store) -> None:
    first = store.add_version("acc", "a" * 40, {"examples": 1})
    assert store.add_version("acc", "a" * 40, {"examples": 2}) == first
    second = store.add_version("acc", "b" * 40, {"examples": 2})
    assert store.versions("acc") == (first, second)
    assert [event.kind for event in store.events()] == ["dataset.published"] * 2
    assert (store.version("acc", "b" * 40), store.datasets()) == (second, ("acc",))
    with pytest.raises(NotFound, match=f"no version of dataset acc 'c'; known: {'a' * 40}, {'b' * 40}"):
        store.version("acc", "c")
    with pytest.raises(NotFound, match="no dataset 'bcc'; known: acc"):
        store.versions("bcc")


def test_what_was_compiled_last_is_the_latest_though_it_had_been_published_before(store: Store, clock: Any) -> None:
    def publish(version: str) -> None:
        clock.now += 10
        made = store.create_compilation({"seed": version}, "acc")
        store.publish(made.id, "acc", version * 40, {"examples": 1}, {})

    for version in "aba":
        publish(version)
    first, other = store.versions("acc")
    assert (first.version, first.created, other.version) == ("a" * 40, clock.now, "b" * 40)


def test_events_are_read_on_from_the_last_one_seen(store: Store, kit: Any, clock: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1))
    (created,) = store.events()
    assert (created.kind, created.run, created.data) == ("run.created", run.id, {"submitted": 1})
    clock.now += 10
    store.pause(run.id)
    assert [event.kind for event in store.events(after=created.id)] == ["run.paused"]
    assert store.events(after=store.last_event()) == ()
    assert store.events(run="run_x") == ()


def test_old_events_are_forgotten_and_ids_go_on(store: Store, kit: Any, clock: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("rollout.store_events.CHUNK", 2)
    run = store.create_run(kit.spec, kit.rows(1))
    for change in (store.pause, store.resume, store.pause, store.resume):
        change(run.id)
    clock.now += 10
    assert store.trim_events(11) == 0
    store.pause(run.id)
    last = store.last_event()
    assert store.trim_events(9) == 5
    assert [event.id for event in store.events()] == [last]
    clock.now += 10
    assert (store.trim_events(9), store.events()) == (1, ())
    store.resume(run.id)
    assert [event.kind for event in store.events(after=last)] == ["run.resumed"]


def test_no_event_appears_behind_one_that_was_already_read(store: Store, kit: Any) -> None:
    runs = [store.create_run(kit.spec, kit.rows(1)).id for _ in range(4)]

    def work(run: str) -> None:
        for _ in range(15):
            store.pause(run)

    threads = [threading.Thread(target=work, args=[run]) for run in runs]
    seen: list[int] = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or store.events(after=max(seen, default=0)):
        seen += [event.id for event in store.events(after=max(seen, default=0))]
    for thread in threads:
        thread.join()
    assert seen == [event.id for event in store.events()]
    assert len(seen) == 64


def test_ids_sort_in_the_order_they_were_made() -> None:
    for make in (Ids(), CountedIds()):
        made = [make("ro") for _ in range(1000)]
        assert made == sorted(set(made))
        assert {(id[:3], len(id)) for id in made} == {("ro_", 35)}


@pytest.mark.needs("postgresql")
def test_a_database_server_that_goes_away_without_a_word_is_noticed_within_a_lease(postgres_server: str) -> None:
    def options(url: str) -> tuple[int, ...]:
        engine = engine_for(url)
        with engine.connect() as c:
            connection: Any = c.connection.driver_connection
            with socket.socket(fileno=os.dup(connection.fileno())) as s:
                names = (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                found = tuple(s.getsockopt(socket.IPPROTO_TCP, name) for name in names)
        engine.dispose()
        return found

    assert options(postgres_server) == (30_000, 10, 5, 4)
    assert options(f"{postgres_server}?tcp_user_timeout=90000&keepalives_idle=60") == (90_000, 60, 5, 4)
