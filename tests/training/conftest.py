"""What several tests of training use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.tiny import save_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model."""
    return save_model(tmp_path_factory.mktemp("base"))
