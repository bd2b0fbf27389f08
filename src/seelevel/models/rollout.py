"""Dialogues of several rounds: the model answers round by round and sees its earlier answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seelevel.ladder import IMAGE_MARK, Message
from seelevel.models.base import Generator, Prompt, Sampling
from seelevel.models.thinking import complete


@dataclass(frozen=True)
class Dialogue:
    """A prompt that ends with a user turn, the user's later turns, and the picture files of all their marks.

    `sample`: as in `Prompt`.
    """

    prompt: list[Message]
    later: list[Message] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    sample: int | None = None


@dataclass(frozen=True)
class Talk:
    """A dialogue's answers and the user's later turns: [assistant, user, assistant, …]. `note`: the model's reason for
    an empty answer. `reasoning`: what it thought, all rounds joined by a blank line. `logprob`: the mean per token over
    all rounds; None if it is unknown."""

    messages: list[Message]
    note: str = ""
    reasoning: str = ""
    logprob: float | None = None


def rollout(model: Generator, dialogues: Sequence[Dialogue], sampling: Sampling) -> list[Talk]:
    """Answer each dialogue round by round, with the model's earlier answers in the prompt.

    Round t of all dialogues is answered in one call. A picture with its mark in a later turn is shown from then on.
    """
    talks: list[list[Message]] = [[] for _ in dialogues]
    notes = [""] * len(dialogues)
    thoughts: list[list[str]] = [[] for _ in dialogues]
    logprobs: list[list[tuple[float | None, int]]] = [[] for _ in dialogues]
    for number in range(max((len(d.later) + 1 for d in dialogues), default=0)):
        active = [i for i, dialogue in enumerate(dialogues) if number <= len(dialogue.later)]
        for i in active:
            if number:
                talks[i].append(dialogues[i].later[number - 1])
        prompts = [_prompt(dialogues[i], talks[i]) for i in active]
        for i, completion in zip(active, complete(model, prompts, sampling), strict=True):
            talks[i].append(Message(role="assistant", content=completion.text))
            notes[i] = notes[i] or ("" if completion.text else completion.note)
            thoughts[i] += [completion.reasoning] if completion.reasoning else []
            logprobs[i].append((completion.logprob, completion.tokens))
    rows = zip(talks, notes, thoughts, map(_mean, logprobs), strict=True)
    return [Talk(talk, note, "\n\n".join(reasoning), mean) for talk, note, reasoning, mean in rows]


def _mean(rounds: Sequence[tuple[float | None, int]]) -> float | None:
    """The mean log-prob per token over rounds of (mean, tokens); None if one is unknown."""
    sums = [mean * tokens for mean, tokens in rounds if mean is not None]
    total = sum(tokens for _, tokens in rounds)
    return sum(sums) / total if total and len(sums) == len(rounds) else None


def _prompt(dialogue: Dialogue, talk: Sequence[Message]) -> Prompt:
    messages = [*dialogue.prompt, *talk]
    shown = sum(message["content"].count(IMAGE_MARK) for message in messages if message["role"] != "assistant")
    return Prompt(messages, dialogue.images[:shown], dialogue.sample)
