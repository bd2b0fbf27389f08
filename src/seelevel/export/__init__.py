"""`seelevel export`: the model and the preferences of a finished run, in files that other programs read.

    FOLDER/model/    merged or full weights, with every other file as the base model has it; or adapter/, the adapter
    FOLDER/data/     the preferences that `align` read, for TRL, LLaMA-Factory and ms-swift, with their pictures

Both have a card, README.md, so each can be a repository of the hub.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.models.config_file import read_json
from seelevel.models.folders import adapter_base, is_hub_name
from seelevel.naming import Names
from seelevel.recipe import Recipe, load_recipe
from seelevel.report.reading import RunFolder, read_run
from seelevel.store import BEGUN, ROUNDS, lock_folder, write_atomically, write_folder, write_json

COPIED = (".json", ".jinja", ".txt", ".model", ".tiktoken")
"""Suffixes of the files of a model besides its weights: configuration, tokenizer, processor, chat template, terms."""
NOT_COPIED = (".index.json", "adapter_config.json", "trainer_state.json", "conditions.json")
TERMS = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
TEMPLATES = "additional_chat_templates"
WHILE_WRITING = 2
"""Copies of the weights on the disk while they are merged."""
DTYPES = {"auto": None, "float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def export(root: Path, out: Path | None = None, adapter: bool = False, dtype: str = "auto") -> Path:
    """Write the model and the preferences of a finished run to a folder, whole or not at all; returns the folder.

    root: the run's folder. out: a new or empty folder; None: `export` in the run's folder. adapter: the adapter alone,
    not merged. dtype: the number format of the weights, one of `DTYPES`; `auto`: that of `weights.formats`. Raises
    `InputError` for a run that is not finished, a folder that is in use, and an adapter that cannot be merged;
    `DiskFullError` with the bytes missing.
    """
    if adapter and dtype != "auto":
        raise InputError(f"--dtype {dtype}: an adapter alone keeps its own number format; leave out --dtype")
    run, recipe = finished_run(root)
    target = new_folder(out if out is not None else root / "export")
    trained = Names(recipe, root.resolve()).aligned().path
    with lock_folder(root):
        _write(run, recipe, Path(trained), target, adapter, DTYPES[dtype])
    return target


def finished_run(root: Path) -> tuple[RunFolder, Recipe]:
    """A run all of whose stages are done, and its recipe. Raises `InputError` for any other folder."""
    if (rounds := root.resolve().parent).name == ROUNDS and (rounds.parent / "recipe.yaml").is_file():
        raise InputError(f"{root} is one round of a run; name the run's folder, {rounds.parent}")
    run, file = read_run(root), root / "recipe.yaml"
    if not file.is_file():
        raise InputError(f"{root} holds no run (no recipe.yaml); name a folder that `seelevel run` has written")
    recipe = load_recipe(str(file))
    remedy = f"finish it first: seelevel run {file} --out {root}"
    for stage in run.expected:
        if not stage.done:
            raise InputError(f"{root} is not finished ({stage.name} is {stage.state}); {remedy}")
    if run.metrics is None:
        raise InputError(f"{root} is not finished (it has no metrics.json); {remedy}")
    return run, recipe


def new_folder(out: Path) -> Path:
    """A folder that may be written. Raises `InputError` for one that holds files or is inside a stage of a run."""
    target = out.resolve()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{out} exists already; remove it, or choose another --out")
    if any((folder / BEGUN).is_file() for folder in target.parents):
        raise InputError(f"{out} is inside a stage of a run, which may empty it; choose another --out")
    return target


def _write(run: RunFolder, recipe: Recipe, trained: Path, target: Path, adapter: bool, dtype: str | None) -> None:
    from seelevel.export.cards import Exported, data_card, model_card
    from seelevel.export.data import write_data
    from seelevel.export.weights import check_mergeable, copy_full, merge
    from seelevel.formats.parquet import read_ladders
    from seelevel.models.conditions import FILE as CONDITIONS
    from seelevel.models.conditions import read_conditions

    base_name = adapter_base(trained)
    if adapter and base_name is None:
        raise InputError(f"{run.root} trained full weights, so there is no adapter; leave out --adapter")
    base = folder_of(base_name or Names(recipe, run.root.resolve()).model(recipe.align.model).path)
    if not adapter and base_name is not None:
        check_mergeable(base, trained)
    ladders = read_ladders(run.root / recipe.before("align"), run.root)

    def write(place: Path) -> None:
        rounding, model = None, place / ("adapter" if adapter else "model")
        model.mkdir()
        if adapter:
            shutil.copytree(trained, model, dirs_exist_ok=True)
        else:
            if base_name is None:
                rounding = copy_full(trained, base, model, dtype)
            else:
                rounding = merge(base, trained, model, dtype)
            copy_small_files(base, model, dtype)
            if (trained / CONDITIONS).is_file():
                shutil.copy(trained / CONDITIONS, model)
        paired = any(ladder.pairs() for ladder in ladders)
        data = write_data(ladders, place / "data", recipe.name) if paired else None
        exported = Exported(run, recipe, base, rounding, read_conditions(trained), data)
        write_atomically(model / "README.md", model_card(exported))
        if data is not None:
            write_atomically(place / "data" / "README.md", data_card(exported, ladders))

    pictures = {Path(image.path) for ladder in ladders for image in ladder.images}
    if gone := min((picture for picture in pictures if not picture.is_file()), default=None):
        raise InputError(f"{run.root} has lost a picture of its ladders, {gone}; put it back")
    files = [*trained.glob("*"), *pictures, *([] if adapter else [*base.glob("*.safetensors")] * WHILE_WRITING)]
    write_folder(target, write, sum(file.stat().st_size for file in files))


def folder_of(model: str) -> Path:
    """A model's files: its folder, or those of a hub model in the cache. Raises `InputError` if they are not there."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True)) if is_hub_name(model) else Path(model)
    except (LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"model {model} is not in the hub's cache any more; load it once, or name a folder") from error


def copy_small_files(base: Path, target: Path, dtype: str | None = None) -> None:
    """Copy all files of a model but its weights, its card and what training left beside them, byte for byte.

    Only config.json changes, if the weights have another number format than it names.
    """
    for file in sorted(base.iterdir()):
        small = file.suffix in COPIED and not file.name.endswith(NOT_COPIED)
        if file.is_file() and (small or file.name.startswith(TERMS)):
            shutil.copy(file, target / file.name)
    if (base / TEMPLATES).is_dir():
        shutil.copytree(base / TEMPLATES, target / TEMPLATES)
    config = read_json(target / "config.json")
    name = next((name for name, kept in DTYPES.items() if dtype is not None and kept == dtype), None)
    if name is not None and config.get("dtype", config.get("torch_dtype")) != name:
        write_json(target / "config.json", _retyped(config, name))


def _retyped(config: Any, dtype: str) -> Any:
    """A configuration whose parts all name this number format."""
    if not isinstance(config, dict):
        return config
    changed = {key: _retyped(value, dtype) for key, value in config.items()}
    return changed | {key: dtype for key in ("dtype", "torch_dtype") if changed.get(key) is not None}
