"""`seelevel parser`: train and measure the shipped parser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seelevel.cli.score import JsonOption, print_scores
from seelevel.progress import show

parser_app = typer.Typer(help="The shipped English parser: train it, measure it.", no_args_is_help=True)


@parser_app.command("train")
def parser_train(
    treebank: Annotated[Path, typer.Option(help="Folder with Universal Dependencies .conllu files.")],
    out: Annotated[Path, typer.Option(help="Folder for the pipeline.")],
    max_steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 5000,
) -> None:
    """Train the parser on a treebank."""
    from seelevel.language.treebank import train_parser

    train_parser(treebank, out, max_steps=max_steps)
    show(f"parser: {out}")


@parser_app.command("evaluate")
def parser_evaluate(
    treebank: Annotated[Path, typer.Option(help="Folder with Universal Dependencies .conllu files.")],
    parser: Annotated[str, typer.Option(help="builtin, a spaCy package or a folder.")] = "builtin",
    as_json: JsonOption = False,
) -> None:
    """Measure a parser on a treebank's dev set: attachment, tags, noun chunks."""
    from seelevel.language.treebank import evaluate_parser

    print_scores(evaluate_parser(parser, treebank), as_json)
