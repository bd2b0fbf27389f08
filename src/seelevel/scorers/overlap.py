"""Training pictures in an evaluation set: the same pixels, or nearly the same picture.

The same: equal size and RGB values, whatever the file is called. Nearly the same: each picture is shrunk to 8 × 8
colours, and two of them differ by a root mean square of at most `NEAR` (of 255) and at most `SHARE` of the smaller
contrast. Saving as JPEG again (quality 30 to 90) and resizing (to 224 pixels, half, or a square) moved 60 photographs
by at most 1.5; 150 drawn scenes, made smaller by a ninth, moved by at most 2. The nearest two different photographs are
27 apart, the nearest two scenes 9.8. A part that was cut out of a picture is not found.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from seelevel.fingerprints import digest
from seelevel.formats.parquet import ladder_files, read_ladders
from seelevel.images import ImageError, open_image
from seelevel.json_text import dumps, loads
from seelevel.opening import read_bytes
from seelevel.progress import Progress, say
from seelevel.scorers.intervals import Array
from seelevel.scorers.questions import Benchmark
from seelevel.store import batched, cache_folder, write_atomically

SIDE = 8
NEAR, SHARE = 4.0, 0.15
THREADS = 4
KEPT = 2000
"""Pictures between two writes of the cache."""
BLOCK = 512
"""Training pictures that are compared at a time."""
NAMED = 8


@dataclass(frozen=True)
class Look:
    """How a picture looks. pixels: SHA-256 of its size and RGB values. small: its 8 × 8 colours, 192 bytes."""

    pixels: str
    small: bytes


def look_at(path: Path) -> Look | None:
    """The look of a picture at full size; None if it cannot be read."""
    try:
        picture = open_image(path, None)
    except ImageError:
        return None
    pixels = hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()
    return Look(pixels, picture.resize((SIDE, SIDE), Pictures.Resampling.BOX).tobytes())


def looks_of(paths: Sequence[Path]) -> dict[Path, Look]:
    """The looks of pictures, without those that cannot be read. Looks are kept in the user's cache, by file name, size
    and time of change; only new pictures are opened."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        by_folder[path.parent].append(path)
    looks: dict[Path, Look] = {}
    todo: dict[Path, dict[Path, list[Any]]] = {}
    kept = {folder: _kept(_cache(folder)) for folder in by_folder}
    for folder, files in by_folder.items():
        marks = {path: mark for path in files if (mark := _mark(path)) is not None}
        old = kept[folder]
        looks |= {path: old[path.name][1] for path, mark in marks.items() if old.get(path.name, (None,))[0] == mark}
        todo[folder] = {path: mark for path, mark in marks.items() if path not in looks}
    count = sum(map(len, todo.values()))
    if not count:
        return looks
    with Progress("pictures", total=count, unit="pictures") as bar, ThreadPoolExecutor(THREADS) as pool:
        for folder, new in todo.items():
            for batch in batched(new, KEPT):
                seen = {path: look for path, look in zip(batch, pool.map(look_at, batch), strict=True) if look}
                looks |= seen
                kept[folder] |= {path.name: (new[path], look) for path, look in seen.items()}
                _keep(_cache(folder), kept[folder])
                bar.advance(len(batch))
    return looks


def _cache(folder: Path) -> Path:
    return cache_folder() / "looks" / f"{digest(str(folder.absolute()))}.jsonl"


def _mark(path: Path) -> list[Any] | None:
    """Size and time of change of a file; None if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


Kept = dict[str, tuple[list[Any], Look]]


def _kept(path: Path) -> Kept:
    """The looks in a file of the cache, by picture's name. A file that a crash has damaged holds none."""
    try:
        rows = [loads(line) for line in read_bytes(path).split(b"\n") if line]
        return {name: (mark, Look(pixels, base64.b64decode(small))) for name, mark, pixels, small in rows}
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _keep(path: Path, kept: Kept) -> None:
    rows = ([name, mark, look.pixels, base64.b64encode(look.small).decode()] for name, (mark, look) in kept.items())
    write_atomically(path, "".join(dumps(row) + "\n" for row in rows))


# -- comparing --------------------------------------------------------------------------------------------------------


def near_pairs(tested: Sequence[Look], trained: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """The places in `tested` and `trained` of pictures that are nearly the same."""
    for first, start in product(range(0, len(tested), BLOCK), range(0, len(trained), BLOCK)):
        ours, theirs = _colours(tested[first : first + BLOCK]), _colours(trained[start : start + BLOCK])
        bounds = np.minimum.outer(ours.std(axis=1), theirs.std(axis=1))
        squares = (ours**2).mean(axis=1)[:, None] + (theirs**2).mean(axis=1)[None] - 2 * ours @ theirs.T / ours.shape[1]
        apart = np.sqrt(np.maximum(squares, 0))
        near = np.argwhere(apart <= np.minimum(NEAR, SHARE * bounds))
        yield from ((first + int(row), start + int(column)) for row, column in near)


def _colours(looks: Sequence[Look]) -> Array:
    """Shape (pictures, 192): the small pictures, from -128 to 127."""
    return np.stack([np.frombuffer(look.small, dtype=np.uint8) for look in looks]).astype(np.float64) - 128


def training_pictures(folders: Sequence[Path], root: Path) -> list[Path]:
    """The pictures of the ladders in the folders. `root`: the run folder, where relative paths start."""
    files = (file for folder in folders for file in ladder_files(folder))
    return list(
        dict.fromkeys(
            Path(image.path) for file in files for ladder in read_ladders(file, root) for image in ladder.images
        )
    )


def overlap_of(benchmarks: Sequence[Benchmark], folders: Sequence[Path], root: Path) -> dict[str, Any]:
    """How many pictures of each benchmark are training pictures, the same or nearly, and the names of the first ones.

    folders: the ladders that a model was trained on. Prints one line if there are any. `unread` counts the pictures
    that could not be opened.
    """
    training = training_pictures(folders, root)
    asked = {b.name: list(dict.fromkeys(Path(q.image) for q in b.questions if q.image)) for b in benchmarks}
    everything = list(dict.fromkeys([*training, *(path for paths in asked.values() for path in paths)]))
    looks = looks_of(everything)
    trained = {look.pixels: look for path in training if (look := looks.get(path)) is not None}
    tested = {look.pixels: look for paths in asked.values() for path in paths if (look := looks.get(path)) is not None}
    rest = [look for pixels, look in tested.items() if pixels not in trained]
    near = {rest[place].pixels for place, _ in near_pairs(rest, list(trained.values()))}
    counts = {}
    for name, paths in asked.items():
        pixels = {path: look.pixels for path in paths if (look := looks.get(path)) is not None}
        same = [path for path in pixels if pixels[path] in trained]
        nearly = [path for path in pixels if pixels[path] in near]
        names = [path.name for path in (*same, *nearly)][:NAMED]
        counts[name] = {"pictures": len(paths), "same": len(same), "near": len(nearly), "first": names}
    overlap = {"training_pictures": len(training), "unread": len(everything) - len(looks), "benchmarks": counts}
    if words := overlap_words(overlap):
        say(f"evaluate: {words}")
    return overlap


def overlap_words(overlap: dict[str, Any]) -> str:
    """The benchmarks with training pictures, in one sentence; empty if there are none."""
    parts = []
    for name, counts in overlap["benchmarks"].items():
        if count := counts["same"] + counts["near"]:
            nearly = f", {counts['near']:,} of them nearly the same" if counts["near"] else ""
            more = ", …" if count > len(counts["first"]) else ""
            parts.append(f"{name} {count:,} of {counts['pictures']:,}{nearly} ({', '.join(counts['first'])}{more})")
    return f"training pictures are in the evaluation: {'; '.join(parts)}" if parts else ""
