"""Stages in a run folder: done, continued or begun anew by their fingerprints; one run at a time."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from seelevel.errors import DiskFullError, InputError, free_bytes, is_disk_full
from seelevel.examine import settings_digest
from seelevel.models.spending import LEDGER
from seelevel.progress import say
from seelevel.recipe import STAGES, Recipe
from seelevel.store import StageFolder, digest, lock_folder, read_manifest, source_fingerprint, write_atomically

FOLLOW_SECONDS = 0.2
STEP_BYTES = 1 << 20  # what a stage should find free before it is worth starting again


class Stages:
    """What every stage of a recipe's run has in common, whatever it does."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        try:
            self.recipe, self.out = recipe, out.resolve()
        except RuntimeError as error:
            raise InputError(f"{out} is a link that leads to itself; choose another --out") from error
        self.dry = False
        self._fingerprints: dict[Path, str] = {}

    def _stage(
        self,
        name: str,
        module: str,
        inputs: Sequence[object],
        settings: BaseModel | None,
        work: Callable[[StageFolder], dict[str, Any]],
    ) -> Path:
        stage = StageFolder(self.out / name, self._fingerprint(module, inputs, settings))
        self._fingerprints[stage.path] = stage.fingerprint
        if self.dry:
            return stage.path
        if self.follows:
            return self._follow(stage, name, work)
        if stage.manifest is not None:
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
        kept: dict[str, Any] = {"settings": settings_digest(self.recipe, name)} if name in STAGES else {}
        if spent := LEDGER.since(used):
            kept["api"] = {model: vars(usage) for model, usage in spent.items()}
            for model, usage in spent.items():
                say(
                    f"{name}: {model}: {usage.calls} calls, {usage.tokens_in} tokens read, {usage.tokens_out} written, "
                    f"cost {usage.cost:.4g}"
                )
        stage.finish(**{**facts, **kept, "seconds": seconds, "peak_bytes": peak})
        return stage.path

    @property
    def follows(self) -> bool:
        """Whether this is another process than the first of those that torchrun has started."""
        return "MASTER_ADDR" in os.environ and os.environ.get("RANK", "0") != "0"

    def _follow(self, stage: StageFolder, name: str, work: Callable[[StageFolder], dict[str, Any]]) -> Path:
        """Train with the first process; wait for whatever it does alone."""
        while stage.manifest is None:
            if name == "align" and stage.begun:
                work(stage)
                break
            time.sleep(FOLLOW_SECONDS)
        return stage.path

    def _fingerprint(self, module: str, inputs: Sequence[object], settings: BaseModel | None) -> str:
        libraries = [version(package) for package in ("torch", "transformers", "tokenizers", "spacy")]
        dumped = None if settings is None else settings.model_dump(mode="json")
        return digest(inputs, dumped, self.recipe.seed, source_fingerprint(module), libraries)

    def _print_of(self, folder: Path) -> str:
        if folder in self._fingerprints:
            return self._fingerprints[folder]
        manifest = read_manifest(folder)
        if manifest is None:
            raise InputError(f"{folder} is not finished; run `seelevel run` on this recipe")
        return str(manifest["fingerprint"])

    @cached_property
    def _recipe_text(self) -> str:
        return yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """This run alone in its folder; the processes that follow another have that one's lock."""
        if self.follows:
            yield
            return
        with lock_folder(self.out):
            write_atomically(self.out / "recipe.yaml", self._recipe_text)
            yield
