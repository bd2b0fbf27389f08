"""The ladders of one run, folder or file: indexed in the background, read when they are shown."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from seelevel.errors import InputError
from seelevel.formats import commonest, read
from seelevel.formats.forms import LADDER_KEYS
from seelevel.formats.parquet import ladder_files, read_ladders, write_shard
from seelevel.formats.records import Rejected
from seelevel.ladder import Ladder
from seelevel.opening import read_text
from seelevel.progress import Progress
from seelevel.store import OVERRIDES, at_work, batched, read_manifest, shards
from seelevel.training.margins import FILE as LOGPROBS
from seelevel.view.changes import Changes
from seelevel.view.earlier import Earlier
from seelevel.view.figures import Figures, Stamp, stamp_of
from seelevel.view.filters import Filters
from seelevel.view.index import ShardIndex, index_shard
from seelevel.yaml_text import load_yaml

STAGES = ("feedback", "check", "generate", "data")
"""The stages of a run whose ladders are shown: the latest that has any."""
EVALUATE = "evaluate"
CHECKED, BEFORE_CHECK = ("feedback", "check"), "generate"
"""The stages whose ladders a check may have changed, and the stage whose ladders it reads."""
SHARD = 512
"""Ladders of a file of another form that are kept together."""
MOST_RUNS = 50
"""Runs of a folder that are opened together."""
KEPT = 8
"""Shards whose ladders are kept in memory."""
PATIENCE = 0.3
"""Seconds that a page waits for new shards before it shows those that are there."""
Place = tuple[int, int]
"""Which ladder: its shard, and its row there."""


class Collection:
    """Ladders with their index. A run that is still at work is looked at again on every `refresh`.

    name: what to call it; root: the folder that relative paths of pictures start at, None if the files say so.
    changes: where changes by hand go. `unheeded`: why no run would heed them; empty if one does.
    `judged`: whether a judge has ordered answers; `aside`: which records are left out, in words. `first`: if only so
    many ladders are shown.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        changes: Changes,
        unheeded: str = "",
        root: Path | None = None,
        run: Path | None = None,
        aside: str = "",
    ) -> None:
        self.name, self.folder, self.root, self.run = name, folder, root, run
        self.changes, self.unheeded, self.aside = changes, unheeded, aside
        self.first: int | None = None
        self._clear()
        self._worker: threading.Thread | None = None
        self._begin = threading.Lock()
        self._ladders = lru_cache(maxsize=KEPT)(lambda path: read_ladders(path, root))
        self.figures = Figures(None if run is None else run / "align" / LOGPROBS)
        checked = run is not None and folder.name in CHECKED
        self._earlier = Earlier(run / BEFORE_CHECK, root) if run is not None and checked else None

    @property
    def unfinished(self) -> str:
        """Why ladders may be lacking; empty if none are."""
        if self.run is None or read_manifest(self.folder) is not None:
            return ""
        return "the run is still at work" if at_work(self.run) else f"the stage {self.folder.name} is not finished"

    def refresh(self, patience: float = PATIENCE) -> None:
        """Index new shards in the background, and wait so many seconds for it. `waiting`: how many are left."""
        with self._begin:
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._index, daemon=True)
                self._worker.start()
            worker = self._worker
        worker.join(patience)

    def _clear(self) -> None:
        self.shards: list[ShardIndex] = []
        self.place_of: dict[str, Place] = {}
        self.origins, self.flags, self.sizes = Counter[str](), Counter[str](), Counter[int]()
        self.trouble: list[str] = []
        self.judged = False
        self.waiting = 1  # nobody has looked yet
        self._seen: dict[Path, Stamp] = {}

    def _index(self) -> None:
        self.figures.refresh()
        if self.run is not None and (folder := _latest(self.run)) not in (None, self.folder):
            self.folder = folder  # the next stage has begun to write ladders
            self._clear()
        files = ladder_files(self.folder) if self.run is None else shards(self.folder)
        stamps = {path: stamp_of(path) for path in files}
        if any(stamps.get(path) != stamp for path, stamp in self._seen.items()):
            self._clear()  # the stage has begun again
            self._ladders.cache_clear()
        new = [path for path in files if path not in self._seen]
        self.waiting = len(new)
        for path in new:
            self._seen[path] = stamps[path]
            try:
                self._add(index_shard(path))
            except InputError as error:  # it is told on the page
                self.trouble.append(str(error))
            self.waiting -= 1

    def _add(self, shard: ShardIndex) -> None:
        self.shards.append(shard)
        for row, name in enumerate(shard.ids):
            self.place_of.setdefault(name, (len(self.shards) - 1, row))
        self.origins.update(name for origins in shard.origins for name in origins)
        self.flags.update(flag for flags in shard.flags for flag in flags)
        self.sizes.update(shard.size.tolist())
        self.judged |= bool((shard.judged >= 0).any())

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def matching(self, filters: Filters) -> list[Place]:
        """The ladders that pass the filters, in their order; of the `first` ones, if only those are shown."""
        changed = self.changes.ladders() if filters.changed else set[str]()
        shards = list(self.shards)
        margins = [self.figures.margins(shard.ids) if filters.needs_margins else None for shard in shards]
        masks = [filters.mask(shard, changed, of_shard) for shard, of_shard in zip(shards, margins, strict=True)]
        places = [(n, np.flatnonzero(mask)) for n, mask in enumerate(masks)]
        matching = [(n, int(row)) for n, rows in places for row in rows]
        if self.first is not None:
            starts = [0, *itertools.accumulate(map(len, self.shards))]
            matching = [(n, row) for n, row in matching if starts[n] + row < self.first]
        if filters.order == "gap":
            matching.sort(key=lambda place: -int(self.shards[place[0]].gap[place[1]]))
        if filters.order == "margin":
            values = {(n, row): of[row] for n, of in enumerate(margins) if of is not None for row in range(len(of))}
            matching.sort(key=values.__getitem__)
        return matching

    def ladder(self, place: Place) -> Ladder:
        """One whole ladder. Raises `InputError` if its file is gone, broken or another one by now."""
        try:
            shard = self.shards[place[0]]
            ladder = self._ladders(shard.path)[place[1]]
        except IndexError:
            ladder = None
        if ladder is None or ladder.id != shard.ids[place[1]]:
            raise InputError("the ladders have changed meanwhile; look at the gallery again")
        return ladder

    def before_check(self, name: str) -> Ladder | None:
        """The ladder that the check has read, with answers that it has left out; None if there is none."""
        return None if self._earlier is None else self._earlier.ladder(name)

    def changeable(self, place: Place, response: str) -> Ladder:
        """The ladder to change by hand: the one that the check reads, if it has this response; else the one shown."""
        ladder = self.ladder(place)
        earlier = self.before_check(ladder.id)
        return earlier if earlier is not None and any(r.id == response for r in earlier.responses) else ladder


def open_collection(path: Path, kept: Path, who: str, images: Path | None = None) -> Collection:
    """The ladders of a run folder, a stage's folder, a file of ladders, or a file in any form that is read.

    kept: a folder for the ladders of files in other forms; who: the author of changes. Raises `InputError` if the path
    holds no ladder.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; name a run folder, a stage's folder, or a file")
    path = path.absolute()
    if not path.name:
        raise InputError(f"{path} is the root of the file system; name a run folder, a stage's folder, or a file")
    name = path.name
    beside = Changes(path.with_name(f"{name}.{OVERRIDES}"), who)
    unheeded = f"a recipe heeds them that names {beside.path} as check.overrides"
    if path.is_dir():
        stage = _latest(path)
        if stage is not None or is_run(path) or (path / EVALUATE).is_dir():  # models can be compared without ladders
            file, reason = overrides_of(path)
            return Collection(name, stage or path / STAGES[-1], Changes(file, who), reason, path.resolve(), path)
        if shards(path):  # a stage's folder
            return Collection(f"{path.parent.name}/{name}", path, beside, unheeded, path.parent.resolve())
    if path.suffix == ".parquet" and _holds_ladders(path):
        return Collection(name, path, beside, unheeded)
    folder, aside = _converted(path, kept, images)
    return Collection(name, folder, beside, unheeded, kept, aside=aside)


def _latest(run: Path) -> Path | None:
    """The folder of the ladders of a run that are shown."""
    return next((run / stage for stage in STAGES if shards(run / stage)), None)


def is_run(folder: Path) -> bool:
    return (folder / "recipe.yaml").is_file()


def runs_in(folder: Path) -> list[Path]:
    """The folder itself or, if it is none that can be opened but holds run folders, those, by their names.

    Raises `InputError` if it holds ladders beside runs, or too many runs.
    """
    if not folder.is_dir() or is_run(folder) or _latest(folder) is not None:
        return [folder]
    runs = sorted(path for path in folder.iterdir() if path.is_dir() and is_run(path))
    if not runs:
        return [folder]
    if shards(folder):
        raise InputError(f"{folder} holds ladders and run folders; name the ones to look at")
    if len(runs) > MOST_RUNS:
        raise InputError(f"{folder} holds {len(runs)} runs, over {MOST_RUNS}; name the ones to look at")
    return runs


def overrides_of(run: Path) -> tuple[Path, str]:
    """The file of a run's overrides, and why its check would not heed it; empty if it does."""
    try:
        recipe = load_yaml(read_text(run / "recipe.yaml"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        recipe = None
    if not isinstance(recipe, dict):
        return run / OVERRIDES, f"{run} has no readable recipe.yaml"
    if not isinstance(check := recipe.get("check"), dict):
        return run / OVERRIDES, "the recipe of this run checks nothing (check: null)"
    named = check.get("overrides")
    return (Path(named) if isinstance(named, str) else run / OVERRIDES), ""


def _holds_ladders(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names) >= LADDER_KEYS
    except (pa.ArrowException, OSError):
        return False


def _converted(path: Path, kept: Path, images: Path | None) -> tuple[Path, str]:
    """The folder of the ladders of a file in another form, written there now; and which records are left out."""
    folder, rejected = kept / "ladders", list[Rejected]()

    def ladders() -> Iterator[Ladder]:
        for record in read(path, images):
            if isinstance(record, Rejected):
                rejected.append(record)
            else:
                yield record

    count = 0
    with Progress(f"read {path.name}", total=None, unit="records") as bar:
        for number, block in enumerate(batched(ladders(), SHARD)):
            write_shard(folder / f"shard-{number:05d}.parquet", block)
            count += len(block)
            bar.advance(len(block))
    if not count:
        raise InputError(f"{path} holds no usable record; {commonest(rejected)}")
    return folder, f"{len(rejected)} records are set aside: {commonest(rejected)}" if rejected else ""
