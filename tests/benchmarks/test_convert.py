"""The benchmark of converting runs, and compares what comes back."""

from __future__ import annotations

from benchmarks import convert


def test_a_few_ladders_go_there_and_come_back(capsys):
    report = convert.main(["--ladders", "20", "--json"])
    assert [one["way"] for one in report["results"]] == ["to TRL", "back"]
    assert all(one["seconds"] > 0 and one["peak_bytes"] > 1 << 20 for one in report["results"])
