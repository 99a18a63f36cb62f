"""Datasets over real HTTP: files with ETag, Range and HEAD, examples back to their trajectory, a pull that resumes."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import patient
from tests.acceptance.fleet import until

DEMO = Path(__file__).parents[2] / "demo"
FILE = "search_agent_data.jsonl"


def base(served: Any) -> str:
    return f"{served.trajc.url}/v1/datasets/served/versions/{served.dataset['version']}"


def test_a_version_lists_every_file_with_its_checksum(served: Any) -> None:
    version = patient.get(base(served)).json()
    assert version["accounts"]["published"] == 8
    assert {"manifest.json", "README.md", FILE} <= {f["path"] for f in version["files"]}
    for file in version["files"]:
        data = patient.get(f"{base(served)}/files/{file['path']}").content
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"])
    assert patient.get(f"{served.trajc.url}/v1/datasets/served/versions/latest").json() == version


def test_a_file_is_served_by_range_and_not_again_to_who_has_it(served: Any) -> None:
    url = f"{base(served)}/files/{FILE}"
    whole = patient.get(url)
    etag = whole.headers["etag"]
    assert etag == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    head = patient.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))

    part = patient.get(url, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    tail = patient.get(url, headers={"Range": "bytes=-5"})
    assert (tail.status_code, tail.content) == (206, whole.content[-5:])
    changed = patient.get(url, headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole.content)

    assert patient.get(url, headers={"If-None-Match": f'"x", W/{etag}'}).status_code == 304
    assert patient.get(url, headers={"If-None-Match": '"x"'}).status_code == 200
    beyond = patient.get(url, headers={"Range": f"bytes={len(whole.content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    assert beyond.json()["type"] == "urn:trajc:problem:range-not-satisfiable"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/datasets/serve/versions/latest", "unknown dataset 'serve'; known: "),
        ("/v1/datasets/served/versions/0000", "unknown version of dataset served '0000'; known: "),
        ("/v1/datasets/served/versions/latest/files/no.parquet", "unknown file 'no.parquet'; known: "),
        ("/v1/datasets/served/versions/latest/files/..%2f..%2f..%2ftrajc.db", "unknown file"),
        ("/v1/datasets/served/versions/latest/files/%2fetc%2fpasswd", "unknown file"),
        ("/v1/datasets/served/versions/latest/examples/none", "no example 'none'"),
        ("/v1/datasets/served/versions/latest/examples?cursor=x", "cursor 'x'"),
    ],
)
def test_what_is_not_in_a_dataset_names_what_is(served: Any, path: str, words: str) -> None:
    answer = patient.get(served.trajc.url + path)
    assert answer.status_code in (400, 404)
    assert words in answer.json()["detail"]


def test_examples_page_through_and_lead_back_to_their_rollout(served: Any) -> None:
    found: list[dict[str, Any]] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = patient.get(f"{base(served)}/examples?limit=3&cursor={cursor}").json()
        found += page["items"]
        cursor = page["next"]
    assert len({example["id"] for example in found}) == len(found) == 8
    whole = patient.get(f"{base(served)}/examples/{found[0]['id']}").json()
    assert whole["prompt"].encode()[whole["pieces"][0]["start"] : whole["pieces"][0]["end"]]
    rollout = served.trajc.get(f"/v1/rollouts/{whole['rollout']}")
    assert (rollout["trajectory"], rollout["run"]) == (whole["trajectory"], served.run["id"])


def test_a_pull_brings_a_version_whole_and_a_second_one_fetches_nothing(served: Any, tmp_path: Path) -> None:
    out = tmp_path / served.dataset["version"]
    first = served.trajc.json("pull", "served", "--out", out)
    assert first["fetched"] == first["size"] == sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    assert served.trajc.json("verify", out)["ok"]
    assert served.trajc.json("pull", "served", "--out", out)["fetched"] == 0
    (out / "README.md").write_bytes(b"something else")
    refused = served.trajc("pull", "served", "--out", out, code=1)
    assert "holds something else" in refused.stderr
    report = served.trajc.json("verify", out, code=1)
    assert report["faults"] == [{"where": "README.md", "what": "its bytes do not have the manifest's sha256"}]
    (out / FILE).write_bytes(b"damaged beyond reading")
    damaged = served.trajc("verify", out, code=1)
    assert "Traceback" not in damaged.stderr


def test_an_interrupted_pull_goes_on_where_it_stopped(served: Any, tmp_path: Path) -> None:
    version = served.dataset["version"]
    whole = tmp_path / "whole"
    served.trajc("pull", "served", "--out", whole)
    data = (whole / FILE).read_bytes()
    partial = tmp_path / f".again.{version[:12]}.partial"
    partial.mkdir()
    (partial / FILE).write_bytes(data[:1000])
    pulled = served.trajc.json("pull", "served", "--out", tmp_path / "again")
    assert pulled["fetched"] == pulled["size"] - 1000
    assert (tmp_path / "again" / FILE).read_bytes() == data
    assert not partial.exists()


def test_bytes_that_are_not_the_manifests_never_become_a_dataset(served: Any, tmp_path: Path) -> None:
    """The part that is there already is wrong, so what comes of it has another checksum."""
    partial = tmp_path / f".bad.{served.dataset['version'][:12]}.partial"
    partial.mkdir()
    (partial / FILE).write_bytes(b"wrong")
    refused = served.trajc("pull", "served", "--out", tmp_path / "bad", code=1)
    assert "its checksum is not the manifest's" in refused.stderr
    assert not (tmp_path / "bad").exists()
    assert served.trajc.json("pull", "served", "--out", tmp_path / "bad")["name"] == "served"


def test_a_compilation_of_nothing_known_says_so(served: Any) -> None:
    def refusal(body: dict[str, Any]) -> str:
        answer = patient.post(f"{served.trajc.url}/v1/compilations", json=body)
        assert answer.status_code in (404, 422)
        return str(answer.json()["detail"])

    assert "unknown run 'run_x'" in refusal({"dataset": "d", "run": "run_x"})
    assert "budget" in refusal({"dataset": "d", "recipe": {"budget": 3}})
    assert "dataset" in refusal({"dataset": "../d"})
    assert "dataset" in refusal({})


def test_a_run_without_a_right_answer_publishes_an_empty_version_with_its_drops(served: Any) -> None:
    compiled = served.trajc.json("compile", served.run["id"], "--name", "without-oracle", code=3)
    assert compiled["accounts"]["published"] == 0
    assert compiled["accounts"]["trajectories_dropped"] == {"oracle": 8}


def test_a_recipe_selects_by_the_view_and_an_unknown_column_is_named(served: Any, tmp_path: Path) -> None:
    rows = list(served.trajc.rollouts(served.run["id"]))
    recipe = tmp_path / "some.yaml"
    one, two = sorted(r["trajectory"] for r in rows)[:2]
    wanted = f"select id from trajectories where verdict = 'right' and turns > 0 and id in ('{two}', '{one}', 'x')"
    recipe.write_text(f'include_oracle: true\nruns: [{served.run["id"]}]\nselect: "{wanted}"\n')
    compiled = served.trajc.json("compile", recipe)
    assert compiled["dataset"] == "some"
    assert (compiled["accounts"]["selected"], compiled["accounts"]["published"]) == (2, 2)
    examples = served.trajc.get("/v1/datasets/some/versions/latest/examples")["items"]
    assert {e["trajectory"] for e in examples} == {one, two}

    recipe.write_text("select: select id from trajectories where verdicts = 'right'")
    refused = served.trajc("compile", recipe, code=1)
    assert "select: " in refused.stderr
    assert '"verdicts" not found' in refused.stderr


def test_a_run_that_names_a_recipe_becomes_a_dataset_when_it_is_done(served: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"include_oracle": true, "token_budget": 32768}')
    tasks = DEMO / "search" / "tasks.jsonl"
    how = ("--env", "search", "--model", "oracle", "--base-url", served.oracle, "--name", "by recipe")
    run = served.trajc.json("run", tasks, *how, "--recipe", recipe)
    until(lambda: patient.get(f"{served.trajc.url}/v1/datasets/by-recipe").status_code == 200, "no dataset")
    found = patient.get(f"{served.trajc.url}/v1/datasets/by-recipe")
    assert found.json()["versions"][0]["accounts"]["published"] == 8
    compilations = served.trajc.get("/v1/compilations")["items"]
    assert [c["recipe"]["runs"] for c in compilations if c["dataset"] == "by-recipe"] == [[run["id"]]]

    recipe.write_text('{"token_budgets": 1}')
    refused = served.trajc("run", tasks, *how, "--recipe", recipe, code=1)
    assert "token_budgets" in refused.stderr
