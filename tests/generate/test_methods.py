"""Every method has its settings, and stands on its own sources."""

from __future__ import annotations

import pytest

from seelevel.fingerprints import imports_of
from seelevel.generate import GENERATORS, SETTINGS
from seelevel.registry import load

pytestmark = pytest.mark.unit


def sources(module: str) -> set[str]:
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(imports_of(name))
    return seen


def test_every_method_has_its_settings() -> None:
    assert set(GENERATORS) == set(SETTINGS)
    for name, settings in SETTINGS.items():
        assert settings.model_fields["method"].default == name
        assert callable(load(GENERATORS[name]))


def test_a_change_of_the_trainer_makes_no_expert_answer_again() -> None:
    modules = {name: target.partition(":")[0] for name, target in GENERATORS.items()}
    assert "seelevel.training.fit" in sources(modules["incremental"])
    for name in set(GENERATORS) - {"incremental"}:
        assert not sources(modules[name]) & {"seelevel.training.fit", "seelevel.training.trainer"}
        assert not sources(modules[name]) & (set(modules.values()) - {modules[name]})
