"""Symmetric multimodal preference optimisation (SymMPO, arXiv 2506.11712): two pictures, each with its own answer.

    r(y | m)  = log π(y | m, x) − log π_ref(y | m, x)
    Δ         = r(y | m) − r(y' | m)                    given the ladder's picture m, its answer y is preferred
    Δ'        = r(y' | m') − r(y | m')                  given the other picture m', its answer y' is
    L(ladder) = mean over its best responses y of −log σ(β Δ) − log σ(β Δ') + γ (Δ − Δ')²

Every difference is of two answers to one picture and one prompt x, so the partition function Z(m, x) cancels, as in
DPO. It does not in `copo`, which compares two pictures. The last term is the consistency of the margins: γ is `gamma`.

m' and y' are the picture and the (first) best answer of a partner: another ladder with the same prompt, other pictures
and another best answer. The paper draws a picture that CLIP finds similar and has a model describe it; here
`partner: similar` compares the best answers' words, and the answer is one that the data has.

With DPO and anchors on both answers, the authors' code weighs both preferences 0.5 and the consistency 10⁻⁴:
`gamma: 0.0002` in a term of weight 0.5, the default. `ancpo` anchors y; y' is anchored where its own ladder is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_index, best_logs
from seelevel.training.objectives.picture_settings import SymmpoSettings
from seelevel.training.objectives.ratios import change, in_order, needed, summed, summed_rounding


def symmpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: SymmpoSettings
) -> tuple[Tensor, Logs]:
    """Mean loss over the ladders that have a partner, and what to log."""
    answer, picture = settings.view_names
    before, weight, beta = needed(reference), settings.round_weight, settings.beta
    parts = [(policy, before), *((policy.view(name), before.view(name)) for name in (answer, picture))]
    # r of the ladders' own responses; of the partners' answers given m; of y' and y given m'
    own, answers, others = (summed(change(now, then), weight) for now, then in parts)
    own_error, answers_error, others_error = (summed_rounding(now, then, weight) for now, then in parts)
    sizes = policy.view(picture).sizes
    index = best_index(ladders, [size > 0 for size in sizes], policy.values)
    theirs, first, mine = (
        torch.tensor(places, dtype=torch.long, device=index.place.device) for places in _places(sizes)
    )

    margin = own[index.place] - answers[theirs]
    other_margin = others[first] - others[mine]
    error = own_error[index.place].hypot(answers_error[theirs])
    other_error = others_error[first].hypot(others_error[mine])

    preference = -logsigmoid(beta * margin) - logsigmoid(beta * other_margin)
    consistency = settings.gamma * (margin - other_margin) ** 2
    terms = preference + consistency
    loss = index.mean(terms)

    right = in_order(margin.detach(), error) + in_order(other_margin.detach(), other_error)
    logs = {
        "image_preference": index.logged(preference),
        "image_consistency": index.logged(consistency),
        "image_margin": index.logged((margin + other_margin) / 2),
        "image_accuracy": index.logged(right / 2),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)


def _places(sizes: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """For each best response of the ladders with a partner: the place of the partner's answer among the answers given
    the ladder's picture; and of both answers among those given the partner's, where the partner's own comes first."""
    theirs, first, mine = list[int](), list[int](), list[int]()
    number = start = 0
    for size in filter(None, sizes):
        theirs += [number] * (size - 1)
        first += [start] * (size - 1)
        mine += range(start + 1, start + size)
        number, start = number + 1, start + size
    return theirs, first, mine
