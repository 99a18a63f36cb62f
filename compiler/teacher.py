"""Targets written by a model: samples over the compiled prompt, of which only right ones become targets."""

from collections.abc import Sequence

from compiler.asking import Asker, Judged, Sample, Stage, Unanswered, tally
from compiler.assemble import prompt_of
from compiler.candidate import Candidate
from compiler.chat import target_text
from compiler.drops import Dropped
from compiler.example import Example
from compiler.recipe import Recipe
from compiler.render import Renderer
from compiler.reply import stripped
from compiler.transforms import Undecodable, neutralise
from envs.frozen import content_hash


def teacher_stage(recipe: Recipe, renderer: Renderer, asker: Asker) -> Stage:
    def stage(example: Example, candidate: Candidate) -> Judged:
        prompt = prompt_of(example, renderer)
        samples = asker.ask(recipe.teacher, prompt, example.prompt_tokens, example, candidate)

        def judged() -> Example:
            try:
                said = samples()
            except Unanswered as e:
                raise Dropped("teacher_failed", str(e)) from None
            return teach(example, said, recipe, renderer)

        return judged

    return stage


def teach(example: Example, samples: Sequence[Sample], recipe: Recipe, renderer: Renderer) -> Example:
    """Raises `Dropped`: no sample is right, or no right one fits the budget and is free of special tokens."""
    right = [s for s in samples if s.right]
    rate = f"{len(right)} of {len(samples)}"
    asked = tally(samples, "teacher", "whole")
    if not right:
        raise Dropped("teacher_never_right", f"{asked.words} samples are right")
    steering: Undecodable | None = None
    for sample in right:
        answer = neutralise(stripped(sample.content, example.answer_kind)).text
        reasoning = None if sample.reasoning is None else neutralise(sample.reasoning.strip()).text
        target = target_text(reasoning, answer)
        try:
            renderer.check(target)
        except Undecodable as e:
            steering = e
            continue
        target_tokens = renderer.tokenizer.count(target)
        tokens = example.tokens - example.target_tokens + target_tokens
        if tokens <= recipe.token_budget:
            return example.model_copy(
                update={
                    "id": content_hash([example.id, reasoning, answer]),
                    "answer": answer,
                    "reasoning": reasoning,
                    "target_tokens": target_tokens,
                    "tokens": tokens,
                    "context_length": recipe.label(tokens),
                    "labels": example.labels | {"teacher_pass_rate": rate},
                    "asked": (*example.asked, asked),
                }
            )
    if steering is not None:
        raise Dropped("undecodable", f"{rate} samples are right; none can be taken: one {steering}")
    raise Dropped("over_budget", f"{rate} samples are right; none fits the budget of {recipe.token_budget} tokens")
