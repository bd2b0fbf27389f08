"""A picture of fifty megapixels opens without filling the memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as Pictures

from seelevel.images import check_image, open_image


def peak_memory() -> int:
    """Highest resident bytes since the last reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "jpg"), ("CMYK", "jpg"), ("RGBA", "png")])
def test_fifty_megapixels_cost_at_most_one_gibibyte(tmp_path: Path, mode: str, suffix: str) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is read from Linux's /proc")
    options = {"compress_level": 1} if suffix == "png" else {}
    path = tmp_path / f"a.{suffix}"
    Pictures.new(mode, (8660, 5774), 1).save(path, **options)
    for read in (open_image, check_image):
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_memory()
        read(path)
        assert peak_memory() - before < 2**30
