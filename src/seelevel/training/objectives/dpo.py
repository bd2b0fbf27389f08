"""Direct preference optimisation (DPO, arXiv 2305.18290) on ladders, and its kin.

    m = r_i − r_j        r_i = log π(y_i | x) − log π_ref(y_i | x)
    L(ladder) = mean over pairs (i, j) of
        sigmoid   −(1 − ε) log σ(β m) − ε log σ(−β m)   ε > 0: conservative DPO, where a share ε of the labels is wrong
        hinge     max(0, 1 − β m)                       SLiC's loss on DPO's margin, as RSO has it (arXiv 2309.06657)
        ipo       (m − 1 / (2β))²                       IPO (arXiv 2310.12036, eq. 17; β is its τ)

β: `beta`; ε: `label_smoothing`. Log-probabilities are sums over tokens; in `ipo` they are means, as TRL has it: the
paper writes of whole answers and says nothing of tokens, but its authors told TRL that their results are with means
(with sums, long answers reach the target 1 / (2β) sooner). `per_token` says which for any of them. The pairs are best
against worst by default: what a pairwise method would be given of a ladder. With `sigmoid` it is MDPO without the
penalty, on other pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from seelevel.ladder import Ladder
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.pairs import best_logs, margin_logs, pair_index
from seelevel.training.objectives.ratios import averaged, averaged_rounding, change, summed, summed_rounding
from seelevel.training.objectives.settings import DpoSettings


def sigmoid(m: Tensor, s: DpoSettings) -> Tensor:
    return -(1 - s.label_smoothing) * logsigmoid(s.beta * m) - s.label_smoothing * logsigmoid(-s.beta * m)


def hinge(m: Tensor, s: DpoSettings) -> Tensor:
    return relu(1 - s.beta * m)


def ipo(m: Tensor, s: DpoSettings) -> Tensor:
    return (m - 1 / (2 * s.beta)) ** 2


LOSSES = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo}


def dpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: DpoSettings
) -> tuple[Tensor, Logs]:
    """Mean DPO loss over the ladders that have a pair, and what to log."""
    by_response, rounding = (averaged, averaged_rounding) if settings.in_means else (summed, summed_rounding)
    r = by_response(change(policy, reference), settings.round_weight)
    index = pair_index(ladders, settings.pairs, r)

    terms = LOSSES[settings.loss](r[index.better] - r[index.worse], settings)
    loss = index.mean(terms)

    logs = {
        "preference": index.logged(terms),
        **margin_logs(r, rounding(policy, reference, settings.round_weight), ladders, index),
        **best_logs(policy, reference, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)
