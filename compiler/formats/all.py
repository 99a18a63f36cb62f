"""Which writers a recipe asks for."""

from pathlib import Path

from compiler.canonical import CanonicalWriter
from compiler.chat import chat_for
from compiler.formats.acc import AccWriter
from compiler.formats.messages import FactoryWriter, MessagesWriter, SwiftWriter
from compiler.formats.tokenised import TokenisedWriter
from compiler.formats.verl import VerlWriter
from compiler.formats.writer import Writer
from compiler.recipe import Recipe
from compiler.tokens import Tokenizer


def writers(recipe: Recipe, tokenizer: Tokenizer, folder: Path, config: str) -> list[Writer]:
    out: list[Writer] = [AccWriter(folder, config), CanonicalWriter(folder, config)]
    for name in dict.fromkeys(recipe.formats):
        match name:
            case "messages":
                out.append(MessagesWriter(folder, config, recipe.reasoning_form))
            case "ms_swift":
                out.append(SwiftWriter(folder, config))
            case "llama_factory":
                out.append(FactoryWriter(folder, config))
            case "verl":
                out.append(VerlWriter(folder, config))
            case "tokenised":
                chat = chat_for(recipe.chat_template, tokenizer)
                out.append(TokenisedWriter(folder, config, tokenizer, chat, recipe.token_budget))
            case "acc" | "agent_sft":
                pass
    return out
