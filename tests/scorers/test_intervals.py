"""Bootstrap intervals: ratios of sums, clusters, pairs."""

from __future__ import annotations

import numpy as np
import pytest

from seelevel.scorers.intervals import Measure, differences, figures, ratio
from seelevel.scorers.pope import measures as pope_measures

pytestmark = pytest.mark.unit

SHARE = Measure("share", lambda item: item["sums"], ratio)


def rows(sums: list[tuple[float, float] | None], clusters: list[int] | None = None) -> list[dict[str, object]]:
    return [{"sums": s, "cluster": c} for s, c in zip(sums, clusters or range(len(sums)), strict=True)]


def test_a_ratio_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    found = figures([SHARE], rows([(1, 1), (0, 9)]))["share"]
    assert found["value"] == 0.1
    assert found["n"] == 2


def test_the_interval_of_a_share_is_near_the_normal_one() -> None:
    # 400 trials, half right: 1.96 * sqrt(.25 / 400) = .049 to either side
    found = figures([SHARE], rows([(i % 2, 1) for i in range(400)]))["share"]
    assert found["value"] == 0.5
    assert found["low"] == pytest.approx(0.451, abs=0.006)
    assert found["high"] == pytest.approx(0.549, abs=0.006)


def test_items_of_one_cluster_are_resampled_together() -> None:
    # ten copies of each trial in one cluster carry the information of the trial alone
    sums = [(float(i % 2), 1.0) for i in range(40)]
    alone = figures([SHARE], rows(sums))["share"]
    together = figures([SHARE], rows(sums * 10, list(range(40)) * 10))["share"]
    assert together["high"] - together["low"] == pytest.approx(alone["high"] - alone["low"], abs=1e-9)
    assert together["n"] == 400


def test_pairing_takes_the_common_part_out() -> None:
    rng = np.random.default_rng(0)
    base = [(float(v), 1.0) for v in rng.normal(0, 5, 200)]
    better = [(v + 1, n) for v, n in base]
    found = differences([SHARE], rows(base), rows(better))["share"]
    assert found["value"] == pytest.approx(1.0)
    assert (found["low"], found["high"]) == (pytest.approx(1.0), pytest.approx(1.0))


def test_what_either_side_leaves_unscored_is_left_out_of_the_difference() -> None:
    before, after = rows([(1, 1), None, (0, 1), (1, 1)]), rows([(1, 1), (1, 1), None, (0, 1)])
    found = differences([SHARE], before, after)["share"]
    assert (found["value"], found["n"]) == (-0.5, 2)
    assert figures([SHARE], before)["share"]["n"] == 3


def test_one_seed_gives_one_interval_and_no_scores_give_none() -> None:
    items = rows([(i % 3, 2) for i in range(50)])
    assert figures([SHARE], items, seed=3) == figures([SHARE], items, seed=3)
    assert figures([SHARE], rows([None]))["share"] == {"value": None, "low": None, "high": None, "n": 0}
    assert figures([SHARE], rows([(0, 0)]))["share"]["value"] is None


def test_one_cluster_has_figures_without_an_interval() -> None:
    before, after = rows([(1, 2), (0, 1), None], [0, 0, 1]), rows([(1, 2), (1, 1), (1, 1)], [0, 0, 1])
    assert figures([SHARE], before)["share"] == {"value": 1 / 3, "low": None, "high": None, "n": 2}
    # the second cluster is scored on one side alone
    found = differences([SHARE], before, after)["share"]
    assert found == {"value": pytest.approx(1 / 3), "low": None, "high": None, "n": 2}
    assert figures([SHARE], after)["share"]["low"] == pytest.approx(2 / 3)


def test_pope_f1_is_the_mean_of_the_sets_f1() -> None:
    # set a: tp 1, fn 1 -> 2/3; set b: tp 1, fp 1 -> 2/3 ... and two right noes -> accuracy 1/2 and 3/4
    cells = {"a": ["tp", "fn"], "b": ["tp", "fp", "tn", "tn"]}
    items = [{"set": s, "cell": c, "cluster": i} for s in cells for i, c in enumerate(cells[s])]
    found = figures(pope_measures(["a", "b"]), items)
    assert found["pope_f1"]["value"] == pytest.approx(2 / 3)
    assert found["pope_accuracy"]["value"] == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert found["pope_yes"]["value"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert (found["pope_f1"]["n"], found["pope_a_f1"]["n"], found["pope_b_f1"]["n"]) == (6, 2, 4)
