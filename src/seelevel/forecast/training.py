"""What a training would cost, figured before it runs, torch-free: lengths of ladders → passes → memory, arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seelevel.forecast.memory import Memory, Pass, training_memory
from seelevel.forecast.shapes import Shape
from seelevel.ladder import IMAGE_MARK, Ladder, Message
from seelevel.training.schedule import buckets, group_into_rows, schedule
from seelevel.training.settings import TOKENS_PER_BATCH, TrainSettings

TURN_TOKENS, HEAD_TOKENS = 4, 2
"""What a chat template writes around a turn, and how much of it before the turn: an answer's head is shared."""
TOKENS_PER_WORD = 1.4
STEPS_SEEN = 400


@dataclass(frozen=True)
class Lengths:
    """A ladder in tokens: what its responses share, each response, pictures; and the interaction it is a round of."""

    prefix: int
    responses: tuple[int, ...]
    pictures: int
    interaction: str

    def row(self, layout: str) -> int:
        """Tokens of the ladder's row, or of the longest of its rows."""
        return self.prefix + (sum(self.responses) if layout == "shared" else max(self.responses))


@dataclass(frozen=True)
class Cost:
    """A training: its memory; floating-point operations of all steps and of the reference pass; padded tokens of an
    epoch and scored tokens of all ladders; bytes of processed pictures that are kept; the largest step's passes."""

    memory: Memory
    steps: int
    flops: float
    reference_flops: float
    tokens: float
    scored: float
    pictures: float
    largest: Pass
    passes: int


def token_counter(model: str) -> Callable[[str], int]:
    """Tokens of a text by the tokenizer in a model's folder, or by its words where there is none."""
    file = Path(model) / "tokenizer.json"
    if not file.is_file():
        return lambda text: round(len(text.split()) * TOKENS_PER_WORD)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def lengths(ladders: Iterable[Ladder], count: Callable[[str], int], image_tokens: int, levels: int) -> list[Lengths]:
    """Lengths of ladders; one that has not got its `levels` responses yet is given more like its longest one."""

    def tokens(messages: Sequence[Message]) -> int:
        return sum(TURN_TOKENS + count(m["content"].replace(IMAGE_MARK, "")) for m in messages)

    found = []
    for ladder in ladders:
        prefix = tokens(ladder.prompt) + HEAD_TOKENS + len(ladder.images) * image_tokens
        responses = [tokens(r.messages) - HEAD_TOKENS for r in ladder.responses]
        if responses:
            responses += [max(responses)] * (levels - len(responses))
            found.append(Lengths(prefix, tuple(responses), len(ladder.images), ladder.interaction))
    return found


def passes(step: Sequence[Lengths], settings: TrainSettings, budget: int) -> list[Pass]:
    """The forward passes of a step, as the trainer cuts it."""
    shared = settings.layout == "shared"
    rows = [[one] for one in step]
    if shared:
        names = [one.interaction for one in step]
        together = group_into_rows(names, lambda row: _joined_length([step[n] for n in row]), budget)
        rows = [[step[n] for n in row] for row in together]
    else:
        budget = max(budget // max(len(one.responses) for one in step), 1)
    sizes = [_row_length(row) if shared else row[0].row("rows") for row in rows]
    found = []
    for group in buckets(sizes, budget):
        copies = [1 if shared else len(rows[i][0].responses) for i in group]
        pictures = sum(rows[i][0].pictures * count for i, count in zip(group, copies, strict=True))
        scored = sum(sum(one.responses) for i in group for one in rows[i])
        found.append(Pass(sum(copies), max(sizes[i] for i in group), scored, pictures))
    return found


def _row_length(ladders: Sequence[Lengths]) -> int:
    """Tokens of the row that an interaction's rounds share: the longest history, and every response."""
    return max(one.prefix for one in ladders) + sum(sum(one.responses) for one in ladders)


def _joined_length(ladders: Sequence[Lengths]) -> int | None:
    """`_row_length`; None where the trainer keeps them apart: other pictures, or one ladder twice in a step."""
    apart = len(set(ladders)) < len(ladders) or len({one.pictures for one in ladders}) > 1
    return None if apart else _row_length(ladders)


def forward_flops(shape: Shape, one: Pass) -> tuple[float, float]:
    """Floating-point operations of a forward pass: of what trains with the decoder, and of the vision tower."""
    decoder = 2.0 * one.tokens * shape.layers * (shape.block - 2 * shape.hidden)
    attention = 4.0 * one.rows * one.length**2 * shape.layers * shape.queries
    head = 2.0 * one.scored * shape.vocabulary * shape.hidden
    seen = one.pictures * (shape.patches + 1)
    projector = 2.0 * one.pictures * shape.image_tokens * shape.projector_weights
    return decoder + attention + head + projector, 2.0 * seen * shape.vision_weights


def training_cost(
    shape: Shape,
    settings: TrainSettings,
    sample: Sequence[Lengths],
    ladders: int,
    device: str,
    dtype: str,
    mixed: bool = False,
    seed: int = 0,
) -> Cost:
    """The cost of training on `ladders` ladders like the `sample`'s, which may be all of them: steps are drawn from it
    as the trainer draws them, and where it is all, they are the trainer's."""
    budget = settings.tokens_per_batch or TOKENS_PER_BATCH.get(device, TOKENS_PER_BATCH["cuda"])
    per_step = settings.ladders_per_step
    order = schedule([one.interaction for one in sample], settings.epochs, per_step, seed)[: STEPS_SEEN * per_step]
    steps = [
        passes([sample[i] for i in order[start : start + per_step]], settings, budget)
        for start in range(0, len(order), per_step)
    ]
    memories = [(training_memory(shape, settings, step, dtype, mixed), step) for step in steps]
    memory, worst = max(memories, key=lambda found: found[0].total)
    flops = tokens = looked = 0.0
    for one in (one for step in steps for one in step):
        decoder, vision = forward_flops(shape, one)
        back = (1 if settings.lora else 2) + settings.gradient_checkpointing
        frozen = settings.lora is not None or settings.freeze_vision
        flops += decoder * (1 + back) + vision * (1 if frozen else 3)
        looked += decoder + vision
        tokens += one.tokens
    seen = len(order)
    return Cost(
        memory=memory,
        steps=max(math.ceil(ladders * settings.epochs / per_step), 1),
        flops=flops / seen * ladders * settings.epochs,
        reference_flops=looked / seen * ladders * settings.objective.needs_reference,
        tokens=tokens / seen * ladders,
        scored=sum(sum(one.responses) for one in sample) / len(sample) * ladders,
        pictures=min(3.0 * shape.side**2 * 4 * sum(one.pictures for one in sample) / len(sample) * ladders, 1 << 30),
        largest=max(worst, key=lambda one: one.tokens),
        passes=len(worst),
    )
