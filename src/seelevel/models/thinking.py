"""A model's completions with their thoughts set apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from seelevel.models.base import Completion, Generator, Prompt, Sampling
from seelevel.thoughts import CUT, split_thought


def set_apart(completion: Completion) -> Completion:
    """The completion with its thoughts moved from `text` to `reasoning`. `note` says so if nothing is left."""
    split = split_thought(completion.text)
    if split.answer == completion.text and not split.marked:
        return completion
    reasoning = "\n\n".join(part for part in (completion.reasoning, split.reasoning) if part)
    note = completion.note or ("" if not split.why else f"{split.why}; raise max_new_tokens")
    return replace(completion, text=split.answer, reasoning=reasoning, note=note)


def complete(model: Generator, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
    """The model's completions with their thoughts set apart: a user's own model may return them in the text."""
    return [set_apart(completion) for completion in model.generate(prompts, sampling)]


def without_cut_thoughts(completions: Sequence[Completion]) -> list[Completion]:
    """The answers of one model to one call. If others have thoughts, an answer without any that the limit has cut is a
    thought too: a server's template may begin the thought, so that only the mark of its end is in a reply."""
    if not any(completion.text and completion.reasoning for completion in completions):
        return list(completions)
    note = f"{CUT}; raise max_new_tokens"
    return [
        replace(completion, text="", reasoning=completion.text, note=note)
        if completion.text and not completion.reasoning and not completion.finished
        else completion
        for completion in completions
    ]
