"""What `trajc inspect` shows: a run with its failures, a rollout with its trajectory, how a compilation stands."""

from typing import Any

from api.cli import progress_words
from api.cli.accounts import in_words
from api.cli.terminal import emit, write
from api.client import Client, ServiceError

SHOWN = 2000
"""Characters of one message; the rest is counted, and `--json` has it all."""


def show(client: Client, id: str, as_json: bool) -> None:
    if id.startswith("run_"):
        show_run(client, id, as_json)
    elif id.startswith("ro_"):
        show_rollout(client, id, as_json)
    elif id.startswith("comp_"):
        show_compilation(client, id, as_json)
    else:
        raise ServiceError(f"{id!r} is neither a run (run_...), nor a rollout (ro_...), nor a compilation (comp_...)")


def show_run(client: Client, id: str, as_json: bool) -> None:
    run = client.get(f"/v1/runs/{id}")
    failed = {
        failure: client.get("/v1/rollouts", run=id, status="failed", failure=failure, limit=5)["items"]
        for failure in run["accounts"]["failed"]
    }
    if as_json:
        emit({**run, "failures": failed})
        return
    write(in_words(run))
    for line in progress_words.lines(run["progress"], run["done"]):
        write(line)
    for failure, rollouts in failed.items():
        write(f"{failure}: {run['accounts']['failed'][failure]}")
        for rollout in rollouts:
            write(f"  {rollout['id']} {rollout['task_id']}: {cut(rollout['error'], 300)}")
        if more := run["accounts"]["failed"][failure] - len(rollouts):
            write(f"  ... and {more} more: {client.url}/rollouts?run={id}&failure={failure}")


def show_compilation(client: Client, id: str, as_json: bool) -> None:
    found = client.get(f"/v1/compilations/{id}")
    if as_json:
        emit(found)
        return
    write(f"{id} of dataset {found['dataset']}: {found['state']} {found['version'] or ''} {found['error']}".rstrip())
    if found["reason"]:
        write(found["reason"])
    for what, count in (found["accounts"] or {}).items():
        write(f"  {what}: {count}")


def show_rollout(client: Client, id: str, as_json: bool) -> None:
    rollout = client.get(f"/v1/rollouts/{id}")
    trajectory = client.get(f"/v1/rollouts/{id}/trajectory") if rollout["trajectory"] else None
    if as_json:
        emit({**rollout, "trajectory": trajectory})
        return
    write(f"{id} {rollout['task_id']}: {rollout['state']} {rollout['failure'] or ''} {rollout['error']}".rstrip())
    for score in rollout["scores"]:
        write(f"score {score['value']:.2f} {score['verdict']} by {score['scorer']}: {score['words']}")
    if trajectory is not None:
        write(
            f"stop: {trajectory['stop']}, {len(trajectory['calls'])} model calls, {len(trajectory['steps'])} tool calls"
        )
        for message in trajectory["messages"]:
            show_message(message)


def show_message(message: dict[str, Any]) -> None:
    write(f"\n--- {message['role']}")
    if message["content"]:
        write(cut(message["content"], SHOWN))
    for call in message["tool_calls"]:
        write(f"> {call['name']}({cut(call['arguments'], SHOWN)})")


def cut(text: str, bound: int) -> str:
    return text if len(text) <= bound else f"{text[:bound]} ... {len(text) - bound} characters more"
