"""`seelevel inspect`: what is understood of a file of records."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seelevel.cli.score import JsonOption
from seelevel.errors import InputError
from seelevel.json_text import dumps

if TYPE_CHECKING:
    from rich.console import Console

    from seelevel.formats.inspection import Inspection

FIRST = 160
"""Characters of a text that are shown."""
ColumnsOption = Annotated[
    str, typer.Option(metavar="OURS=THEIRS,…", help="Columns with other names: prompt=question,images=photo.")
]


def read_columns(text: str) -> dict[str, str]:
    """`prompt=question,images=photo` as a mapping. Raises `InputError`."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for ours, equals, theirs in pairs:
        if not (ours.strip() and equals and theirs.strip()):
            raise InputError(f"--columns {text}: expected OURS=THEIRS,…, such as prompt=question,images=photo")
    columns: dict[str, str] = {}
    for ours, _, theirs in pairs:
        if columns.setdefault(ours.strip(), theirs.strip()) != theirs.strip():
            raise InputError(f"--columns {text}: {ours.strip()} is named twice; keep one of them")
    return columns


def inspect(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file, or a folder of shards.")],
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures named in FILE.")] = None,
    columns: ColumnsOption = "",
    from_: Annotated[str | None, typer.Option("--from", help="Format, if the content does not show it.")] = None,
    limit: Annotated[int, typer.Option(help="The most records to look at.", min=1)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would understand of a file: form, columns, ladders, what it would set aside. Writes nothing."""
    from rich.console import Console

    from seelevel.formats.inspection import inspect as inspect_file

    found = inspect_file(source, images, read_columns(columns), from_, limit)
    if as_json:
        print(dumps(asdict(found), ensure_ascii=True))
        return
    show(found, Console(highlight=False))


def show(found: Inspection, console: Console) -> None:
    """Print an inspection, one fact per line."""
    rows = [("file", found.path), ("container", found.container), ("form", found.form or f"unknown: {found.problem}")]
    total = "" if found.records is None else f"{found.records}; "
    rows.append(("records", f"{total}{found.looked_at} looked at"))
    if found.unknown:
        which = "unknown which are used: the reader opens the file itself"
        rows.append(("columns", f"{', '.join(found.unknown)}; {which}"))
    else:
        rows.append(("used", ", ".join(found.used) or "nothing"))
        rows.append(("ignored", ", ".join(found.ignored) or "nothing"))
    if found.form is None:
        rows.append(("remedy", "name the columns: --columns OURS=THEIRS,… here, data.columns in a recipe"))
    else:
        rows.append(("ladders", str(found.ladders)))
        rows += [("set aside", f"{count} × {reason}") for reason, count in found.rejected.items()]
    _print(console, rows)
    for example in found.examples:
        console.print()
        _print(console, _rows(example))


def _rows(example: dict[str, Any]) -> list[tuple[str, str]]:
    pictures = (f"{p['name']} {p['width']}×{p['height']}" for p in example["pictures"])
    return [
        ("ladder", example["id"]),
        ("pictures", ", ".join(pictures) or "none"),
        *((message["role"], message["content"]) for message in example["prompt"]),
        *(
            (f"level {response['level']}" if not number else message["role"], message["content"])
            for response in example["responses"]
            for number, message in enumerate(response["messages"])
        ),
    ]


def _print(console: Console, rows: list[tuple[str, str]]) -> None:
    from rich.text import Text

    from seelevel.progress import escape_controls

    for label, value in rows:
        text = escape_controls(value)
        cut = text if len(text) <= FIRST or label in ("used", "ignored", "columns", "form") else f"{text[:FIRST]}…"
        console.print(Text.assemble((f"{label:11}", "bold"), cut), soft_wrap=True)
