"""What every method does alike: responses below those a ladder has, none twice, and the counts for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seelevel.facts import GenerateFacts
from seelevel.formats.parquet import iter_shards
from seelevel.ladder import Ladder, Message, Response

NO_STANDARD, NO_ANSWER = "no standard response", "no answer at all"
"""Flags (`notes["flags"]`): level 0 is a model's answer like the others; there is no response."""
REPEATS, EMPTY, NOT_ANSWERED = "repeats a better response", "empty", "not answered"


def build_ladder(
    ladder: Ladder, talks: Sequence[list[Message]], origins: Sequence[dict[str, Any]], notes: Sequence[str] = ()
) -> Ladder:
    """A ladder with answers below the responses it has, a level each; `talks` and `origins` are best first, `notes` the
    models' own reasons for answers that are empty.

    An answer that is empty in any round, or that repeats a better response, is dropped, with a note: ranked below it,
    it would be a preference of a text over itself. Without a standard response the first answer is level 0 and the
    ladder is flagged.
    """
    responses = list(ladder.responses)
    flags = [] if responses else [NO_STANDARD]
    dropped = []
    for talk, origin, why in zip(talks, origins, notes or [""] * len(talks), strict=True):
        reason = ""
        if any(not text for text in _said(talk)):
            reason = NOT_ANSWERED if why else EMPTY
        elif any(_said(talk) == _said(response.messages) for response in responses):
            reason = REPEATS
        if reason:
            left_out = {"model": source_of(origin), "reason": reason, "text": "\n\n".join(_said(talk))}
            dropped.append({**left_out, "why": why} if why else left_out)
        else:
            level = responses[-1].level + 1 if responses else 0
            responses.append(Response(talk, level, origin))
    if not responses:
        flags.append(NO_ANSWER)
    kept = dict(ladder.notes)
    if flags:
        kept["flags"] = [*kept.get("flags", []), *flags]
    if dropped:
        kept["dropped"] = dropped
    return replace(ladder, responses=responses, notes=kept)


def source_of(origin: dict[str, Any]) -> str:
    """Who or what a response is from, in a word or two: the model, else the kind of source and its share of words."""
    name = str(origin.get("model", origin.get("kind", "given")))
    return f"{name} of {origin['share']:.0%}" if "share" in origin else name


def _said(messages: Sequence[Message]) -> list[str]:
    return [" ".join(message["content"].split()) for message in messages if message["role"] == "assistant"]


def count_ladders(folder: Path, root: Path) -> GenerateFacts:
    """Counts for the report, read from a stage's shards, so that a continued stage counts what an unbroken one does."""
    levels: Counter[int] = Counter()
    by_model: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for _, ladders in iter_shards(folder, root):
        for ladder in ladders:
            levels[len(ladder.responses)] += 1
            by_model.update(source_of(response.origin) for response in ladder.responses)
            flags.update(ladder.notes.get("flags", []))
            dropped.update(entry["reason"] for entry in ladder.notes.get("dropped", []))
    return GenerateFacts(
        ladders=sum(levels.values()),
        responses=sum(by_model.values()),
        ladders_by_responses={str(k): levels[k] for k in sorted(levels)},
        responses_by_model=dict(sorted(by_model.items())),
        flags=dict(sorted(flags.items())),
        dropped=dict(sorted(dropped.items())),
    )
