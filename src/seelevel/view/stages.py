"""How far a run is: which stages are done, at work or stopped, what each took, and what its log says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path

from seelevel.errors import InputError
from seelevel.formats.tables import rows_in
from seelevel.progress import Reached, read_line
from seelevel.report.costs import Cost, costs, say_time, total_seconds
from seelevel.report.reading import RunFolder, Stage, read_run
from seelevel.run_log import ENDED, LOG, STOPPED, Line, read_log
from seelevel.scorers import SCORERS, find_scorer
from seelevel.scorers.scorer import Scorer
from seelevel.store import CONTROL, MANIFEST, at_work, shards

TRAINED = ("base", "align", CONTROL)
WRITTEN = ("recipe.yaml", "metrics.json", "report.html", LOG)
"""Files of a run folder whose time says when the run has changed."""


class ShownRun(RunFolder):
    """A run to look at. Scorers from outside are not imported: opening a page runs nobody's code."""

    @cached_property
    def scorers(self) -> list[Scorer]:
        return [find_scorer(name) for name in SCORERS]


@dataclass(frozen=True)
class StageRow:
    """A stage's row. done, total: of ladders or steps; total: None if it is not known. `reached`: its last line of
    progress; `cost`: of a finished stage."""

    name: str
    state: str
    done: int | None = None
    total: int | None = None
    unit: str = ""
    reached: str = ""
    cost: Cost | None = None


@dataclass(frozen=True)
class Progressing:
    """A run as it is now. seconds: of its finished stages, and of the one at work since it was begun."""

    run: ShownRun
    working: bool
    stages: list[StageRow]
    lines: list[Line]
    seconds: float
    changed: datetime

    @property
    def state(self) -> str:
        """In a word: at work, done, stopped, not begun."""
        if self.working:
            return "at work"
        needed = {stage.name for stage in self.run.expected}
        open_ = [stage for _, stage in self.run.all_stages if stage.name in needed and not stage.done]
        if not open_:
            return "done"
        return "stopped" if any(stage.begun for _, stage in self.run.all_stages) else "not begun"

    @property
    def current(self) -> StageRow | None:
        """The stage at work, or the one that the run stopped in."""
        return next((row for row in self.stages if row.state in ("at work", "stopped")), None)

    @property
    def why_stopped(self) -> str:
        """What the log says about the end of the last command; empty while it is at work, or if it ended well."""
        if self.working or not self.lines:
            return ""
        last = self.lines[-1].text
        if last.startswith(f"{STOPPED}: "):
            return last.removeprefix(f"{STOPPED}: ")
        return "" if last == ENDED else "its last command did not end by itself: it was killed, or the machine stopped"

    @property
    def time(self) -> str:
        return say_time(self.seconds)

    @property
    def day(self) -> str:
        """When something has changed last."""
        return self.changed.strftime("%Y-%m-%d %H:%M UTC")

    def ago(self, now: datetime | None = None) -> str:
        """How long ago something has changed, in the largest unit."""
        seconds = max(int(((now or datetime.now(UTC)) - self.changed).total_seconds()), 0)
        for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
            if seconds >= size * (2 if unit == "days" else 1):
                return f"{seconds // size} {unit} ago"
        return f"{seconds} s ago"


def look(root: Path) -> Progressing:
    """Look at a run folder. Raises `InputError` if it cannot be read."""
    working, run = at_work(root), ShownRun(**vars(read_run(root)))
    lines = read_log(root)
    finished = {cost.name: cost for cost in costs(run)}
    open_ = [name for name, stage in run.all_stages if stage.begun and not stage.done]
    rows = []
    for name, stage in run.all_stages:
        if not stage.begun and stage.name not in {expected.name for expected in run.expected}:
            continue
        state = "done" if stage.done else stage.state if stage.stale else "not begun"
        if name in open_:
            state = "at work" if working and name == open_[0] else "stopped"
        rows.append(_row(run, name, stage, state, lines, finished.get(name)))
    seconds, changed = total_seconds(run), _changed(run)
    if working:
        seconds += max((datetime.now(UTC) - _since(run, lines)).total_seconds(), 0)
    return Progressing(run, working, rows, lines, seconds, changed)


def _row(run: ShownRun, name: str, stage: Stage, state: str, lines: list[Line], cost: Cost | None) -> StageRow:
    reached = _reached(lines) if state == "at work" else None
    words = "" if reached is None else f"{reached.label}: {reached.words}"
    done, total, unit = None, None, "ladders"
    if stage.name in TRAINED:
        log = run.log if stage.name == "align" and stage.path.parent == run.root else run.with_log_of(stage).log
        done, unit = int(log[-1].get("step", 0)) if log else 0, "steps"
        total = done if stage.done else None
        if reached is not None and reached.label == stage.name:
            total = reached.total
    elif stage.name == "evaluate":
        done, total, unit = (None, None, "") if reached is None else (reached.done, reached.total, "")
    else:
        done = _rows(stage.path)
        before = _before(run, stage)
        total = done if stage.done else None if before is None or not _rows(before) else max(_rows(before), done)
        if reached is not None and reached.total and reached.label.split()[0] == stage.name:
            done, total = reached.done, reached.total  # finer than whole shards
    if not stage.begun:
        done = None
    return StageRow(name, state, done, total, unit, words, cost)


def _before(run: RunFolder, stage: Stage) -> Path | None:
    """Where the ladders of a stage come from; None for the data, which come from outside."""
    place = stage.path.parent
    if stage.name == "generate":
        return run.root / "data"
    if stage.name == "check":
        return place / "generate"
    return place / ("check" if run.setting("check") is not None else "generate") if stage.name == "feedback" else None


def _reached(lines: list[Line]) -> Reached | None:
    """The last line of progress since the last command began."""
    for line in reversed(lines):
        if line.opens:
            return None
        if (reached := read_line(line.text)) is not None:
            return reached
    return None


def _since(run: RunFolder, lines: list[Line]) -> datetime:
    """When the stage at work has been begun: with the command, or when the stage before it was done."""
    times = [line.when for line in lines if line.opens][-1:]
    times += [_time(stage.path / MANIFEST) for _, stage in run.all_stages if stage.done]
    return max(times, default=datetime.now(UTC))


def _changed(run: RunFolder) -> datetime:
    places = [run.root / name for name in WRITTEN]
    for _, stage in run.all_stages:
        places += [stage.path, stage.path / "log.jsonl", stage.path / "checkpoints"]
    return max(_time(place) for place in [run.root, *places])


def _time(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


def _rows(folder: Path) -> int:
    """Ladders in the shards of a stage."""
    total = 0
    for path in shards(folder):
        try:
            stat = path.stat()
            total += _rows_of(path, stat.st_size, stat.st_mtime_ns)
        except (OSError, InputError):  # gone meanwhile, or broken: the gallery says so
            continue
    return total


@lru_cache(maxsize=65536)
def _rows_of(path: Path, size: int, changed: int) -> int:
    return rows_in(path)
