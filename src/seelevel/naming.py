"""What the names in a recipe mean: models, prompts, evaluation data, pictures.

A model is `world:s`, a folder, a hub name, a server's model, `world:oracle` or `run:base`; data are files, folders or
splits of the embedded world such as `world:test`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seelevel.errors import InputError
from seelevel.formats.sources import SPLITS
from seelevel.models.base import ApiSettings, ModelRef, is_object, is_server
from seelevel.models.folders import adapter_base, check_model_folder, is_hub_name
from seelevel.opening import read_text
from seelevel.registry import import_named
from seelevel.store import CONTROL, ROUND_MODEL, ROUNDS, SNAPSHOT, SNAPSHOTS, cache_folder, snapshot_step

if TYPE_CHECKING:
    from seelevel.formats.sources import Source
    from seelevel.generate.method import FinetuneSettings
    from seelevel.ladder import Ladder
    from seelevel.recipe import DataSettings, Recipe
    from seelevel.scorers.settings import EvaluateSettings

WORLD, ORACLE = "world:", "world:oracle"
SHIPPED = "world:xs, world:s, world:m, world:l"
OWN_BASE = "run:base"
"""In recipes: the model that the run makes first, under `base:`."""


class Names:
    """What the names in one recipe mean, in one run folder."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out = recipe, out

    def model(self, name: str) -> ModelRef:
        """A model whose weights are here or on the hub, or one that this run makes."""
        if (stage := self.made_in(name)) is None:
            return named_model(name)
        if name == OWN_BASE and self.recipe.base is None:
            raise InputError(f"model {OWN_BASE}: this recipe makes none; give it a base: or name another model")
        return ModelRef(name, str(_weights(stage) or stage / "model"))

    def made_in(self, name: str) -> Path | None:
        """The folder of the stage that makes a model of this run; None for a model from elsewhere."""
        if name.startswith(ROUND_MODEL):
            return self.round(int(name.removeprefix(ROUND_MODEL))) / "align"
        return self.out / "base" if name == OWN_BASE else None

    def round(self, number: int) -> Path:
        """The folder of a round's own stages; that of the last round is the run's."""
        return self.out if number == self.recipe.rounds else self.out / ROUNDS / str(number)

    def answering(self, name: str) -> ModelRef:
        """Anything that answers prompts: a model, a server's model, the world's oracle."""
        ref = named_generator(name, self.recipe.api) if self.made_in(name) is None else self.model(name)
        return replace(ref, backend=self.recipe.backend)

    def ancestor(self, name: str) -> ModelRef:
        """As `answering`, but instead of `run:base`, which may not exist yet, the model that it is made from."""
        base = self.recipe.base
        return self.answering(base.model if base is not None and name == OWN_BASE else name)

    def generating(self, name: str) -> ModelRef:
        """A model of `generate:`. It may be a server's if it only answers."""
        return self.answering(name) if self.recipe.generate.inference_only else self.model(name)

    def aligned(self, number: int | None = None) -> ModelRef:
        """The model that a round of this run has aligned; None: the last. Raises `InputError` if it is missing."""
        stage = self.round(number or self.recipe.rounds) / "align"
        if (weights := _weights(stage)) is None:
            raise InputError(f"{stage} holds no model; run `seelevel align` on this recipe first")
        return self._trained("aligned" if number is None else f"round-{number}", weights)

    def _trained(self, name: str, weights: Path) -> ModelRef:
        """A model of this run that is evaluated."""
        condition = self.recipe.evaluate.condition
        return ModelRef(name, str(weights), condition=condition, backend=self.recipe.backend)

    def snapshots(self) -> dict[str, ModelRef]:
        """The snapshots of the last round's training by name, in the order of their steps."""
        folders = (self.out / "align" / SNAPSHOTS).glob(f"{SNAPSHOT}*")
        steps = {step: path for path in folders if (step := snapshot_step(path.name)) is not None}
        return {path.name: self._trained(path.name, path) for _, path in sorted(steps.items())}

    def control(self) -> ModelRef:
        """The control of this run's alignment. Raises `InputError` if there is none yet."""
        if (weights := _weights(self.out / CONTROL)) is None:
            raise InputError(f"{self.out / CONTROL} holds no model; run `seelevel align` on this recipe first")
        return ModelRef(CONTROL, str(weights), backend=self.recipe.backend)


def _weights(stage: Path) -> Path | None:
    """The model or adapter that a training stage has made, or None."""
    return next((place for kind in ("model", "adapter") if (place := stage / kind).is_dir()), None)


def world_split(name: str) -> str | None:
    """`test` for `world:test`; None for a file or a folder."""
    return name.removeprefix(WORLD) if name.startswith(WORLD) else None


def world_models() -> list[ModelRef]:
    """The models that the package ships."""
    from seelevel.world import MODELS

    return [named_model(WORLD + name) for name in MODELS]


def check_data_name(key: str, name: str, splits: Sequence[str]) -> None:
    """Raise `InputError` for a split that the world does not have, or a path that does not exist."""
    split = world_split(name)
    if split is not None and split not in splits:
        raise InputError(f"{key}: {name} is unknown; the world has {', '.join(WORLD + s for s in splits)}")
    if split is None and not (Path(name).exists() or (Path(name).parent.is_dir() and Path(name).name in SPLITS)):
        raise InputError(f"{key}: {name} does not exist; relative paths start at {Path.cwd()}")


def first_ladders(settings: DataSettings | FinetuneSettings, count: int) -> list[Ladder]:
    """The first records that can be used, at most `count`, with their standard responses."""
    split, limit = world_split(settings.prompts), min(settings.limit or count, count)
    if split is not None:
        from seelevel.world.pictures.scenes import draw_scenes
        from seelevel.world.texts.datasets import PROMPTS, prompt_ladder

        scenes = draw_scenes(split, min(settings.limit or PROMPTS, count))
        return [prompt_ladder(scene, split, scene.id) for scene in scenes]
    from seelevel.formats import parse
    from seelevel.formats.records import Record
    from seelevel.image_store import cached_pictures

    source = replace(source_of(settings), limit=limit, keep=cached_pictures().put_bytes)
    return [record.ladder for record in parse(source, settings.format) if isinstance(record, Record)]


def count_records(settings: DataSettings | FinetuneSettings) -> int:
    """How many records the data have, up to their limit."""
    if world_split(settings.prompts) is not None:
        from seelevel.world.texts.datasets import PROMPTS

        return settings.limit or PROMPTS
    from seelevel.formats import parse
    from seelevel.image_store import named_by_content

    return sum(1 for _ in parse(replace(source_of(settings), keep=named_by_content), settings.format))


def source_of(settings: DataSettings | FinetuneSettings) -> Source:
    """The files of a user's prompts. Raises `InputError` if there are none."""
    from seelevel.formats.sources import Source

    images = None if settings.images is None else Path(settings.images)
    return Source(Path(settings.prompts), images, settings.columns, settings.limit, fetch=settings.fetch)


def count_questions(settings: EvaluateSettings) -> int:
    """How many questions a model is asked, each turn of a dialogue for itself; for the world, about eight per scene."""
    if world_split(settings.data) is not None:
        return (settings.limit or 500) * 8
    from seelevel.evaluate import chosen_benchmarks

    benchmarks = chosen_benchmarks(settings, Path(settings.data))
    return sum(len(question.turns) for benchmark in benchmarks for question in benchmark.questions)


def named_model(name: str) -> ModelRef:
    """A model whose weights are here or on the hub. Raises `InputError` if a folder is missing or incomplete."""
    if name.startswith(WORLD):
        from seelevel.world import model_path

        return ModelRef(name, str(model_path(name.removeprefix(WORLD))))
    if Path(name).is_dir():
        if adapter_base(Path(name)) is None:
            check_model_folder(Path(name))
    elif is_server(name):
        raise InputError(f"model {name} is a server's, but its weights are needed here; name a folder or a hub model")
    elif not is_hub_name(name) or "/" not in name:  # without an owner, rather a mistyped folder
        problem = "is a file" if Path(name).is_file() else "does not exist"
        raise InputError(f"model folder {name} {problem}; name a folder, a hub model or one of {SHIPPED}")
    return ModelRef(name, name)


def named_generator(name: str, api: ApiSettings) -> ModelRef:
    """Whatever answers prompts: a model, a server's model, the world's oracle. Raises `InputError` as `named_model`."""
    if name == ORACLE:
        return ModelRef(name, "seelevel.world.oracle:Oracle")
    if is_server(name):
        from seelevel.models.server.names import split_name

        split_name(name)
        return ModelRef(name, name, api)
    if is_object(name) and not name.startswith(WORLD) and not Path(name).is_dir():
        try:
            import_named(name)
        except InputError as error:
            raise InputError(f"model {error}; or name a folder, a hub model or one of {SHIPPED}") from error
        return ModelRef(name, name)
    return named_model(name)


def named_picture(name: str, beside: Path | None = None) -> tuple[str, list[str]]:
    """A picture's path and its annotations, one per line.

    They come from `beside`, a text file, or else from the world's picture (`world:test/3`). Raises `InputError` if the
    picture is missing.
    """
    if name.startswith(WORLD):
        from seelevel.world.texts.datasets import one_picture

        path, annotations = one_picture(name.removeprefix(WORLD), cache_folder() / "pictures")
    else:
        from seelevel.images import ImageError, check_image

        path, annotations = name, []
        if not Path(name).is_file():
            raise InputError(f"picture {name} does not exist; name a file, or one of the world's: world:test/0")
        try:
            check_image(name)
        except ImageError as error:
            raise InputError(f"picture {name}: {error}; name another one") from error
    if beside is None:
        return path, annotations
    try:
        lines = read_text(beside).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{beside} cannot be read as text ({error}); mend the path or save it as UTF-8") from error
    return path, [line.strip() for line in lines if line.strip()]
