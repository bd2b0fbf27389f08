"""`seelevel check`: the stage, and the comparison of checkers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seelevel.cli.run import OutOption, RecipeArgument, SetOption, stage_command
from seelevel.errors import InputError
from seelevel.json_text import dumps
from seelevel.progress import say, show

if TYPE_CHECKING:
    from seelevel.check.audit import Order
    from seelevel.recipe import Recipe

AUDIT = "audit.json"
"""The file in the run folder that the comparison is written to."""


def check(
    recipe: RecipeArgument,
    out: OutOption = None,
    set_: SetOption = None,
    audit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECKER|SETTINGS",
            help="Compare checkers, two or more: the name of one, with the recipe's keys, or a YAML mapping instead of "
            "the recipe's `check`. The order of the run stays as it is.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --audit: print the figures as JSON.")] = False,
) -> None:
    """One stage: check the order of the responses and correct it. With --audit: compare checkers instead."""
    if not audit:
        if as_json:
            raise InputError("--json is about the figures of --audit; name two checkers there, or drop it")
        stage_command("check")(recipe, out, set_)
        return
    if len(audit) < 2:
        raise InputError("--audit compares two checkers or more; name another with a second --audit")
    from seelevel.check.audit import audit as compared
    from seelevel.check.audit import table
    from seelevel.store import write_atomically

    recipes = _recipes(recipe, set_ or [], audit)
    folder = out if out is not None else Path("runs") / next(iter(recipes.values())).name
    report = compared({name: _orders(name, of_checker, folder) for name, of_checker in recipes.items()})
    for name, of_checker in recipes.items():
        report["checkers"][name]["settings"] = "" if of_checker.check is None else of_checker.check.words
    write_atomically(folder / AUDIT, dumps(report, indent=1) + "\n")
    show(dumps(report, ensure_ascii=True) if as_json else f"{table(report)}\n\n{folder / AUDIT}")


def _recipes(recipe: str, overrides: list[str], audit: list[str]) -> dict[str, Recipe]:
    """The recipe with each checker, by the checker's name; the second of a name is `NAME 2`."""
    from seelevel.recipe import load_recipe

    recipes: dict[str, Recipe] = {}
    for settings in audit:
        key = "check" if settings.lstrip().startswith("{") else "check.checker"
        try:
            loaded = load_recipe(recipe, [*overrides, f"{key}={settings}"])
        except InputError as error:
            raise InputError(f"--audit {settings}: {error}") from error
        name = "" if loaded.check is None else loaded.check.checker
        number = 1 + sum(other.check is not None and other.check.checker == name for other in recipes.values())
        recipes[name if number == 1 else f"{name} {number}"] = loaded
    return recipes


def _orders(name: str, recipe: Recipe, folder: Path) -> list[Order]:
    """What a checker makes of the ladders before the check. Raises `InputError` if they are not made yet."""
    from seelevel.check import checked_pairs
    from seelevel.check.audit import order_of
    from seelevel.pipeline import Run
    from seelevel.stages import check_predecessors

    job = Run(recipe, folder)
    job.preflight()
    check_predecessors(recipe, job.out, "check")
    settings = job.recipe.check
    assert settings is not None
    encoder = None if settings.encoder is None else job.names.model(settings.encoder)
    judge = None if settings.judge is None else job.names.answering(settings.judge)
    source = job.out / job.recipe.before("check")
    say(f"audit: {name}")
    pairs = checked_pairs(source, settings, encoder, job.names.out, judge, job.recipe.seed)
    return [order_of(given, checked) for given, checked in pairs]
