"""What tests of servers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.faulty_server import KEY


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test keeps its replies in a folder of its own."""
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return tmp_path / "cache" / "api"
