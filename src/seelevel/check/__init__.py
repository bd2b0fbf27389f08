"""The check: ladders in, re-ordered ladders with their reasons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seelevel.check.overrides import Checker, Overridden, read_overrides
from seelevel.check.settings import CheckSettings
from seelevel.facts import CheckFacts
from seelevel.formats.parquet import iter_shards, read_ladders, write_shard
from seelevel.models.base import ModelRef
from seelevel.progress import Progress, say
from seelevel.registry import choose
from seelevel.store import StageFolder, shards

__all__ = ["CHECKERS", "CheckSettings", "make_checker", "run"]

# Each is a class with `from_settings(settings, judge, seed)`, whose objects take ladders and give re-levelled ladders.
CHECKERS = {"autocheck": "seelevel.check.autocheck:AutoCheck", "judge": "seelevel.check.judged:JudgeOrder"}


def run(
    source: Path,
    stage: StageFolder,
    settings: CheckSettings,
    encoder: ModelRef | None,
    root: Path,
    judge: ModelRef | None = None,
    seed: int = 0,
) -> CheckFacts:
    """Write one shard of checked ladders for each shard in `source`; returns the counts for the manifest.

    A shard that is there already was written whole and is kept. Image paths below `root` are written relative to it.
    """
    todo = [path for path in shards(source) if not (stage.path / path.name).exists()]
    if todo:
        checker = make_checker(source, settings, encoder, root, judge, seed)
        with Progress("check", total=len(shards(source)), unit="shards", done=len(shards(source)) - len(todo)) as bar:
            for path in todo:
                # A shard is a call of its own, so that a continued run parses the same batches as an unbroken one.
                write_shard(stage.path / path.name, checker(read_ladders(path, root)), root)
                bar.advance()
    facts = _facts(ladder.notes for _, ladders in iter_shards(stage.path, root) for ladder in ladders)
    if facts.contradiction_rate is not None:
        say(
            f"check: the judge contradicts itself in {facts.circles} of {facts.triples} triples of responses "
            f"({facts.contradiction_rate:.2%})"
        )
    return facts


def make_checker(
    source: Path,
    settings: CheckSettings,
    encoder: ModelRef | None,
    root: Path,
    judge: ModelRef | None,
    seed: int,
) -> Checker:
    """The checker that the settings ask for: a share of the ladders to a judge, and people's overrides after it.

    Raises `InputError` for overrides of ladders or responses that are not in `source`.
    """
    overrides = {} if settings.overrides is None else read_overrides(Path(settings.overrides), source, root)
    path = None if encoder is None else encoder.path
    resolved = settings.model_copy(update={"encoder": path})
    checker = choose("checker", settings.checker, CHECKERS).from_settings(resolved, judge, seed)
    if settings.judge_share:
        from seelevel.check.judged import JudgeOrder, Mixed

        checker = Mixed(checker, JudgeOrder.from_settings(resolved, judge, seed), settings.judge_share, seed)
    return Overridden(checker, overrides)


def _facts(notes: Iterable[dict[str, Any]]) -> CheckFacts:
    """Counts for the report. Those of a judge and of overrides are left out if they are zero."""
    counts: Counter[str] = Counter()
    for all_notes in notes:
        note = all_notes["check"]
        counts["ladders"] += 1
        counts["reordered"] += note.get("reordered", False)
        counts["unchecked"] += "unchecked" in note
        counts["split_texts"] += note.get("split", 0)
        counts["judged"] += note["checker"] == "judge" and "unchecked" not in note
        counts["triples"] += note.get("triples", 0)
        counts["circles"] += note.get("circles", 0)
        counts["overridden"] += bool(all_notes.get("overrides"))
    triples, circles = counts["triples"], counts["circles"]
    return CheckFacts(
        ladders=counts["ladders"],
        reordered=counts["reordered"],
        unchecked=counts["unchecked"],
        split_texts=counts["split_texts"],
        judged=counts["judged"] or None,
        triples=triples or None,
        circles=circles if triples else None,
        contradiction_rate=circles / triples if triples else None,
        overridden=counts["overridden"] or None,
    )
