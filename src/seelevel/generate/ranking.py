"""Shared by all methods: responses are added below those of a ladder, none twice, and counted for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seelevel.facts import GenerateFacts
from seelevel.formats.parquet import iter_shards
from seelevel.ladder import LOGPROB, Ladder, Message, Response
from seelevel.models.rollout import Talk

NO_STANDARD, NO_ANSWER = "no standard response", "no answer at all"
"""Flags in `notes["flags"]`: level 0 is an ordinary answer of a model; the ladder has no response."""
REPEATS, EMPTY, NOT_ANSWERED = "repeats a better response", "empty", "not answered"


def build_ladder(
    ladder: Ladder,
    talks: Sequence[Talk],
    origins: Sequence[dict[str, Any]],
    repeats: Callable[[str, str], bool] = str.__eq__,
    reason: str = REPEATS,
    tie: bool = False,
) -> Ladder:
    """A ladder with answers added below its responses, one level each; with `tie`, all on one level.

    `talks` and `origins` are best first. An answer that is empty in any round is dropped with a note. So is one that
    `repeats` a response before it, with `reason`: it would prefer a text over itself. Without a standard response, the
    first answer is level 0 and the ladder is flagged.
    """
    responses = list(ladder.responses)
    flags = [] if responses or ladder.reference else [NO_STANDARD]
    dropped = []
    for talk, origin in zip(talks, origins, strict=True):
        answers = _answers(talk.messages)
        text = "\n\n".join(answers)
        why = ""
        if any(not answer for answer in answers):
            why = NOT_ANSWERED if talk.note else EMPTY
        elif any(repeats(text, "\n\n".join(_answers(response.messages))) for response in responses):
            why = reason
        if why:
            left_out = {"model": source_of(origin), "reason": why, "text": text}
            dropped.append({**left_out, "why": talk.note} if talk.note else left_out)
        else:
            below = len(ladder.responses) if tie else len(responses)
            level = responses[below - 1].level + 1 if below else 0
            scores = {} if talk.logprob is None else {LOGPROB: talk.logprob}
            responses.append(Response(talk.messages, level, origin, scores=scores, reasoning=talk.reasoning))
    if not responses:
        flags.append(NO_ANSWER)
    free_notes = dict(ladder.notes)
    if flags:
        free_notes["flags"] = [*ladder.flags, *flags]
    if dropped:
        free_notes["dropped"] = dropped
    return replace(ladder, responses=responses, notes=free_notes)


def source_of(origin: dict[str, Any]) -> str:
    """The source of a response in a word or two: its model, else its kind and share of words."""
    name = str(origin.get("model", origin.get("kind", "given")))
    return f"{name} of {origin['share']:.0%}" if "share" in origin else name


def _answers(messages: Sequence[Message]) -> list[str]:
    return [" ".join(message["content"].split()) for message in messages if message["role"] == "assistant"]


def count_ladders(folder: Path, root: Path) -> GenerateFacts:
    """Counts for the report, from the stage's shards, so that they do not depend on whether the stage was stopped."""
    levels: Counter[int] = Counter()
    by_model: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for _, ladders in iter_shards(folder, root):
        for ladder in ladders:
            levels[len(ladder.responses)] += 1
            by_model.update(source_of(response.origin) for response in ladder.responses)
            flags.update(ladder.flags)
            dropped.update(entry["reason"] for entry in ladder.notes.get("dropped", []))
    return GenerateFacts(
        ladders=sum(levels.values()),
        responses=sum(by_model.values()),
        ladders_by_responses={str(k): levels[k] for k in sorted(levels)},
        responses_by_model=dict(sorted(by_model.items())),
        flags=dict(sorted(flags.items())),
        dropped=dict(sorted(dropped.items())),
    )
