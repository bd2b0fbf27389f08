"""Ladders and log-probabilities written out by hand, and drawn by hypothesis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from seelevel.ladder import Ladder, Response
from seelevel.registry import choose
from seelevel.training.objectives import OBJECTIVES
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.objectives.logs import Logs
from seelevel.training.objectives.picture_settings import AncpoSettings, CopoSettings, SymmpoSettings
from seelevel.training.objectives.settings import (
    ConditionalSettings,
    DdpoSettings,
    DpoSettings,
    GrpoSettings,
    KwiseSettings,
    MdpoSettings,
    MpoSettings,
    ProSettings,
    SftSettings,
)

SETTINGS: dict[str, Any] = {
    "mdpo": MdpoSettings(),
    "mdpo-dpop": MdpoSettings(penalty="dpop", pairs="adjacent"),
    "mdpo-mean": MdpoSettings(penalty="mean", pairs="best-vs-rest"),
    "mdpo-tokens": MdpoSettings(penalty="clamped-tokens"),
    "dpo": DpoSettings(label_smoothing=0.1),
    "hinge": DpoSettings(loss="hinge", pairs="all", beta=0.3),
    "ipo": DpoSettings(loss="ipo", pairs="all", beta=0.4),
    "aot": DpoSettings(loss="aot", pairs="all", beta=0.4),
    "ld": DpoSettings(loss="bco_pair", ld_alpha=0.3, pairs="all"),
    "mpo": MpoSettings(),
    "mpo-of-others": MpoSettings(terms=[KwiseSettings(), GrpoSettings()], weights=[1, 2]),
    "grpo": GrpoSettings(score="score", ratio="response"),
    "rloo": GrpoSettings(advantage="rloo", ratio="none", per_token=False),
    "kwise": KwiseSettings(beta=0.3),
    "pro": ProSettings(),
    "ddpo": DdpoSettings(pairs="all"),
    "copo": CopoSettings(),
    "ancpo": AncpoSettings(delta=0.2),
    "symmpo": SymmpoSettings(gamma=0.1),
    "mdpo-of-the-field": MpoSettings(terms=[DpoSettings(), CopoSettings(), AncpoSettings()], weights=[1, 1, 1]),
    "sft": SftSettings(),
    "conditional": ConditionalSettings(),
}
"""One of each kind."""


def minus_log_sigmoid(x: float) -> float:
    return math.log(1 + math.exp(-x))


def ladder(*levels: int, scores: Sequence[float] | None = None, name: str = "") -> Ladder:
    responses = [
        Response([{"role": "assistant", "content": "x"}], level, scores={} if scores is None else {"score": scores[n]})
        for n, level in enumerate(levels)
    ]
    return Ladder(name or "-".join(map(str, levels)) or "none", [], [{"role": "user", "content": "?"}], responses)


def logprobs(
    *ladders: Sequence[Sequence[float]],
    tokens: Sequence[int] | None = None,
    rounds: Sequence[int] | None = None,
) -> TokenLogprobs:
    """Log-probs of tokens: a list of responses a ladder, a list of tokens a response. Token ids differ if not given."""
    rows = [(v, la, re) for la, rs in enumerate(ladders) for re, ts in enumerate(rs) for v in ts]
    values = torch.tensor([v for v, _, _ in rows], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[la, re] for _, la, re in rows], dtype=torch.long).reshape(-1, 2)
    ids = torch.tensor(tokens if tokens is not None else [*range(len(rows))], dtype=torch.long)
    turn = torch.tensor(rounds if rounds is not None else [0] * len(rows), dtype=torch.long)
    return TokenLogprobs(values, ids, index[:, 0], index[:, 1], turn, tuple(map(len, ladders)))


def run(
    settings: Any, policy: TokenLogprobs, reference: TokenLogprobs | None, ladders: Sequence[Ladder]
) -> tuple[Tensor, Logs]:
    """The objective that the settings name."""
    found: tuple[Tensor, Logs] = choose("objective", settings.name, OBJECTIVES)(policy, reference, ladders, settings)
    return found


def gradient(settings: Any, policy: TokenLogprobs, reference: TokenLogprobs, ladders: Sequence[Ladder]) -> list[float]:
    """The loss's gradient with respect to the policy's log-probs."""
    loss, _ = run(settings, policy, reference, ladders)
    found: list[float] = torch.autograd.grad(loss, policy.values)[0].tolist()
    return found


Values = Sequence[Sequence[float]]
"""Log-probs of a ladder: a list of tokens a response."""


def with_views(policy: TokenLogprobs, ladders: Sequence[Ladder], values: Sequence[Values]) -> TokenLogprobs:
    """Log-probs with made-up ones of the second views that copo and symmpo ask for by default. values: `policy`'s."""
    best = [
        [
            [0.8 * value for value in tokens]
            for level, tokens in zip(one.levels, rows, strict=True)
            if level == min(one.levels)
        ]
        for one, rows in zip(ladders, values, strict=True)
    ]
    other = [[[0.3 * sum(map(sum, rows)), -1.0]] if rows else [] for rows in values]
    [crop], (answer, picture) = CopoSettings().view_names, SymmpoSettings().view_names
    both = [[*theirs, *mine] for theirs, mine in zip(other, best, strict=True)]
    return replace(policy, views={crop: logprobs(*best), answer: logprobs(*other), picture: logprobs(*both)})


Drawn = tuple[Ladder, list[list[float]], list[list[float]], list[list[int]]]
"""A ladder, its policy's and its reference's log-probs and its token ids, by response and token."""


@st.composite
def drawn(draw: st.DrawFn, most: int = 4) -> Drawn:
    """A ladder of one to `most` responses, with ties and scores or without, of a few tokens from a small vocabulary."""
    levels = sorted(draw(st.lists(st.integers(0, 3), min_size=1, max_size=most)))
    scored = draw(st.booleans())
    lengths = [draw(st.integers(1, 4)) for _ in levels]
    value = st.floats(-4, -0.125, width=32)

    def numbers() -> list[list[float]]:
        return [[draw(value) for _ in range(n)] for n in lengths]

    ids = [[draw(st.integers(0, 5)) for _ in range(n)] for n in lengths]
    found = ladder(*levels, scores=[1.0 - 0.2 * level for level in levels] if scored else None)
    return found, numbers(), numbers(), ids


def batch(parts: Sequence[Drawn]) -> tuple[TokenLogprobs, TokenLogprobs, list[Ladder]]:
    """Policy, reference and ladders of several drawn ones."""
    ids = [token for part in parts for response in part[3] for token in response]
    ladders, values = [part[0] for part in parts], [[part[n] for part in parts] for n in (1, 2)]
    policy, reference = (with_views(logprobs(*part, tokens=ids), ladders, part) for part in values)
    return policy, reference, ladders
