"""The losses of `dpo`: one pure function each, [P] from the values of P pairs.

    r = log π(y | x) − log π_ref(y | x)    m = r_i − r_j    ℓ(x) = −log σ(x)    β: `beta`; ε: `label_smoothing`

They are those of TRL's DPOTrainer (1.16), by its names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, log1p

from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from seelevel.training.objectives.settings import DpoSettings


@dataclass(frozen=True)
class PairValues:
    """P pairs of a batch, ladder by ladder. better, worse: [P], r of their responses; reference: [P],
    log π_ref(y_i | x) − log π_ref(y_j | x); ladder: [P], the pairs' ladders, ascending."""

    better: Tensor
    worse: Tensor
    reference: Tensor
    ladder: Tensor

    @property
    def margin(self) -> Tensor:
        """m, [P]."""
        return self.better - self.worse

    def sorted(self, values: Tensor) -> Tensor:
        """[P]: the values of each ladder's pairs, ascending."""
        order = values.argsort(stable=True)
        return values[order[self.ladder[order].argsort(stable=True)]]


def smoothed(m: Tensor, s: DpoSettings) -> Tensor:
    """(1 − ε) ℓ(β m) + ε ℓ(−β m)."""
    return -(1 - s.label_smoothing) * logsigmoid(s.beta * m) - s.label_smoothing * logsigmoid(-s.beta * m)


def sigmoid(p: PairValues, s: DpoSettings) -> Tensor:
    """DPO (arXiv 2305.18290, eq. 7). ε > 0: conservative DPO, where a share ε of the preferences is wrong."""
    return smoothed(p.margin, s)


def hinge(p: PairValues, s: DpoSettings) -> Tensor:
    """SLiC's loss on DPO's margin, as RSO has it (arXiv 2309.06657)."""
    return relu(1 - s.beta * p.margin)


def ipo(p: PairValues, s: DpoSettings) -> Tensor:
    """IPO (arXiv 2310.12036, eq. 17); β is its τ."""
    return (p.margin - 1 / (2 * s.beta)) ** 2


def robust(p: PairValues, s: DpoSettings) -> Tensor:
    """Robust DPO (arXiv 2403.00409): unbiased if a share ε of the preferences is flipped."""
    right, flipped = logsigmoid(s.beta * p.margin), logsigmoid(-s.beta * p.margin)
    return -((1 - s.label_smoothing) * right - s.label_smoothing * flipped) / (1 - 2 * s.label_smoothing)


def exo_pair(p: PairValues, s: DpoSettings) -> Tensor:
    """EXO (arXiv 2402.00856, eq. 16): reverse KL from (σ(β m), σ(−β m)) to (1 − ε, ε)."""
    m, eps = s.beta * p.margin, s.label_smoothing
    return m.sigmoid() * (logsigmoid(m) - log1p(-eps)) + (-m).sigmoid() * (logsigmoid(-m) - log(eps))


def nca_pair(p: PairValues, s: DpoSettings) -> Tensor:
    """NCA (arXiv 2402.05369): the better response's likelihood must not fall."""
    better, worse = s.beta * p.better, s.beta * p.worse
    return -logsigmoid(better) - 0.5 * logsigmoid(-better) - 0.5 * logsigmoid(-worse)


def bco_pair(p: PairValues, s: DpoSettings) -> Tensor:
    """BCO (arXiv 2404.04656): good or bad, each response for itself. Its reward shift δ is 0, as in TRL: the paper's is
    a running mean over steps, and depends on more than the ladder."""
    return -logsigmoid(s.beta * p.better) - logsigmoid(-s.beta * p.worse)


def sppo_hard(p: PairValues, s: DpoSettings) -> Tensor:
    """SPPO (arXiv 2405.00675, eq. 4.7), where the better response wins with probability 1."""
    return (p.better - 0.5 / s.beta) ** 2 + (p.worse + 0.5 / s.beta) ** 2


def apo_zero(p: PairValues, s: DpoSettings) -> Tensor:
    """APO-zero (arXiv 2408.06266, eq. 7): better responses up, worse ones down."""
    return (-s.beta * p.better).sigmoid() + (s.beta * p.worse).sigmoid()


def apo_down(p: PairValues, s: DpoSettings) -> Tensor:
    """APO-down (arXiv 2408.06266, eq. 8): both down, worse ones more; for models better than their data."""
    return (s.beta * p.better).sigmoid() + (-s.beta * p.margin).sigmoid()


def discopop(p: PairValues, s: DpoSettings) -> Tensor:
    """DiscoPOP (arXiv 2406.08414, eq. 5): ℓ(β m) and exp(−β m), mixed by σ(β m / τ)."""
    m = s.beta * p.margin
    share = m / s.discopop_tau
    # exp(−m) · σ(share) in one exponential: the first factor overflows for a very wrong pair, the product does not
    return -logsigmoid(m) * (-share).sigmoid() + (logsigmoid(share) - m).exp()


def aot(p: PairValues, s: DpoSettings) -> Tensor:
    """AOT (arXiv 2406.05882): the log-ratios of a ladder's pairs, sorted, against the reference's, sorted. The paper
    and TRL sort a batch, and a loss would depend on what else is in it."""
    return smoothed(p.sorted(p.margin + p.reference) - p.sorted(p.reference), s)


def aot_unpaired(p: PairValues, s: DpoSettings) -> Tensor:
    """AOT (arXiv 2406.05882), unpaired: r of the better responses, sorted, against r of the worse ones, sorted."""
    return smoothed(p.sorted(p.better) - p.sorted(p.worse), s)


LOSSES: dict[str, Callable[[PairValues, DpoSettings], Tensor]] = {
    "sigmoid": sigmoid,
    "sigmoid_norm": sigmoid,  # SimPO's means over tokens (arXiv 2405.14734)
    "hinge": hinge,
    "ipo": ipo,
    "robust": robust,
    "exo_pair": exo_pair,
    "nca_pair": nca_pair,
    "bco_pair": bco_pair,
    "sppo_hard": sppo_hard,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "discopop": discopop,
    "aot": aot,
    "aot_unpaired": aot_unpaired,
}
