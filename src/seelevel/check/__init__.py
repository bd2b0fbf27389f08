"""The stage `check`: ladders in, re-ordered ladders with the reasons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from seelevel.check.overrides import BY_HAND, Override, by_hand, read_overrides
from seelevel.check.settings import CheckSettings
from seelevel.errors import InputError
from seelevel.facts import CheckFacts
from seelevel.formats.parquet import iter_shards
from seelevel.formats.shards import Transform, change_shards
from seelevel.ladder import Ladder
from seelevel.models.base import ModelRef
from seelevel.progress import say
from seelevel.registry import choose
from seelevel.store import StageFolder

Checker = Callable[[Iterable[Ladder]], Iterable[Ladder]]

__all__ = ["CHECKERS", "CheckSettings", "checked_pairs", "make_checker", "run"]

# Each is a class with `from_settings(settings, judge, seed)`. Its objects take ladders and return each, in order, with
# new levels and a `CheckNote` (`Ladder.ordered`). If they have `prepare`, it sees all ladders of the stage before.
# A recipe may name a class outside the package as module:class.
CHECKERS = {
    "autocheck": "seelevel.check.autocheck:AutoCheck",
    "objects": "seelevel.check.objects:Objects",
    "image": "seelevel.check.image:ImageOrder",
    "judge": "seelevel.check.judged:JudgeOrder",
}


def run(
    source: Path,
    stage: StageFolder,
    settings: CheckSettings,
    encoder: ModelRef | None,
    root: Path,
    judge: ModelRef | None = None,
    seed: int = 0,
) -> CheckFacts:
    """Write one shard of checked ladders for each shard of `source`; return the counts for the manifest.

    Picture paths below `root`, the run folder, are written relative to it.
    """

    def start() -> Transform:
        overrides = {} if settings.overrides is None else read_overrides(Path(settings.overrides), source, root)
        checker = make_checker(source, settings, encoder, root, judge, seed, overrides)

        def change(_: Path, ladders: Sequence[Ladder]) -> Iterator[Ladder]:
            given = [by_hand(ladder, overrides.get(ladder.id, ())) for ladder in ladders]
            return map(_verified, zip_longest(given, checker(given)))

        return change

    change_shards(source, stage.path, root, "check", start)
    facts = check_facts(ladder for _, ladders in iter_shards(stage.path, root) for ladder in ladders)
    if facts.contradiction_rate is not None:
        say(
            f"check: the judge contradicts itself in {facts.circles} of {facts.triples} triples of responses "
            f"({facts.contradiction_rate:.2%})"
        )
    return facts


def checked_pairs(
    source: Path,
    settings: CheckSettings,
    encoder: ModelRef | None,
    root: Path,
    judge: ModelRef | None = None,
    seed: int = 0,
) -> Iterator[tuple[Ladder, Ladder]]:
    """Each ladder of `source` and what the checker makes of it, without people's overrides. Nothing is written."""
    checker = make_checker(source, settings, encoder, root, judge, seed)
    for _, ladders in iter_shards(source, root):
        for pair in zip_longest(ladders, checker(ladders)):
            checked = _verified(pair)
            assert pair[0] is not None
            yield pair[0], checked


def make_checker(
    source: Path,
    settings: CheckSettings,
    encoder: ModelRef | None,
    root: Path,
    judge: ModelRef | None,
    seed: int,
    overrides: Mapping[str, Sequence[Override]] | None = None,
) -> Checker:
    """The checker of the settings. A share of the ladders may go to a judge. `overrides`: what people have changed,
    which it sees if it prepares for all ladders."""
    path = None if encoder is None else encoder.path
    resolved = settings.model_copy(update={"encoder": path})
    checker: Checker = choose("checker", settings.checker, CHECKERS).from_settings(resolved, judge, seed)
    if hasattr(checker, "prepare"):
        changed = overrides or {}
        every = (ladder for _, ladders in iter_shards(source, root) for ladder in ladders)
        checker.prepare(by_hand(ladder, changed.get(ladder.id, ())) for ladder in every)
    if settings.judge_share:
        from seelevel.check.judged import JudgeOrder, Mixed

        checker = Mixed(checker, JudgeOrder.from_settings(resolved, judge, seed), settings.judge_share, seed)
    return checker


def _verified(pair: tuple[Ladder | None, Ladder | None]) -> Ladder:
    """A checker's ladder. Raises `InputError` unless it is the given one with other levels and a note."""
    given, checked = pair
    if given is None or checked is None or checked.id != given.id:
        name = "the end" if given is None else f"ladder {given.id}"
        raise InputError(f"check.checker must give back every ladder once, in order; it did not at {name}")
    if sorted(r.id for r in checked.responses) != sorted(r.id for r in given.responses):
        raise InputError(f"check.checker changed the responses of ladder {given.id}; it may only set their levels")
    if checked.check is None:
        raise InputError(
            f"check.checker left no note on ladder {given.id}; return ladder.ordered(responses, CheckNote(…))"
        )
    return checked


def check_facts(ladders: Iterable[Ladder]) -> CheckFacts:
    """Counts for the report; those of a judge and of overrides only if there are any."""
    counts: Counter[str] = Counter()
    for ladder in ladders:
        note = ladder.check
        assert note is not None  # see _verified
        counts["ladders"] += 1
        counts["reordered"] += ladder.reordered
        counts["unchecked"] += bool(note.unchecked)
        counts["split_texts"] += note.split
        counts["judged"] += note.checker == "judge" and not note.unchecked
        counts["triples"] += note.triples
        counts["circles"] += note.circles
        counts["overridden"] += bool(ladder.overrides or ladder.notes.get(BY_HAND))
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
