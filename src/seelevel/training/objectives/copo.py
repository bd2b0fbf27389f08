"""Conditional preference optimisation (CoPO): the picture term of mDPO (arXiv 2406.11839).

    r(m)      = log π(y | m, x) − log π_ref(y | m, x)
    L(ladder) = mean over its best responses y of −log σ(β (r(m) − r(m')))

m: the ladder's picture; m': a corrupted one; x: the prompt. The answer stays the same, so only the picture can make the
difference: DPO alone may learn its preferences from the text. With DPO on the ladder's pairs and the anchor `ancpo`,
added with weights of 1, this is the loss of mDPO.

SymMPO (arXiv 2506.11712) shows what the term leaves out: r(m) − r(m') is a difference of rewards only up to
β (log Z(m, x) − log Z(m', x)), because the partition function Z depends on the picture. `symmpo` compares two answers
given one picture, where Z cancels.

`corruption: crop` keeps a random 0–20 % of the picture's area, enlarged to the size of the whole, as in the paper. It
is decided here that the part has the picture's proportions and a uniform place, and that a ladder has one second
picture, the same in every epoch. The authors' public code masks picture tokens instead of cropping. `other` shows the
pictures of another ladder.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import logsigmoid

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_index, best_logs
from seelevel.training.objectives.picture_settings import CopoSettings
from seelevel.training.objectives.ratios import change, in_order, needed, summed, summed_rounding


def copo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: CopoSettings
) -> tuple[Tensor, Logs]:
    """Mean loss over the ladders that have the view, and what to log."""
    [name] = settings.view_names
    weight, second, second_before = settings.round_weight, policy.view(name), needed(reference).view(name)
    index = best_index(ladders, [size > 0 for size in second.sizes], policy.values)

    margin = summed(change(policy, reference), weight)[index.place] - summed(change(second, second_before), weight)
    error = summed_rounding(policy, reference, weight)[index.place]
    error = error.hypot(summed_rounding(second, second_before, weight))

    terms = -logsigmoid(settings.beta * margin)
    loss = index.mean(terms)

    logs = {
        "image_preference": index.logged(terms),
        "image_margin": index.logged(margin),
        "image_accuracy": index.logged(in_order(margin.detach(), error)),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)
