"""Ladders ↔ Parquet, which `datasets.load_dataset("parquet", ...)` opens. Fields without a schema are JSON strings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.errors import InputError
from seelevel.formats.old_notes import with_types
from seelevel.formats.tables import not_parquet
from seelevel.formats.values import kind_of
from seelevel.json_text import dumps, loads
from seelevel.ladder import Feedback, Image, Ladder, Message, Response
from seelevel.notes import LevelOverride, RoundOf, read_check_note, read_checked, read_feedback_note
from seelevel.store import shards, write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

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
    return dumps(value, sort_keys=True, default=vars)


def _row(ladder: Ladder, root: Path | None, embed_images: bool) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    for image in ladder.images:
        entry: dict[str, Any] = {"path": _inside(image.path, root), "sha256": image.sha256}
        if embed_images:
            entry["bytes"] = Path(image.path).read_bytes()
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
    if root is not None and Path(path).is_absolute():
        try:
            return Path(path).relative_to(root.resolve()).as_posix()
        except ValueError:
            return path
    return path


def _typed(value: Any, kind: type) -> Any:
    """The value, if it is of this type. Raises TypeError."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is {kind_of(value)}, not of type {kind.__name__}")
    return value


def _mapping(text: str) -> dict[str, Any]:
    value: dict[str, Any] = _typed(loads(text), dict)
    return value


def _messages(rows: list[dict[str, Any]]) -> list[Message]:
    return [Message(role=_typed(m["role"], str), content=_typed(m["content"], str)) for m in rows]


def _ladder(row: dict[str, Any], untyped: bool) -> Ladder:
    notes = _mapping(row["notes"])
    ladder = Ladder(
        id=_typed(row["id"], str),
        images=[Image(_typed(i["path"], str), _typed(i["sha256"] or "", str)) for i in row["images"]],
        prompt=_messages(row["prompt"]),
        responses=[_response(r) for r in row["responses"]],
        annotations=_mapping(row["annotations"]),
    )
    if untyped:
        return with_types(ladder, notes)
    typed = {name: read(notes.pop(name)) for name, read in NOTE_READERS.items() if name in notes}
    return replace(ladder, notes=notes, **typed)


def _response(row: dict[str, Any]) -> Response:
    return Response(
        messages=_messages(row["messages"]),
        level=_typed(row["level"], int),
        origin=_mapping(row["origin"]),
        condition=_typed(row["condition"], str),
        scores=_mapping(row["scores"]),
        feedback=None if row["feedback"] is None else Feedback(**loads(row["feedback"])),
        check=None if row.get("check") is None else read_checked(loads(row["check"])),
        reasoning=_typed(row.get("reasoning") or "", str),
    )


def write_shard(path: Path, ladders: Iterable[Ladder], root: Path | None = None, embed_images: bool = False) -> None:
    """Write ladders to one Parquet file, whole or not at all.

    Picture paths below `root` (the run folder) are written relative to it, so that a run can be moved.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(ladder, root, embed_images) for ladder in ladders]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema(embed_images)), buffer)
    write_atomically(path, buffer.getvalue().to_pybytes())


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.is_dir():
        files = shards(path) or sorted(path.glob("*.parquet"))
        if not files:
            raise InputError(f"no Parquet file in {path}; name a ladder file or a stage's folder")
        return [ladder for file in files for ladder in read_ladders(file, root, keep)]
    if not path.exists():
        raise InputError(f"{path} does not exist; name a Parquet file of ladders")
    try:
        table = pq.read_table(path)
        rows = table.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise not_parquet(path, error) from error
    try:
        ladders = [_ladder(row, _untyped(table.schema)) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} does not hold ladders ({error!r}); see docs/formats.md for the columns") from error
    return [
        replace(
            ladder,
            images=[
                _unpacked(_placed(image, path, root), entry.get("bytes"), keep)
                for image, entry in zip(ladder.images, row["images"], strict=True)
            ],
        )
        for ladder, row in zip(ladders, rows, strict=True)
    ]


def _untyped(schema: pa.Schema) -> bool:
    """Whether the version before wrote the file: its responses have no `check`."""
    import pyarrow as pa

    response = schema.field("responses").type.value_type
    return pa.types.is_struct(response) and "check" not in [field.name for field in response]


def _placed(image: Image, file: Path, root: Path | None) -> Image:
    if Path(image.path).is_absolute():
        return image
    places = [root] if root is not None else [*file.resolve().parents][:3]
    for place in places:
        if (place / image.path).exists():
            return replace(image, path=str((place / image.path).resolve()))
    return replace(image, path=str((places[0] / image.path).resolve()))


def _unpacked(image: Image, raw: bytes | None, keep: Callable[[bytes], Image] | None) -> Image:
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
