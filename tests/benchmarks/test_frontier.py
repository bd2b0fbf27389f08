"""The bookkeeping of the frontier; its trainings take an hour."""

from pathlib import Path

import pytest

from benchmarks.frontier import SETTINGS, page_text, plot, sft_of, verdict
from benchmarks.reproduce.experiments import ORDERS, SOURCES
from benchmarks.reproduce.page import Results
from benchmarks.reproduce.runs import TEXT_MEASURES
from seelevel.recipe import load_recipe
from seelevel.scorers import chair
from seelevel.scorers.intervals import Figure
from seelevel.training.settings import TrainSettings

pytestmark = pytest.mark.unit


def test_every_setting_can_be_trained_and_has_an_sft_of_the_same_ladders():
    for setting in SETTINGS.values():
        assert load_recipe(*SOURCES[setting.source]).rounds == 1  # a job runs single stages
        assert setting.order in ORDERS
        assert TrainSettings(objective=setting.objective).objective.name == setting.objective["name"]
        sft = SETTINGS[sft_of(setting)]
        assert (sft.source, sft.order) == (setting.source, setting.order)


def change(low: float, high: float) -> Figure:
    return Figure(value=(low + high) / 2, low=low, high=high, n=10)


def test_an_interval_over_zero_says_that_nothing_changed():
    assert verdict({"chair_i": change(-0.02, -0.01), "chair_recall": change(-0.01, 0.01)}) == (
        "CHAIRi better, recall no clear change"
    )
    assert verdict({"chair_i": change(0.01, 0.02), "chair_recall": change(-0.02, -0.01)}) == (
        "CHAIRi worse, recall worse"
    )


def item(picture: int, wrong: int) -> dict[str, object]:
    return {
        "cluster": str(picture),
        "mentions": 4,
        "hallucinated_mentions": wrong,
        "recalled": 3,
        "objects": 4,
        "words": 20,
        "grams": 17,
        "repeated": 0,
    }


def test_the_page_compares_each_setting_with_sft_of_its_ladders(tmp_path: Path):
    wrong = {"base": 2, "SFT": 1, "MPO, 1e-4": 0}
    items = {
        name: {"chair": (rows := [item(n, count * (n % 2)) for n in range(10)]), "text": rows}
        for name, count in wrong.items()
    }
    results = Results(items, {name: [0] for name in wrong}, {"chair": chair.MEASURES, "text": TEXT_MEASURES})
    page = page_text(results, "dev", [0])
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert "CHAIRi better, recall no clear change" in rows["MPO, 1e-4"]
    assert rows["SFT"].count("[") == 2
    assert "GRPO, 1e-4" not in rows
    plot(results, tmp_path / "plot.svg")
    assert "MPO, 1e-4" in (tmp_path / "plot.svg").read_text("utf-8")
