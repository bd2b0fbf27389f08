"""Small files of every container, written anew for each test."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pictures


def jpeg(colour: int = 0, size: tuple[int, int] = (12, 9)) -> bytes:
    buffer = io.BytesIO()
    Pictures.new("RGB", size, (16 * colour % 256, 90, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def pair(number: int, **more: Any) -> dict[str, Any]:
    """A preference row with its picture inside."""
    picture = {"bytes": jpeg(number), "path": f"{number}.jpg"}
    return {"image": picture, "prompt": f"Q{number}?", "chosen": f"good {number}", "rejected": "bad", **more}


def parquet(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, **options)
    return path


def arrow(path: Path, rows: Sequence[dict[str, Any]], stream: bool = True) -> Path:
    table = pa.Table.from_pylist(list(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


def tar(path: Path, members: Sequence[tuple[str, bytes | tarfile.TarInfo]], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                file.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def text(path: Path, content: str, zipped: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode()
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    return path


def lines(records: Sequence[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)
