"""The stage `report`: a run folder becomes one HTML page that needs no network."""

from __future__ import annotations

from pathlib import Path

from seelevel.report.settings import ReportSettings


def run(root: Path, settings: ReportSettings) -> Path:
    """Write `root/report.html` from the parts of the run that exist, and return its path.

    The page names the stages that were not run. Raises `InputError` if `root` is not a folder.
    """
    from seelevel.report.page import write_page  # the template engine is not needed to read a recipe

    return write_page(root, settings)


__all__ = ["ReportSettings", "run"]
