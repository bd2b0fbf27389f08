"""Pages of `seelevel view` about runs: all that are open, and one with its stages, curves, figures and log."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from seelevel.errors import InputError
from seelevel.opening import open_file
from seelevel.progress import escape_controls
from seelevel.report import facts, plots
from seelevel.report.figures import Comparison, comparisons, headline
from seelevel.report.page import drawn_curves, scores, training
from seelevel.run_log import LARGEST, LOG
from seelevel.store import CONTROL
from seelevel.view.site import Site
from seelevel.view.stages import Progressing, look

AGAIN = 3
"""Seconds until a page about a run at work looks again."""
LINES = 300
"""Lines of the log on a run's page."""


@dataclass(frozen=True)
class RunRow:
    """A run in the list. `trouble`: why it cannot be read."""

    number: int
    name: str
    now: Progressing | None
    head: Sequence[Comparison] = ()
    trouble: str = ""


class Runs:
    """The list of runs, and the page of each."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def link(self) -> tuple[str, str] | None:
        return ("/runs", "Runs") if any(c.run is not None for c in self.site.collections) else None

    def routes(self) -> list[Route]:
        return [
            Route("/runs", self.runs),
            Route("/{collection:int}/run", self.run),
            Route("/{collection:int}/log", self.log),
        ]

    def runs(self, request: Request) -> Response:
        self.site.add_new_runs()
        rows = [_row(n, c.name, c.run) for n, c in enumerate(self.site.collections) if c.run is not None]
        at_work = any(row.now is not None and row.now.working for row in rows)
        again = AGAIN if at_work and not self.site.still else 0
        return self.site.render("runs.html.j2", area="/runs", rows=rows, again=again, signs=plots.SIGNS)

    def run(self, request: Request) -> Response:
        number, root = self._root(request)
        now = look(root)
        run, figures = now.run, scores(now.run)
        return self.site.render(
            "run.html.j2",
            area="/runs",
            number=number,
            title=run.setting("report", "title") or run.setting("name") or root.name,
            name=self.site.collections[number].name,
            now=now,
            again=AGAIN if now.working and not self.site.still else 0,
            command=continuing(root),
            facts=facts.run_facts(run),
            rejected=facts.rejected(run),
            overlap=facts.overlap_note(run),
            recipe_text=facts.recipe_text(run),
            missing=facts.missing(run),
            lines=[(line.when.strftime("%Y-%m-%d %H:%M:%S"), line.text, line.opens) for line in now.lines[-LINES:]],
            control_plots=[] if run.control is None else drawn_curves(run.with_log_of(run.control), f"{CONTROL}-curve"),
            **training(run),
            **figures,
        )

    def log(self, request: Request) -> Response:
        """The whole log as text."""
        _, root = self._root(request)
        try:
            with open_file(root / LOG) as file:
                raw = file.read(2 * LARGEST) or b""
        except (OSError, InputError) as error:
            raise HTTPException(404, "This run has no log") from error
        return PlainTextResponse(escape_controls(raw.decode("utf-8", "replace"), keep="\n"))

    def _root(self, request: Request) -> tuple[int, Path]:
        number = request.path_params["collection"]
        if number >= len(self.site.collections) or (root := self.site.collections[number].run) is None:
            raise HTTPException(404, "There is no run here")
        return number, root


def _row(number: int, name: str, root: Path) -> RunRow:
    try:
        now = look(root)
        return RunRow(number, name, now, headline(comparisons(now.run.metrics, now.run.scorers)))
    except (InputError, OSError, ValueError) as error:
        return RunRow(number, name, None, trouble=str(error))


def continuing(root: Path) -> str:
    """The command that continues a run, as it is typed in the current folder."""
    here = Path.cwd()
    place = root.relative_to(here) if root.is_relative_to(here) and root != here else root
    return shlex.join(["seelevel", "run", str(place / "recipe.yaml"), "--out", str(place)])
