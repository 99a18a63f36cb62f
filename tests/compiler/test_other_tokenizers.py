"""Tokenizers whose counts are not known to add: everything is counted whole, and is as right."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from compiler.asking import Sample
from compiler.build import build
from compiler.drops import Dropped
from compiler.errors import RecipeError
from compiler.recipe import Recipe
from compiler.render import Renderer
from compiler.renderings import MemoryRenderings
from compiler.teacher import teach
from compiler.tokens import load_tokenizer
from compiler.verify import verify


@pytest.fixture
def words(tmp_path: Path) -> str:
    """Counts words and signs; one special token that no transform knows."""
    tokenizer = FastTokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken("~~STOP~~")])
    path = tmp_path / "words.json"
    tokenizer.save(str(path))
    return str(path)


def test_whole_counts_are_used_and_verified(compiled: Any, world: Any, words: str) -> None:
    assert not load_tokenizer(words).additive
    recipe = Recipe(tokenizer=words, chat_template="none", token_budget=250)
    published = compiled(world.search(), world.sql(), world.swe(), recipe=recipe)
    assert published.accounts.published == 3
    assert verify(published.path, world.blobs).faults == ()


def test_the_budget_drops_distractors_by_whole_counts(compiled: Any, world: Any, words: str) -> None:
    listed = [(f"d{n}", f"Page {n}. " + "Salt water. " * 10) for n in range(9)]
    recipe = Recipe(tokenizer=words, chat_template="none", token_budget=200)
    published = compiled(world.search(listed=listed), recipe=recipe)
    assert published.accounts.published == 1
    assert published.manifest["statistics"]["longest"] <= 200
    assert published.manifest["statistics"]["left_out_pieces"]["budget"] > 0
    assert verify(published.path, world.blobs).faults == ()


def test_evidence_with_an_unknown_special_token_is_dropped(compiled: Any, world: Any, words: str) -> None:
    recipe = Recipe(tokenizer=words, chat_template="none")
    published = compiled(world.search(opened=[("orrin", "Lit in 1872 ~~STOP~~")]), recipe=recipe)
    assert published.accounts.trajectories_dropped == {"undecodable": 1}
    assert "~~STOP~~" in (published.path / "drops.jsonl").read_text()


@pytest.mark.parametrize("said", [{"question": "What does ~~STOP~~ mean?"}, {"answer": "the ~~STOP~~ sign"}])
def test_a_question_or_answer_with_an_unknown_special_token_is_dropped(
    compiled: Any, world: Any, words: str, said: dict[str, str]
) -> None:
    recipe = Recipe(tokenizer=words, chat_template="none")
    published = compiled(world.search(), world.search("s2", **said), recipe=recipe)
    assert (published.accounts.published, published.accounts.trajectories_dropped) == (1, {"undecodable": 1})
    assert "~~STOP~~" in (published.path / "drops.jsonl").read_text()


def test_a_teachers_sample_with_an_unknown_special_token_is_not_taken(world: Any, words: str) -> None:
    recipe = Recipe(tokenizer=words, chat_template="none", target="teacher")
    renderer = Renderer(world.blobs, load_tokenizer(words), MemoryRenderings())
    example = build(world.search(), recipe, renderer)
    steering = Sample(reasoning="Then ~~STOP~~ it is.", content="1872", right=True)
    taught = teach(example, [steering, Sample(reasoning="Spring.", content="1872", right=True)], recipe, renderer)
    assert (taught.reasoning, taught.labels["teacher_pass_rate"]) == ("Spring.", "2 of 2")
    with pytest.raises(Dropped, match=r"2 samples are right; none can be taken: one holds .~~STOP~~"):
        teach(example, [steering, steering], recipe, renderer)


def test_a_template_that_the_tokenizer_does_not_know_is_refused(compiled: Any, world: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=r"chat_template: the tokenizer .* choose 'none'"):
        compiled(world.search(), recipe=Recipe(tokenizer=words))
