"""The benchmark of attention, small and on a processor: every way gives the same numbers, or nothing is timed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
import torch.nn.attention.flex_attention as flex_module
from benchmarks.attention import flex, flex_joined, main, make_segments, masked, outcome
from torch import Tensor

from benchmarks import attention

pytestmark = pytest.mark.unit
Way = Callable[[Tensor], Callable[..., Tensor]]
SIZES = {"--ladders": 2, "--k": 3, "--prefix": 5, "--response": 4, "--heads": 2, "--width": 8, "--repeats": 1}
SMALL = ["--device", "cpu", "--no-flex", *(str(part) for pair in SIZES.items() for part in pair)]


def test_the_prefix_is_followed_by_each_response() -> None:
    assert make_segments(2, 3, 2).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_last_line_is_a_report_with_a_time_and_a_difference_a_way(capsys: pytest.CaptureFixture[str]) -> None:
    main([*SMALL, "--json"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [found["way"] for found in report["results"]] == ["masked", "parts"]
    assert all(found["milliseconds"] > 0 for found in report["results"])
    assert all(0 < found["largest_difference"] < attention.TOLERANCE for found in report["results"])  # of bfloat16
    assert report["settings"]["device"] == "processor"


def test_a_way_that_gives_other_numbers_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attention.WAYS, "parts", lambda rows: lambda q, k, v: q + k + v)
    with pytest.raises(SystemExit, match="parts differs from the masked call by"):
        main(SMALL)


@pytest.mark.parametrize("way", [flex, flex_joined])
def test_flex_attention_sees_what_the_mask_lets_see(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention.torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(flex_module, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    torch.manual_seed(0)
    rows = torch.stack([make_segments(5, 3, 4)] * 2)
    made: list[Tensor] = [torch.randn(2, 2, rows.shape[1], 8) for _ in range(3)]
    with torch.no_grad():
        found, exact = way(rows)(*made), masked(rows, torch.float32)(*made)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-5)


def test_an_outcome_is_the_output_and_the_three_gradients() -> None:
    ones = [torch.full((1, 1, 1, 1), value) for value in (2.0, 3.0, 5.0)]
    found = outcome(lambda q, k, v: q * k * v, ones, torch.ones(1, 1, 1, 1))
    assert [one.item() for one in found] == [30, 15, 10, 6]
