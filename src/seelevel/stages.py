"""Stages in a run folder: done, continued or begun anew by their fingerprints; one run at a time."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel

from seelevel import __version__
from seelevel.errors import DiskFullError, InputError, free_bytes, is_disk_full
from seelevel.facts import Facts
from seelevel.fingerprints import digest, source_fingerprint
from seelevel.models.base import ModelRef
from seelevel.models.files import model_fingerprint, with_backend
from seelevel.models.server.spending import LEDGER
from seelevel.naming import Names
from seelevel.progress import say
from seelevel.recipe import Recipe, texts_in
from seelevel.registry import is_target
from seelevel.run_log import logged
from seelevel.store import (
    CONTROL,
    ROUND_MODEL,
    ROUND_STAGES,
    ROUNDS,
    STAGES,
    StageFolder,
    lock_folder,
    read_manifest,
    write_atomically,
)
from seelevel.training.launched import world_size
from seelevel.training.settings import NO_EFFECT

STAGE_FOLDERS = ("data", "finetune", "base-data", *STAGES[:-1], CONTROL, "inputs", ROUNDS)
NEW_KEYS = {
    "format": None,
    "columns": None,
    "fetch": False,
    "options": None,
    "answers_per_pass": "auto",
    "compile": False,
    "offload_activations": False,
    "load_in_4bit": False,
    "use_liger_kernel": False,
    "annotations": None,
    "synonyms": None,
    "rule": None,
    "tolerance": 0.0,
    "standard_first": True,
    "min_p": 0.0,
    "discopop_tau": 0.05,
    "ld_alpha": None,
    "per_token": False,  # of sft
    "control": False,
    "log_probs_after": 400,
    "snapshots": 0,
    "judge_repeats": 1,
}
"""Keys of recipes that came after the first runs, and the values with which they change nothing."""
FROM_SOURCE = ("check", "feedback", "align", CONTROL)
"""Stages whose first input is the fingerprint of the ladders that they read, or of the alignment that the control is
compared with. The manifest keeps it as `source`."""
TRAINED = ("align", CONTROL)
"""Trainings that all processes of torchrun share."""
FOLLOW_SECONDS = 0.2
STEP_BYTES = 1 << 20  # free space that a stage needs before another start can help


class Stages:
    """The part that all stages of a run share: fingerprints, manifests, the lock.

    An instance has the stages of one round: the last one or, with `whole`, an earlier one of that run. `recipe` and
    `out` are the round's; `names` has the whole recipe and the run folder. Raises `InputError` if `out` is a link to
    itself.
    """

    def __init__(self, recipe: Recipe, out: Path, whole: Self | None = None) -> None:
        try:
            self.out = out.resolve()
        except RuntimeError as error:
            raise InputError(f"{out} is a link that leads to itself; choose another --out") from error
        self._recipe_text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        self.recipe = recipe.of_round(recipe.rounds)
        self.names: Names = Names(recipe, self.out) if whole is None else whole.names
        self.dry: bool = whole is not None and whole.dry
        self._fingerprints: dict[Path, str] = {} if whole is None else whole._fingerprints

    def _stage(
        self,
        name: str,
        module: str,
        inputs: Sequence[object],
        settings: BaseModel | None,
        work: Callable[[StageFolder], Facts],
        words: str = "",
    ) -> Path:
        place = self.out if name in ROUND_STAGES else self.names.out  # the rounds share the others
        stage = StageFolder(place / name, self._fingerprint(module, inputs, settings))
        self._fingerprints[stage.path] = stage.fingerprint
        if self.dry:
            return stage.path
        if self.follows:
            return self._follow(stage, name, work)
        if self._is_kept(stage):
            if stage.manifest is None:
                stage.take(self._other_place(stage.path))
            say(f"{name}: unchanged, kept")
            return stage.path
        stage.begin()
        start, used = time.monotonic(), LEDGER.used()
        try:
            facts = work(stage)
        except Exception as error:
            if is_disk_full(error) and not isinstance(error, DiskFullError):  # from a library's own writing
                raise DiskFullError(stage.path, max(STEP_BYTES - free_bytes(stage.path), 1)) from error
            raise
        seconds = round(time.monotonic() - start, 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        kept: dict[str, Any] = (
            {"settings": settings_digest(self.recipe, name, self.names.recipe)} if name in STAGES else {}
        )
        if spent := LEDGER.since(used):
            kept["api"] = {model: vars(usage) for model, usage in spent.items()}
            for model, usage in spent.items():
                say(
                    f"{name}: {model}: {usage.calls} calls, {usage.tokens_in} tokens read, {usage.tokens_out} written, "
                    f"cost {usage.cost:.4g}"
                )
        if words := words or getattr(settings, "words", ""):
            kept["words"] = words
        if name in FROM_SOURCE:
            kept["source"] = inputs[0]
        if name in ROUND_STAGES and self.recipe.align.model.startswith(ROUND_MODEL):
            model = self._model_fingerprint(self.names.model(self.recipe.align.model))
            kept |= {"model": model} if model in inputs else {}
        stage.finish(**{**facts.written(), **kept, "seconds": seconds, "peak_bytes": peak})
        return stage.path

    def _is_kept(self, stage: StageFolder) -> bool:
        """Whether a stage is done, here or where it was under another number of rounds."""
        other = StageFolder(self._other_place(stage.path), stage.fingerprint)
        return stage.manifest is not None or (stage.path.name in ROUND_STAGES and other.manifest is not None)

    def _other_place(self, place: Path) -> Path:
        """Where a round's stage was under another number of rounds: only the last round is in the run folder itself."""
        out, last = self.names.out, str(self.names.recipe.rounds)
        return out / ROUNDS / last / place.name if place.parent == out else out / place.name

    @property
    def follows(self) -> bool:
        """Whether this is another process than the first of those that torchrun has started."""
        return "MASTER_ADDR" in os.environ and os.environ.get("RANK", "0") != "0"

    def _follow(self, stage: StageFolder, name: str, work: Callable[[StageFolder], Facts]) -> Path:
        """Train with the first process; wait for whatever it does alone."""
        while stage.manifest is None:
            if name in TRAINED and stage.begun:
                work(stage)
                break
            time.sleep(FOLLOW_SECONDS)
        return stage.path

    def _fingerprint(self, module: str, inputs: Sequence[object], settings: BaseModel | None) -> str:
        libraries = [version(package) for package in ("torch", "transformers", "tokenizers", "spacy")]
        dumped = None if settings is None else without_keys(NO_EFFECT, settings.model_dump(mode="json"))
        outside = sorted(name.partition(":")[0] for _, name in texts_in(dumped) if is_target(name))
        return digest(inputs, dumped, self.recipe.seed, source_fingerprint(module, *outside), libraries)

    def _model_fingerprint(self, model: ModelRef) -> str:
        """A model's fingerprint. If this run makes it: that of its stage, which is known before the model exists."""
        stage = self.names.made_in(model.name)
        return model_fingerprint(model) if stage is None else with_backend(self._fingerprint_of(stage), model)

    def _fingerprint_of(self, folder: Path) -> str:
        if folder in self._fingerprints:
            return self._fingerprints[folder]
        manifest = read_manifest(folder)
        if manifest is None:
            raise InputError(f"{folder} is not finished; run `seelevel run` on this recipe")
        return str(manifest["fingerprint"])

    @contextmanager
    def _lock(self, command: str = "") -> Iterator[None]:
        """Only one run at a time in its folder. The other processes of torchrun rely on the first one's lock.

        command: the one that locks, for the log; none locks a round inside another lock.
        """
        if self.follows or self.dry:
            yield
            return
        with lock_folder(self.out), logged(self.out, self._title(command)) if command else nullcontext():
            write_atomically(self.out / "recipe.yaml", self._recipe_text)
            self._say_who_works(command)
            yield

    def _say_who_works(self, command: str) -> None:
        """If there are several processes: which stages of a command (`run` or a stage) the first one does alone."""
        stages = self.names.recipe.stages if command == "run" else (command,) if command else ()
        alone = [stage for stage in stages if stage not in TRAINED]
        if (processes := world_size()) > 1 and alone:
            shared = self.names.recipe.engine.name != "local"
            how = "with the workers of its engine" if shared else "alone (`engine: ray` shares them: docs/scale.md)"
            say(f"{command}: {processes} processes share align; the first one does {', '.join(alone)} {how}")

    def _title(self, command: str) -> str:
        whole = self.names.recipe
        settings = digest(self._recipe_text)[:8]  # which calls had the same recipe
        return f"seelevel {__version__} {command}: recipe {whole.name}, seed {whole.seed}, settings {settings}"


def settings_digest(recipe: Recipe, stage: str, whole: Recipe | None = None) -> str:
    """A fingerprint of the recipe's settings for a stage and the stages before it. The manifest keeps it.

    recipe: that of a round (`Recipe.of_round`) of `whole`. A later round depends on all stages of the earlier ones.
    """
    settings = recipe.align if stage == "evaluate" else recipe.align.alone
    dumped = {**recipe.model_dump(mode="json"), "align": settings.model_dump(mode="json")}
    chosen = {key: _without_unset(dumped[key]) for key in ("seed", "data", *_before(recipe, stage), stage)}
    if recipe.backend.name != "transformers":
        chosen["backend"] = recipe.backend.identity
    if whole is None or stage == "base" or not recipe.align.model.startswith(ROUND_MODEL):
        return digest(chosen)
    return digest(chosen, settings_digest(whole.of_round(1), "align"))


def _without_unset(settings: Any) -> Any:
    """Settings without the keys of `NEW_KEYS` that say nothing, so that a run of an older version is still this one."""
    if not isinstance(settings, dict):
        return settings
    return {
        key: _without_unset(value)
        for key, value in without_keys(NO_EFFECT, settings).items()
        if key not in NEW_KEYS or value not in (NEW_KEYS[key], {})
    }


def without_keys(keys: Sequence[str], settings: Any) -> Any:
    """Settings without some keys, at any depth."""
    if not isinstance(settings, dict):
        return settings
    return {key: without_keys(keys, value) for key, value in settings.items() if key not in keys}


def made_under_these_settings(recipe: Recipe, out: Path, stage: str) -> bool:
    """Whether a stage and all before it are finished under the settings of this recipe.

    Settings of later stages do not count: the answers of a server that is gone can still be used.
    """
    if stage != "base" and read_manifest(out / "data") is None:  # only a base needs no prompts
        return False
    made = ((folder, settings_digest(of_round, name, recipe)) for of_round, name, folder in _until(recipe, out, stage))
    return all((read_manifest(folder) or {}).get("settings") == settings for folder, settings in made)


def check_predecessors(recipe: Recipe, out: Path, stage: str) -> None:
    """Raise `InputError` if an earlier stage is unfinished or has other settings, or if a report has no run to show."""
    if stage not in recipe.stages:
        raise InputError(f"this recipe has no {stage}; it has {', '.join(recipe.stages)}")
    if stage == "report":  # it shows the parts that exist
        if not any((out / name).is_dir() for name in STAGE_FOLDERS):
            raise InputError(f"{out} holds no run to report on; name its folder with --out")
        return
    for of_round, earlier, folder in _until(recipe, out, stage):
        if folder == out / stage:
            break
        command = earlier if folder.parent == out else "run"  # no command runs an earlier round alone
        manifest = read_manifest(folder)
        if manifest is None:
            raise InputError(f"{folder} is not finished; run `seelevel {command}` on this recipe first")
        if (
            manifest.get("settings") != settings_digest(of_round, earlier, recipe)
            or read_manifest(out / "data") is None
        ):
            raise InputError(
                f"{folder} was made under other settings than this recipe's; run `seelevel {command}` on it "
                "first, give the settings that it was made under, or choose another --out"
            )
    if stage == "evaluate" and recipe.align.control:
        control, aligned = (read_manifest(out / name) or {} for name in (CONTROL, "align"))
        if control.get("source") != aligned["fingerprint"]:
            raise InputError(f"{out / CONTROL} is not of this alignment; run `seelevel align` on this recipe first")


def _before(recipe: Recipe, stage: str) -> tuple[str, ...]:
    return recipe.stages[: recipe.stages.index(stage)]


def _until(recipe: Recipe, out: Path, stage: str) -> Iterator[tuple[Recipe, str, Path]]:
    """Every stage up to `stage` of the last round: the recipe of its round, its name, its folder."""
    names, last = Names(recipe, out), recipe.of_round(recipe.rounds)
    for number in range(1, recipe.rounds if stage != "base" else 1):
        of_round = recipe.of_round(number)
        yield from ((of_round, name, names.round(number) / name) for name in ROUND_STAGES if name in of_round.stages)
    yield from ((last, name, out / name) for name in (*_before(last, stage), stage))
