"""A recipe says what it takes, and a wrong one is refused with the field's name."""

from pathlib import Path

import pytest

from compiler.errors import RecipeError
from compiler.recipe import Recipe, load_recipe, recipe_schema


def test_a_runs_id_is_a_whole_recipe(tmp_path: Path) -> None:
    for name, text in {"r.yaml": "runs: [run_1]\n", "r.json": '{"runs": ["run_1"]}'}.items():
        (tmp_path / name).write_text(text)
        recipe = load_recipe(tmp_path / name)
        assert recipe == Recipe(runs=("run_1",))
        assert (recipe.token_budget, recipe.tokenizer, recipe.include_oracle) == (131072, "qwen3", False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("token_budget: many", "token_budget: Input should be a valid integer"),
        ("sql: {max_rows: 0}", "sql.max_rows: Input should be greater than or equal to 1"),
        ("budget: 4", "budget: Extra inputs are not permitted.*known fields: .*token_budget"),
        ("- a", "a mapping of fields, not list"),
        ("a: [", "r.yaml"),
        ("fill_tokens: 200000", "fill_tokens must not exceed token_budget"),
        ("buckets: [4, 2]", "rising"),
        ("mixture: {search: 0}", "weights must be positive"),
        ("placement: {span: [0.9, 0.1]}", "placement: .*two rising shares"),
        ("formats: [acc, csv]", r"formats\.1: Input should be"),
    ],
)
def test_a_wrong_recipe_names_file_and_field(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=words):
        load_recipe(tmp_path / "r.yaml")


def test_an_absent_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.yaml"):
        load_recipe(tmp_path / "none.yaml")


def test_a_file_that_is_no_yaml_is_named_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("runs: [a\nseed: 1\n")
    with pytest.raises(RecipeError) as wrong:
        load_recipe(path)
    assert str(wrong.value).startswith(f"{path}: ")
    assert "line 2, column" in str(wrong.value)
    assert "unicode string" not in str(wrong.value)


def test_the_schema_describes_every_field() -> None:
    schema = recipe_schema()
    assert schema["properties"].keys() == Recipe.model_fields.keys()
    assert "tokenizer.json" in schema["properties"]["tokenizer"]["description"]


def test_labels_are_the_first_bucket_that_holds_the_example() -> None:
    recipe = Recipe(buckets=(1024, 100 * 1024))
    assert [recipe.label(n) for n in (1, 1024, 1025, 102400, 102401)] == ["1k", "1k", "100k", "100k", ">100k"]
