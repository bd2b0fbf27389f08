"""The benchmark of the scorers: every made set is scored, in the process and as a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scoring import main


@pytest.mark.unit
def test_made_sets_are_scored_in_the_process_and_as_a_command(tmp_path: Path) -> None:
    names = ["pope", "hallusion", "vlsafe", "mrhal", "mme", "mmstar", "vlguard", "siuo", "mm-safetybench"]
    report = main(["--only", *names, "--repeats", "1", "--data", str(tmp_path), "--json"])
    results = {result["what"]: result for result in report["results"]}
    assert {name: result["items"] for name, result in results.items()} == dict(
        zip(names, (9000, 1129, 1110, 105, 2374, 1500, 1558, 167, 5040), strict=True)
    )
    assert all(result["process"] > 0 and result["seconds"] > 0 for result in results.values())
    assert all(result["data"] == "made" for result in results.values())
