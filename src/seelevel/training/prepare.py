"""Which ladders can be trained on, and their tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from seelevel.errors import InputError
from seelevel.ladder import IMAGE_MARK, Ladder
from seelevel.progress import Progress, say
from seelevel.training.packing import fits
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder, UnusableLadderError, tokenise
from seelevel.training.settings import TrainSettings


def _content(ladder: Ladder) -> Any:
    """What of a ladder the training depends on."""
    images = [image.sha256 or image.path for image in ladder.images]
    return (
        ladder.id,
        images,
        ladder.prompt,
        ladder.interaction,
        dict(ladder.ratings_before),
        [(r.messages, r.level, r.condition, r.scores, r.feedback and asdict(r.feedback)) for r in ladder.responses],
    )


def special_token_in(ladder: Ladder, special: Sequence[str]) -> str:
    """The first special token that stands in a ladder's text, or nothing.

    The tokenizer would read it as its own: an end of turn in mid-answer would be learnt as one.
    """
    messages = [*ladder.prompt, *(m for r in ladder.responses for m in r.messages)]
    texts = [m["content"] for m in messages] + [r.condition for r in ladder.responses]
    return next((token for token in special if token and any(token in text for text in texts)), "")


def prepare(
    ladders: Sequence[Ladder], processor: Any, images: ImageReader, settings: TrainSettings, config: Any
) -> tuple[list[Ladder], list[TokenisedLadder], list[dict[str, str]]]:
    """Ladders that can be trained on, their tokens, and those left out with reasons."""
    limit = settings.max_length or config.get_text_config().max_position_embeddings
    special = sorted(set(processor.tokenizer.all_special_tokens) - {IMAGE_MARK})
    usable: list[Ladder] = []
    tokenised: list[TokenisedLadder] = []
    left_out: list[dict[str, str]] = []
    with Progress("tokenise", total=len(ladders), unit="ladders") as bar:
        for given in ladders:
            bar.advance()
            ladder = settings.objective.seen(given)
            if given.responses and not ladder.responses:
                reason = "its answer is not rated as the objective asks of one that refines another"
                left_out.append({"id": ladder.id, "kind": "refined in vain", "reason": reason})
                continue
            if not ladder.responses or not settings.objective.counts(ladder.levels):
                reason = f"its levels {ladder.levels} say nothing to objective {settings.objective.name}"
                left_out.append({"id": ladder.id, "kind": "no pair", "reason": reason})
                continue
            if mark := special_token_in(ladder, special):
                reason = f"its text holds '{mark}', which this model's tokenizer reads as a special token"
                left_out.append({"id": ladder.id, "kind": "special token in the text", "reason": reason})
                say(f"left out: ladder {ladder.id}: {reason}")
                continue
            try:
                tokens = tokenise(ladder, processor, images)
            except UnusableLadderError as error:
                left_out.append({"id": ladder.id, "kind": "unusable", "reason": str(error)})
                say(f"left out: {error}")
                continue
            if reason := fits(tokens, limit):
                left_out.append({"id": ladder.id, "kind": "does not fit", "reason": reason})
                say(f"left out: ladder {ladder.id}: {reason}")
                continue
            usable.append(ladder)
            tokenised.append(tokens)
    if not usable:
        kinds = Counter(entry["kind"] for entry in left_out)
        raise InputError(
            f"no ladder to train on: {len(ladders)} ladders, "
            + ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
        )
    return usable, tokenised, left_out
