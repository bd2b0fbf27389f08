"""Read a run folder, whichever of its parts exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from seelevel.errors import InputError
from seelevel.facts import EvaluateFacts, Facts
from seelevel.json_text import loads
from seelevel.opening import read_text
from seelevel.progress import say
from seelevel.scorers import SCORERS, find_scorer
from seelevel.scorers.scorer import Scorer
from seelevel.store import (
    BEGUN,
    CONTROL,
    EXPORT,
    EXPORT_MARK,
    ROUND_STAGES,
    ROUNDS,
    STAGES,
    read_manifest,
    read_mapping,
)
from seelevel.yaml_text import load_yaml

F = TypeVar("F", bound=Facts)
CHANGED = {
    "generate": "a model that has been trained again",
    "evaluate": "a model that has been trained again",
    CONTROL: "an alignment that has been trained again",
}
"""What a stale stage was made from, if not from ladders."""
PLAIN_PATH = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*\.html", re.ASCII)
"""A path below a folder that means nothing else in a link."""
SIDES = ("base", "aligned", CONTROL)
"""The models that `evaluate` compares; not every run has a control."""


@dataclass(frozen=True)
class Stage:
    """A stage's folder. It is done if it has a manifest. `stale`: what it read has changed since."""

    name: str
    path: Path
    manifest: dict[str, Any] | None
    stale: bool = False

    @property
    def done(self) -> bool:
        return self.manifest is not None

    @property
    def begun(self) -> bool:
        return self.done or (self.path / BEGUN).exists()

    @property
    def words(self) -> str:
        """The stage's settings in one line. Empty if the stage is not done, or an older version has written it."""
        return str((self.manifest or {}).get("words", ""))

    def facts(self, kind: type[F]) -> F:
        """The stage's facts."""
        return kind.read(self.manifest)

    @property
    def state(self) -> str:
        if self.stale:
            return f"of {CHANGED.get(self.name, 'ladders that have changed')} since"
        return "done" if self.done else "begun, not finished" if self.begun else "not run"


@dataclass(frozen=True)
class RunFolder:
    """A run folder's small files. Ladders and answers are read later, when they are shown."""

    root: Path
    recipe: dict[str, Any]
    stages: dict[str, Stage]
    rejected: list[dict[str, Any]]
    log: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    earlier: list[dict[str, Stage]] = field(default_factory=list)
    """The stages of each round before the last."""

    @property
    def expected(self) -> list[Stage]:
        """The stages that the recipe has, or all of them if there is no recipe."""
        always = ("data", CONTROL)
        return [s for n, s in self.stages.items() if not self.recipe or n in always or self.recipe.get(n) is not None]

    @property
    def control(self) -> Stage | None:
        """The training that the alignment is compared with; None if the run has none."""
        return self.stages.get(CONTROL)

    @property
    def all_stages(self) -> list[tuple[str, Stage]]:
        """Every stage with its name, such as `check of round 1` if there are several rounds."""
        if not self.earlier:
            return [*self.stages.items()]
        first = [(n, s) for n, s in self.stages.items() if n in ("data", "base")]
        rounds = enumerate([*self.earlier, {n: self.stages[n] for n in ROUND_STAGES}], 1)
        by_round = [(f"{n} of round {number}", s) for number, of_round in rounds for n, s in of_round.items()]
        last = [(n, s) for n, s in self.stages.items() if n in (CONTROL, "evaluate")]
        return [*first, *by_round, *last]

    def answers(self, side: str, benchmark: str) -> list[dict[str, Any]]:
        """Answers and scores per item of a model of `SIDES`. Empty if there are none, or they are stale."""
        if self.stages["evaluate"].stale:
            return []
        return list(_jsonl(self.root / "evaluate" / side / f"{benchmark}.jsonl"))

    @cached_property
    def scorers(self) -> list[Scorer]:
        """The package's scorers, then the run's others. One that cannot be imported any more is left out with a
        warning: its figures are then shown by their names."""
        evaluated = (self.metrics or {}).get("settings") or {}
        chosen = evaluated.get("benchmarks") or self.setting("evaluate", "benchmarks") or []
        scorers = [find_scorer(name) for name in SCORERS]
        for name in (name for name in chosen if name not in SCORERS):
            try:
                scorers.append(find_scorer(str(name)))
            except InputError as error:
                say(f"report: {error}")
        return scorers

    def with_log_of(self, stage: Stage) -> RunFolder:
        """The same run with the log of another training, such as the control's."""
        return replace(self, log=[] if stage.stale else list(_jsonl(stage.path / "log.jsonl")))

    def setting(self, *keys: str) -> Any:
        """A value of the recipe by its path; None if the recipe lacks it."""
        value: Any = self.recipe
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def logged(self, name: str) -> list[tuple[float, float]]:
        """(step, value) of a figure of the training log."""
        return [
            (float(entry["step"]), float(entry[name]))
            for entry in self.log
            if entry.get(name) is not None and "step" in entry
        ]


def read_run(root: Path) -> RunFolder:
    """Read a run folder. Raises `InputError` if `root` is not a folder."""
    if not root.is_dir():
        raise InputError(f"{root} is not a run folder; name the folder that a run has written")
    file, metrics = root / "recipe.yaml", root / "metrics.json"
    recipe = (load_yaml(read_text(file)) or {}) if file.exists() else {}
    evaluated = EvaluateFacts.read(read_manifest(root / "evaluate"))
    with_control = evaluated.control is not None or (recipe.get("align") or {}).get("control")
    before, after = STAGES[: STAGES.index("evaluate")], STAGES[STAGES.index("evaluate") : -1]
    names = ("data", *before, *((CONTROL,) if with_control else ()), *after)
    earlier: list[dict[str, Stage]] = []
    for number in range(1, int(recipe.get("rounds", 1))):
        earlier.append(_stages(root / ROUNDS / str(number), ROUND_STAGES, earlier[-1]["align"] if earlier else None))
    stages = _stages(root, names, earlier[-1]["align"] if earlier else None)
    compared = {"align": evaluated.aligned, CONTROL: evaluated.control}
    stale = stages["align"].stale or any(
        made is not None and made != (stages[name].manifest or {}).get("fingerprint") for name, made in compared.items()
    )
    if stale:
        stages["evaluate"] = Stage("evaluate", root / "evaluate", None, stale=True)
    return RunFolder(
        root=root,
        recipe=recipe,
        stages=stages,
        rejected=list(_jsonl(root / "data" / "rejected.jsonl")),
        log=[] if stages["align"].stale else list(_jsonl(root / "align" / "log.jsonl")),
        metrics=_metrics(metrics) if metrics.exists() and not stale else None,
        earlier=earlier,
    )


def exported_pages(root: Path) -> dict[str, str]:
    """Files of the ladders' pages in an export of `seelevel view` that is in the run folder, by the ladders' ids."""
    mark = read_mapping(root / EXPORT / EXPORT_MARK) or {}
    pages = mark.get("ladders")
    named = pages.items() if isinstance(pages, dict) else ()
    return {name: file for name, file in named if isinstance(file, str) and PLAIN_PATH.fullmatch(file)}


def _metrics(path: Path) -> dict[str, Any]:
    metrics = read_mapping(path)
    if metrics is None:
        raise InputError(f"{path} is damaged; delete {path.parent / 'evaluate'} and run the same command again")
    return metrics


def _stages(root: Path, names: Sequence[str], before: Stage | None) -> dict[str, Stage]:
    """The stages in a folder. One that was made from other ladders than those in the folder now, or with another model
    than that of the round before, is stale, and its manifest no longer counts."""
    stages = {name: Stage(name, root / name, read_manifest(root / name)) for name in names}
    current: set[str] = set()
    model = None if before is None else (before.manifest or {}).get("fingerprint")
    for name, stage in stages.items():
        manifest = stage.manifest or {}
        source = manifest.get("source")
        trained_again = before is not None and before.begun and manifest.get("model", model) != model
        if (source is not None and source not in current) or trained_again:
            stages[name] = Stage(name, stage.path, None, stale=True)
        elif "fingerprint" in manifest:
            current.add(str(manifest["fingerprint"]))
    return stages


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines. An incomplete last line, which a killed stage can leave, is skipped."""
    if not path.exists():
        return
    # not splitlines(), which also splits at characters that JSON texts may hold
    try:
        lines = read_text(path).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); run the stage again") from error
    for number, line in enumerate(lines, 1):
        try:
            record = loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise InputError(f"{path}, line {number} is not JSON ({error}); run the stage again") from error
        yield record
