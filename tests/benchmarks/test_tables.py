"""The tables of the training benchmark are what it printed, and docs/benchmarks.md quotes them exactly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import tables

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]
SETTINGS = {
    "shape": "44m",
    "k": 5,
    "prefix": 616,
    "response": 80,
    "ladders": 1,
    "repeats": 5,
    "sweep": None,
    "vocab": 32000,
    "dtype": "float32",
    "checkpointing": False,
    "device": "x86_64",
    "threads": 2,
    "load": 0.5,
    "largest_differences": {"rows loss": 3e-7},
}


def result(peer, seconds, **more):
    figures = {"tokens_per_ladder": 1000.0 + 100 * more.get("k", 0), "peak_bytes": 2.5e8, "times_arithmetic_floor": 2.0}
    return {"peer": peer, "seconds_per_ladder": seconds, **figures, **more}


def test_a_point_is_one_row_per_peer():
    report = {"settings": SETTINGS, "results": [result("trl", 44.0, times_shared=22.0)]}
    text = tables.section(report)
    assert "| TRL's DPOTrainer, its defaults | 44.00 | 22.00 | 1,000 | 250 MB | 2.00 |" in text
    assert "K = 5" in text
    assert "Largest difference between peers: 3e-07" in text


def test_a_sweep_over_k_compares_the_growth_of_time_with_that_of_tokens(tmp_path):
    results = [result(peer, seconds * k, k=k) for k in (2, 8) for peer, seconds in (("rows", 3.0), ("shared", 1.0))]
    report = {"settings": {**SETTINGS, "sweep": "k"}, "results": results}
    text = tables.section(report)
    assert "| 8 | 24.00 | 8.00 | 3.0 | 2.00 |" in text
    assert "**K from 2 to 8**: prefix 616 tokens" in text
    assert "t(K=8) / t(K=2) = 4.00, tokens 1.50, so 2.67 × the token ratio" in text
    tables.plot(results, tmp_path / "img" / "k.svg")
    assert "<svg" in (tmp_path / "img" / "k.svg").read_text()


def test_groups_of_answers_have_a_table_of_their_own():
    results = [result("shared", 4.0, times_shared=1.0), result("shared-1", 5.0, times_shared=1.25)]
    text = tables.section({"settings": {**SETTINGS, "k": 16}, "results": results})
    assert "| prefix once | 4.00 | 1.00 | 1,000 | 250 MB | 2.00 |" in text
    assert "| prefix once, answers one by one | 5.00 | 1.25 | 1,000 | 250 MB | 2.00 |" in text


def test_a_gpu_has_its_mfu_in_both_tables():
    report = {"settings": SETTINGS, "results": [result("shared", 4.0, mfu=0.456)]}
    assert "| peak | × arithmetic | MFU |\n" in tables.section(report)
    assert "| prefix once | 4.00 | – | 1,000 | 250 MB | 2.00 | 46% |" in tables.section(report)
    points = [result("shared", 4.0, k=k, mfu=0.456) for k in (2, 16)]
    text = tables.section({"settings": {**SETTINGS, "sweep": "k"}, "results": points})
    assert "| K | prefix once, s | × arithmetic | MFU |" in text
    assert "| 16 | 4.00 | 2.00 | 46% |" in text


def test_only_the_text_between_the_marks_is_replaced(tmp_path):
    page = f"before\n{tables.BEGIN}\n**K = 2**: a; old\n\n| 1 |\n\n**K = 5**: a; kept\n{tables.END}\nafter\n"
    between = "**K = 5**: a; kept\n\n**K = 2**: a; new"
    assert tables.replaced(page, ["**K = 2**: a; new"]) == f"before\n{tables.BEGIN}\n{between}\n{tables.END}\nafter\n"
    with pytest.raises(ValueError, match="has no"):
        tables.replaced("nothing", [])


def test_a_report_is_the_last_line_of_its_file(tmp_path):
    (tmp_path / "a.json").write_text("a library's chatter\n" + json.dumps({"settings": SETTINGS}) + "\n")
    assert tables.read(tmp_path / "a.json")["settings"]["k"] == 5


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d[\d,]*(?:\.\d+)?", text))


def test_every_figure_in_the_tables_of_the_docs_is_among_the_results():
    measured = numbers("".join(path.read_text("utf-8") for path in (ROOT / "benchmarks" / "results").glob("*.md")))
    rows = [line for line in (ROOT / "docs" / "benchmarks.md").read_text("utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 30
    assert numbers("".join(rows)) <= measured
