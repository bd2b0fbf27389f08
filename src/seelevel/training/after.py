"""What a training computes when its last step is done: the log-probs of its ladders under the trained model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate.utils import gather_object
from torch import Tensor

from seelevel.progress import Progress
from seelevel.training.compiling import uncompiled
from seelevel.training.logprobs import token_logprobs
from seelevel.training.margins import LadderLogprobs, Summed
from seelevel.training.packing.tokens import NOT_SCORED, TokenisedLadder
from seelevel.training.prepare import Prepared
from seelevel.training.trainer import PreferenceTrainer


def evenly(count: int, most: int | None) -> list[int]:
    """At most `most` of `count` places, evenly spaced from the first; None: all."""
    if most is None or most >= count:
        return list(range(count))
    return [number * count // most for number in range(most)]


def logprobs_after(trainer: PreferenceTrainer, data: Prepared, places: Sequence[int]) -> list[LadderLogprobs]:
    """The log-probs of these ladders (indices) under the trained model and the reference, in their order.

    The passes are grouped as in training, but do not depend on the number of processes, which share them. All processes
    have equally many, which a sharded model needs.
    """
    trained = _trained_values(trainer, data, places)
    logprobs = []
    for place, values in zip(places, trained, strict=True):
        ladder, tokens = data.ladders[place], data.tokenised[place]
        reference = [None] * len(values) if trainer.reference is None else _sums(trainer.reference[place], tokens)
        responses = [
            Summed(response.id, length, before, after)
            for response, length, before, after in zip(
                ladder.responses, _lengths(tokens), reference, values, strict=True
            )
        ]
        logprobs.append(LadderLogprobs.of(ladder, responses))
    return logprobs


@torch.no_grad()
def _trained_values(trainer: PreferenceTrainer, data: Prepared, places: Sequence[int]) -> list[list[float]]:
    """Each ladder's sums, one per response."""
    model, processes = trainer.model_wrapped, trainer.accelerator.num_processes
    training = model.training
    model.eval()
    passes = trainer.passes(places)
    mine = [
        passes[(n * processes + trainer.accelerator.process_index) % len(passes)]
        for n in range(-(-len(passes) // processes))
    ]
    sums = dict[int, list[float]]()
    with Progress("log-probs after", total=len(mine), unit="passes") as bar, uncompiled():
        for chosen, batch in zip(mine, trainer.batches(mine), strict=True):
            with trainer.accelerator.autocast():
                values = token_logprobs(model, batch).values.cpu()
            scored = [sum(_lengths(data.tokenised[place])) for place in chosen]
            of_ladders = values[: sum(scored)].split(scored)  # after them come the ladders' views
            sums |= {n: _sums(part, data.tokenised[n]) for n, part in zip(chosen, of_ladders, strict=True)}
            bar.advance()
    model.train(training)
    gathered = {place: values for of_process in gather_object([sums]) for place, values in of_process.items()}
    return [gathered[place] for place in places]


def _lengths(tokens: TokenisedLadder) -> list[int]:
    return [int((rounds != NOT_SCORED).sum()) for rounds in tokens.rounds]


def _sums(values: Tensor, tokens: TokenisedLadder) -> list[float]:
    """The sum over each response's scored tokens. values: [N] in the order of `TokenLogprobs`."""
    return [float(of_response.double().sum()) for of_response in values.split(_lengths(tokens))]
