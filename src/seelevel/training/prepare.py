"""Ladders that can be trained on, as tokens; and the others, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from seelevel.errors import InputError
from seelevel.images import Picture
from seelevel.ladder import IMAGE_MARK, Ladder
from seelevel.notes import RoundOf
from seelevel.progress import Progress, say
from seelevel.training.divided import divided
from seelevel.training.objectives.base import Objective
from seelevel.training.objectives.views import View
from seelevel.training.packing import fits, unique_tokens
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder, UnusableLadderError, tokenise
from seelevel.training.settings import Layout, TrainSettings

EXPECTED = ("refined answer not rated higher", "no pair", "no second picture")
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
    """The ladders to train on and their tokens, in one order; the reader of their pictures; the ladders left out.

    `tokenised` has the ladders, then their second views. `views`: the place of each ladder's views in it.
    """

    ladders: list[Ladder]
    tokenised: list[TokenisedLadder]
    images: ImageReader
    left_out: list[LeftOut]
    views: list[dict[str, int]]

    @property
    def interactions(self) -> list[str]:
        """The interaction that each ladder is a round of. The training order keeps rounds together."""
        return [tokens.interaction for tokens in self.tokenised[: len(self.ladders)]]

    def tokens_of(self, ladders: Sequence[int], layout: Layout, budget: int) -> int:
        """Tokens that one process computes for these ladders and their views, without padding."""
        return unique_tokens([self.tokenised[place] for place in self.with_views(ladders)[0]], layout, budget)

    def with_views(self, ladders: Sequence[int]) -> tuple[list[int], dict[str, list[int | None]]]:
        """The places in `tokenised` of these ladders, then of their views; and by name, the index of each ladder's view
        in that list, or None."""
        places, names = [*ladders], {name: None for ladder in ladders for name in self.views[ladder]}
        views = dict[str, list[int | None]]()
        for name in names:
            have = [name in self.views[ladder] for ladder in ladders]
            numbers = iter(range(len(places), len(places) + sum(have)))
            views[name] = [next(numbers) if has else None for has in have]
            places += [self.views[ladder][name] for ladder in ladders if name in self.views[ladder]]
        return places, views


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
    ladders: Sequence[Ladder], processor: Any, images: ImageReader, settings: TrainSettings, config: Any, seed: int = 0
) -> Prepared:
    """Tokenise the ladders that can be trained on; processes share the work. Raises `InputError` with counts by kind if
    there is none."""
    limit = settings.max_length or config.get_text_config().max_position_embeddings
    special = sorted(set(processor.tokenizer.all_special_tokens) - {IMAGE_MARK})
    tokenised = partial(_tokenised, processor=processor, images=images, special=special, limit=limit)
    objective, left_out = settings.objective, list[LeftOut]()

    def leave_out(entry: LeftOut) -> None:
        left_out.append(entry)
        if entry.kind not in EXPECTED:
            say(f"left out: ladder {entry.id}: {entry.reason}")

    def tokens_of(whole: Ladder) -> TokenisedLadder | LeftOut:
        ladder = objective.select_responses(whole)
        return _passed_over(whole, ladder, settings) or tokenised(ladder)

    def views_of(item: tuple[tuple[Ladder, TokenisedLadder], dict[str, View]]) -> dict[str, TokenisedLadder] | LeftOut:
        (ladder, _), views = item
        return _views(ladder, views, objective, tokenised)

    usable = list[tuple[Ladder, TokenisedLadder]]()
    with Progress("tokenise", total=len(ladders), unit="ladders") as bar:
        for whole, tokens in zip(ladders, divided(tokens_of, ladders), strict=True):
            bar.advance()
            if isinstance(tokens, LeftOut):
                leave_out(tokens)
            else:
                usable.append((objective.select_responses(whole), tokens))
    prepared, second_views = Prepared([], [], images, left_out, []), list[TokenisedLadder]()
    views = objective.views([ladder for ladder, _ in usable], seed)
    watch = Progress("second pictures", total=len(usable), unit="ladders") if any(views) else nullcontext()
    with watch as bar_of_views:
        for (ladder, tokens), of_ladder in zip(usable, divided(views_of, zip(usable, views, strict=True)), strict=True):
            if bar_of_views is not None:
                bar_of_views.advance()
            if isinstance(of_ladder, LeftOut):
                leave_out(of_ladder)
                continue
            prepared.views.append({name: len(second_views) + number for number, name in enumerate(of_ladder)})
            prepared.ladders.append(ladder)
            prepared.tokenised.append(tokens)
            second_views.extend(of_ladder.values())
    for places in prepared.views:
        places.update({name: len(prepared.ladders) + place for name, place in places.items()})
    prepared.tokenised.extend(second_views)
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


def _views(
    ladder: Ladder, views: dict[str, View], objective: Objective, tokenised: Callable[..., TokenisedLadder | LeftOut]
) -> dict[str, TokenisedLadder] | LeftOut:
    """The tokens of a ladder's views, or why it cannot be trained on."""
    if not objective.learns_from(ladder, views):
        reason = f"objective {objective.name} has no second picture, or no answer to it, for this ladder"
        return LeftOut(ladder.id, "no second picture", reason)
    by_name = dict[str, TokenisedLadder]()
    for name, view in views.items():
        responses = [replace(response, level=0) for response in view.responses]
        place = RoundOf(view.interaction(ladder, name), 0)
        second = replace(ladder, id=f"{ladder.id} ({name})", responses=responses, round_of=place)
        tokens = tokenised(second, pictures=view.pictures)
        if isinstance(tokens, LeftOut):
            return LeftOut(ladder.id, tokens.kind, f"{name}: {tokens.reason}")
        by_name[name] = tokens
    return by_name


def _tokenised(
    ladder: Ladder,
    processor: Any,
    images: ImageReader,
    special: Sequence[str],
    limit: int,
    pictures: tuple[Picture, ...] = (),
) -> TokenisedLadder | LeftOut:
    """A ladder's tokens, or why it cannot be tokenised or is too long."""
    if token := special_token_in(ladder, special):
        reason = f"its text contains '{token}', which this model's tokenizer reads as a special token"
        return LeftOut(ladder.id, "special token in the text", reason)
    try:
        tokens = tokenise(ladder, processor, images, pictures)
    except UnusableLadderError as error:
        return LeftOut(ladder.id, "unusable", str(error).removeprefix(f"ladder {ladder.id}: "))
    if reason := fits(tokens, limit):
        return LeftOut(ladder.id, "does not fit", reason)
    return tokens
