"""Server-sent events: in order, with ids, resumed where a reader stopped."""

import json
from collections.abc import Iterator
from typing import Any

from tests.acceptance import patient

Event = tuple[int, dict[str, Any]]


def read(url: str, count: int, **headers: str) -> Iterator[Event]:
    with patient.stream("GET", url, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        id = 0
        for line in answer.iter_lines():
            if line.startswith("id: "):
                id = int(line[4:])
            elif line.startswith("data: "):
                yield id, json.loads(line[6:])
                count -= 1
                if not count:
                    return


def test_a_reader_that_lost_its_connection_misses_and_repeats_nothing(served: Any) -> None:
    url = f"{served.trajc.url}/v1/events"
    whole = list(read(f"{url}?after=0", 12))
    ids = [id for id, _ in whole]
    assert ids == sorted(set(ids))
    resumed = list(read(url, 7, **{"Last-Event-ID": str(ids[4])}))
    assert resumed == whole[5:]


def test_events_can_be_those_of_one_run(served: Any) -> None:
    id = served.run["id"]
    events = [event for _, event in read(f"{served.trajc.url}/v1/events?after=0&run={id}", 2)]
    assert {event["run"] for event in events} == {id}
    assert events[0]["kind"] == "run.created"


def test_a_live_reader_hears_what_happens_next(served: Any) -> None:
    start = list(read(f"{served.trajc.url}/v1/events?after=0", 1))
    assert start
    with patient.stream("GET", f"{served.trajc.url}/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        spec = {"environment": "search", "model": "oracle", "base_urls": [served.oracle], "open": True}
        run = patient.post(f"{served.trajc.url}/v1/runs", json=spec).json()
        events = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        event = next(event for event in events if event["run"] == run["id"])  # others' work may still go on
    assert event["kind"] == "run.created"


def test_an_id_that_is_none_of_ours_is_a_problem(served: Any) -> None:
    answer = patient.get(f"{served.trajc.url}/v1/events", headers={"Last-Event-ID": "abc"})
    assert answer.status_code == 400
    assert "'abc'" in answer.json()["detail"]
