"""docs/objectives.md says what is: every objective, function, setting and default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from seelevel.registry import load
from seelevel.training.objectives import OBJECTIVES
from seelevel.training.objectives.pair_losses import LOSSES
from seelevel.training.objectives.penalties import PENALTIES
from seelevel.training.objectives.settings import ObjectiveSettings

from .made import SETTINGS, batch, ladder, run

pytestmark = pytest.mark.unit
DOCS = (Path(__file__).parents[3] / "docs" / "objectives.md").read_text(encoding="utf-8")
CLASSES = {c.model_fields["name"].default: c for c in get_args(get_args(ObjectiveSettings)[0])}


def rows(heading: str) -> dict[str, list[str]]:
    """Cells of the section's table by the name that opens each row."""
    section = DOCS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
    return {
        row[0].strip().strip("`"): [cell.strip() for cell in row[1:]] for row in cells if row[0].strip() != "`name`"
    }


def test_every_objective_has_its_row_with_its_function() -> None:
    found = {name: cells[1].strip("`") for name, cells in rows("Equations and functions").items()}
    assert found == OBJECTIVES
    assert set(CLASSES) == set(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_settings_and_defaults_are_those_that_are_named(name: str) -> None:
    named = re.findall(r"`(\w+)` \(([^)]*)\)", rows("Equations and functions")[name][2])
    assert {key for key, _ in named} == CLASSES[name].model_fields.keys() - {"name"}
    defaults = {key: yaml.safe_load(default) for key, default in named}
    assert CLASSES[name].model_validate(defaults) == CLASSES[name]()


def test_every_penalty_has_its_row_with_its_function() -> None:
    table = rows("Penalties of `mdpo`")
    table.pop("penalty", None)
    assert {name: load(cells[2].strip("`")) for name, cells in table.items()} == PENALTIES


def test_every_loss_of_dpo_has_its_row_with_its_function() -> None:
    table = rows("Losses of `dpo`")
    table.pop("loss", None)
    assert {name: load(cells[2].strip("`")) for name, cells in table.items()} == LOSSES


def test_every_function_named_is_there() -> None:
    named = set(re.findall(r"seelevel(?:\.\w+)+:\w+", DOCS))
    assert len(named) > 15
    for target in named:
        assert callable(load(target)), target


@pytest.mark.parametrize("asked", SETTINGS.values(), ids=SETTINGS)
def test_every_figure_that_is_logged_is_explained(asked: Any) -> None:
    part = (ladder(0, 1), [[-1.0], [-2.0]], [[-1.0], [-1.0]], [[0], [1]])
    _, logs = run(asked, *batch([part]))
    explained = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", DOCS.split("## What is logged")[1], re.M)))
    )
    assert set(logs.figures()) <= explained
