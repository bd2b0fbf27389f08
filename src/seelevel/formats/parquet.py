"""Ladders ↔ Parquet, which `datasets.load_dataset("parquet", ...)` opens. Fields without a schema are JSON strings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from seelevel.errors import InputError
from seelevel.formats.old_notes import with_types
from seelevel.formats.tables import not_parquet
from seelevel.json_text import dumps, loads
from seelevel.ladder import Feedback, Image, Ladder, Message, Response, Role
from seelevel.notes import LevelOverride, RoundOf, read_check_note, read_checked, read_feedback_note
from seelevel.opening import open_file, read_bytes
from seelevel.store import batched, shards, whole_file

if TYPE_CHECKING:
    import pyarrow as pa

Checked = TypeVar("Checked")
ROWS = 1024
"""Ladders in memory at a time."""
NOTE_READERS: dict[str, Callable[[Any], Any]] = {
    "check": read_check_note,
    "round_of": lambda value: RoundOf(**value),
    "feedback": read_feedback_note,
    "overrides": lambda entries: tuple(LevelOverride(**entry) for entry in entries),
}
"""How each typed note of a ladder (`seelevel.ladder.TYPED_NOTES`) is read from its JSON value."""


def _schema(embed_images: bool) -> pa.Schema:
    import pyarrow as pa

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    image = [("path", pa.string()), ("sha256", pa.string())]
    if embed_images:
        image.append(("bytes", pa.binary()))
    response = pa.struct(
        [
            ("messages", messages),
            ("level", pa.int32()),
            ("origin", pa.string()),
            ("condition", pa.string()),
            ("scores", pa.string()),
            ("feedback", pa.string()),
            ("check", pa.string()),
            ("reasoning", pa.string()),
        ]
    )
    return pa.schema(
        [
            ("id", pa.string()),
            ("images", pa.list_(pa.struct(image))),
            ("prompt", messages),
            ("responses", pa.list_(response)),
            ("annotations", pa.string()),
            ("notes", pa.string()),
        ]
    )


def _json(value: Any) -> str:
    """A value as JSON, dataclasses as mappings of their fields."""
    return "{}" if value == {} else dumps(value, sort_keys=True, default=vars)


def _row(ladder: Ladder, inside: Callable[[str], str], embed_images: bool) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    for image in ladder.images:
        entry: dict[str, Any] = {"path": inside(image.path), "sha256": image.sha256}
        if embed_images:
            entry["bytes"] = read_bytes(image.path)
        images.append(entry)
    return {
        "id": ladder.id,
        "images": images,
        "prompt": ladder.prompt,
        "responses": [
            {
                "messages": r.messages,
                "level": r.level,
                "origin": _json(r.origin),
                "condition": r.condition,
                "scores": _json(r.scores),
                "feedback": None if r.feedback is None else _json(r.feedback),
                "check": None if r.check is None else _json(r.check),
                "reasoning": r.reasoning,
            }
            for r in ladder.responses
        ],
        "annotations": _json(ladder.annotations),
        "notes": _json({**ladder.notes, **{name: note for name in NOTE_READERS if (note := getattr(ladder, name))}}),
    }


def _inside(path: str, root: Path | None) -> str:
    """A picture's path as it is written. root: without links."""
    if root is not None and Path(path).is_absolute():
        try:
            return Path(path).relative_to(root).as_posix()
        except ValueError:
            return path
    return path


def _of(kind: type[Checked], value: Any, name: str) -> Checked:
    """The value. Raises `ValueError` if it is of another type."""
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def _mapping(text: str, name: str) -> dict[str, Any]:
    """The mapping in a column of JSON."""
    return {} if text == "{}" else _of(dict, loads(text), name)


def _scores(text: str) -> dict[str, float]:
    scores = _mapping(text, "scores")
    for name, value in scores.items():
        if type(value) not in (int, float):
            raise ValueError(f"score {name:.40} is {value!r:.40}")
    return scores


def _messages(rows: list[dict[str, Any]]) -> list[Message]:
    return [Message(role=_role(m["role"]), content=_of(str, m["content"], "content")) for m in rows]


def _role(value: Any) -> Role:
    if value not in get_args(Role):
        raise ValueError(f"role is {value!r:.40}")
    role: Role = value
    return role


def _ladder(row: dict[str, Any], untyped: bool) -> Ladder:
    notes = _mapping(row["notes"], "notes")
    ladder = Ladder(
        id=_of(str, row["id"], "id"),
        images=[Image(_of(str, i["path"], "path"), _of(str, i["sha256"] or "", "sha256")) for i in row["images"]],
        prompt=_messages(row["prompt"]),
        responses=[_response(r) for r in row["responses"]],
        annotations=_mapping(row["annotations"], "annotations"),
    )
    if untyped:
        return with_types(ladder, notes)
    typed = {name: read(notes.pop(name)) for name, read in NOTE_READERS.items() if name in notes}
    return replace(ladder, notes=notes, **typed)


def _response(row: dict[str, Any]) -> Response:
    return Response(
        messages=_messages(row["messages"]),
        level=_of(int, row["level"], "level"),
        origin=_mapping(row["origin"], "origin"),
        condition=_of(str, row["condition"], "condition"),
        scores=_scores(row["scores"]),
        feedback=None if row["feedback"] is None else Feedback(**loads(row["feedback"])),
        check=None if row.get("check") is None else read_checked(loads(row["check"])),
        reasoning=_of(str, row.get("reasoning") or "", "reasoning"),
    )


def write_shard(path: Path, ladders: Iterable[Ladder], root: Path | None = None, embed_images: bool = False) -> None:
    """Write ladders to one Parquet file, whole or not at all.

    Picture paths below `root` (the run folder) are written relative to it, so that a run can be moved.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(embed_images)
    inside = cache(partial(_inside, root=None if root is None else root.resolve()))
    with whole_file(path) as file, pq.ParquetWriter(file, schema) as writer:
        for batch in batched(ladders, ROWS):
            rows = [_row(ladder, inside, embed_images) for ladder in batch]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def iter_shards(folder: Path, root: Path | None = None) -> Iterator[tuple[Path, list[Ladder]]]:
    """A stage's shards in order, each with its ladders."""
    for path in shards(folder):
        yield path, read_ladders(path, root)


def read_ladders(path: Path, root: Path | None = None, keep: Callable[[bytes], Image] | None = None) -> list[Ladder]:
    """Ladders of one Parquet file or of a folder's shards.

    Relative picture paths start at `root`; without `root`, at the nearest folder above the file that has the picture.
    If a picture's file is missing and the Parquet file holds its bytes, they are given to `keep`, which returns the
    picture's new file; by default in the cache.
    """
    return [
        replace(
            ladder,
            images=[
                unpacked(_placed(image, file, root), raw, keep) for image, raw in zip(ladder.images, held, strict=True)
            ],
        )
        for file in ladder_files(path)
        for ladder, held in each_row(file)
    ]


def ladder_files(path: Path) -> list[Path]:
    """A Parquet file, or those of a folder. Raises `InputError` if there are none."""
    files = (shards(path) or sorted(path.glob("*.parquet"))) if path.is_dir() else [path]
    if not files:
        raise InputError(f"no Parquet file in {path}; name a ladder file or a stage's folder")
    return files


def each_row(path: Path) -> Iterator[tuple[Ladder, list[bytes | None]]]:
    """The ladders of one Parquet file, a few at a time, each with the bytes of its pictures that the file holds.

    Raises `InputError` for a file that cannot be read or holds something else.
    """
    import pyarrow as pa

    number = 0
    try:
        for untyped, row in _rows(path):
            yield _ladder(row, untyped), [_bytes(image) for image in row["images"]]
            number += 1
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; name a Parquet file of ladders") from error
    except (pa.ArrowException, OSError, SystemError, MemoryError) as error:
        raise not_parquet(path, error) from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        reason = " ".join(repr(error).split())[:200]
        raise InputError(
            f"{path} does not hold ladders (row {number}: {reason}); see docs/formats.md for the columns"
        ) from error


def _bytes(image: Mapping[str, Any]) -> bytes | None:
    raw = image.get("bytes")
    return raw if raw is None else _of(bytes, raw, "bytes")


def _rows(path: Path) -> Iterator[tuple[bool, dict[str, Any]]]:
    """The rows of a file; of each, whether the version before wrote it: its responses have no `check`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    open_file(path).close()  # no pipe, no device
    # Arrow opens it itself: a thread of its own that reads from Python's file may end the process as it exits.
    with pq.ParquetFile(path) as file:
        response = file.schema_arrow.field("responses").type.value_type
        untyped = pa.types.is_struct(response) and "check" not in [field.name for field in response]
        for batch in file.iter_batches(ROWS, use_threads=False):
            yield from ((untyped, row) for row in batch.to_pylist())


def _placed(image: Image, file: Path, root: Path | None) -> Image:
    if Path(image.path).is_absolute():
        return image
    places = [root] if root is not None else [*file.resolve().parents][:3]
    for place in places:
        if (place / image.path).exists():
            return replace(image, path=str((place / image.path).resolve()))
    return replace(image, path=str((places[0] / image.path).resolve()))


def unpacked(image: Image, raw: bytes | None, keep: Callable[[bytes], Image] | None) -> Image:
    """The picture in its file, or, if that is missing, from its bytes in the file it was named in."""
    if not raw or Path(image.path).is_file():
        return image
    from seelevel.image_store import cached_pictures
    from seelevel.images import ImageError

    try:
        return (keep or cached_pictures().put_bytes)(raw)
    except ImageError:
        return image  # whoever opens the picture reports that it is missing


def save_ladders(ladders: Iterable[Ladder], path: str | Path, embed_images: bool = False) -> None:
    """Write ladders to one Parquet file. `embed_images` stores the pictures' bytes too."""
    write_shard(Path(path), ladders, embed_images=embed_images)


def load_ladders(path: str | Path) -> list[Ladder]:
    """Read ladders from a Parquet file, a stage's folder, or a run's folder of shards.

    Raises `InputError` if there are none.
    """
    return read_ladders(Path(path))
