"""The page of feedback over seeds, its figures worked out by hand; the trainings take an hour."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import dress
from benchmarks.dress import DRESS, JOINED, PLAIN, items, page, run

pytestmark = pytest.mark.unit
PAGE = Path(__file__).parents[2] / "docs" / "reproduction-feedback.md"


def feedback_item(aligned: bool, number: int) -> dict[str, Any]:
    """Quality 2 at first, and 3 aligned; feedback lifts the aligned model by half a round, 'try again' nobody."""
    first = 3 if aligned else 2
    rounds = [first + n * (0.25 if aligned else 0.0) for n in range(4)]
    more = {"worst": 1.5, "worst_answer": "bad"} if aligned else {}
    criteria = {"helpfulness": first, "honesty": first} if number else {"helpfulness": first, "honesty": first + 1}
    return {"criteria": criteria, "quality": first, "feedback": rounds, "again": [first] * 4, **more}


def write_run(folder: Path, invented: int) -> None:
    """A finished run whose aligned model invents so many of two mentions a caption, its base both of them."""
    for side in ("base", "aligned"):
        aligned = side == "aligned"
        wrong = invented if aligned else 2
        chair = {"mentions": 2, "hallucinated_mentions": wrong, "objects": 1, "recalled": 0}
        rows = {
            "feedback": [feedback_item(aligned, n) for n in range(2)],
            "chair": [chair] * 2,
            "capability": [{"right": aligned, "category": "colour"}] * 2,
        }
        for name, found in rows.items():
            path = folder / "evaluate" / side / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps({**row, "id": f"q{n}", "image": f"{folder}/{n}.png"}) for n, row in enumerate(found)]
            path.write_text("\n".join(lines) + "\n")
    (folder / "metrics.json").write_text("{}")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1):
        write_run(tmp_path / f"{DRESS}-{seed}", 1)
    return tmp_path


def cells(text: str, name: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_picture_of_two_seeds_is_one_cluster(runs: Path) -> None:
    found = items([runs / f"{DRESS}-{seed}" for seed in (0, 1)], "base", "chair")
    assert [row["cluster"] for row in found] == ["0.png", "1.png", "0.png", "1.png"]


def test_an_answer_may_hold_a_line_separator(tmp_path: Path) -> None:
    path = tmp_path / "evaluate" / "base" / "chair.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"image": "0.png", "answer": "a\u2028b"}, ensure_ascii=False) + "\n", "utf-8")
    assert [row["answer"] for row in items([tmp_path], "base", "chair")] == ["a\u2028b"]


def test_ratings_come_with_their_change_and_share_of_the_gap(runs: Path) -> None:
    text = page(runs, "dev", [0, 1])
    assert cells(text, "helpfulness") == ["2.0000", "3.0000", "+1.0000 [+1.0000, +1.0000]", "50%", "4"]
    # 2.5 lacks 1.5 of 4; and 1 of it is gained
    assert cells(text, "honesty") == ["2.5000", "3.5000", "+1.0000 [+1.0000, +1.0000]", "67%", "4"]
    assert cells(text, "harmlessness") == ["–", "–", "–", "–", "0"]  # it was rated in no answer


def test_rounds_gains_and_leads_are_those_of_the_conversations(runs: Path) -> None:
    text = page(runs, "dev", [0, 1])
    assert cells(text, "aligned, with feedback") == ["3.0000", "3.2500", "3.5000", "3.7500"]
    assert cells(text, "aligned, 'try again'") == ["", "3.0000", "3.0000", "3.0000"]
    assert cells(text, "aligned, change since the round before")[1:] == ["+0.2500 [+0.2500, +0.2500]"] * 3
    assert cells(text, "aligned, feedback minus 'try again'")[3] == "+0.7500 [+0.7500, +0.7500]"
    assert cells(text, "base, feedback minus 'try again'")[3] == "+0.0000 [+0.0000, +0.0000]"
    assert cells(text, "top condition minus worst") == ["+1.5000 [+1.5000, +1.5000]", "4"]
    assert cells(text, "under the worst condition") == ["1.5000", ""]
    assert cells(text, "capability_accuracy")[:2] == ["0.0000", "1.0000"]


def test_a_difference_of_one_picture_has_no_interval(tmp_path: Path) -> None:
    write_run(tmp_path / f"{DRESS}-0", 1)
    for path in tmp_path.glob(f"{DRESS}-0/evaluate/*/*.jsonl"):
        path.write_text(path.read_text().splitlines()[0] + "\n")
    assert cells(page(tmp_path, "dev", [0]), "chair_i") == ["1.0000", "0.5000", "-0.5000 [–]"]


def test_both_methods_are_compared_only_if_both_have_been_run(runs: Path) -> None:
    write_run(runs / f"{JOINED}-0", 0)
    assert JOINED not in page(runs, "dev", [0])
    write_run(runs / f"{PLAIN}-0", 1)
    compared = page(runs, "dev", [0]).partition(f"`{JOINED}` against `{PLAIN}`")[2]
    assert cells(compared, "chair_i") == ["0.5000", "0.0000", "-0.5000 [-0.5000, -0.5000]"]


def words(text: str) -> str:
    """A page without its figures: shares, numbers and differences with intervals."""
    return re.sub(r"[-+]?\d[\d.]*%?( \[[^]]*\])?|–", "#", text)


def test_the_page_in_the_docs_has_the_words_of_the_benchmark(tmp_path: Path) -> None:
    for recipe in (DRESS, JOINED, PLAIN):
        for seed in (0, 1, 2):
            write_run(tmp_path / f"{recipe}-{seed}", 1)
    assert words(page(tmp_path, "test", [0, 1, 2])) == words(PAGE.read_text("utf-8"))


def test_a_page_names_the_runs_that_have_not_finished(runs: Path) -> None:
    with pytest.raises(SystemExit, match=f"no finished {DRESS}-2; run it without --page"):
        page(runs, "dev", [0, 2])


def test_a_run_has_seed_and_split_and_a_failure_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []

    def called(command: list[str], **options: Any) -> Namespace:
        told.append(command)
        assert options["env"]["OMP_NUM_THREADS"] == "1"
        return Namespace(returncode=len(told) - 1)

    monkeypatch.setattr(dress.subprocess, "run", called)
    options = Namespace(out=tmp_path, split="dev", overrides=["align.epochs=1"])
    assert run(options, DRESS, 7) == ""
    assert run(options, DRESS, 8) == f"{DRESS}-8: see {tmp_path / f'{DRESS}-8.log'}"
    assert told[0][0] == sys.executable
    assert told[0][3:] == [
        *("run", DRESS, "--out", str(tmp_path / f"{DRESS}-7")),
        *("--set", "seed=7", "--set", "evaluate.data=world:dev", "--set", "align.epochs=1"),
    ]
