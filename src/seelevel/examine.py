"""Is what a recipe names there, and of the kind its place asks for? Looked at before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.errors import InputError
from seelevel.lookup import choose, nearest
from seelevel.models.base import is_object, is_server
from seelevel.models.hub import hub_config
from seelevel.models.kinds import check_answers, check_encodes
from seelevel.naming import WORLD
from seelevel.recipe import DataSettings, Recipe
from seelevel.store import digest, read_manifest
from seelevel.training.beforehand import examine_training
from seelevel.training.conditions import check_condition

if TYPE_CHECKING:
    from seelevel.generate.settings import FinetuneSettings
    from seelevel.pipeline import Run


STAGE_FOLDERS = (
    "data",
    "finetune",
    "base-data",
    "base",
    "generate",
    "check",
    "feedback",
    "align",
    "evaluate",
    "inputs",
)
PATH_LENGTH = 4096


def examine(job: Run) -> None:
    """Raise `InputError` for the first thing that is not there or cannot work, cheapest first."""
    _examine_places(job)
    _examine_names(job)
    _examine_data(job)
    _examine_kinds(job)
    _examine_processes(job)
    _examine_far(job)


def _examine_places(job: Run) -> None:
    """The run folder can be one. What the recipe names must not lie in the run's own stages: a stage that starts anew
    empties its folder."""
    try:
        there = next(place for place in (job.out, *job.out.parents) if place.exists())
    except OSError as error:  # a name too long for the system
        raise InputError(f"{job.out} cannot be a run folder ({error.strerror}); choose another --out") from error
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "may not be written to" if there.is_dir() else "is not a folder"
        raise InputError(f"{job.out} cannot be a run folder ({there} {why}); choose another --out")
    for key, value in _texts(job.recipe.model_dump(mode="json")):
        place = Path(value).resolve() if len(value) < PATH_LENGTH else job.out
        if any(place.is_relative_to(job.out / stage) for stage in STAGE_FOLDERS) and place.exists():
            raise InputError(f"{key}: {value} lies in a stage of this run, which may empty it; choose another --out")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a recipe."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, f"{key}.{name}".lstrip("."))


def _examine_names(job: Run) -> None:
    """Models, files of templates and overrides, names of checkers and benchmarks."""
    from seelevel.check import CHECKERS, judged
    from seelevel.evaluate import BENCHMARKS
    from seelevel.nlf import annotate

    recipe, check, feedback = job.recipe, job.recipe.check, job.recipe.feedback
    for name in (None if check is None else check.encoder, *(model for _, _, model in recipe.training)):
        if name is not None:
            job.model(name)
    for name in recipe.generate.models:
        job.generating(name)
    for _, name in recipe.answering:
        job.answering(name)
    files: list[tuple[str, str | None]] = [("generate.template", name) for name in recipe.generate.files]
    if check is not None:
        files += [("check.overrides", check.overrides), ("check.judge_template", check.judge_template)]
    if feedback is not None:
        files.append(("feedback.judge_template", feedback.judge_template))
    for key, file in files:
        if file is not None and not Path(file).is_file():
            raise InputError(f"{key}: {file} does not exist; relative paths start at {Path.cwd()}")
    if check is not None and check.judge_template is not None:
        judged.examine_template(Path(check.judge_template), check.judge_sees_pictures)
    if feedback is not None and feedback.judge_template is not None:
        annotate.examine_template(Path(feedback.judge_template), feedback.judge_sees_pictures)
    for key, names, table in (
        ("check.checker", [] if check is None else [check.checker], CHECKERS),
        ("evaluate.benchmarks", recipe.evaluate.benchmarks, BENCHMARKS),
    ):
        for name in names:
            if name not in table:
                raise InputError(f"{key}: '{name}' is unknown; {nearest(name, table)}")


def _examine_data(job: Run) -> None:
    """Prompts, pictures, the evaluation folder's files."""
    from seelevel.evaluate import BENCHMARKS

    recipe = job.recipe
    data: list[tuple[str, DataSettings | FinetuneSettings, tuple[str, ...]]] = [("data", recipe.data, ("prompts",))]
    if recipe.base is not None:
        data.append(("base", recipe.base, ("finetune", "instruct")))
    if recipe.generate.training_data is not None:
        data.append(("generate.finetune", recipe.generate.training_data, ("finetune",)))
    for key, name, splits in (
        *((f"{key}.prompts", settings.prompts, splits) for key, settings, splits in data),
        ("evaluate.data", recipe.evaluate.data, ("dev", "test")),
    ):
        if name.startswith(WORLD) and name.removeprefix(WORLD) not in splits:
            raise InputError(f"{key}: {name} is unknown; the world has {', '.join(WORLD + s for s in splits)}")
        if not name.startswith(WORLD) and not Path(name).exists():
            raise InputError(f"{key}: {name} does not exist; relative paths start at {Path.cwd()}")
    for key, settings, _ in data:
        if settings.images is not None and not Path(settings.images).is_dir():
            raise InputError(f"{key}.images: {settings.images} does not exist; name the folder of the pictures")
    if not recipe.evaluate.data.startswith(WORLD):  # hours of training would pass before a missing file is missed
        for name in recipe.evaluate.benchmarks:
            choose("benchmark", name, BENCHMARKS)(Path(recipe.evaluate.data), recipe.evaluate)


def _examine_kinds(job: Run) -> None:
    """Are models, parsers, devices and adapters what their places in the recipe ask for?"""
    recipe, check = job.recipe, job.recipe.check
    for name in dict.fromkeys(name for _, name in recipe.answering):
        check_answers(job.ancestor(name).path)
    if check is not None and check.encoder is not None:
        check_encodes(job.model(check.encoder).path)
    for parser in dict.fromkeys([*([] if check is None else [check.parser]), *recipe.generate.parsers]):
        if parser != "builtin":
            from seelevel.language.parse import load_parser

            load_parser(parser)
    for key, settings, model in recipe.training:
        examine_training(key, settings, job.ancestor(model).path)
    try:
        check_condition(recipe.align.objective.asked_for([]), recipe.evaluate.condition)
    except InputError as error:
        raise InputError(f"evaluate.condition: {error}") from error


def _examine_processes(job: Run) -> None:
    """Under torchrun the processes meet in `align` alone."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and job.recipe.base is not None and read_manifest(job.out / "base") is None:
        raise InputError("base: it is made in one process; run `seelevel base` first, then the rest under torchrun")
    if several and job.recipe.generate.training_data is not None and read_manifest(job.out / "generate") is None:
        raise InputError(
            f"generate.method: {job.recipe.generate.method} fine-tunes in one process; run `seelevel generate` first, "
            "then the rest under torchrun"
        )


def _examine_far(job: Run) -> None:
    """What a stage still needs from elsewhere: a server must be there and have the model, a hub model be to be had."""
    recipe, asked = job.recipe, list(job.recipe.answering)
    if recipe.check is not None and recipe.check.encoder is not None:
        asked.append(("check", recipe.check.encoder))
    for name in sorted({name for stage, name in asked if not made_under_these_settings(job, stage)}):
        path = job.ancestor(name).path
        if is_server(name):
            from seelevel.models.api import ApiModel

            ApiModel(name, recipe.api).examine()
        elif not is_object(path) and not Path(path).is_dir() and hub_config(path) is None and not job.dry:
            raise InputError(
                f"model {name} is neither a folder nor in the hub's cache here, and the hub cannot be asked; fetch it "
                "first, or name a folder"
            )


def settings_digest(recipe: Recipe, stage: str) -> str:
    """A fingerprint of the settings that a stage and those before it have in the recipe: its manifest keeps it."""
    dumped = recipe.model_dump(mode="json")
    return digest({key: dumped[key] for key in ("seed", "data", *_before(recipe, stage), stage)})


def made_under_these_settings(job: Run, stage: str) -> bool:
    """Whether a stage and all before it are finished, under the settings that today's recipe has for them. Settings of
    later stages don't count: a server may be gone once it has answered, while others are aligned on its answers."""
    if stage != "base" and read_manifest(job.out / "data") is None:  # which alone needs none
        return False
    stages = (*_before(job.recipe, stage), stage)
    return all(
        (read_manifest(job.out / name) or {}).get("settings") == settings_digest(job.recipe, name) for name in stages
    )


def examine_predecessors(job: Run, stage: str) -> None:
    """Raise `InputError` where a stage before this one is not finished or was made under other settings, and for a
    report on nothing."""
    if stage not in job.recipe.stages:
        raise InputError(f"this recipe has no {stage}; it has {', '.join(job.recipe.stages)}")
    if stage == "report":  # shows whatever is there
        if not any((job.out / name).is_dir() for name in STAGE_FOLDERS):
            raise InputError(f"{job.out} holds no run to report on; name its folder with --out")
        return
    for earlier in _before(job.recipe, stage):
        if read_manifest(job.out / earlier) is None:
            raise InputError(f"{job.out / earlier} is not finished; run `seelevel {earlier}` on this recipe first")
        if not made_under_these_settings(job, earlier):
            raise InputError(
                f"{job.out / earlier} was made under other settings than this recipe's; run `seelevel {earlier}` on it "
                "first, give the settings that it was made under, or choose another --out"
            )


def _before(recipe: Recipe, stage: str) -> tuple[str, ...]:
    return recipe.stages[: recipe.stages.index(stage)]
