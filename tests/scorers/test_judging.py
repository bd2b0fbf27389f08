"""Judging several times, stopped and resumed; and what stands beside a judged figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seelevel import report
from seelevel.compare.figures import compare
from seelevel.compare.table import table
from seelevel.errors import InputError
from seelevel.fingerprints import digest
from seelevel.report.settings import ReportSettings
from seelevel.scorers import judging, mmhal, mrhal
from seelevel.scorers.judging import judged_item, spread, unread_replies
from seelevel.scorers.mrhal import dialogue_item
from seelevel.scorers.settings import EvaluateSettings
from tests.scorers.judged import Script, items, mmhal_folder, run
from tests.test_cli import refused

pytestmark = pytest.mark.unit
SIDES = {"base": {"Q0?": "a b", "Q1?": "a b c d"}, "aligned": {"Q0?": "a b c", "Q1?": "a b c d"}}
TWICE = {"judge_repeats": 2, "judge_sampling": {"temperature": 0.7, "seed": 5}}


def drifts(answers: list[str], seed: int) -> str:
    """The number of words; with the second seed one less."""
    return f"Fine.\nRating: {len(answers[0].split()) - (seed == 6)}"


def judged_run(root: Path, monkeypatch: pytest.MonkeyPatch, judge: Script, **more: Any) -> dict[str, Any]:
    data = mmhal_folder(root / "data", ["other", "counting"])
    return run(root, data, judge, SIDES, monkeypatch, benchmarks=["mmhal"], **more)


def test_a_figure_is_the_mean_over_repeats_with_their_deviation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # base: 2 and 4, then 1 and 3, so 3 and 2; sd = sqrt(2 · 0.5²). below 3: 1 of 2 both times
    found = judged_run(tmp_path, monkeypatch, Script(drifts), **TWICE)["base"]
    assert (found["mmhal_score"]["value"], found["mmhal_score"]["repeats"]) == (2.5, [3, 2])
    assert found["mmhal_score"]["sd"] == pytest.approx(0.5**0.5)
    assert (found["mmhal_hallucination"]["value"], found["mmhal_hallucination"]["sd"]) == (0.5, 0)
    first = items(tmp_path, "base", "mmhal")[0]
    assert [row["rating"] for row in first["repeats"]] == [2, 1]


def test_one_judging_has_no_deviation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged_run(tmp_path, monkeypatch, Script(drifts))
    assert set(found["base"]["mmhal_score"]) == {"value", "low", "high", "n"}


def test_a_repeat_that_cannot_be_read_is_left_out_of_the_items_mean() -> None:
    rows = [{"verdict": 4, "judge_reply": "Rating: 4"}, {"verdict": None, "judge_reply": "?", "unscored": "no rating"}]
    item = {**judged_item(rows, lambda rating: {"rating": rating}), "question_type": "", "cluster": "a"}
    score = mmhal.measures([item])[0]
    assert (score.scored(item), unread_replies([item])) == ([4, 1], 1)
    assert spread([score], [item], 2) == {"mmhal_score": {"sd": None, "repeats": [4, None]}}


def test_dialogues_are_averaged_over_repeats_by_hand() -> None:
    # ratings 6 and 0, then 2 and N/A: means 3 and 2; below 3: one of two rounds, then one of one; dialogues: no, yes
    rows = [{"verdict": ratings, "judge_reply": "", "judged": "2026-01-01"} for ratings in ([6, 0], [2, None])]
    item = {**dialogue_item(rows), "cluster": "d", "words": 9, "texts": 2}
    values = {m.name: m.value(np.array(m.scored(item))).item() for m in [*mrhal.MEASURES, mrhal.WORDS]}
    assert values == {
        "mrhal_score_c": (6 + 2) / 3,
        "mrhal_score_m": 2.5,
        "mrhal_hallucination_c": 2 / 3,
        "mrhal_hallucination_m": 0.5,
        "mrhal_hallucination_m_rates": 0.75,
        "mrhal_words": 4.5,
    }
    assert (item["ratings"], item["unscored_rounds"]) == ([4, 0], 0)


def test_a_greedy_judge_is_not_asked_several_times() -> None:
    with pytest.raises(ValueError, match=r"judge_sampling: \{temperature: 0\.7\}"):
        EvaluateSettings(data="x", judge_repeats=2)


def test_a_judge_that_always_says_the_same_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged_run(tmp_path, monkeypatch, Script(lambda answers, seed: "Rating: 3"), **TWICE)
    assert "mmhal: all 2 replies to each answer are the same: script does not sample" in capsys.readouterr().err


def test_a_killed_judging_asks_nothing_twice_and_ends_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_run(tmp_path / "whole", monkeypatch, Script(drifts), **TWICE)
    folder = tmp_path / "whole" / "evaluate"
    whole = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    class Killed(Exception):
        pass

    def dies(answers: list[str], seed: int) -> str:
        if seed == 6 and answers == ["a b c"]:  # in the second repeat of the aligned model
            raise Killed
        return drifts(answers, seed)

    with pytest.raises(Killed):
        judged_run(tmp_path / "killed", monkeypatch, Script(dies), **TWICE)
    judge = Script(drifts)
    resumed = judged_run(tmp_path / "killed", monkeypatch, judge, **TWICE)
    folder = tmp_path / "killed" / "evaluate"
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}.keys() == whole.keys()
    assert len(judge.prompts) == 2  # the aligned model's second repeat alone
    for name in ("metrics.json", "evaluate/base/mmhal.jsonl", "evaluate/aligned/mmhal.jsonl"):
        texts = [(tmp_path / root / name).read_text().replace(str(tmp_path / root), "") for root in ("whole", "killed")]
        assert texts[0] == texts[1]
    assert resumed["settings"]["judge_repeats"] == 2


def test_a_reply_keeps_the_date_on_which_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "today", lambda: "2026-01-31")
    first = judged_run(tmp_path, monkeypatch, Script(drifts))
    before = (tmp_path / "metrics.json").read_bytes()
    monkeypatch.setattr(judging, "today", lambda: "2026-02-01")
    judge = Script(drifts)
    judged_run(tmp_path, monkeypatch, judge)
    assert (judge.prompts, (tmp_path / "metrics.json").read_bytes()) == ([], before)
    assert first["settings"]["judged"] == {"mmhal": ["2026-01-31", "2026-01-31"]}
    (tmp_path / "evaluate" / "aligned" / "answers" / "mmhal-judgements-00000.jsonl").unlink()
    later = judged_run(tmp_path, monkeypatch, judge)
    assert later["settings"]["judged"] == {"mmhal": ["2026-01-31", "2026-02-01"]}


def test_the_judge_its_template_and_the_date_stand_beside_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "today", lambda: "2026-01-31")
    found = judged_run(tmp_path, monkeypatch, Script(drifts), **TWICE)
    assert found["settings"]["judge"] == "script"
    assert found["settings"]["judge_templates"] == {"mmhal": digest(mmhal.MMHAL)}
    page = report.run(tmp_path, ReportSettings()).read_text()
    for words in (
        f"by script, each answer 2 times; mmhal on 2026-01-31 by the template {digest(mmhal.MMHAL)}",
        "MMHal score, standard deviation over the repeats: base 0.71, aligned 0.71",
        "Words per answer (MMHal)",
        "Questions (MMHal)",
        "rated 1.5 → 2.5 of 6",
    ):
        assert words in page
    assert "Scores from 0 to 1000" not in page


def test_judged_runs_are_compared_unless_the_judge_was_asked_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged_run(tmp_path / "a", monkeypatch, Script(drifts))
    judged_run(tmp_path / "b", monkeypatch, Script(drifts), **TWICE)
    names = [f"{tmp_path / 'a'}:base", str(tmp_path / "b")]
    found = compare(names)
    difference = found.benchmarks[0].differences["mmhal_score"]["B"]
    assert difference["value"] == 3 - 3  # 2 and 4 against 2.5 and 3.5
    assert table(found).count("Words per answer") == 1
    metrics = json.loads((tmp_path / "b" / "metrics.json").read_text())
    metrics["settings"]["judge_templates"]["mmhal"] = "other"
    (tmp_path / "b" / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(InputError, match=r"judge_templates is [0-9a-f]{16} in A and other in B"):
        compare(names)


@pytest.mark.parametrize("name", ["mmhal", "llava-bench", "vlsafe"])
def test_a_run_without_a_judge_or_the_files_is_refused_beforehand(tmp_path: Path, name: str) -> None:
    chosen = ("--set", f'evaluate.benchmarks=["{name}"]', "--out", tmp_path / "run", "--dry-run")
    line = refused("run", "world-quick", *chosen, "--set", "evaluate.judge=null")
    assert f"{name} needs a judge; set evaluate.judge, or drop it" in line
    line = refused("run", "world-quick", *chosen)
    assert f"world:dev has no {name}; set evaluate.data to a folder with its published files" in line
    (tmp_path / "empty").mkdir()
    line = refused("run", "world-quick", *chosen, "--set", f"evaluate.data={tmp_path / 'empty'}")
    assert str(tmp_path / "empty" / name) in line
