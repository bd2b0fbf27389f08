"""Policy gradient with advantages relative to the group: a ladder's responses are the group.

    L(ladder) = −mean over its K responses of the mean over tokens t of min(ρ_t A, clip(ρ_t, 1 − ε, 1 + ε) A)
    ρ_t       = π(y_t | x, y_<t) / π_ref(y_t | x, y_<t)        ε: `clip`

`advantage` is A of a response, from its reward s:

    grpo      (s − mean of the ladder's s) / (their standard deviation + 10⁻⁴)        GRPO (arXiv 2402.03300)
    rloo      s − mean of the other responses' s                                      RLOO (arXiv 2402.14740)

`ratio: response` has one ratio per response, the exponential of its mean log-ratio (GSPO, arXiv 2507.18071), and
`none` has none: −A · log π(y | x) over tokens. `per_token: false` takes sums over tokens instead of means:
`advantage: rloo, ratio: response, per_token: false` is the loss of TRL's RLOOTrainer.

s is the responses' score called `score`, if all of a ladder's responses have it, and else their level: 1 for the best
level, 0 for the worst, evenly between. The responses are the data's, nothing is sampled during training; the ratio is
an importance weight only if they are samples of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p
from statistics import fmean, stdev
from typing import Literal

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.levels import dense_levels
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs, Mean
from seelevel.training.objectives.pairs import best_logs, margin_logs, pair_index
from seelevel.training.objectives.ratios import averaged, averaged_rounding, change, summed, summed_rounding
from seelevel.training.objectives.settings import GrpoSettings

LEAST_DEVIATION = 1e-4


def scores(ladder: Ladder, name: str | None) -> list[float] | None:
    """The responses' scores called `name`, if each has one."""
    values = [response.scores[name] for response in ladder.responses if name in response.scores]
    return values if name is not None and len(values) == len(ladder.responses) else None


def level_rewards(levels: Sequence[int]) -> list[float]:
    """1 for the best level, 0 for the worst, evenly between; for at least two levels."""
    dense = dense_levels(levels)
    return [1 - level / max(dense) for level in dense]


def advantages(rewards: Sequence[float], kind: Literal["grpo", "rloo"]) -> list[float]:
    """One advantage per reward of a group of at least two."""
    if kind == "rloo":
        return [reward - (sum(rewards) - reward) / (len(rewards) - 1) for reward in rewards]
    mean, deviation = fmean(rewards), stdev(rewards)
    return [(reward - mean) / (deviation + LEAST_DEVIATION) for reward in rewards]


def clipped(log_ratio: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), and 1 where the clip decides; all of one shape. It clips log ρ, so that a
    ratio too large for a number has a gradient of 0."""
    least, most = log1p(-clip), log1p(clip)
    bounded = torch.where(advantage < 0, log_ratio.clamp(min=least), log_ratio.clamp(max=most))
    return advantage * bounded.exp(), ((bounded != log_ratio) & (advantage != 0)).to(log_ratio.dtype)


def gains(
    policy: TokenLogprobs, reference: TokenLogprobs | None, advantage: Tensor, settings: GrpoSettings
) -> tuple[Tensor, Tensor]:
    """[R]: each response's part of the goal, and the share of it that the clip decides. advantage: [R]."""
    by_response, weight = (averaged if settings.per_token else summed), settings.round_weight
    if settings.ratio == "none":
        return advantage * by_response(policy, weight), torch.zeros_like(advantage)
    moved = change(policy, reference)
    if settings.ratio == "response":
        return clipped(by_response(moved, weight), advantage, settings.clip)
    of_tokens = advantage.repeat_interleave(torch.cat(moved.lengths()).long())
    values, cut = clipped(moved.values, of_tokens, settings.clip)
    return by_response(moved.with_values(values), weight), averaged(moved.with_values(cut), weight)


def grpo(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: GrpoSettings
) -> tuple[Tensor, Logs]:
    """Mean loss over the ladders of two levels at least, and what to log."""
    flat, shares = list[float](), list[float]()
    scored = count = 0
    for ladder in ladders:
        size = len(ladder.responses)
        if not settings.has_signal(ladder.levels):
            flat += [0.0] * size
            shares += [0.0] * size
            continue
        rewards = scores(ladder, settings.score)
        flat += advantages(rewards or level_rewards(ladder.levels), settings.advantage)
        shares += [1 / size] * size
        scored += rewards is not None
        count += 1
    advantage, share = (
        torch.tensor(numbers, dtype=policy.values.dtype, device=policy.values.device) for numbers in (flat, shares)
    )

    gain, cut = gains(policy, reference, advantage, settings)
    loss = -(share * gain).sum() / max(count, 1)

    compared = change(policy, reference) if settings.needs_reference else policy
    by_response, rounding = (averaged, averaged_rounding) if settings.per_token else (summed, summed_rounding)
    before = reference if settings.needs_reference else None
    logs = {
        "clipped": Mean((share * cut).sum().detach(), count),
        "scored": Mean(scored, count),
        **margin_logs(
            by_response(compared, settings.round_weight),
            rounding(policy, before, settings.round_weight),
            ladders,
            pair_index(ladders, "all", policy.values),
        ),
        **best_logs(policy, before, ladders),
    }
    return loss, Logs(logs, count, len(ladders) - count)
