"""A recipe: one YAML file that says what to run. Unknown keys are refused with the nearest known one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from seelevel.check.settings import CheckSettings
from seelevel.complaints import explain
from seelevel.engine.settings import EngineSettings
from seelevel.errors import InputError
from seelevel.feedback.settings import FeedbackSettings
from seelevel.generate.method import FinetuneSettings
from seelevel.generate.settings import GenerateSettings
from seelevel.json_text import not_finite
from seelevel.models.backend import TRANSFORMERS, BackendSettings
from seelevel.models.base import ApiSettings, Sampling
from seelevel.opening import read_text
from seelevel.registry import nearest
from seelevel.report.settings import ReportSettings
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import ROUND_MODEL, STAGES, expand_path
from seelevel.training.settings import AlignSettings, TrainSettings
from seelevel.yaml_text import load_yaml

S = TypeVar("S", bound=BaseModel)
NO_PATHS = ("columns", "key", "options", "prices", "request", "title")
"""Keys of recipes whose texts are not paths, so that a `$` in them stays."""


class DataSettings(BaseModel):
    """Where the images and prompts are: a LLaVA JSON, ladders as Parquet or AMP's JSON, and the image folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompts: str = Field(min_length=1)
    images: str | None = Field(default=None, min_length=1)
    format: str | None = Field(
        default=None,
        description="llava, amp, trl, llamafactory, swift, ranked, plain, nlf, vlsafe, ladders or module:function; "
        "null: by content",
    )
    limit: int | None = Field(default=None, ge=1, description="use only the first N records")
    columns: dict[str, str] = Field(default={}, description="our name: the name in the file, such as prompt: question")
    fetch: bool = Field(default=False, description="ask servers for pictures that records name by an address")
    max_rejected: float = Field(default=0.05, ge=0, le=1, description="share of bad records above which the run stops")


class BaseSettings(FinetuneSettings):
    """`base:`, the model to align, made first by fine-tuning another one on standard responses.

    The recipe's models name it `run:base`.
    """

    model: str = Field(min_length=1)

    @field_validator("model")
    @classmethod
    def _another(cls, model: str) -> str:
        if model.startswith("run:"):
            raise ValueError("this run makes that model; name the model to fine-tune")
        return model


class Recipe(BaseModel):
    """Everything one run needs. Relative paths start at the current folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w-][\w.-]*$", description="also names the run folder, so '..' is not allowed")
    seed: int = Field(default=0, ge=0, lt=2**32)
    rounds: int = Field(
        default=1, strict=True, ge=1, le=100, description="on-policy rounds of generate, check, feedback and align"
    )
    data: DataSettings
    base: BaseSettings | None = None
    generate: GenerateSettings
    check: CheckSettings | None = Field(description="null keeps the order of generate")
    feedback: FeedbackSettings | None = None
    align: AlignSettings
    evaluate: EvaluateSettings
    report: ReportSettings = ReportSettings()
    api: ApiSettings = ApiSettings()
    engine: EngineSettings = EngineSettings()
    backend: BackendSettings = TRANSFORMERS

    @model_validator(mode="after")
    def _has_gpus(self) -> Self:
        engine, backend = self.engine, self.backend
        if backend.name == "vllm" and engine.name == "ray" and engine.gpus < backend.gpus:
            raise ValueError(f"backend: vllm runs on GPUs; set engine.gpus: {backend.gpus} for Ray's workers")
        return self

    @model_validator(mode="after")
    def _learns_from_feedback(self) -> Self:
        feedback, objective = self.feedback, self.align.objective
        if feedback is not None and feedback.ladders == "rounds" and not objective.has_signal([0]):
            raise ValueError(
                "feedback.ladders: rounds leaves the order as it is and makes a ladder of one answer of each later "
                f"round, from which {objective.name} learns nothing; set feedback.ladders: ratings"
            )
        return self

    @model_validator(mode="after")
    def _has_something_to_compare(self) -> Self:
        objective = self.align.objective
        if self.evaluate.snapshots and not self.align.snapshots:
            raise ValueError("evaluate.snapshots: true, but align keeps none; set align.snapshots to their number")
        if self.generate.max_levels == 1 and self.feedback is None and not objective.has_signal([0]):
            raise ValueError(
                f"generate: a ladder of one response, from which {objective.name} learns nothing; generate more "
                "responses per prompt, or set align.objective.name: sft"
            )
        return self

    @model_validator(mode="after")
    def _samples_get_an_order(self) -> Self:
        rated = self.feedback is not None and self.feedback.ladders == "ratings"
        if not self.generate.ordered and self.check is None and not rated:
            raise ValueError(
                "generate.standard: samples have no order until `check` or a judge gives one; set check, or "
                "standard: true to learn only that the standard response is better"
            )
        return self

    @model_validator(mode="after")
    def _rounds_change_answers(self) -> Self:
        model, check, feedback = self.align.model, self.check, self.feedback
        if given := next((at for at, name in self.answering if name.startswith(ROUND_MODEL)), None):
            raise ValueError(f"{given}: only a run names a model {ROUND_MODEL}…; name the first model, and set rounds")
        refines = feedback is not None and feedback.model == model and feedback.rounds > 1
        if self.rounds > 1 and not refines and self.generate.replaced(model, ROUND_MODEL) == self.generate:
            raise ValueError(
                f"rounds: {self.rounds} needs answers of the model to align, which are new in each round; set "
                f"generate.method: samples with model: {model}, or rounds: 1"
            )
        if self.rounds > 1 and check is not None and check.overrides is not None:
            raise ValueError("rounds: check.overrides is about answers of one round; remove it, or set rounds: 1")
        return self

    def of_round(self, number: int) -> Self:
        """The recipe of one round, counted from 1. Before the last round it has `rounds: 1` and no control.

        From the second on, the model that the round before has aligned replaces `align.model`: it answers the prompts
        with other random numbers, and is trained on. If it is an adapter, it gets no second one.
        """
        last = number == self.rounds
        align = self.align if last else self.align.alone
        changes: dict[str, Any] = {"align": align} if last else {"align": align, "rounds": 1}
        if number > 1:
            model, before = self.align.model, f"{ROUND_MODEL}{number - 1}"
            changes["align"] = align.model_copy(update={"model": before, "lora": None})
            changes["generate"] = _drawn(self.generate.replaced(model, before), number)
            if (feedback := self.feedback) is not None:
                again = before if feedback.model == model else feedback.model
                changes["feedback"] = _drawn(feedback.model_copy(update={"model": again}), number)
        return self.model_copy(update=changes)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this recipe has, in their order."""
        return tuple(name for name in STAGES if getattr(self, name) is not None)

    def before(self, stage: str) -> str:
        """The stage whose ladders a stage reads."""
        return self.stages[self.stages.index(stage) - 1]

    @property
    def answering(self) -> list[tuple[str, str]]:
        """(stage, model) of every model that answers prompts, judges among them, in the stages' order."""
        check, feedback = self.check, self.feedback
        named: list[tuple[str, str | None]] = [("generate", name) for name in self.generate.models]
        if check is not None:
            named.append(("check", check.judge))
        if feedback is not None:
            named += [("feedback", feedback.judge), ("feedback", feedback.model)]
        named += [("align", self.align.model), ("evaluate", self.align.model), ("evaluate", self.evaluate.judge)]
        if self.base is not None:
            named.insert(0, ("base", self.base.model))
        return [(stage, name) for stage, name in named if name is not None]

    @property
    def training(self) -> list[tuple[str, TrainSettings, str]]:
        """(key, settings, model) of everything that is trained, in its order."""
        trainings: list[tuple[str, TrainSettings, str]] = []
        if self.base is not None:
            trainings.append(("base", self.base, self.base.model))
        if (tuning := self.generate.training_data) is not None:
            trainings.append(("generate.finetune", tuning, self.generate.models[0]))
        trainings.append(("align", self.align, self.align.model))
        if self.align.control:
            trainings.append(("align", self.align.of_control, self.align.model))
        return trainings


def _drawn(settings: S, number: int) -> S:
    """Settings whose model draws other samples in each round."""
    sampling = getattr(settings, "sampling", None)
    if not isinstance(sampling, Sampling):
        return settings
    seed = (sampling.seed + number - 1) % 2**32
    return settings.model_copy(update={"sampling": sampling.model_copy(update={"seed": seed})})


def texts_in(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, text) of every text in a recipe's mapping, or in a part of it."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts_in(inner, f"{key}.{name}".lstrip("."))


def shipped_recipes() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("seelevel").joinpath("recipes")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name or any recipe by its file; `overrides` are `key.subkey=value` with YAML values.

    Raises `InputError` naming the file and the key that is wrong.
    """
    text, where = _source(name_or_path)
    try:
        raw = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark is not None else where
        raise InputError(f"{place}: not YAML ({getattr(error, 'problem', None) or error}); mend that line") from error
    except (ValueError, RecursionError) as error:  # an invalid date, infinite recursion
        raise InputError(f"{where}: not usable YAML ({error}); mend it or quote the value") from error
    if not isinstance(raw, dict):
        raise InputError(f"{where}: a recipe is a YAML mapping with keys {', '.join(Recipe.model_fields)}")
    for override in overrides:
        _override(raw, override)
    try:
        recipe = Recipe.model_validate(_expanded(raw))
    except RecursionError as error:  # an alias inside itself
        raise InputError(f"{where}: an alias (*) stands inside its own anchor (&); write the value out") from error
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, raw, Recipe)}") from error
    if (key := not_finite(recipe.model_dump())) is not None:
        raise InputError(f"{where}: {key} is NaN or infinite; write a number")
    return recipe


def _expanded(value: Any, key: str = "") -> Any:
    """A recipe's mapping with `~` and `$NAME` replaced in the texts that may be paths."""
    if isinstance(value, str):
        return expand_path(value, key)
    if isinstance(value, dict):
        return {
            name: inner if name in NO_PATHS else _expanded(inner, f"{key}.{name}".lstrip("."))
            for name, inner in value.items()
        }
    return [_expanded(inner, key) for inner in value] if isinstance(value, list) else value


def _source(name_or_path: str) -> tuple[str, str]:
    path = Path(name_or_path)
    try:
        if path.is_file():
            return read_text(path, "utf-8-sig"), str(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the recipe as UTF-8") from error
    except OSError as error:  # no permission, a name too long for the system
        raise InputError(f"recipe '{name_or_path:.80}' cannot be read ({error.strerror}); name another file") from error
    if name_or_path in shipped_recipes():
        file = resources.files("seelevel").joinpath("recipes", f"{name_or_path}.yaml")
        return file.read_text(encoding="utf-8"), f"recipe {name_or_path}"
    raise InputError(
        f"recipe '{name_or_path}' is neither a file nor a shipped recipe; {nearest(name_or_path, shipped_recipes())}"
    )


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override}: expected key=value, for instance --set align.epochs=2")
    *parents, last = key.split(".")
    place: Any = raw
    for parent in parents:
        place = place.setdefault(parent, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise InputError(f"--set {override}: '{'.'.join(parents)}' is not a mapping in the recipe")
    try:
        place[last] = load_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InputError(f"--set {key}: '{value:.200}' is not a YAML value ({problem}); mend or quote it") from error
