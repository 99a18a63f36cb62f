"""The pages about recipes are the code's."""

from pathlib import Path

from compiler.recipe import Recipe
from compiler.recipe_docs import recipes_page, schema_file

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_and_the_schema_are_the_code_s() -> None:
    assert (DOCS / "recipes.md").read_text() == recipes_page()
    assert (DOCS / "recipe.schema.json").read_bytes() == schema_file()


def test_every_field_of_a_recipe_is_explained() -> None:
    assert [name for name, field in Recipe.model_fields.items() if not field.description] == []
