"""Estimate a training before it runs, without torch: lengths of ladders → passes → memory and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seelevel.forecast.memory import ALONE, FLOAT, WIDTHS, Memory, Pass, Piece, Split, trained_weights, training_memory
from seelevel.forecast.sizes import Shape
from seelevel.ladder import IMAGE_MARK, Ladder, Message, Response
from seelevel.training.objectives.views import View
from seelevel.training.schedule import answer_groups, buckets, group_into_rows, linked, schedule
from seelevel.training.settings import TOKENS_PER_BATCH, TrainSettings

TURN_TOKENS, HEAD_TOKENS = 4, 2
"""Tokens that a chat template writes around a turn, and how many of them come before it: responses share those."""
TOKENS_PER_WORD = 1.4
STEPS_SEEN = 400


@dataclass(frozen=True)
class Lengths:
    """A ladder in tokens: the prefix shared by its responses, each response, its pictures, its interaction, and its
    second views."""

    prefix: int
    responses: tuple[int, ...]
    pictures: int
    interaction: str
    views: tuple[Lengths, ...] = ()

    @property
    def with_views(self) -> tuple[Lengths, ...]:
        """What goes through the model in one pass: the ladder and its views."""
        return self, *self.views

    def row(self, layout: str) -> int:
        """Tokens of the ladder's row (shared), or of its longest row (rows)."""
        return self.prefix + (sum(self.responses) if layout == "shared" else max(self.responses))


@dataclass(frozen=True)
class Cost:
    """The cost of a training. `flops`: of all steps; `reference_flops`: of the reference's pass; `tokens`: padded, per
    epoch; `scored`: tokens with a log-prob, of all ladders; `pictures`: bytes of processed pictures that are kept in
    memory; `saved`: bytes of a copy of the weights on the disk; `largest`, `passes`: the largest pass of the largest
    step, and its number of passes."""

    memory: Memory
    steps: int
    flops: float
    reference_flops: float
    tokens: float
    scored: float
    pictures: float
    saved: float
    largest: Pass
    passes: int


def token_counter(model: str) -> Callable[[str], int]:
    """Counts tokens with the tokenizer in a model's folder, or from the number of words if there is none."""
    file = Path(model) / "tokenizer.json"
    if not file.is_file():
        return lambda text: round(len(text.split()) * TOKENS_PER_WORD)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def lengths(
    ladders: Sequence[Ladder],
    count: Callable[[str], int],
    image_tokens: int,
    levels: int,
    views: Sequence[Mapping[str, View]] = (),
) -> list[Lengths]:
    """Lengths of ladders. One with fewer than `levels` responses is filled up with copies of its longest one.

    views: those of each ladder, by name.
    """

    def tokens(messages: Sequence[Message]) -> int:
        return sum(TURN_TOKENS + count(m["content"].replace(IMAGE_MARK, "")) for m in messages)

    def measure(ladder: Ladder, responses: Sequence[Response], pictures: int, interaction: str) -> Lengths:
        prefix = tokens(ladder.prompt) + HEAD_TOKENS + pictures * image_tokens
        return Lengths(prefix, tuple(tokens(r.messages) - HEAD_TOKENS for r in responses), pictures, interaction)

    measured = []
    for ladder, of_ladder in zip(ladders, views or [{}] * len(ladders), strict=True):
        if ladder.responses:
            whole = measure(ladder, ladder.responses, len(ladder.images), ladder.interaction)
            more = (max(whole.responses),) * (levels - len(whole.responses))
            second_views = tuple(
                measure(ladder, view.responses, len(view.pictures), view.interaction(ladder, name))
                for name, view in of_ladder.items()
            )
            measured.append(replace(whole, responses=whole.responses + more, views=second_views))
    return measured


def passes(step: Sequence[Lengths], settings: TrainSettings, budget: int) -> list[Pass]:
    """The forward passes of a step, grouped as in the trainer."""
    most = settings.answers_per_pass if isinstance(settings.answers_per_pass, int) else None
    again = most is not None and not settings.offload_activations
    if settings.layout == "rows":
        rows = [sum(len(view.responses) for view in ladder.with_views) for ladder in step]
        longest = [max(view.row("rows") for view in ladder.with_views) for ladder in step]
        groups = buckets(longest, max(budget // max(rows), 1))
        return [_rows([view for n in group for view in step[n].with_views], most, again) for group in groups]
    owner = [n for n, ladder in enumerate(step) for _ in ladder.with_views]
    flat = [view for ladder in step for view in ladder.with_views]
    together = group_into_rows(
        [view.interaction for view in flat], lambda unit: _common_row([flat[n] for n in unit]), budget
    )
    units = [sorted((flat[n] for n in unit), key=lambda ladder: ladder.prefix) for unit in together]
    joined = linked([[owner[n] for n in unit] for unit in together])
    begins = [max(units[n][0].prefix for n in group) for group in joined]
    more = [sum(_row_tokens(units[n]) - units[n][0].prefix for n in group) for group in joined]
    packed = buckets(begins, budget, more, [*map(len, joined)])
    return [_shared([units[n] for item in group for n in joined[item]], most, again) for group in packed]


def _rows(ladders: Sequence[Lengths], most: int | None, again: bool) -> Pass:
    rows = [ladder.prefix + response for ladder in ladders for response in ladder.responses]
    groups = [range(len(rows))] if most is None else answer_groups(rows, most)
    pieces = tuple(Piece(len(group), max(rows[n] for n in group)) for group in groups)
    scored = sum(sum(ladder.responses) for ladder in ladders)
    pictures = sum(ladder.pictures * len(ladder.responses) for ladder in ladders)
    return Pass(pieces, scored, pictures, again)


def _shared(units: Sequence[Sequence[Lengths]], most: int | None, again: bool) -> Pass:
    """A pass over ladders that share prefixes, unit by unit: beginnings, what continues each history, answers."""
    begins = [unit[0].prefix for unit in units]
    pieces = [Piece(len(units), max(begins), padded=len(set(begins)) > 1, answers=False)]
    answers: dict[tuple[int, int], list[int]] = {}
    for number, unit in enumerate(units):
        before = unit[0].prefix
        for ladder in unit:
            if ladder.prefix > before:
                pieces.append(Piece(1, ladder.prefix - before, before, padded=False, answers=False))
                before = ladder.prefix
            place = (0, max(begins)) if before == unit[0].prefix else (number + 1, before)
            # What an answer's last token predicts is not scored.
            answers.setdefault(place, []).extend(max(length - 1, 1) for length in ladder.responses)
    for (_, before), own in answers.items():
        for group in answer_groups(own, most):
            pieces.append(Piece(len(group), own[group[0]], before, padded=own[group[0]] != own[group[-1]]))
    scored = sum(sum(ladder.responses) for unit in units for ladder in unit)
    return Pass(tuple(pieces), scored, sum(unit[0].pictures for unit in units), again)


def _row_tokens(ladders: Sequence[Lengths]) -> int:
    """Tokens of an interaction's rounds that share a prefix: the longest history, and every response."""
    return max(ladder.prefix for ladder in ladders) + sum(sum(ladder.responses) for ladder in ladders)


def _common_row(ladders: Sequence[Lengths]) -> int | None:
    """`_row_tokens`; None if the trainer keeps them apart: other pictures, or one ladder twice in a step."""
    apart = len(set(ladders)) < len(ladders) or len({ladder.pictures for ladder in ladders}) > 1
    return None if apart else _row_tokens(ladders)


def forward_flops(shape: Shape, one: Pass) -> tuple[float, float]:
    """Floating-point operations of a forward pass: of decoder, head and projector, and of the vision tower."""
    decoder = sum(decoder_flops(shape, piece) for piece in one.pieces)
    head = 2.0 * one.scored * shape.vocabulary * shape.hidden
    patches = one.pictures * (shape.picture.patches + 1)
    projector = 2.0 * one.pictures * shape.image_tokens * shape.projector_weights
    return decoder + head + projector, 2.0 * patches * shape.vision_weights


def decoder_flops(shape: Shape, piece: Piece) -> float:
    """Floating-point operations of a piece's forward pass through the decoder's layers."""
    products = 1.0 * piece.tokens * sum(block.count * block.flops for block in shape.blocks)
    looking = sum(block.count * block.queries for block in shape.blocks if block.quadratic)
    return products + 4.0 * piece.pairs * looking


def training_cost(
    shape: Shape,
    settings: TrainSettings,
    sample: Sequence[Lengths],
    ladders: int,
    device: str,
    dtype: str,
    mixed: bool = False,
    seed: int = 0,
    split: Split = ALONE,
) -> Cost:
    """The cost of training on `ladders` ladders like the `sample`'s; memory and passes are those of one process.

    Steps are drawn from the sample as the trainer draws them; if the sample is all ladders, they are the trainer's own.
    """
    budget = settings.tokens_per_batch or TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"])
    per_step = settings.ladders_per_step
    order = schedule([one.interaction for one in sample], settings.epochs, per_step, seed)[: STEPS_SEEN * per_step]
    shares = [order[start : start + per_step : split.processes] for start in range(0, len(order), per_step)]
    steps = [passes([sample[i] for i in share], settings, budget) for share in shares]
    memories = [(training_memory(shape, settings, step, dtype, mixed, split), step) for step in steps]
    memory, worst = max(memories, key=lambda pair: pair[0].total)
    flops = tokens = reference_flops = 0.0
    for one in (one for step in steps for one in step):
        decoder, vision = forward_flops(shape, one)
        back = (1 if settings.lora else 2) + settings.gradient_checkpointing
        frozen = settings.lora is not None or settings.freeze_vision
        again = sum(decoder_flops(shape, piece) for piece in one.twice)
        flops += decoder * (1 + back) + again + vision * (1 if frozen else 3)
        reference_flops += decoder + vision
        tokens += one.tokens
    sampled, every = sum(map(len, shares)), [one for ladder in sample for one in ladder.with_views]
    saved = trained_weights(shape, settings) * FLOAT if settings.lora else shape.weights * WIDTHS[dtype]
    return Cost(
        memory=memory,
        steps=max(math.ceil(ladders * settings.epochs / per_step), 1),
        flops=flops / sampled * ladders * settings.epochs,
        reference_flops=reference_flops / sampled * ladders * settings.objective.needs_reference,
        tokens=tokens / sampled * ladders,
        scored=sum(sum(one.responses) for one in every) / len(sample) * ladders,
        pictures=min(
            3.0 * shape.picture.pixels * 4 * sum(one.pictures for one in every) / len(sample) * ladders, 1 << 30
        ),
        saved=saved,
        largest=max(worst, key=lambda one: one.tokens),
        passes=len(worst),
    )
