"""TRL's and LLaMA-Factory's own code reads our formats, and puts the loss on the target alone.

Each runs in an environment of its own (tests/trainers/install.sh), named by TRAJC_TEST_TRAINERS.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.asking import Sample, Samples
from compiler.compilation import compile_dataset
from compiler.publish import Published
from compiler.recipe import Format, Recipe

pytestmark = pytest.mark.needs("trainers")

HERE = Path(__file__).parents[1] / "trainers"
FORMATS: tuple[Format, ...] = ("messages", "llama_factory", "tokenised")
REASONING = "I look: <b>1872</b> is said.\n\nSo it is."


class Thoughtful:
    """A teacher that is always right."""

    def ask(self, *given: Any) -> Samples:
        (example,) = [one for one in given if hasattr(one, "ground_truth")]
        return lambda: [Sample(reasoning=REASONING, content=example.ground_truth, right=True)]


@pytest.fixture
def published(world: Any, tmp_path: Path) -> list[Published]:
    """Of bare answers, and of a teacher's reasoning and answers."""
    rows = [world.search(), world.search("s2", "Another question?"), world.sql(), world.swe()]
    at = tmp_path / "datasets"
    return [
        compile_dataset(Recipe(formats=FORMATS), rows, world.blobs, at, "bare"),
        compile_dataset(Recipe(formats=FORMATS, target="teacher"), rows, world.blobs, at, "taught", asker=Thoughtful()),
    ]


@pytest.fixture
def tokenizer(qwen3_file: Path, tmp_path: Path) -> Path:
    """Qwen3's own, with the least of a model's configuration."""
    folder = tmp_path / "tokenizer"
    shutil.copytree(qwen3_file.parent, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 8}))
    return folder


def run(trainer: str, script: str, *words: Path) -> Any:
    python = Path(os.environ["TRAJC_TEST_TRAINERS"]) / trainer / "bin" / "python"
    environ = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, HERE / script, *words], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def targets(published: Published) -> dict[str, list[str]]:
    """What is learnt, by config, in the order of the rows."""
    out = {}
    for path in sorted((published.path / "canonical").glob("*.parquet")):
        rows = pq.read_table(path, columns=["config", "answer", "reasoning"]).to_pylist()
        said = [
            f"<think>\n{r['reasoning']}\n</think>\n\n{r['answer']}" if r["reasoning"] else r["answer"] for r in rows
        ]
        out[rows[0]["config"]] = said
    return out


def by_template(target: str) -> str:
    """As Qwen3's own template writes a last message: with an empty thought where there is none."""
    thought = "" if target.startswith("<think>") else "<think>\n\n</think>\n\n"
    return f"{thought}{target}<|im_end|>\n"


def test_trl_trains_on_the_target_alone(published: list[Published], tokenizer: Path, tmp_path: Path) -> None:
    told = run("trl", "trl_reads.py", tokenizer, tmp_path, *(p.path for p in published))
    assert told["read"] == {
        str(p.path): {
            config: {
                "messages": [[by_template(target)] for target in said],
                "tokenised": [[f"{target}<|im_end|>"] for target in said],
                "packed": [[f"{target}<|im_end|>" for target in said]],
                "rows": [len(said), 1],
                # Without a thought Qwen3's template writes an empty one, which our own ids leave out.
                "same_ids": p.manifest["target"] == "teacher",
                "same_labels": True,
            }
            for config, said in targets(p).items()
        }
        for p in published
    }
    assert told["loss"] > 0


def test_llama_factory_trains_on_the_target_alone(published: list[Published], tokenizer: Path, tmp_path: Path) -> None:
    told = run("llamafactory", "llamafactory_reads.py", tokenizer, tmp_path, *(p.path for p in published))
    assert told == {
        str(p.path): {config: [[by_template(t)] for t in said] for config, said in targets(p).items()}
        for p in published
    }
