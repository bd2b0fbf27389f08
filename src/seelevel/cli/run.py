"""`seelevel run` and its stages, `doctor`, `threshold`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seelevel.cli.score import JsonOption
from seelevel.errors import InputError
from seelevel.json_text import dumps, loads
from seelevel.opening import read_text
from seelevel.progress import say, show
from seelevel.training.launched import Kind

if TYPE_CHECKING:
    from seelevel.pipeline import Run
    from seelevel.recipe import Recipe


RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a YAML file.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Run folder; default: runs/<name of the recipe>.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
]
CHANGES = {"differences": "difference", "differences_from_control": "from the control"}
"""Paired differences of metrics.json: aligned minus base, and aligned minus control."""
DType = Literal["auto", "float32", "bfloat16", "float16"]
DryOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what would run, on how many records, at what cost."),
]
LaunchOption = Annotated[
    Kind | None,
    typer.Option(help="Train in several processes: DDP, FSDP2 or DeepSpeed's ZeRO."),
]
GpusOption = Annotated[
    int | None,
    typer.Option(help="With --launch: how many processes; default: one for each GPU of this machine.", min=1),
]


def _recipe(name: str, overrides: list[str] | None, out: Path | None) -> tuple[Recipe, Path]:
    from seelevel.recipe import load_recipe

    recipe = load_recipe(name, overrides or [])
    return recipe, out if out is not None else Path("runs") / recipe.name


def run(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    dry_run: DryOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print the estimates as JSON.")] = False,
    launch: LaunchOption = None,
    gpus: GpusOption = None,
) -> None:
    """The main job: every stage of the recipe, in order. The same command again continues a stopped run.

    Stages: base, generate, check, feedback, align, evaluate, report. A recipe without base, check or feedback skips it.
    """
    from seelevel.pipeline import Run

    loaded, folder = _recipe(recipe, set_, out)
    job = Run(loaded, folder)
    if dry_run:
        _nothing_to_launch("--dry-run", launch, gpus)
        from seelevel.forecast import estimate, forecast

        show(dumps(asdict(estimate(job)), ensure_ascii=True) if as_json else forecast(job))
        return
    if _launched("run", recipe, set_, job, launch, gpus):
        return
    page = job.everything()
    if not job.follows:
        _print_metrics(folder)
        show(f"report: {page}")


def _nothing_to_launch(option: str, kind: Kind | None, gpus: int | None) -> None:
    if kind is not None or gpus is not None:
        raise InputError(f"--launch and --gpus start a training; leave them out with {option}")


def _launched(command: str, recipe: str, set_: list[str] | None, job: Run, kind: Kind | None, gpus: int | None) -> bool:
    """Run a command in several processes if the user asks for it; returns whether."""
    if kind is None:
        if gpus is not None:
            raise InputError("--gpus goes with --launch: how should the processes train? --launch ddp, for example")
        return False
    from seelevel.launch import launch_of
    from seelevel.stages import check_predecessors

    words = [command, recipe, "--out", str(job.out), *(word for pair in set_ or [] for word in ("--set", pair))]
    processes = launch_of(kind, gpus, job.recipe, words, job.out)
    job.preflight(processes.processes)
    if command != "run":
        check_predecessors(job.names.recipe, job.out, command)
    if code := processes.run():
        raise typer.Exit(code)
    return True


def _print_metrics(folder: Path) -> None:
    from seelevel.scorers.intervals import difference_text

    metrics = loads(read_text(folder / "metrics.json"))
    sides = [side for side in ("base", "aligned", "control") if side in metrics]
    changes = {key: f"{words} [95% interval]" for key, words in CHANGES.items() if key in metrics}
    show("".join([" " * 26, *(f"{side:>9}" for side in sides), *(f"{words:>34}" for words in changes.values())]))
    for name in metrics["differences"]:
        # A figure is null if it is undefined: nothing was mentioned, nobody judged.
        values = ("–" if (value := metrics[side][name]["value"]) is None else f"{value:.4f}" for side in sides)
        texts = (difference_text(metrics[key][name]) for key in changes)
        show("".join([f"{name:26}", *(f"{value:>9}" for value in values), *(f"{text:>34}" for text in texts)]))


def stage_command(name: str) -> Callable[..., None]:
    """The command that runs one stage of a recipe alone."""

    def command(recipe: RecipeArgument, out: OutOption = None, set_: SetOption = None) -> None:
        from seelevel.pipeline import Run

        loaded, folder = _recipe(recipe, set_, out)
        show(f"{name}: {Run(loaded, folder).alone(name)}")

    return command


def align(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    show_batch: Annotated[
        bool, typer.Option("--show-batch", help="Show which tokens of the first step carry loss; train nothing.")
    ] = False,
    launch: LaunchOption = None,
    gpus: GpusOption = None,
) -> None:
    """One stage: train the model on the ladders, then its control if the recipe wants one."""
    from seelevel.pipeline import Run

    loaded, folder = _recipe(recipe, set_, out)
    job = Run(loaded, folder)
    if not show_batch:
        if not _launched("align", recipe, set_, job, launch, gpus):
            folder = job.alone("align")
            if not job.follows:
                show(f"align: {folder}")
        return
    _nothing_to_launch("--show-batch", launch, gpus)
    blocks = job.first_step()
    from rich.console import Console

    from seelevel.training.show import write

    write(blocks, Console(highlight=False))


def export(
    root: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run, such as runs/mine.")],
    out: Annotated[Path | None, typer.Option("--out", help="New folder to write; default: RUN/export.")] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="Export the adapter alone, not merged.")] = False,
    dtype: Annotated[DType, typer.Option(help="Number format of the weights; auto: as the base stores them.")] = "auto",
) -> None:
    """Write a run's model, as plain transformers and vLLM load it, and its preference data, each with a card."""
    from seelevel.export import export as write

    folder = write(root, out, adapter, dtype)
    for part in sorted(folder.iterdir()):
        typer.echo(f"{part.name}: {part}")


def answers(
    run: Annotated[str, typer.Argument(metavar="RUN", help="An evaluated run: RUN, its aligned model, or RUN:base.")],
    samples: Annotated[
        list[Path],
        typer.Argument(metavar="SAMPLES", help="Samples files of lmms-eval, such as of --model dummy."),
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder to write.")],
) -> None:
    """Write a model's answers for lmms-eval's --model from_log; SAMPLES say which document asks which question."""
    from seelevel.compare.sides import open_run
    from seelevel.export.answers import export_answers

    side = open_run("A", run)
    for task, count in export_answers(side.run, side.side, samples, out).items():
        typer.echo(f"{task}: {count} documents")


def threshold(
    source: Annotated[
        str,
        typer.Argument(metavar="RECIPE|LADDERS", help="A recipe that has generated, or a Parquet file or folder."),
    ],
    out: OutOption = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="The encoder; default: the recipe's, or the reasons stored in LADDERS."),
    ] = None,
    parser: Annotated[str | None, typer.Option(help="builtin, a spaCy package or a folder.")] = None,
    order: Annotated[
        Path | None, typer.Option(help="The same ladders in a known order; default: the order before the check.")
    ] = None,
    limit: Annotated[int, typer.Option(help="The most ladders to read.", min=1)] = 1000,
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
    result = show_curve(path, order, None if reference is None else reference.path, parser, limit, plot)
    if as_json:
        show(dumps(result, ensure_ascii=True))
        return
    show("".join(f"{name:>11}" for name in result["curve"][0]))
    for row in result["curve"]:
        show("".join(f"{'–' if value is None else format(value, '.3f'):>11}" for value in row.values()))
    show(f"threshold in force: {result['settings']['threshold']}; {result['settings']['ladders']} ladders")


def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="Also check a recipe's files and cost.")
    ] = None,
    set_: SetOption = None,
    try_: Annotated[
        bool, typer.Option("--try", help="Also let each model answer in four tokens, and take one training step.")
    ] = False,
) -> None:
    """Print what this machine has, whether the installation works, and what a recipe would need."""
    from seelevel.forecast.doctor import doctor as machine

    loaded = _recipe(recipe, set_, None) if recipe is not None else None
    if loaded is None and try_:
        raise InputError("doctor --try: it tries the models of a recipe; name one")
    show(machine())
    if loaded is None:
        return
    from seelevel.forecast import forecast
    from seelevel.pipeline import Run
    from seelevel.preflight import model_findings

    job = Run(*loaded)
    _refuse(model_findings(job.names))
    show(forecast(job))
    if try_:
        from seelevel.forecast.trial import try_recipe

        faults = []
        for tried in try_recipe(job.names):
            if tried.fault:
                faults.append(tried.fault if tried.what in tried.fault else f"{tried.what}: {tried.fault}")
            else:
                show(f"{tried.what}: {tried.did}")
        _refuse(faults)


def _refuse(findings: list[str]) -> None:
    """End with the findings, one line each."""
    for line in findings[:-1]:
        say(f"seelevel: {' '.join(line.split())}")
    if findings:
        raise InputError(findings[-1])
