"""Worker processes over a real Redis, each test named after what happened to users of other systems."""

import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from api.carrier.redis_carrier import RedisCarrier
from api.compile_steps import Step, take_step
from api.compile_told import Interrupted
from rollout.blobs import FolderBlobs
from rollout.schema import jobs
from rollout.store import Store
from tests.acceptance.fleet import TRAJC, Fleet, Process, completions, counting_tasks, fleet, inline, until
from tests.acceptance.gate import gate, turns_below
from tests.ports import free_port

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]
TURNS = 8
QUEUE = "trajc.rollouts"


@dataclass
class Site:
    """A service with Redis and without workers, over one database file; each test starts the workers it wants."""

    fleet: Fleet
    store: Store
    redis: Process
    tasks: Path
    recording: Path
    workers: int = 0

    @contextmanager
    def oracle(self, latency: float) -> Iterator[str]:
        words = (self.tasks, "--recording", self.recording, "--latency", str(latency))
        process, base_url = self.fleet.oracle(*words)
        process.up()
        try:
            yield base_url
        finally:
            process.end()

    @contextmanager
    def worker(self, what: str = "rollouts", concurrency: int = 4, **settings: str) -> Iterator[Process]:
        """Ended in good order after the block, unless the test did. `settings` are its own."""
        self.workers += 1
        process = self.fleet.worker(what, concurrency, f"worker-{self.workers}", **settings)
        process.up()
        try:
            yield process
        finally:
            process.end()
        assert process.process.returncode in (0, -signal.SIGKILL, 128 + signal.SIGTERM), process.log.read_text()[-3000:]
        for trouble in ("attached to a different loop", "Event loop is closed", "Unrecoverable error"):
            assert trouble not in process.log.read_text()

    def queue(self, base_url: str, n: int = 8, **more: Any) -> str:
        wanted = {"environment": "sql", "model": "oracle", "base_urls": [base_url], "tasks": inline(self.tasks)[:n]}
        return str(self.fleet.post("/v1/runs", wanted | more)["id"])

    def done(self, run: str) -> None:
        until(lambda: self.store.run(run).finished is not None, f"{run} is done: {self.store.accounts(run)}")

    def states(self, run: str) -> Counter[str]:
        return Counter(r.state for r in self.store.rollouts(run=run, limit=1000).items)

    def outcomes(self, run: str) -> Counter[str]:
        """Of the attempts that have ended."""
        rollouts = self.store.rollouts(run=run, limit=1000).items
        return Counter(a.outcome for r in rollouts for a in self.store.rollout(r.id).attempts)

    def messages(self) -> int:
        with self.fleet.client as client:
            return int(client.llen(QUEUE))  # type: ignore[arg-type]

    def leases(self) -> int:
        with self.store.read() as c:
            return len(c.execute(sa.select(jobs.c.id).where(jobs.c.owner.is_not(None))).all())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("workers")
    settings = {"lease_seconds": "12", "poll_seconds": "4", "shutdown_seconds": "2"}
    with fleet(folder, **settings) as it, ExitStack() as stack:
        redis, serve = it.redis(), it.serve()
        redis.up()
        serve.up()
        store = stack.enter_context(it.store())
        yield Site(it, store, redis, *counting_tasks(folder, 40, TURNS))


def test_many_tasks_at_once_share_one_event_loop(site: Site) -> None:
    """`Future attached to a different loop`: every rollout of a process uses the same HTTP clients."""
    with site.oracle(0.05) as base_url, site.worker(concurrency=8):
        runs = [site.queue(base_url, 20), site.queue(base_url, 20, name="another")]
        for run in runs:
            site.done(run)
        assert [site.outcomes(run) for run in runs] == [Counter(succeeded=20)] * 2


def test_a_message_delivered_twice_starts_one_rollout(site: Site) -> None:
    with site.oracle(0.15) as base_url:
        run = site.queue(base_url)
        until(lambda: site.messages() >= 8, "messages wait")
        with closing(RedisCarrier(site.fleet.environ["TRAJC_REDIS_URL"])) as carrier:
            for rollout in site.store.rollouts(run=run).items * 3:
                carrier.send(QUEUE, rollout.id, 1)
        with site.worker(concurrency=4), site.worker(concurrency=4):
            site.done(run)
            until(lambda: site.messages() == 0, "every message was read")
        assert site.outcomes(run) == Counter(succeeded=8)
        assert set(completions(base_url).values()) == {TURNS}


def test_a_late_first_attempt_changes_nothing_after_a_second_one_finished(site: Site) -> None:
    """A worker that stood still for longer than its lease, and then goes on as if nothing had happened."""
    with site.oracle(0.0) as base_url, gate(base_url, turns_below(3)) as half_way, site.worker() as sleeper:
        run = site.queue(half_way.url, 4)
        sleeper.halt_when(lambda: len(half_way.held) == 4, "half way")
        half_way.open()
        try:
            with site.worker(concurrency=4):
                site.done(run)
        finally:
            sleeper.signal_all(signal.SIGCONT)
        time.sleep(3.0)  # for whatever it may do
        assert site.outcomes(run) == Counter(failed=4, succeeded=4)
        whole = [c.trajectory for c in site.store.candidates(runs=[run])]
        assert sorted(str(t.rollout) for t in whole) == sorted(r.id for r in site.store.rollouts(run=run).items)
        assert {t.attempt for t in whole} == {2}


def test_a_cancel_that_overtakes_its_own_start_wins(site: Site) -> None:
    with site.oracle(0.0) as base_url:
        run = site.queue(base_url)
        until(lambda: site.messages() >= 8, "messages wait")
        site.fleet.post(f"/v1/runs/{run}/cancel")
        with site.worker():
            until(lambda: site.messages() == 0, "every message was read")
            site.done(run)
        assert site.states(run) == Counter(cancelled=8)
        assert completions(base_url) == {}


def test_a_cancel_stops_what_a_worker_runs(site: Site) -> None:
    with site.oracle(30.0) as base_url, site.worker():
        run = site.queue(base_url, 4)
        until(lambda: site.states(run)["running"] == 4, "under way")
        site.fleet.post(f"/v1/runs/{run}/cancel")
        until(lambda: site.outcomes(run) == Counter(cancelled=4), "stopped")
        assert site.leases() == 0


def test_redis_flushed_while_messages_wait(site: Site) -> None:
    with site.oracle(0.0) as base_url:
        run = site.queue(base_url)
        until(lambda: site.messages() >= 8, "messages wait")
        with site.fleet.client as client:
            client.flushall()
        with site.worker():
            site.done(run)
        assert site.outcomes(run) == Counter(succeeded=8)


def test_redis_gone_for_good_workers_ask_the_database(site: Site) -> None:
    """And a consumer that stalled after a reconnect is no different: no message comes."""
    with site.oracle(0.1) as base_url, site.worker() as worker:
        site.redis.kill()
        try:
            run = site.queue(base_url, 12)
            site.done(run)
            assert worker.process.poll() is None
            with site.worker(concurrency=2) as late:  # it comes up without Redis, and works
                another = site.queue(base_url, 4)
                site.done(another)
                assert late.end() == 0
        finally:
            site.redis.start()
            site.redis.up()
        again = site.queue(base_url, 12)
        site.done(again)
        assert [site.outcomes(id) for id in (run, again)] == [Counter(succeeded=12)] * 2


def test_a_worker_outlives_reconnects_with_messages_in_hand(site: Site) -> None:
    """It has fetched more than it can begin, and acknowledges or puts back nothing over a lost connection."""
    with site.oracle(0.2) as base_url, site.worker(concurrency=2) as worker:
        run = site.queue(base_url, 24)
        for _ in range(3):
            done = site.states(run)["succeeded"]
            until(lambda done=done: site.states(run)["succeeded"] > min(done, 23), "it goes on")  # type: ignore[misc]
            site.redis.kill()
            site.redis.start()
            site.redis.up()
        site.done(run)
        assert worker.process.poll() is None
        assert site.outcomes(run) == Counter(succeeded=24)


def test_a_worker_killed_in_the_middle_is_taken_up_where_it_was(site: Site) -> None:
    with site.oracle(0.0) as base_url, gate(base_url, turns_below(3)) as half_way, site.worker() as killed:
        run = site.queue(half_way.url, 4)
        killed.halt_when(lambda: len(half_way.held) == 4, "half way")
        killed.kill()
        half_way.open()
        with site.worker(concurrency=4):
            site.done(run)
        assert site.outcomes(run) == Counter(failed=4, succeeded=4)
        assert set(completions(base_url).values()) == {TURNS + 1}, "the turn in flight alone is paid twice"
        marks = [[m.kind for m in c.trajectory.marks] for c in site.store.candidates(runs=[run])]
        assert marks == [["resumed"]] * 4


def test_sigterm_hands_back_what_does_not_end_in_time(site: Site) -> None:
    with site.oracle(60.0) as base_url:
        with site.worker() as worker:
            run = site.queue(base_url, 4)
            until(lambda: site.states(run)["running"] == 4, "under way")
            assert worker.end() == 0
        assert site.states(run) == Counter(queued=4)
        assert site.outcomes(run) == Counter(released=4)
        assert site.leases() == 0
        site.fleet.post(f"/v1/runs/{run}/cancel")


def test_a_worker_told_to_end_the_moment_it_is_at_work_ends_in_good_order(site: Site) -> None:
    worker = site.fleet.worker("rollouts", 1, "at-once")
    until(lambda: worker.ready(), "at work", pause=0.002)
    assert worker.end() == 0
    assert "Traceback" not in worker.log.read_text()


def test_a_second_signal_ends_at_once(site: Site) -> None:
    with site.oracle(60.0) as base_url, site.worker(shutdown_seconds="600") as worker:
        run = site.queue(base_url, 4)
        until(lambda: site.states(run)["running"] == 4, "under way")
        worker.process.send_signal(signal.SIGTERM)
        until(lambda: "ending: jobs" in worker.log.read_text(), "the first was heard", pause=0.02)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(300) == 128 + signal.SIGTERM
        site.fleet.post(f"/v1/runs/{run}/cancel")
        until(lambda: site.leases() == 0, "leases are taken back")


def test_compilations_go_to_processes_of_their_own(site: Site) -> None:
    with site.oracle(0.0) as base_url, site.worker():
        run = site.queue(base_url, 3)
        site.done(run)
    recipe = {"runs": [run], "include_oracle": True}
    compilation = site.fleet.post("/v1/compilations", {"recipe": recipe, "dataset": "carried"})
    with site.worker("compile", concurrency=2) as worker:
        until(lambda: finished(site, compilation["id"]), "compiled")
        found = site.fleet.get(f"/v1/compilations/{compilation['id']}")
        assert (found["state"], found["accounts"]["selected"]) == ("succeeded", 3)
        assert worker.end() == 0
    assert site.leases() == 0


def finished(site: Site, compilation: str) -> Any:
    return site.fleet.get(f"/v1/compilations/{compilation}")["finished"]


def test_a_compilation_that_is_asked_to_stop_is_gone_on_with_and_leaves_nothing(site: Site) -> None:
    with site.oracle(0.0) as base_url, site.worker():
        run = site.queue(base_url, 3)
        site.done(run)
    recipe = {"runs": [run], "include_oracle": True}
    id = site.store.create_compilation(recipe, "stopped").id
    home = site.fleet.home
    with pytest.raises(Interrupted):
        take_step(site.store, FolderBlobs(home / "blobs"), home / "datasets", Step(compilation=id), lambda: True)
    assert site.store.compilation(id).state == "running"
    site.store.enqueue("compile_shard", {"compilation": id})
    with site.worker("compile", concurrency=1):
        until(lambda: finished(site, id), "compiled")
    done = site.store.compilation(id)
    assert done.state == "succeeded"
    assert [path.name for path in (home / "datasets" / "stopped").iterdir()] == [done.version]


def test_flower_shows_the_workers(site: Site) -> None:
    port = free_port()
    environ = site.fleet.environ | {"FLOWER_UNAUTHENTICATED_API": "true"}
    command = [str(TRAJC.parent / "celery"), "-A", "api.carrier.app", "flower", f"--port={port}", "--address=127.0.0.1"]
    flower = Process(command, environ, site.fleet.home.parent / "flower.log")
    with site.worker("rollouts", concurrency=3) as worker:
        flower.start()
        try:
            name, shown = f"rollouts-{worker.process.pid}@{socket.gethostname()}", {}  # type: ignore[var-annotated]
            flower.ready = lambda: bool(shown.update(workers_in_flower(port)) or name in shown)
            flower.up()
            found = shown[name]
            assert [queue["name"] for queue in found["active_queues"]] == [QUEUE]
            assert found["stats"]["pool"]["max-concurrency"] == 3
            assert "trajc.work" in found["registered"]
        finally:
            flower.end()


def workers_in_flower(port: int) -> dict[str, Any]:
    """Those that answered; refreshing asks them anew."""
    try:
        found = httpx.get(f"http://127.0.0.1:{port}/api/workers?refresh=1", timeout=20).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return {name: info for name, info in found.items() if "stats" in info and "active_queues" in info}


def test_a_worker_without_redis_says_so(site: Site) -> None:
    environ = {k: v for k, v in site.fleet.environ.items() if k != "TRAJC_REDIS_URL"}
    log = site.fleet.home.parent / "without.log"
    process = Process([*site.fleet.worker_command("rollouts", 1)], environ, log)
    process.start()
    assert process.process.wait(300) == 2
    assert "TRAJC_REDIS_URL is not set" in log.read_text()
    assert "Traceback" not in log.read_text()
