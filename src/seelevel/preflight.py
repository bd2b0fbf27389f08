"""Is what a recipe names there, and of the kind its place asks for? Looked at before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seelevel.errors import InputError
from seelevel.models.base import is_object, is_server
from seelevel.models.conditions import check_condition
from seelevel.models.folders import adapter_base, hub_config
from seelevel.models.kinds import check_answers, check_encodes, model_config
from seelevel.models.quantised import check_quantised
from seelevel.naming import WORLD, Names, check_data_name, source_of, world_split
from seelevel.recipe import DataSettings, texts_in
from seelevel.registry import check_name, nearest
from seelevel.stages import STAGE_FOLDERS, made_under_these_settings
from seelevel.store import read_manifest
from seelevel.training.launched import check_launch, world_size
from seelevel.training.requirements import check_training

if TYPE_CHECKING:
    from seelevel.generate.method import FinetuneSettings
    from seelevel.training.settings import TrainSettings


PATH_LENGTH = 4096


def check_recipe(names: Names, hub: bool = True, processes: int | None = None) -> None:
    """Raise `InputError` for the first thing that is missing or cannot work, cheapest checks first.

    `hub`: a hub model that is not in the cache must be downloadable. `processes`: how many will train; None: as many as
    the launcher has started.
    """
    check_launch()
    _check_places(names)
    _check_names(names)
    _check_data(names)
    _check_kinds(names)
    _check_processes(names, processes or world_size())
    _check_remote(names, hub)
    _check_models(names, hub)


def _check_places(names: Names) -> None:
    """The run folder can be one. What the recipe names must not lie in the run's own stages: a stage that starts anew
    empties its folder."""
    try:
        there = next(place for place in (names.out, *names.out.parents) if place.exists())
    except OSError as error:  # a name too long for the system
        raise InputError(f"{names.out} cannot be a run folder ({error.strerror}); choose another --out") from error
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "may not be written to" if there.is_dir() else "is not a folder"
        raise InputError(f"{names.out} cannot be a run folder ({there} {why}); choose another --out")
    for key, value in texts_in(names.recipe.model_dump(mode="json")):
        place = Path(value).resolve() if len(value) < PATH_LENGTH else names.out
        if any(place.is_relative_to(names.out / stage) for stage in STAGE_FOLDERS) and place.exists():
            raise InputError(f"{key}: {value} lies in a stage of this run, which may empty it; choose another --out")


def _check_names(names: Names) -> None:
    """Models, files of templates and overrides, names of checkers and benchmarks."""
    from seelevel.check import CHECKERS, judged, objects
    from seelevel.judge import annotate
    from seelevel.scorers import find_scorers

    recipe, check, feedback = names.recipe, names.recipe.check, names.recipe.feedback
    for name in (None if check is None else check.encoder, *(model for _, _, model in recipe.training)):
        if name is not None:
            names.model(name)
    for name in recipe.generate.models:
        names.generating(name)
    for _, name in recipe.answering:
        names.answering(name)
    files: list[tuple[str, str | Path | None]] = [("generate.template", name) for name in recipe.generate.files]
    if check is not None:
        files += check.files
    if feedback is not None:
        files.append(("feedback.judge_template", feedback.judge_template))
    for key, file in files:
        if file is not None and not Path(file).is_file():
            raise InputError(f"{key}: {file} does not exist; relative paths start at {Path.cwd()}")
    if check is not None and check.judge_template is not None:
        judged.check_template(Path(check.judge_template), check.judge_sees_pictures)
    if check is not None and check.annotations is not None:
        objects.Annotations.read(check)
    if feedback is not None and feedback.judge_template is not None:
        annotate.check_template(Path(feedback.judge_template), feedback.judge_sees_pictures)
    if check is not None:
        check_name("check.checker", check.checker, CHECKERS)
    for scorer in find_scorers(recipe.evaluate.benchmarks):
        if scorer.needs_judge and recipe.evaluate.judge is None:
            raise InputError(f"evaluate.benchmarks: {scorer.name} needs a judge; set evaluate.judge, or drop it")
        if scorer.public_files and world_split(recipe.evaluate.data) is not None:
            raise InputError(
                f"evaluate.benchmarks: {recipe.evaluate.data} has no {scorer.name}; set evaluate.data to a folder with "
                "its published files, or drop it"
            )


def _check_data(names: Names) -> None:
    """Prompts, pictures, the evaluation folder's files."""
    from seelevel.evaluate import chosen_benchmarks
    from seelevel.formats import READERS, guess_format, parse
    from seelevel.formats.sources import LOOKED_AT
    from seelevel.image_store import named_by_content

    recipe = names.recipe
    data: list[tuple[str, DataSettings | FinetuneSettings, tuple[str, ...]]] = [("data", recipe.data, ("prompts",))]
    if recipe.base is not None:
        data.append(("base", recipe.base, ("finetune", "instruct")))
    if recipe.generate.training_data is not None:
        data.append(("generate.finetune", recipe.generate.training_data, ("finetune",)))
    for key, settings, splits in data:
        check_data_name(f"{key}.prompts", settings.prompts, splits)
        if settings.format is not None:
            check_name(f"{key}.format", settings.format, READERS)
        if world_split(settings.prompts) is None:
            try:
                source = replace(source_of(settings), limit=LOOKED_AT, keep=named_by_content)
                if settings.format is None:
                    guess_format(source)
                next(parse(source, settings.format) if settings.columns else source.records(), None)
            except InputError as error:
                raise InputError(f"{key}: {error}") from error
    check_data_name("evaluate.data", recipe.evaluate.data, ("dev", "test"))
    for key, settings, _ in data:
        if settings.images is not None and not Path(settings.images).is_dir():
            raise InputError(f"{key}.images: {settings.images} does not exist; name the folder of the pictures")
    if world_split(recipe.evaluate.data) is None:  # hours of training would pass before a missing file is missed
        chosen_benchmarks(recipe.evaluate, Path(recipe.evaluate.data))


def _check_kinds(names: Names) -> None:
    """Are models, parsers, devices and adapters what their places in the recipe ask for?"""
    recipe, check = names.recipe, names.recipe.check
    if recipe.backend.name == "vllm" and recipe.engine.name == "local":  # Ray's workers may have more
        from seelevel.models.vllm import check_installed

        check_installed()
    for name in dict.fromkeys(name for _, name in recipe.answering):
        check_answers(names.ancestor(name).path)
    if check is not None and check.encoder is not None:
        check_encodes(names.model(check.encoder).path, pictures=check.checker == "image")
    for parser in dict.fromkeys([*([] if check is None else [check.parser]), *recipe.generate.parsers]):
        if parser != "builtin":
            from seelevel.language.parse import load_parser

            load_parser(parser)
    for key, settings, model in recipe.training:
        _check_training(names, key, settings, model)
    try:
        check_condition(recipe.align.objective.conditions([]), recipe.evaluate.condition)
    except InputError as error:
        raise InputError(f"evaluate.condition: {error}") from error


def _check_processes(names: Names, processes: int) -> None:
    """Several processes meet in `align` and its control alone."""
    several = processes > 1
    if several and names.recipe.base is not None and read_manifest(names.out / "base") is None:
        raise InputError("base: it is made in one process; run `seelevel base` first, then this command again")
    if several and names.recipe.generate.training_data is not None and read_manifest(names.out / "generate") is None:
        raise InputError(
            f"generate.method: {names.recipe.generate.method} fine-tunes in one process; run `seelevel generate` "
            "first, then this command again"
        )


def _check_remote(names: Names, hub: bool) -> None:
    """Check each model still needed from elsewhere: its server must have it, or the hub."""
    recipe, asked = names.recipe, list(names.recipe.answering)
    _check_replicas(names)
    if recipe.check is not None and recipe.check.encoder is not None:
        asked.append(("check", recipe.check.encoder))
    for name in sorted(
        {name for stage, name in asked if not made_under_these_settings(names.recipe, names.out, stage)}
    ):
        path = names.ancestor(name).path
        if is_server(name):
            from seelevel.models.server.client import ApiModel

            ApiModel(name, recipe.api).check_reachable()
            continue
        path = (adapter_base(Path(path)) if Path(path).is_dir() else None) or path
        if not is_object(path) and not Path(path).is_dir() and hub_config(path) is None and hub:
            raise InputError(
                f"model {name} is neither a folder nor in the hub's cache here, and the hub cannot be asked; fetch it "
                "first, or name a folder"
            )


def _check_replicas(names: Names) -> None:
    """Raise `InputError` if the recipe names further servers of a server that none of its models is on."""
    used = {
        path.partition("#")[0].rstrip("/") for _, name in names.recipe.answering if (path := names.ancestor(name).path)
    }
    for address in names.recipe.api.replicas:
        if address not in used:
            raise InputError(f"api.replicas: no model of this recipe is on {address}; {nearest(address, sorted(used))}")


def _check_models(names: Names, hub: bool) -> None:
    for name in dict.fromkeys(name for _, name in names.recipe.answering):
        check_model(names, name, hub)


def check_model(names: Names, name: str, hub: bool = True) -> None:
    """Raise `InputError` for a model that answers here and cannot be loaded or asked: its files, quantisation,
    processor, chat template or adapter. The models that the package ships need no look."""
    model = names.ancestor(name)
    if is_server(name) or is_object(model.path) or model.name.startswith(WORLD):
        return
    check_answers(model.path)
    check_quantised(name, model_config(model.path))
    from seelevel.models.processor import check_reads

    check_reads(model.path, download=hub)


def model_findings(names: Names) -> list[str]:
    """What is wrong with the recipe's models, one line for each model that cannot be used. Loads no weights."""
    checks: list[Callable[[], None]] = []
    for name in dict.fromkeys(name for _, name in names.recipe.answering):
        checks.append(partial(check_model, names, name, hub=False))
    for key, training, model in names.recipe.training:
        checks.append(partial(_check_training, names, key, training, model))
    if (settings := names.recipe.check) is not None and (encoder := settings.encoder) is not None:
        seeing = settings.checker == "image"
        checks.append(lambda: check_encodes(names.model(encoder).path, pictures=seeing))
    findings: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except InputError as error:
            findings[str(error)] = None
    return list(findings)


def _check_training(names: Names, key: str, settings: TrainSettings, model: str) -> None:
    check_training(key, settings, names.ancestor(model).path)
