"""The benchmark of the bookkeeping, small: nothing is lost or asked for twice, and a kill changes no byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bookkeeping

COUNT = 600


@pytest.mark.parametrize(("source", "judge"), [("records", "server"), ("ladders", "local")])
def test_every_answer_is_judged_once_and_a_killed_run_ends_as_a_whole_one(
    source: str, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bookkeeping.main(["--annotations", str(COUNT), "--sources", source, "--judges", judge, "--json"])
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    found = {result["run"]: result for result in report["results"]}
    assert list(found) == ["fresh", "again", "killed", "resumed"]
    for name in ("fresh", "again", "resumed"):
        assert (found[name]["responses"], found[name]["unscored"]) == (COUNT, 0)
    assert found["resumed"]["same_bytes"]
    assert all(result["disk_bytes"] > 0 for result in found.values())
    assert max(result["peak_bytes"] for result in found.values()) < 400 * 2**20  # imports, most of it
    if judge == "server":
        assert (found["fresh"]["calls"], found["again"]["calls"]) == (COUNT, 0)
        assert COUNT <= found["killed"]["calls"] + found["resumed"]["calls"] <= COUNT + 8  # those in flight
        assert found["resumed"]["reply_files"] == COUNT


@pytest.mark.parametrize(("source", "words"), [("records", "records.jsonl"), ("ladders", "ended before it was killed")])
def test_a_run_that_is_over_before_it_is_killed_ends_the_benchmark_in_words(
    source: str, words: str, tmp_path: Path
) -> None:
    told = ["annotate", source, tmp_path / "nothing", "local", tmp_path / "out", "false"]
    with pytest.raises(SystemExit, match=words):
        bookkeeping._process(told, lambda: False)
