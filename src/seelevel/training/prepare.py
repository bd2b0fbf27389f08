"""Ladders that can be trained on, as tokens; and the others, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seelevel.errors import InputError
from seelevel.ladder import IMAGE_MARK, Ladder
from seelevel.progress import Progress, say
from seelevel.training.packing import fits
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder, UnusableLadderError, tokenise
from seelevel.training.settings import TrainSettings

EXPECTED = ("refined answer not rated higher", "no pair")
"""Kinds of ladders that the objective passes over by design. They are counted, and no line is printed for each."""
NO_ORDER = "samples have no order until `check` or a judge gives one"


@dataclass(frozen=True)
class LeftOut:
    """A ladder that is not trained on. `kind` is what the manifest counts; `reason` is about this ladder."""

    id: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """The ladders to train on and their tokens, in one order; the reader of their pictures; the ladders left out."""

    ladders: list[Ladder]
    tokenised: list[TokenisedLadder]
    images: ImageReader
    left_out: list[LeftOut]

    @property
    def interactions(self) -> list[str]:
        """The interaction that each ladder is a round of. The training order keeps rounds together."""
        return [tokens.interaction for tokens in self.tokenised]


def ladder_content(ladder: Ladder) -> Any:
    """The parts of a ladder that a training depends on, as JSON-able values."""
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
    """The first special token in a ladder's text, or ''.

    The tokenizer would read it as a control token: the model would learn an end of turn in the middle of an answer.
    """
    messages = [*ladder.prompt, *(m for r in ladder.responses for m in r.messages)]
    texts = [m["content"] for m in messages] + [r.condition for r in ladder.responses]
    return next((token for token in special if token and any(token in text for text in texts)), "")


def prepare(
    ladders: Sequence[Ladder], processor: Any, images: ImageReader, settings: TrainSettings, config: Any
) -> Prepared:
    """Tokenise the ladders that can be trained on. Raises `InputError` with counts by kind if there is none."""
    limit = settings.max_length or config.get_text_config().max_position_embeddings
    special = sorted(set(processor.tokenizer.all_special_tokens) - {IMAGE_MARK})
    prepared = Prepared([], [], images, [])
    with Progress("tokenise", total=len(ladders), unit="ladders") as bar:
        for whole in ladders:
            bar.advance()
            ladder = settings.objective.select_responses(whole)
            tokens = _passed_over(whole, ladder, settings) or _tokenised(ladder, processor, images, special, limit)
            if isinstance(tokens, TokenisedLadder):
                prepared.ladders.append(ladder)
                prepared.tokenised.append(tokens)
                continue
            prepared.left_out.append(tokens)
            if tokens.kind not in EXPECTED:
                say(f"left out: ladder {tokens.id}: {tokens.reason}")
    if not prepared.ladders:
        kinds = Counter(entry.kind for entry in prepared.left_out)
        raise InputError(
            f"no ladder to train on: {len(ladders)} ladders, "
            + ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
        )
    return prepared


def _passed_over(whole: Ladder, ladder: Ladder, settings: TrainSettings) -> LeftOut | None:
    """Why the objective learns nothing from a ladder. `ladder`: with the responses that the objective selects."""
    if whole.unordered:
        return LeftOut(ladder.id, NO_ORDER, f"its {len(whole.responses)} {NO_ORDER}")
    if whole.responses and not ladder.responses:
        return LeftOut(
            ladder.id, "refined answer not rated higher", "its answer refines another and is not rated as required"
        )
    if not ladder.responses or not settings.objective.has_signal(ladder.levels):
        reason = f"objective {settings.objective.name} learns nothing from levels {ladder.levels}"
        return LeftOut(ladder.id, "no pair", reason)
    return None


def _tokenised(
    ladder: Ladder, processor: Any, images: ImageReader, special: Sequence[str], limit: int
) -> TokenisedLadder | LeftOut:
    """A ladder's tokens, or why it cannot be tokenised or is too long."""
    if token := special_token_in(ladder, special):
        reason = f"its text contains '{token}', which this model's tokenizer reads as a special token"
        return LeftOut(ladder.id, "special token in the text", reason)
    try:
        tokens = tokenise(ladder, processor, images)
    except UnusableLadderError as error:
        return LeftOut(ladder.id, "unusable", str(error).removeprefix(f"ladder {ladder.id}: "))
    if reason := fits(tokens, limit):
        return LeftOut(ladder.id, "does not fit", reason)
    return tokens
