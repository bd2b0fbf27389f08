"""Rows of Parquet and Arrow files, a few at a time, and samples of WebDataset tars."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from seelevel.errors import InputError, reason_of
from seelevel.images import ENDINGS, is_picture
from seelevel.json_text import loads

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 1 << 24
"""Bytes of the rows in memory at a time, as far as the file's size tells."""
BATCH_ROWS = 1024
LARGEST_MEMBER = 1 << 28
"""Bytes of the largest file in a tar that is read."""
TEXTS = ("txt", "text", "caption")
BROKEN = (OSError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError, RecursionError, SystemError)
"""What pyarrow raises over a damaged file besides its own exceptions."""


def plain(value: Any) -> Any:
    """A cell as JSON has it: NaN is None, a date is a text, bytes are a picture (`{"bytes", "path"}`) or a text."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        picture = isinstance(value.get("bytes"), bytes)
        return {key: part if picture and key == "bytes" else plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        if is_picture(value):
            return {"bytes": value, "path": None}
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"bytes": value, "path": None}
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return plain(float(value))
    return value


def parquet_records(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a Parquet file. Pages are read as they are needed, so a large row group is not in memory at once.

    Raises `InputError` for a file that is not Parquet, and for a row that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = -1
    try:
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            number = 0
            data = file.metadata
            size = sum(data.row_group(n).total_byte_size for n in range(data.num_row_groups))
            for batch in file.iter_batches(_batch_rows(size, data.num_rows), use_threads=False):
                yield from _rows(path, batch, number)
                number += batch.num_rows
    except (pa.ArrowException, *BROKEN) as error:
        if number >= 0:
            raise InputError(
                f"{path}: broken after row {number} ({reason_of(error)}); fetch or write it again"
            ) from error
        raise not_parquet(path, error) from error


def not_parquet(path: Path, error: Exception) -> InputError:
    """What to raise for a file that cannot be read as Parquet."""
    return InputError(
        f"{path} is not a Parquet file ({reason_of(error)}); fetch or write it again. If a run wrote it, "
        "delete it and run the same command again"
    )


def arrow_records(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of an Arrow file, as `datasets` saves them (stream) or as Feather 2 (file)."""
    import pyarrow as pa

    number = 0
    try:
        with pa.memory_map(str(path)) as mapped:
            for batch in _arrow_batches(mapped):
                batch.validate(full=True)  # a wrong offset would be read outside of the file
                step = _batch_rows(batch.nbytes, batch.num_rows)
                for start in range(0, batch.num_rows, step):
                    part = batch.slice(start, step)
                    yield from _rows(path, part, number)
                    number += part.num_rows
    except (pa.ArrowException, *BROKEN) as error:
        raise InputError(
            f"{path} row {number}: not Arrow ({reason_of(error)}); fetch or write the file again"
        ) from error


def _arrow_batches(mapped: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if mapped.read(6) == b"ARROW1":
        file = pa.ipc.open_file(mapped)
        yield from (file.get_batch(n) for n in range(file.num_record_batches))
    else:
        mapped.seek(0)
        yield from pa.ipc.open_stream(mapped)


def _batch_rows(size: int, rows: int) -> int:
    return min(BATCH_ROWS, max(1, BATCH_BYTES * rows // max(size, 1)))


def _rows(path: Path, batch: pa.RecordBatch, number: int) -> Iterator[tuple[str, Any]]:
    names = [name for name in batch.schema.names if not name.startswith("__index_level_")]  # pandas' own
    for offset, row in enumerate(batch.select(names).to_pylist()):
        yield f"{path.name} row {number + offset}", plain(row)


def rows_in(path: Path) -> int:
    """The number of rows of a Parquet file, from its footer. Raises `InputError` if it has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, *BROKEN) as error:
        raise not_parquet(path, error) from error


class _End:
    """A stream and its last block: a whole tar ends with zeros, which tarfile does not check."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.block = file, b""

    def read(self, size: int) -> bytes:
        raw = self.file.read(size)
        self.block = (self.block + raw)[-512:]
        return raw


def tar_records(path: Path, file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """The samples of a WebDataset: neighbouring files whose names are equal up to the first dot.

    Nothing is written to disk; links, devices and folders in the tar are passed over. Raises `InputError` for a broken
    tar and for a file in it over LARGEST_MEMBER bytes.
    """
    key = ""
    members: dict[str, tuple[str, bytes]] = {}
    end = _End(file)
    try:
        with tarfile.open(fileobj=end, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                place = PurePosixPath(member.name)
                if not member.isreg() or place.name.startswith("."):
                    continue
                if member.size > LARGEST_MEMBER:
                    raise InputError(
                        f"{path}: {member.name} has {member.size:,} bytes, over {LARGEST_MEMBER:,}; leave it out"
                    )
                stem, _, kind = place.name.partition(".")
                if members and str(place.parent / stem) != key:
                    yield f"{path.name} {key}", _sample(path, key, members)
                    members = {}
                key = str(place.parent / stem)
                content = tar.extractfile(member)
                members[kind.lower()] = (place.name, b"" if content is None else content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{path}: broken after '{key}' ({reason_of(error)}); fetch or write the tar again") from error
    if end.block.strip(b"\0"):
        raise InputError(f"{path}: cut off after '{key}'; fetch or write the tar again")
    if members:
        yield f"{path.name} {key}", _sample(path, key, members)


def _sample(path: Path, key: str, members: Mapping[str, tuple[str, bytes]]) -> dict[str, Any]:
    """One record: the keys of the sample's JSON, its texts, and its pictures under `image` or `images`."""
    record: dict[str, Any] = {}
    pictures: dict[str, dict[str, Any]] = {}
    for kind, (name, raw) in members.items():
        if is_picture(raw) or kind.split(".")[-1] in ENDINGS:
            pictures[name] = {"bytes": raw, "path": name}
            continue
        try:
            text = raw.decode("utf-8-sig")
            if kind.split(".")[-1] == "json":
                inside = plain(loads(text))
                record.update(inside if isinstance(inside, dict) else {kind.removesuffix(".json"): inside})
            else:
                record["text" if kind in TEXTS else kind] = text
        except UnicodeDecodeError:  # features, sounds and the like
            continue
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: {name} is not JSON ({error}); fix it") from error
    record.setdefault("id", key)
    if pictures:
        held = _in_named_order(record, pictures)
        record.pop("image", None)
        record.pop("images", None)
        record.update({"image": held[0]} if len(held) == 1 else {"images": held})
    return record


def _in_named_order(record: Mapping[str, Any], pictures: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The pictures of a sample, in the order in which its JSON names them, if it names them all."""
    names = record.get("images", record.get("image"))
    listed: Iterable[Any] = names if isinstance(names, list) else ()
    ordered = [pictures.get(PurePosixPath(name).name) if isinstance(name, str) else None for name in listed]
    held = [picture for picture in ordered if picture is not None]
    return held if held and len(held) == len(ordered) else list(pictures.values())
