"""An index of ladders: where each stands, and the few facts that a gallery filters by. Texts stay in Arrow.

A shard is read by columns, so that 50,000 ladders are indexed in seconds and filtered in milliseconds. Whole ladders
are read when they are shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seelevel.errors import InputError
from seelevel.formats.tables import BROKEN, not_parquet
from seelevel.json_text import loads
from seelevel.view.judged import contradictions

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("id", "prompt", "notes", "images.list.element.path")
OF_RESPONSES = ("messages", "level", "origin", "scores", "feedback", "check")
RATINGS, RATING = r'"ratings":\s*(?P<value>\{[^{}]*\})', r'"rating":\s*(?P<value>-?\d[-+.eE\d]*)'
"""In the JSON of a response's feedback, its ratings; in that of its scores, the judge's. Quotes inside of texts are
escaped there."""
NO_ORIGIN = "origin not noted"
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ShardIndex:
    """The facts of a shard's n ladders, arrays of shape [n], and its texts.

    size: responses; levels: different levels among them; gap: characters from the shortest to the longest answer;
    reordered: whether a check changed the order; unchecked: whether it could not. judged: 1 if a judge's ratings
    contradict the levels, 0 if they agree with them, -1 if there is nothing to compare. origins: where the answers come
    from; flags: the ladder's. prompts: the last turn of each prompt. texts: all turns of prompts and answers, shape
    [m]; `owner`: the ladder of each.
    """

    path: Path
    ids: list[str]
    size: Ints
    levels: Ints
    gap: Ints
    reordered: Mask
    unchecked: Mask
    judged: Ints
    origins: list[tuple[str, ...]]
    flags: list[tuple[str, ...]]
    pictures: list[str]
    prompts: list[str]
    texts: pa.Array
    owner: Ints

    def __len__(self) -> int:
        return len(self.ids)

    def holding(self, words: str) -> Mask:
        """Which ladders have the words, in any case, in their prompt or an answer, or are called so."""
        import pyarrow.compute as pc

        matches = np.asarray(pc.match_substring(self.texts, words, ignore_case=True).fill_null(False), dtype=bool)
        holds = np.array([words == name for name in self.ids], dtype=bool)
        holds[self.owner[matches]] = True
        return holds


def index_shard(path: Path) -> ShardIndex:
    """Read the index of a Parquet file of ladders. Raises `InputError` for anything else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            response = file.schema_arrow.field("responses").type.value_type
            names = [name for name in OF_RESPONSES if response.get_field_index(name) >= 0]
            wanted = [*COLUMNS, *(f"responses.list.element.{name}" for name in names)]
            return _index(path, file.read(columns=wanted, use_threads=False).combine_chunks())
    except (pa.ArrowException, *BROKEN) as error:
        if isinstance(error, LookupError | TypeError | AttributeError):
            raise InputError(f"{path} does not hold ladders; docs/formats.md has the columns") from error
        raise not_parquet(path, error) from error


def _index(path: Path, table: pa.Table) -> ShardIndex:
    import pyarrow as pa
    import pyarrow.compute as pc

    n, responses, prompt = table.num_rows, _whole(table["responses"]), _whole(table["prompt"])
    size = _ints(pc.list_value_length(responses))
    each = responses.flatten()
    prompts, prompt_owner = prompt.flatten().field("content"), _ints(pc.list_parent_indices(prompt))
    turns = each.field("messages")
    answers, answer_of = turns.flatten().field("content"), _ints(pc.list_parent_indices(turns))
    length = np.zeros(len(each), dtype=np.int64)
    np.add.at(length, answer_of, _ints(pc.utf8_length(answers)))
    starts = np.concatenate([[0], np.cumsum(size)])
    parts = [slice(start, end) for start, end in itertools.pairwise(starts)]
    level, place = _ints(each.field("level")), _places(each)
    origin = _each(each.field("origin"), _origin)
    notes = _each(table["notes"], _notes)
    last = dict(zip(prompt_owner.tolist(), prompts.to_pylist(), strict=True))
    return ShardIndex(
        path=path,
        ids=table["id"].to_pylist(),
        size=size,
        levels=np.array([len(set(level[part].tolist())) for part in parts], dtype=np.int64),
        gap=np.array([np.ptp(length[part]) if part.stop > part.start else 0 for part in parts], dtype=np.int64),
        reordered=np.array([(np.diff([p for p in place[part] if p >= 0]) < 0).any() for part in parts], dtype=bool),
        judged=_judged(each, level, parts),
        unchecked=np.array([unchecked for _, unchecked in notes], dtype=bool),
        origins=[tuple(dict.fromkeys(origin[part])) for part in parts],
        flags=[flags for flags, _ in notes],
        pictures=[str(images[0]["path"] or "") if images else "" for images in table["images"].to_pylist()],
        prompts=[last.get(row) or "" for row in range(n)],
        texts=pa.concat_arrays([prompts, answers]),
        owner=np.concatenate([prompt_owner, np.repeat(np.arange(n), size)[answer_of]]),
    )


def _whole(column: pa.ChunkedArray) -> Any:
    """A column that `combine_chunks` has made one chunk of, as that."""
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _ints(array: Any) -> Ints:
    return np.asarray(array.fill_null(0), dtype=np.int64)


def _places(each: Any) -> Ints:
    """Every response's place before the check; -1 without one."""
    import pyarrow.compute as pc

    if each.type.get_field_index("check") < 0:
        return np.full(len(each), -1, dtype=np.int64)
    matches = pc.extract_regex(each.field("check"), r'"place_before":\s*(?P<place>\d+)')
    return np.array([-1 if match is None else int(match["place"]) for match in matches.to_pylist()], dtype=np.int64)


def _judged(each: Any, level: Ints, parts: list[slice]) -> Ints:
    """Every ladder's `ShardIndex.judged`."""
    ratings, scores = _matches(each, "feedback", RATINGS), _matches(each, "scores", RATING)
    judged = np.full(len(parts), -1, dtype=np.int64)
    for n, part in enumerate(parts):
        worth = [None if text is None else _number(text) for text in scores[part]]
        rated = [_ratings(text) if text else {} for text in ratings[part]]
        if any(rated) or any(worth):
            compared, against = contradictions(level[part].tolist(), rated, worth)
            judged[n] = 1 if against else 0 if compared else -1
    return judged


def _matches(each: Any, name: str, pattern: str) -> list[str | None]:
    """The part `value` of a pattern in a column of JSON texts; None where it does not match."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if each.type.get_field_index(name) < 0 or not pa.types.is_string(each.field(name).type):
        return [None] * len(each)
    column = each.field(name)
    if column.null_count == len(column):
        return [None] * len(each)
    return [None if match is None else match["value"] for match in pc.extract_regex(column, pattern).to_pylist()]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _ratings(text: str) -> dict[str, int]:
    """Ratings by criterion from their JSON; empty if it is anything else."""
    try:
        value = loads(text)
    except ValueError:
        return {}
    return {name: rating for name, rating in value.items() if isinstance(rating, int)}


def _each(column: Any, read: Callable[[dict[str, Any]], Any]) -> list[Any]:
    """`read` of every JSON object in a column, once for equal ones. Any other text counts as an empty one."""

    @lru_cache(maxsize=4096)
    def of(text: str | None) -> Any:
        try:
            value = loads(text or "{}")
        except ValueError:
            value = {}
        return read(value if isinstance(value, dict) else {})

    return [of(text) for text in column.to_pylist()]


def _origin(origin: dict[str, Any]) -> str:
    """An origin in the gallery: its model, else its kind."""
    return str(origin.get("model") or origin.get("kind") or NO_ORIGIN)


def _notes(notes: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
    """A ladder's flags, and whether a check left it in its order."""
    flags, check = notes.get("flags", []), notes.get("check")
    listed = tuple(str(flag) for flag in (flags if isinstance(flags, list) else [flags]))
    return listed, isinstance(check, dict) and bool(check.get("unchecked"))
