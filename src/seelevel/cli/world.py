"""`seelevel world`: train, draw and measure the embedded world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seelevel.json_text import dumps
from seelevel.progress import show

world_app = typer.Typer(help="The embedded world: its models and scenes.", no_args_is_help=True)


@world_app.command("train")
def world_train(
    out: Annotated[Path, typer.Option(help="Folder for the models.")],
    models: Annotated[str, typer.Option(help="The models to train, separated by commas.")] = "xs,s,m,l,clip",
    steps_scale: Annotated[float, typer.Option(help="Multiply the number of steps: 0.01 for a trial.")] = 1.0,
) -> None:
    """Train the world's models from scratch."""
    from seelevel.world.models import train_family

    train_family(out, [name.strip() for name in models.split(",")], steps_scale=steps_scale)
    show(f"models: {out}")


@world_app.command("sample")
def world_sample(
    out: Annotated[Path, typer.Argument(help="PNG file to write.")] = Path("world.png"),
    split: Annotated[str, typer.Option(help="prompts, finetune, dev or test.")] = "prompts",
    count: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="The seed of the scenes.")] = 0,
) -> None:
    """Draw scenes with their descriptions on one sheet."""
    from seelevel.world.texts.datasets import sample_sheet

    sample_sheet(out, count, split, seed)
    show(f"picture: {out}")


@world_app.command("model")
def world_model(name: Annotated[str, typer.Argument(help="xs, s, m, l or clip.")]) -> None:
    """Print the folder of one of the world's models."""
    from seelevel.world import model_path

    show(str(model_path(name)))


@world_app.command("measure")
def world_measure(
    weights: Annotated[Path | None, typer.Option(help="Folder of the models; default: the shipped ones.")] = None,
    split: Annotated[str, typer.Option(help="dev or test.")] = "dev",
    limit: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 300,
) -> None:
    """Print every model's CHAIR, recall, POPE and capability, and the CLIP's threshold: the table of docs/world.md."""
    from seelevel.world import WEIGHTS
    from seelevel.world.models.measure import measure_family

    show(dumps(measure_family(weights or WEIGHTS, split, limit), indent=1, ensure_ascii=True))
