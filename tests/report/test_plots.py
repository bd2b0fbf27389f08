"""Plots: round ticks, honest axes, and words for those who cannot see them."""

import math
import xml.etree.ElementTree as ET

import pytest

from seelevel.report.figures import comparisons
from seelevel.report.plots import WIDTH, Series, curves, differences, histogram, levels, moving_mean, nice_ticks
from seelevel.report.sample import largest, spaced

from .make_run import METRICS
from .shipped import SHIPPED

pytestmark = pytest.mark.unit
SVG = "{http://www.w3.org/2000/svg}"
RATES = [c for c in comparisons(METRICS, SHIPPED) if c.metric.kind == "rate"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-17.3, 2.3, [-20, -15, -10, -5, 0, 5]),
        (3, 3, [3.0, 4.0, 5.0, 6.0]),
        (0.11, 0.42, [0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_ticks_are_round_and_span_the_values(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low and found[-1] >= high
    assert found == pytest.approx(ticks) or (low, high) == (3, 3)


def test_plots_are_well_formed_and_described_in_words() -> None:
    rates = differences(RATES, "d", "Differences")
    root = ET.fromstring(rates)
    assert root.attrib["role"] == "img"
    words = root.find("desc")
    assert words is not None and words.text is not None
    assert "CHAIRi: \N{MINUS SIGN}8.4 points (\N{MINUS SIGN}10.1 to \N{MINUS SIGN}6.7), better" in words.text
    assert "CHAIR recall: +0.4 points (\N{MINUS SIGN}0.7 to +1.5), no clear change" in words.text
    for drawing in (levels(RATES, 1.0, "l", "Levels"), histogram({"2": 3, "4": 5}, "h", "K", "responses")):
        ET.fromstring(drawing)


def test_a_difference_below_0_stands_left_of_the_line_at_0() -> None:
    root = ET.fromstring(differences(RATES, "d", "Differences"))
    zero = next(float(line.attrib["x1"]) for line in root.iter("line") if line.attrib["class"] == "zero")
    dots = [float(dot.attrib["cx"]) for dot in root.iter("circle")]
    assert dots[0] < zero < dots[2]  # CHAIRi fell, recall rose a little


def test_infinite_and_missing_losses_are_left_out_of_a_curve() -> None:
    svg = curves([Series("loss", [(1, 2.0), (2, math.nan), (3, math.inf), (4, 1.0)])], "c", "Loss")
    assert "nan" not in svg and "inf" not in svg
    assert curves([Series("loss", [])], "c", "Loss") == ""


@pytest.mark.parametrize("lines", [2, 3, 7])
def test_the_names_of_many_curves_fit_above_the_plot(lines: int) -> None:
    series = [Series(f"{n} over {n + 1}", [(1, n), (2, n + 1)]) for n in range(lines)]
    root = ET.fromstring(curves(series, "c", "Margin"))
    names = [t for t in root.iter("text") if t.attrib["class"] == "label"]
    spots = [(float(t.attrib["x"]), float(t.attrib["y"])) for t in names]
    assert len(set(spots)) == lines
    assert max(x for x, _ in spots) + 7.4 * len("0 over 1") <= WIDTH
    paths = [float(p.attrib["d"].split()[1]) for p in root.iter("path")]
    assert max(y for _, y in spots) < min(paths)


def test_a_moving_mean_keeps_a_straight_line_straight() -> None:
    line = [(float(n), 2.0 * n) for n in range(90)]
    assert moving_mean(line) == line
    assert moving_mean(line[:10]) is not line and list(moving_mean(line[:10])) == line[:10]


def test_what_is_shown_is_spaced_evenly_and_the_largest_come_first() -> None:
    assert spaced(range(10), 2) == [2, 7]
    assert spaced([1, 2], 5) == [1, 2]
    assert largest([(1, "a"), (-3, "b"), (1, "c"), (2, "d"), (1, "e")], 3) == ["b", "d", "c"]
