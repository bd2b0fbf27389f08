"""What is compared: an experiment is a source of ladders, an order and an objective; the tables are lists of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RECIPE = "world-amp-meg"
SOURCES: dict[str, tuple[str, list[str]]] = {
    # name: (recipe, overrides); K counts the standard response
    "meg-2": (RECIPE, ["generate.experts=['world:l']"]),
    "meg-3": (RECIPE, ["generate.experts=['world:l', 'world:m']"]),
    "meg-4": (RECIPE, []),
    "meg-5": (RECIPE, ["generate.experts=['world:l', 'world:m', 'world:s', 'world:xs']"]),
    "ig": ("world-amp-ig", []),
    "perturbation": ("world-amp-perturb", []),
    "samples": ("world-samples", ["generate.standard=false", "rounds=1"]),
    "samples-standard": ("world-samples", ["rounds=1"]),
}
ORDERS: dict[str, list[str] | None] = {
    "initial": None,  # the ladders as generated
    "checked": [],
    "judge": ["check.checker=judge", "check.judge=world:oracle"],
    "mixed": ["check.judge=world:oracle", "check.judge_share=0.3"],
    **{rule: [f"check={{checker: objects, annotations: facts, rule: {rule}}}"] for rule in ("f1", "f2")},
}


@dataclass(frozen=True)
class Experiment:
    """One training: which ladders, in which order, with which objective and learning rate (None: the recipe's)."""

    name: str
    source: str = "meg-4"
    order: str = "checked"
    objective: dict[str, Any] = field(default_factory=dict)
    learning_rate: float | None = None


def _mdpo(**settings: Any) -> dict[str, Any]:
    return {"name": "mdpo", "penalty": "paper", "pairs": "all", **settings}


HEAVIER = "scaled, weight 1.5"
HEAVIER_K2 = "scaled, weight 1.5, K = 2"
EXPERIMENTS = {
    e.name: e
    for e in (
        Experiment("mdpo", objective=_mdpo()),
        *(Experiment(f"k{k}", f"meg-{k}", objective=_mdpo()) for k in (2, 3, 5)),
        Experiment("S>B", objective=_mdpo(pairs=[[0, 2]])),
        Experiment("S>A", objective=_mdpo(pairs=[[0, 1]])),
        Experiment("S>A, A>B", objective=_mdpo(pairs=[[0, 1], [1, 2]])),
        Experiment("S>A>B", objective=_mdpo(pairs=[[0, 1], [1, 2], [0, 2]])),
        Experiment("S>A, A>B, B>C", objective=_mdpo(pairs=[[0, 1], [1, 2], [2, 3]])),
        Experiment("A>C", objective=_mdpo(pairs=[[1, 3]])),
        Experiment("B>C", objective=_mdpo(pairs=[[2, 3]])),
        Experiment("initial", order="initial", objective=_mdpo()),
        Experiment("judge", order="judge", objective=_mdpo()),
        Experiment("mixed", order="mixed", objective=_mdpo()),
        Experiment("ig", "ig", objective=_mdpo()),
        Experiment("perturbation", "perturbation", order="initial", objective=_mdpo()),
        Experiment("sft", objective={"name": "sft"}),
        Experiment("dpo", objective={"name": "dpo"}),
        Experiment("ddpo", objective={"name": "ddpo"}),
        Experiment("kwise", objective={"name": "kwise"}),
        Experiment("pro", objective={"name": "pro"}),
        Experiment("no-penalty", objective=_mdpo(penalty="none")),
        Experiment("scaled", objective=_mdpo(penalty="scaled")),
        Experiment(HEAVIER, objective=_mdpo(penalty="scaled", weight=1.5)),
        Experiment(HEAVIER_K2, "meg-2", objective=_mdpo(penalty="scaled", weight=1.5)),
    )
}


@dataclass(frozen=True)
class Row:
    """A line of a table: how it is named, which experiment, and the paper's MMHal-Bench score where it has one."""

    label: str
    experiment: str
    paper: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows of one question; differences are against the experiment `against`."""

    title: str
    rows: tuple[Row, ...]
    against: str = "mdpo"


TABLES = (
    Table(
        "Levels",
        (Row("K = 2", "k2", 2.69), Row("K = 3", "k3", 2.88), Row("K = 4", "mdpo", 3.17), Row("K = 5", "k5", 2.96)),
        "k2",
    ),
    Table(
        "Pairs of a ladder S > A > B > C",
        (
            Row("S>B", "S>B", 2.50),
            Row("S>A", "S>A", 2.61),
            Row("S>A, A>B", "S>A, A>B", 2.68),
            Row("S>A, A>B, S>B", "S>A>B", 2.79),
            Row("S>A, A>B, B>C", "S>A, A>B, B>C", 2.85),
            Row("all six pairs", "mdpo", 3.17),
            Row("A>C", "A>C", 2.33),
            Row("B>C", "B>C", 2.45),
        ),
        "S>A",
    ),
    Table(
        "Order of the levels",
        (
            Row("as generated", "initial", 2.79),
            Row("auto-checked", "mdpo", 3.17),
            Row("a judge's", "judge", 2.87),
            Row("auto-checked, 30% a judge's", "mixed"),
        ),
        "initial",
    ),
    Table(
        "Where the levels come from",
        (Row("MEG", "mdpo", 3.17), Row("IG", "ig", 3.12), Row("perturbation", "perturbation", 2.83)),
    ),
    Table(
        "Objectives",
        (
            Row("MDPO", "mdpo", 3.17),
            Row("K-wise", "kwise", 2.96),
            Row("PRO", "pro", 3.01),
            Row("DPO, best against worst", "dpo"),
            Row("dense DPO", "ddpo"),
            Row("SFT on the best", "sft"),
        ),
        "sft",
    ),
    Table(
        "The penalty of MDPO",
        (
            Row("none", "no-penalty"),
            Row("scaled (λβ)", "scaled"),
            Row(HEAVIER, HEAVIER),
            Row(HEAVIER_K2, HEAVIER_K2),
            Row("paper's (λ)", "mdpo", 3.17),
        ),
        "sft",
    ),
)
COMPARED = ("mdpo", HEAVIER)
AGAINST = {"base": "base", "SFT on the best": "sft", "DPO": "dpo", "K = 2": "k2", HEAVIER_K2: HEAVIER_K2}
"""The section that says whether preference pays: these experiments less those, at equal steps."""
