"""Log-probs and margins of a run's training, and where a judge contradicts the check: filters and pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seelevel.formats.parquet import write_shard
from seelevel.ladder import Feedback, Ladder
from seelevel.training.margins import LadderLogprobs, Summed, write_logprobs
from seelevel.view.collection import Collection
from seelevel.view.filters import Filters
from seelevel.view.index import ShardIndex, index_shard
from seelevel.view.judged import contradictions
from tests.view.shown import answer, browser, ladders, opened, run_folder
from tests.view.test_index import names

pytestmark = pytest.mark.unit


def logprobs(ladder: Ladder, *changes: float) -> LadderLogprobs:
    """Each response has 4 tokens, −2 per token before, and rises by a change."""
    summed = [Summed(r.id, 4, -8.0, -8.0 + change) for r, change in zip(ladder.responses, changes, strict=True)]
    return LadderLogprobs.of(ladder, summed)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run with margins +1 (`plain`) and −3 (`turned`), none for `tied`, and nothing about `unchecked`."""
    root = run_folder(tmp_path / "run")
    plain, turned, tied, _ = ladders(root)
    figures = [logprobs(plain, 2, 1), logprobs(turned, -1, 2), logprobs(tied, 1, 0)]
    write_logprobs(root / "align" / "logprobs.parquet", figures)
    return root


@pytest.fixture
def shown(root: Path, tmp_path: Path) -> Collection:
    return opened(root, tmp_path / "kept")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"margin": "below"}, ["turned"]),
        ({"margin": "above"}, ["plain"]),
        ({"order": "margin"}, ["turned", "plain"]),
        ({"margin": "above", "reordered": "yes"}, []),
        ({"margin": "odd"}, ["plain", "turned", "tied", "unchecked"]),
    ],
)
def test_ladders_are_chosen_and_sorted_by_margin(
    shown: Collection, filters: dict[str, str], expected: list[str]
) -> None:
    assert names(shown, Filters.of(filters)) == expected


def test_cards_name_the_margin_that_they_are_sorted_by(shown: Collection) -> None:
    page = browser(shown).get("/0?order=margin").text
    assert "margin \N{MINUS SIGN}3.00" in page and "margin +1.00" in page
    assert "margin +" not in browser(shown).get("/0").text


def test_a_ladder_shows_its_margin_and_each_answers_log_prob(shown: Collection) -> None:
    page = browser(shown).get("/0/ladder?id=turned").text
    assert "Margin after training: <b>\N{MINUS SIGN}3.00</b>" in page
    assert "log-prob per token \N{MINUS SIGN}2.00 before, \N{MINUS SIGN}1.50 after training (+0.50)" in page
    page = browser(shown).get("/0/ladder?id=tied").text
    assert "Margin after training" not in page and page.count("log-prob per token") == 2
    assert "log-prob per token" not in browser(shown).get("/0/ladder?id=unchecked").text


def test_without_a_reference_only_the_trained_model_is_shown(root: Path, tmp_path: Path) -> None:
    plain = ladders(root)[0]
    summed = [Summed(r.id, 4, None, value) for r, value in zip(plain.responses, (-4.0, -8.0), strict=True)]
    write_logprobs(root / "align" / "logprobs.parquet", [LadderLogprobs.of(plain, summed)])
    page = browser(opened(root, tmp_path / "kept")).get("/0/ladder?id=plain").text
    assert "log-prob per token \N{MINUS SIGN}1.00</p>" in page and "training: <b>+4.00</b>" in page


def test_an_answer_changed_since_then_has_no_log_prob(root: Path, tmp_path: Path) -> None:
    plain, *others = ladders(root)
    edited = [replace(plain.responses[0], messages=[{"role": "assistant", "content": "Another."}]), plain.responses[1]]
    write_shard(root / "check" / "shard-00000.parquet", [replace(plain, responses=edited), others[0]], root)
    page = browser(opened(root, tmp_path / "kept")).get("/0/ladder?id=plain").text
    assert page.count("log-prob per token") == 1 and "Margin after training" not in page


def test_the_filter_comes_with_the_file_and_a_new_file_is_read(root: Path, shown: Collection) -> None:
    client = browser(shown)
    assert "Margin after training" in client.get("/0").text and "smallest margin first" in client.get("/0").text
    write_logprobs(root / "align" / "logprobs.parquet", [logprobs(ladders(root)[1], 2, 1)])
    shown.refresh(patience=30)
    assert names(shown, Filters.of({"margin": "above"})) == ["turned"]
    (root / "align" / "logprobs.parquet").unlink()
    shown.refresh(patience=30)
    assert "Margin after training" not in client.get("/0").text
    assert "0 of 4 ladders" in client.get("/0?margin=below").text


def test_a_broken_file_is_told_and_the_ladders_are_shown(root: Path, tmp_path: Path) -> None:
    (root / "align" / "logprobs.parquet").write_bytes(b"PAR1 half a file")
    page = browser(opened(root, tmp_path / "kept")).get("/0").text
    assert "4 of 4 ladders" in page and "logprobs.parquet" in page


class TestJudge:
    @pytest.mark.parametrize(
        ("levels", "ratings", "scores", "expected"),
        [
            ([0, 1], [{"honesty": 4}, {"honesty": 1}], [None, None], (True, [])),
            ([0, 1], [{"honesty": 1}, {"honesty": 4}], [None, None], (True, [(0, 1)])),
            ([0, 0], [{"honesty": 1}, {"honesty": 4}], [None, None], (False, [])),
            ([0, 1], [{"honesty": 2}, {"honesty": 2}], [None, None], (False, [])),
            ([0, 1], [{"honesty": 1}, {"helpfulness": 4}], [None, None], (False, [])),
            ([0, 1], [{}, {"honesty": 4}], [None, None], (False, [])),
            ([0, 1, 2], [{}, {}, {}], [None, 1.0, 3.0], (True, [(1, 2)])),
            ([0, 1], [{"honesty": 4}, {"honesty": 1}], [0.0, 5.0], (True, [(0, 1)])),
        ],
    )
    def test_ratings_contradict_levels(self, levels, ratings, scores, expected) -> None:  # type: ignore[no-untyped-def]
        assert contradictions(levels, ratings, scores) == expected

    @pytest.fixture
    def shown(self, tmp_path: Path) -> Collection:
        """`plain` is rated as it is levelled, `turned` the other way; `tied` by a judge that gave scores."""
        root = tmp_path / "run"
        plain, turned, tied, unchecked = ladders(root)

        def rated(ladder: Ladder, *ratings: int) -> Ladder:
            critique = 'it says "ratings": {"honesty": 9}'
            feedback = [Feedback({"helpfulness": 3, "honesty": n}, critique) for n in ratings]
            pairs = zip(ladder.responses, feedback, strict=True)
            return replace(ladder, responses=[replace(response, feedback=given) for response, given in pairs])

        scored = [
            replace(answer("Red", 0, "m0"), scores={"rating": 1.0}),
            replace(answer("Blue", 1, "m1"), scores={"rating": 2.5e0}),
        ]
        scores = replace(unchecked, id="scored", responses=scored)
        run_folder(root, [rated(plain, 4, 1), rated(turned, 1, 4), tied, unchecked, scores])
        return opened(root, tmp_path / "kept")

    def test_ladders_are_chosen_by_whether_judge_and_check_agree(self, shown: Collection) -> None:
        assert names(shown, Filters.of({"judge": "disagree"})) == ["turned", "scored"]
        assert names(shown, Filters.of({"judge": "agree"})) == ["plain"]
        assert "Judge and check" in browser(shown).get("/0").text

    def test_without_ratings_there_is_no_such_filter(self, tmp_path: Path) -> None:
        assert "Judge and check" not in browser(opened(run_folder(tmp_path / "run"), tmp_path / "kept")).get("/0").text

    def test_an_answer_shows_its_ratings_and_what_contradicts_its_level(self, shown: Collection) -> None:
        page = browser(shown).get("/0/ladder?id=turned").text
        assert "helpfulness 3, honesty 1" in page and "the judge rates it below answer 2" in page
        assert "the judge rates it above answer 1" in page
        assert "the judge rates it" not in browser(shown).get("/0/ladder?id=plain").text


def test_fifty_thousand_ladders_are_filtered_by_margin(shown: Collection) -> None:
    shard: ShardIndex = index_shard(shown.shards[0].path)
    n = 50_000
    large = replace(
        shard,
        ids=[f"ladder-{row}" for row in range(n)],
        **{name: np.zeros(n, dtype=np.int64) for name in ("size", "levels", "gap", "judged")},
    )
    shown.shards = [large]
    shown.figures._margins = {name: float(row % 7 - 3) for row, name in enumerate(large.ids)}
    places = shown.matching(Filters.of({"margin": "below", "order": "margin"}))
    assert len(places) == sum(row % 7 < 3 for row in range(n))
