"""What several tests of training use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seelevel.training.trainer import PreferenceTrainer
from tests.training.killing import Killed
from tests.training.tiny import save_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`stop_at(n)`: training dies in step n + 1; `stop_at(None)`: it does not."""
    whole = PreferenceTrainer.training_step

    def arrange(last: int | None) -> None:
        def step(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == last:
                raise Killed
            return whole(self, *args, **kwargs)

        monkeypatch.setattr(PreferenceTrainer, "training_step", step)

    yield arrange
