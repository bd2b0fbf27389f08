"""The report stage: a run folder becomes one HTML page that can be read anywhere, without a network."""

from __future__ import annotations

from pathlib import Path

from seelevel.report.settings import ReportSettings


def run(root: Path, settings: ReportSettings) -> Path:
    """Write `root/report.html` from whatever the run folder holds so far, and return its path.

    A stage that was not run is said to be missing; nothing is needed but the folder. Raises `InputError` where `root`
    is no folder.
    """
    from seelevel.report.page import write_page  # the template engine is not needed to read a recipe

    return write_page(root, settings)


__all__ = ["ReportSettings", "run"]
