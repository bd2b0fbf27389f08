"""An objective of a user's own module, named `module:class` in a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from seelevel.training.fit import fit
from seelevel.training.settings import TrainSettings
from tests.training.tiny import make_ladder, save_model

SOURCE = """
from pydantic import Field

from seelevel.training.objectives.dpo import dpo
from seelevel.training.objectives.settings import DpoSettings, Objective


class Mine(Objective):
    strength: float = Field(default=0.1, gt=0)

    def compute_loss(self, policy, reference, ladders):
        return dpo(policy, reference, ladders, DpoSettings(beta=self.strength))


class Other:
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"outside_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def settings(**objective: object) -> TrainSettings:
    return TrainSettings.model_validate(
        {"objective": objective, "ladders_per_step": 2, "epochs": 2, "device": "cpu", "cache": False}
    )


def test_an_objective_from_outside_trains_as_its_equal_inside(tmp_path: Path, module: str) -> None:
    base = save_model(tmp_path / "base")
    ladders = [make_ladder(tmp_path, seed) for seed in range(4)]
    logs = []
    for number, objective in enumerate(({"name": "dpo", "beta": 0.3}, {"name": f"{module}:Mine", "strength": 0.3})):
        fit(ladders, str(base), settings(**objective), tmp_path / str(number))
        logs.append([json.loads(line) for line in (tmp_path / str(number) / "log.jsonl").read_text().splitlines()])
    assert logs[0] == logs[1]


@pytest.mark.unit
def test_settings_from_outside_survive_json(module: str) -> None:
    chosen = settings(name=f"{module}:Mine", strength=2)
    assert chosen.model_dump(mode="json")["objective"]["strength"] == 2
    assert TrainSettings.model_validate(chosen.model_dump(mode="json")) == chosen


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "keys", "parts"),
    [
        ("Mine", {"strenght": 1}, ["strenght", "did you mean 'strength'"]),
        ("Mine", {"strength": -1}, ["strength", "greater than 0"]),
        ("Gone", {}, ["name", ":Gone", "no Gone"]),
        ("Other", {}, ["name", ":Other", "Objective"]),
    ],
)
def test_a_wrong_objective_is_refused_by_key(module: str, name: str, keys: dict[str, float], parts: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(name=f"{module}:{name}", **keys)
    assert [part for part in parts if part not in str(refused.value)] == []


@pytest.mark.unit
def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ValidationError, match="'mdop' is unknown; did you mean 'mdpo'"):
        settings(name="mdop")


@pytest.mark.unit
def test_the_description_of_objective_names_every_one() -> None:
    from seelevel.training.objectives import OBJECTIVES

    description = str(TrainSettings.model_fields["objective"].description)
    assert [name for name in OBJECTIVES if name not in description] == []
