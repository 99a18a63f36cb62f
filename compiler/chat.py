"""The chat template around prompt and target: what is counted, and what pre-tokenised rows hold."""

from typing import NamedTuple

from compiler.errors import RecipeError
from compiler.tokens import Tokenizer


class Chat(NamedTuple):
    before: str
    """Ahead of the prompt."""
    between: str
    """Between prompt and target; what a model is shown before it replies."""
    end: str
    """Ends the target; the loss is on it too, so that the model learns to stop."""
    after: str


CHATS = {
    "chatml": Chat("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", "\n"),
    "none": Chat("", "", "", ""),
}


def chat_for(name: str, tokenizer: Tokenizer) -> Chat:
    """Raises `RecipeError` where the tokenizer does not know the template's tokens."""
    if name == "chatml" and not {"<|im_start|>", "<|im_end|>"} <= tokenizer.added.keys():
        raise RecipeError(f"chat_template: the tokenizer {tokenizer.name} has no <|im_start|>; choose 'none'")
    return CHATS[name]


def target_text(reasoning: str | None, answer: str) -> str:
    """What the assistant writes."""
    return answer if reasoning is None else f"<think>\n{reasoning}\n</think>\n\n{answer}"
