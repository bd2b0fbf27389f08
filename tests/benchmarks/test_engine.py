"""The benchmark of the engines, small: all prompts are answered, and its figures are there."""

from __future__ import annotations

import pytest

from benchmarks import engine


@pytest.mark.usefixtures("one_cluster")
@pytest.mark.slow
def test_both_engines_are_measured() -> None:
    pytest.importorskip("ray", reason="seelevel[ray] is not installed")
    local, ray = engine.main(["--prompts", "300", "--json"])["results"]
    assert local["prompts"] == ray["prompts"] == 300
    assert local["processor_ms"] > 0 and ray["processor_ms"] > 0
    assert set(local["memory"]) == {"10%", "50%", "100%"} and set(ray["memory"]) > set(local["memory"])
