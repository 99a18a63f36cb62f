"""Which writers a recipe asks for."""

from pathlib import Path

from compiler.canonical import CanonicalWriter
from compiler.chat import chat_for
from compiler.formats.acc import AccWriter
from compiler.formats.messages import FactoryWriter, MessagesWriter, SwiftWriter
from compiler.formats.portion import Portion
from compiler.formats.tokenised import TokenisedWriter
from compiler.formats.verl import VerlWriter
from compiler.formats.writer import Writer
from compiler.recipe import Recipe
from compiler.tokens import Tokenizer


def writers(recipe: Recipe, tokenizer: Tokenizer, folder: Path, portion: Portion) -> list[Writer]:
    out: list[Writer] = [AccWriter(folder, portion), CanonicalWriter(folder, portion)]
    for name in dict.fromkeys(recipe.formats):
        match name:
            case "messages":
                out.append(MessagesWriter(folder, portion, recipe.reasoning_form))
            case "ms_swift":
                out.append(SwiftWriter(folder, portion))
            case "llama_factory":
                out.append(FactoryWriter(folder, portion))
            case "verl":
                out.append(VerlWriter(folder, portion))
            case "tokenised":
                chat = chat_for(recipe.chat_template, tokenizer)
                out.append(TokenisedWriter(folder, portion, tokenizer, chat, recipe.token_budget))
            case "acc" | "agent_sft":
                pass
    return out
