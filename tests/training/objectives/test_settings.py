"""Which ladders an objective learns from, and what it says when there are none."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from seelevel.training.objectives.settings import (
    DdpoSettings,
    DpoSettings,
    KwiseSettings,
    MdpoSettings,
    ProSettings,
    SftSettings,
)

from .made import SETTINGS, ladder

pytestmark = pytest.mark.unit
TIES = [ladder(0), ladder(0, 0), ladder(), ladder(1, 1, 1)]


def test_each_objective_says_which_levels_it_learns_from() -> None:
    assert MdpoSettings().has_signal([0, 1])
    assert not MdpoSettings().has_signal([0, 0])
    assert not MdpoSettings(pairs=[(1, 3)]).has_signal([0, 1, 2])
    assert KwiseSettings().has_signal([0, 2, 2]) and not KwiseSettings().has_signal([2, 2])
    assert SftSettings().has_signal([0])
    assert not SftSettings().has_signal([])


@pytest.mark.parametrize("asked", [s for s in SETTINGS.values() if not s.has_signal([0])])
def test_data_without_two_levels_are_refused_with_counts(asked: MdpoSettings) -> None:
    message = str(asked.why_unusable(TIES))
    parts = (asked.name, "two levels", "1 with no response", "1 with one response", "2 with ties only", "sft")
    assert [part for part in parts if part not in message] == []
    assert asked.why_unusable([*TIES, ladder(0, 1, 2, scores=[3, 2, 1])]) is None


def test_pairs_that_match_no_ladder_are_refused_with_their_levels() -> None:
    asked = DdpoSettings(pairs=[(1, 3), (2, 4)])
    message = str(asked.why_unusable([ladder(0, 1, 2), ladder(0, 4)]))
    assert [part for part in ("ddpo", "[[1, 3], [2, 4]]", "2 ladders", "0, 1, 2, 4") if part not in message] == []
    assert asked.why_unusable([ladder(1, 2, 3)]) is None
    assert "two levels" in str(asked.why_unusable(TIES))


def test_pro_needs_no_scores_but_knows_those_it_is_told_to_read() -> None:
    assert ProSettings().why_unusable([ladder(0, 1)]) is None
    assert ProSettings(score=None).why_unusable([ladder(0, 1)]) is None
    assert "objective pro: none of 2 responses has a score 'acc'" in str(
        ProSettings(score="acc").why_unusable([ladder(0, 1)])
    )


def test_sft_needs_a_response_and_no_more() -> None:
    assert SftSettings().why_unusable([ladder(), ladder(0)]) is None
    message = str(SftSettings().why_unusable([ladder(), ladder()]))
    assert "objective sft" in message and "2 ladders have none" in message


@pytest.mark.parametrize("pairs", [[], [[0, 0]], [[2, 1]], [[-1, 0]], [[0, 1], [3, 3]]])
def test_pairs_name_a_better_level_and_a_worse_one(pairs: list[list[int]]) -> None:
    with pytest.raises(
        ValidationError, match=r"pairs are a list of \[better level, worse level\], such as \[\[0, 1\]\]"
    ):
        MdpoSettings.model_validate({"pairs": pairs})


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"beta": float("inf")}, {"label_smoothing": 0.5}, {"penalty": "none"}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DpoSettings.model_validate(wrong)
