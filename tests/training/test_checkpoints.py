"""Only what was written whole may be resumed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from seelevel.errors import DiskFullError
from seelevel.store import clear_unfinished, write_folder
from seelevel.training.checkpoints import checkpoints, seal

pytestmark = pytest.mark.unit


def write(folder: Path, step: int, fingerprint: str = "one") -> Path:
    place = folder / f"checkpoint-{step}"
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(b"x" * 100)
    seal(place, fingerprint)
    return place


def test_checkpoints_come_oldest_first_by_step(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        write(tmp_path, step)
    assert [p.name for p in checkpoints(tmp_path, "one")] == ["checkpoint-3", "checkpoint-20", "checkpoint-100"]


def test_empty_half_written_truncated_and_foreign_checkpoints_are_passed_over(tmp_path: Path) -> None:
    whole = write(tmp_path, 1)
    (tmp_path / "checkpoint-2").mkdir()
    unsealed = write(tmp_path, 3)
    (unsealed / "complete.json").unlink()
    (write(tmp_path, 4) / "model.safetensors").write_bytes(b"x" * 50)
    (write(tmp_path, 5) / "model.safetensors").unlink()
    (write(tmp_path, 6) / "complete.json").write_text('{"fingerprint": "one"')
    write(tmp_path, 7, fingerprint="other settings")
    assert checkpoints(tmp_path, "one") == [whole]


def test_a_folder_that_could_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        (place / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFullError):
        write_folder(tmp_path / "model", fail, size=10)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "writing-checkpoint-5").mkdir()
    (tmp_path / "writing-checkpoint-5" / "half").write_text("half")
    (tmp_path / "writing-a.safetensors").write_text("half")
    clear_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []
