"""`seelevel score` for benchmarks whose files come with their own answers or judgements. Each help shows a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from seelevel.cli.score import JsonOption, Rule, score_app
from seelevel.json_text import dumps
from seelevel.progress import show

__all__ = ["score_app"]
SHOWN = 8
"""Ids of a list that the table names."""
RuleOption = Annotated[Rule, typer.Option(help="The authors' script's reading, or one that guesses nothing.")]


def print_figures(found: Mapping[str, Any], as_json: bool) -> None:
    """One JSON object; or a table, with one for each mapping in it."""
    if as_json:
        show(dumps(found, ensure_ascii=True))
        return
    tables = {name: value for name, value in found.items() if isinstance(value, Mapping)}
    for name, value in found.items():
        if name not in tables and value != []:
            show(f"{name:24}{_cell(value)}")
    for name, table in tables.items():
        rows = {key: value for key, value in table.items() if isinstance(value, Mapping)}
        columns = list(next(iter(rows.values()), {}))
        if table:
            show(f"\n{name:24}{''.join(f'{column:>12}' for column in columns)}".rstrip())
        for key, value in table.items():
            cells = [value] if key not in rows else [value.get(column) for column in columns]
            show(f"{key:24}{''.join(f'{_cell(cell):>12}' for cell in cells)}")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
        return ", ".join(map(str, value[:SHOWN])) + more
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


@score_app.command("amber")
def score_amber(
    predictions: Annotated[Path, typer.Option(help="Answers to AMBER's queries, of all or some of them.")],
    data: Annotated[Path, typer.Option(help="Folder with annotations.json, relation.json and safe_words.txt.")],
    similar: Annotated[
        str, typer.Option(help="Words alike: listed, none, or a spaCy pipeline with vectors (en_core_web_lg).")
    ] = "listed",
    rule: RuleOption = Rule.published,
    as_json: JsonOption = False,
) -> None:
    """AMBER: descriptions (CHAIR, Cover, Hal, Cog) and yes-or-no questions by kind.

    \b
    {"id": 1, "response": "The image depicts three people walking ..."}
    {"id": 1005, "response": "Yes"}
    """
    from seelevel.scorers import amber

    print_figures(amber.score_files(predictions, data, rule.value, similar), as_json)
