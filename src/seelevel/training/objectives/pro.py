"""Preference ranking optimisation (PRO, Song et al. 2023, arXiv 2306.17492).

    a_k       = log π(y_k | x) / |y_k|                                                                        k: a level
    L(ladder) = −Σ_k log [ exp(a_k / T_kk) / (exp(a_k / T_kk) + Σ_{j below k} exp(a_j / T_kj)) ] + γ (L − 1)² SFT
    T_kj      = 1 / (s_k − s_j),  T_kk = min_j T_kj;  SFT = −log π(y_0 | x)

The sum is over all L levels but the lowest; a tied group is one level, whose term is the mean of its members'. s: the
responses' scores called `score`, if all of a ladder's responses have one and they fall from level to level; in other
ladders T = 1 (`scored` logs the share of ladders with scores). γ: `gamma`, times (L − 1)² as in the paper; SFT's sum is
over tokens, as in its authors' code. No reference is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seelevel.ladder import Ladder
from seelevel.training.objectives.choices import choice_index
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs, Mean
from seelevel.training.objectives.pairs import best_logs, best_share, margin_logs, pair_index
from seelevel.training.objectives.ratios import averaged, averaged_rounding, summed
from seelevel.training.objectives.settings import ProSettings


def scores(ladder: Ladder, name: str | None) -> list[float] | None:
    """The responses' scores, if each has one and every better response has a higher one than every worse one."""
    values = [response.scores[name] for response in ladder.responses if name in response.scores]
    if not values or len(values) < len(ladder.responses) or not all(values[i] > values[j] for i, j in ladder.pairs()):
        return None
    return values


def gaps(scores_of: Sequence[list[float] | None], ladders: Sequence[Ladder], among: Tensor, like: Tensor) -> Tensor:
    """1 / T of every response of every choice, [C, W]; 1 where its ladder has no scores."""
    by_ladder = list(zip(scores_of, ladders, strict=True))
    flat = [s for values, ladder in by_ladder for s in values or [0.0] * len(ladder.responses)]
    has = [values is not None for values, ladder in by_ladder for _ in ladder.responses]
    s = torch.tensor(flat, dtype=like.dtype, device=like.device)
    gap = s[among[:, :1]] - s[among]
    gap[:, 0] = gap.amax(1)  # T_kk is the least of T_kj
    return gap.where(torch.tensor(has, dtype=torch.bool, device=like.device)[among], 1)


def pro(
    policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder], settings: ProSettings
) -> tuple[Tensor, Logs]:
    """Mean PRO loss over the ladders of two levels at least, and what to log."""
    a, logprob = averaged(policy, settings.round_weight), summed(policy, settings.round_weight)
    index = choice_index(ladders, a)
    scores_of = [scores(ladder, settings.score) if settings.has_signal(ladder.levels) else None for ladder in ladders]
    gap = gaps(scores_of, ladders, index.among, a)
    squares = [(len(set(ladder.levels)) - 1) ** 2 for ladder in ladders for _ in ladder.responses]
    weight = settings.gamma * torch.tensor(squares, dtype=a.dtype, device=a.device)

    ranking = index.terms(a[index.among] * gap)
    nll = -(best_share(ladders, logprob) * weight * logprob).sum()
    loss = index.mean(ranking) + nll / max(index.ladders, 1)

    logs = {
        "preference": index.logged(ranking),
        "nll": Mean(nll.detach(), index.ladders),
        "scored": Mean(sum(values is not None for values in scores_of), index.ladders),
        **margin_logs(
            a, averaged_rounding(policy, None, settings.round_weight), ladders, pair_index(ladders, "all", a)
        ),
        **best_logs(policy, None, ladders),
    }
    return loss, Logs(logs, index.ladders, index.without)
