"""The command line. Nothing here imports torch before the user's input has been read."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seelevel.errors import DiskFullError, InputError, NonFiniteLossError, ServerError, free_bytes, is_disk_full
from seelevel.progress import say
from seelevel.scoring import JsonOption, print_scores, score_app

if TYPE_CHECKING:
    from seelevel.recipe import Recipe

app = typer.Typer(
    name="seelevel",
    help="Align vision-language models to say what they see: ranked responses, checked, learned in one pass, measured.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
world_app = typer.Typer(help="The embedded world: its models, its scenes.", no_args_is_help=True)
parser_app = typer.Typer(help="The shipped parser of English: train it, measure it.", no_args_is_help=True)
app.add_typer(score_app, name="score")
app.add_typer(world_app, name="world")
app.add_typer(parser_app, name="parser")

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a YAML file.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Run folder; default: runs/<name of the recipe>.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would run, on how much, at what cost; run nothing.")
]


def _recipe(name: str, overrides: list[str] | None, out: Path | None) -> tuple[Recipe, Path]:
    from seelevel.recipe import load_recipe

    recipe = load_recipe(name, overrides or [])
    return recipe, out if out is not None else Path("runs") / recipe.name


@app.command()
def run(recipe: RecipeArgument, out: OutOption = None, set_: SetOption = None, dry_run: DryOption = False) -> None:
    """The main job: generate, check, align, evaluate, report. The same command again continues a stopped run."""
    from seelevel.pipeline import Run

    loaded, folder = _recipe(recipe, set_, out)
    job = Run(loaded, folder)
    if dry_run:
        from seelevel.forecast import forecast

        typer.echo(forecast(job))
        return
    page = job.everything()
    if not job.follows:
        _print_metrics(folder)
        typer.echo(f"report: {page}")


def _print_metrics(folder: Path) -> None:
    from seelevel.evaluate.intervals import difference_text

    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    typer.echo(f"{'':26}{'base':>9}{'aligned':>9}{'difference [95% interval]':>34}")
    for name, difference in metrics["differences"].items():
        # A figure is null where it is undefined: nothing was mentioned, nobody judged.
        found = [metrics[side][name]["value"] for side in ("base", "aligned")]
        base, aligned = ("–" if value is None else f"{value:.4f}" for value in found)
        typer.echo(f"{name:26}{base:>9}{aligned:>9}{difference_text(difference):>34}")


def _stage_command(name: str, help_text: str) -> None:
    def command(recipe: RecipeArgument, out: OutOption = None, set_: SetOption = None) -> None:
        from seelevel.pipeline import Run

        loaded, folder = _recipe(recipe, set_, out)
        typer.echo(f"{name}: {Run(loaded, folder).alone(name)}")

    app.command(name, help=help_text)(command)


_stage_command("base", "One stage, where a recipe has it: make the model to align by fine-tuning another.")
_stage_command("generate", "One stage: read the prompts and generate ranked responses.")
_stage_command("check", "One stage: check and mend the order of the responses.")
_stage_command("feedback", "One stage: have the responses judged in words, and answered again.")


@app.command()
def align(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    show_batch: Annotated[
        bool, typer.Option("--show-batch", help="Show which tokens of the first step carry loss; train nothing.")
    ] = False,
) -> None:
    """One stage: learn from the ladders."""
    from seelevel.pipeline import Run

    loaded, folder = _recipe(recipe, set_, out)
    job = Run(loaded, folder)
    if not show_batch:
        typer.echo(f"align: {job.alone('align')}")
        return
    blocks = job.first_step()
    from rich.console import Console

    from seelevel.training.show import write

    write(blocks, Console(highlight=False))


_stage_command("evaluate", "One stage: measure the base and the aligned model.")
_stage_command("report", "One stage: make the page.")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    from_: Annotated[str | None, typer.Option("--from", help="Format of IN, where its content does not tell.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Format of OUT, where its name does not tell.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures that IN names.")] = None,
) -> None:
    """Convert between ladders (Parquet), LLaVA conversations, AMP's output_1..K, TRL preference rows and LVLM_NLF."""
    from seelevel.formats import convert as convert_file

    facts = convert_file(source, target, source_format=from_, target_format=to, images=images)
    typer.echo(", ".join(f"{name}: {value}" for name, value in facts.items()))


@app.command()
def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a hub name, world:s, a server's model.")],
    image: Annotated[str | None, typer.Option(help="A picture, or one of the world's: world:test/0.")] = None,
    about: Annotated[Path | None, typer.Option(help="Text that tells the judge what the picture holds.")] = None,
    judge: Annotated[str | None, typer.Option(help="Who judges; world:oracle for the world's pictures.")] = None,
    condition: Annotated[str, typer.Option(help="Ask for this: top, worst, none, or ratings such as 2/4/4.")] = "top",
    max_new_tokens: Annotated[int, typer.Option(help="The longest answer.", min=1)] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0)] = 0.0,
    save: Annotated[Path | None, typer.Option(help="New file for the conversation; default: in the cache.")] = None,
) -> None:
    """Talk with a model about a picture; /feedback judges its last answer, /refine asks for a better one."""
    from pydantic import ValidationError

    from seelevel.models.base import Sampling
    from seelevel.terminal import open_chat

    try:
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature)
    except ValidationError as error:
        raise InputError(f"--temperature {temperature}: {error.errors()[0]['msg']}") from error
    open_chat(model, image, about, judge, condition, sampling, save).run()


@app.command()
def threshold(
    source: Annotated[
        str, typer.Argument(metavar="RECIPE|LADDERS", help="A recipe that has generated; or Parquet, a file or folder.")
    ],
    out: OutOption = None,
    encoder: Annotated[
        str | None, typer.Option(help="Check with this one; default: the recipe's, or what LADDERS' reasons say.")
    ] = None,
    parser: Annotated[str | None, typer.Option(help="builtin, a spaCy package or a folder.")] = None,
    order: Annotated[
        Path | None, typer.Option(help="The same ladders in a known order; default: the order before the check.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many ladders.", min=1)] = 1000,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curve: a .png, .svg or .pdf.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the check's threshold does: Acc, ties and order, and agreement with a known order, for many values."""
    path = Path(source)
    if not path.is_dir() and path.suffix != ".parquet":
        recipe, folder = _recipe(source, None, out)
        path = folder / "generate"
        if recipe.check is not None:
            encoder, parser = encoder or recipe.check.encoder, parser or recipe.check.parser
    from seelevel.check.curve import show_curve
    from seelevel.naming import named_model

    reference = None if encoder is None else named_model(encoder)
    found = show_curve(path, order, None if reference is None else reference.path, parser, limit, plot)
    if as_json:
        typer.echo(json.dumps(found))
        return
    typer.echo("".join(f"{name:>11}" for name in found["curve"][0]))
    for row in found["curve"]:
        typer.echo("".join(f"{'–' if value is None else format(value, '.3f'):>11}" for value in row.values()))
    typer.echo(f"threshold in force: {found['settings']['threshold']}; {found['settings']['ladders']} ladders")


@app.command()
def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="Also check a recipe's files and cost.")
    ] = None,
    set_: SetOption = None,
) -> None:
    """Say what this machine has, whether the installation works, and what a recipe would need."""
    from seelevel.forecast import examine, forecast

    loaded = _recipe(recipe, set_, None) if recipe is not None else None
    typer.echo(examine())
    if loaded is not None:
        from seelevel.pipeline import Run

        typer.echo(forecast(Run(*loaded)))


# Typer of some versions carries a click of its own, so that click's own class would catch nothing.
UsageError: Any = typer.BadParameter.__bases__[0]
INTERRUPTED = 130


@world_app.command("train")
def world_train(
    out: Annotated[Path, typer.Option(help="Folder for the models.")],
    models: Annotated[str, typer.Option(help="Which, separated by commas.")] = "xs,s,m,l,clip",
    steps_scale: Annotated[float, typer.Option(help="Multiply the number of steps: 0.01 for a trial.")] = 1.0,
) -> None:
    """Train the world's models from nothing."""
    from seelevel.world.train import train_family

    train_family(out, [name.strip() for name in models.split(",")], steps_scale=steps_scale)
    typer.echo(f"models: {out}")


@world_app.command("sample")
def world_sample(
    out: Annotated[Path, typer.Argument(help="PNG file to write.")] = Path("world.png"),
    split: Annotated[str, typer.Option(help="prompts, finetune, dev or test.")] = "prompts",
    count: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
) -> None:
    """Draw scenes with their descriptions on one sheet."""
    from seelevel.world.datasets import sample_sheet

    sample_sheet(out, count, split, seed)
    typer.echo(f"picture: {out}")


@world_app.command("model")
def world_model(name: Annotated[str, typer.Argument(help="xs, s, m, l or clip.")]) -> None:
    """Print the folder of one of the world's models."""
    from seelevel.world import model_path

    typer.echo(model_path(name))


@world_app.command("measure")
def world_measure(
    weights: Annotated[Path | None, typer.Option(help="Folder of the models; default: the shipped ones.")] = None,
    split: Annotated[str, typer.Option(help="dev or test.")] = "dev",
    limit: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 300,
) -> None:
    """Print every model's CHAIR, recall, POPE and capability, and the CLIP's threshold: the table of docs/world.md."""
    from seelevel.world import WEIGHTS
    from seelevel.world.measure import measure_family

    typer.echo(json.dumps(measure_family(weights or WEIGHTS, split, limit), indent=1))


@parser_app.command("train")
def parser_train(
    treebank: Annotated[Path, typer.Option(help="Folder with Universal Dependencies .conllu files.")],
    out: Annotated[Path, typer.Option(help="Folder for the pipeline.")],
    max_steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 5000,
) -> None:
    """Train the parser on a treebank."""
    from seelevel.language.parse import train_parser

    train_parser(treebank, out, max_steps=max_steps)
    typer.echo(f"parser: {out}")


@parser_app.command("evaluate")
def parser_evaluate(
    treebank: Annotated[Path, typer.Option(help="Folder with Universal Dependencies .conllu files.")],
    parser: Annotated[str, typer.Option(help="builtin, a spaCy package or a folder.")] = "builtin",
    as_json: JsonOption = False,
) -> None:
    """Measure a parser on a treebank's dev set: attachment, tags, noun chunks."""
    from seelevel.language.parse import evaluate_parser

    print_scores(evaluate_parser(parser, treebank), as_json)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 the input is wrong, 1 anything else."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            _stop("stopped; the same command continues", INTERRUPTED)
        sys.exit(code)
    except UsageError as error:
        if error.ctx is None or error.message == error.ctx.get_help():  # no arguments at all: the help is the answer
            error.show()
            sys.exit(error.exit_code)
        _stop(f"{error.format_message().rstrip('.')}; see {error.ctx.command_path} --help", 2)
    except InputError as error:
        _stop(str(error), 2)
    except (DiskFullError, NonFiniteLossError, ServerError) as error:
        _stop(str(error), 1)
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        if error.filename is None:
            raise
        _stop(f"{error.filename}: {str(error.strerror).lower()}; name another place", 2)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP) and error.filename:
            _stop(f"{str(error.filename)[:80]}: {str(error.strerror).lower()}; name another place", 2)
        if not is_disk_full(error):
            raise
        place = getattr(error, "filename", None) or Path.cwd()
        _stop(str(DiskFullError(place, max(1, 2**20 - free_bytes(place)))), 1)


def _stop(message: str, code: int) -> None:
    say(f"seelevel: {' '.join(message.split())}")
    sys.exit(code)
