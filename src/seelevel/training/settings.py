"""Training settings. Torch-free, so that a recipe is read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seelevel.training.objectives.settings import NAMES, MdpoSettings, ObjectiveSettings, SftSettings

Layout = Literal["shared", "rows"]
Tracker = Literal["tensorboard", "trackio", "wandb"]
NO_EFFECT = ("report_to", "report_every", "process_timeout")
"""Keys that change nothing in what is trained."""


class LoraSettings(BaseModel):
    """Low-rank adapters on the language model. Defaults as AMP's: r = 64, α = 16, attention and MLP projections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    r: int = Field(default=64, ge=1)
    alpha: float = Field(default=16, gt=0, allow_inf_nan=False)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target: Literal["attention+mlp", "attention"] | Annotated[list[str], Field(min_length=1)] = Field(
        default="attention+mlp", description="or names of the language model's linear layers"
    )


HEAD_CHUNK = 1 << 23
"""Logits that the output head computes at a time: 32 MiB in float32."""
HEAD_KEPT = 1 << 25
"""A head that trains keeps up to this many probabilities for the backward pass: 128 MiB in float32."""
TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 16384}


def chosen_layers(
    settings: LoraSettings, mixer: Iterable[str], mlp: Iterable[str], experts: Iterable[str] = ()
) -> list[str]:
    """Which weights of a decoder layer get adapters, by name. Experts get them only if `target` names them."""
    if settings.target == "attention":
        return [*mixer]
    if settings.target == "attention+mlp":
        return [*mixer, *mlp]
    return [name for name in (*mixer, *mlp, *experts) if any(is_named(name, wanted) for wanted in settings.target)]


def is_named(name: str, wanted: str) -> bool:
    """Whether `wanted` is a module's dotted name, or its end."""
    return f".{name}".endswith(f".{wanted}")


class TrainSettings(BaseModel):
    """One preference training. AMP trains 4 epochs of 16 ladders per step with AdamW and a cosine schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: ObjectiveSettings = Field(
        default=MdpoSettings(), description=f"{', '.join(NAMES)} or module:class, with its parameters"
    )
    layout: Layout = Field(
        default="shared", description="shared: picture and prompt once per ladder; rows: once per response"
    )
    lora: LoraSettings | None = Field(default=None, description="null trains full weights")
    epochs: float = Field(default=4, gt=0, le=10_000, allow_inf_nan=False)
    learning_rate: float = Field(default=3.0e-4, gt=0, allow_inf_nan=False)
    ladders_per_step: int = Field(
        default=16, ge=1, le=100_000, description="ladders in one optimiser step, over all processes"
    )
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = Field(default=20, ge=0)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_grad_norm: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="0 does not clip")
    freeze_vision: bool = Field(default=True, description="do not train the vision tower, as in LLaVA")
    gradient_checkpointing: bool = False
    offload_activations: bool = Field(
        default=False, description="what checkpointing keeps is in the host's memory, not on the GPU"
    )
    load_in_4bit: bool = Field(
        default=False, description="QLoRA: the language model's linear layers in 4 bits (NF4) under adapters"
    )
    use_liger_kernel: bool = Field(default=False, description="Liger's kernels for norms and gated MLPs, on CUDA")
    compile: bool = Field(default=False, description="compile the layers of the language model")
    tokens_per_batch: int | None = Field(default=None, ge=1, description="padded tokens in one forward pass")
    answers_per_pass: Literal["auto", "all"] | Annotated[int, Field(ge=1)] = Field(
        default="auto", description="answers in one piece of a pass; a number bounds memory, whatever K is"
    )
    max_length: int | None = Field(default=None, ge=1, description="longest conversation; null is the model's context")
    save_steps: int = Field(default=50, ge=1, description="steps between checkpoints")
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1")
    cache: bool | str = Field(
        default=True, description="keep reference log-probs for other runs: true (in the user's cache), a folder, false"
    )
    report_to: Tracker | list[Tracker] | None = Field(
        default=None,
        description="tensorboard, trackio or wandb, or a list of them: figures and answers while it trains",
    )
    report_every: int = Field(default=50, ge=1, description="steps between the answers that trackers show")
    process_timeout: float = Field(
        default=1800, gt=0, le=1e6, description="seconds that one of several processes waits for the others"
    )

    @model_validator(mode="after")
    def _checkpoints_are_offloaded(self) -> Self:
        if self.offload_activations and not self.gradient_checkpointing:
            raise ValueError("offload_activations: needs gradient_checkpointing: true; set both, or leave both out")
        return self

    @model_validator(mode="after")
    def _four_bits_have_a_format(self) -> Self:
        if self.load_in_4bit and self.dtype == "float64":
            raise ValueError("load_in_4bit: no products in float64; set dtype to auto, float32 or bfloat16")
        return self

    @property
    def log_probs_of(self) -> int | None:
        """How many ladders' log-probs are computed when the training has ended; None: all of them."""
        return 0

    @property
    def snapshot_count(self) -> int:
        """How many snapshots of the weights are kept."""
        return 0

    @property
    def trackers(self) -> list[Tracker]:
        """The trackers, each once."""
        named = self.report_to if isinstance(self.report_to, list) else [self.report_to]
        return [name for name in dict.fromkeys(named) if name is not None]

    @property
    def words(self) -> str:
        """The settings in one line, for the report."""
        weights = "full weights" if self.lora is None else f"LoRA r={self.lora.r}"
        weights += " on 4 bits" * self.load_in_4bit
        return (
            f"{self.objective.words}, {self.epochs:g} epochs, {self.ladders_per_step} ladders per step, "
            f"learning rate {self.learning_rate:g}, {weights}, layout {self.layout}"
        )


def precision(settings: TrainSettings, device: str, adapters: bool = False) -> tuple[str, bool]:
    """Number format of the weights, and whether autocast computes products in bfloat16. `adapters`: the model has some.

    Weights are float32, except for a base under adapters on a GPU: it never changes, and is bfloat16. Products are
    bfloat16 if adapters (always float32) train on a bfloat16 base, or if full weights train on a GPU with `auto`.
    """
    adapters = adapters or settings.lora is not None
    automatic = "bfloat16" if device != "cpu" and adapters else "float32"
    dtype = automatic if settings.dtype == "auto" else settings.dtype
    if adapters:
        return dtype, dtype == "bfloat16"
    return dtype, device != "cpu" and settings.dtype == "auto"


class AlignSettings(TrainSettings):
    """How to train, and which model: a folder, a hub name or, in recipes, `world:s`."""

    model: str = Field(min_length=1)
    control: bool = Field(
        default=False, description="also train sft on the best responses of the same ladders, to compare with"
    )

    log_probs_after: int | None = Field(
        default=400, ge=0, description="ladders whose log-probs are computed after training, evenly spaced; null: all"
    )
    snapshots: int = Field(
        default=0, ge=0, le=1000, description="copies of the weights to keep from steps before the last, evenly spaced"
    )

    @property
    def log_probs_of(self) -> int | None:
        return self.log_probs_after

    @property
    def snapshot_count(self) -> int:
        return self.snapshots

    @model_validator(mode="after")
    def _control_differs(self) -> Self:
        if self.control and isinstance(self.objective, SftSettings):
            raise ValueError("control: true trains sft, which is the objective already; leave control out")
        return self

    @property
    def alone(self) -> Self:
        """The settings without the control, which changes nothing in what `align` trains."""
        return self.model_copy(update={"control": False})

    @property
    def of_control(self) -> Self:
        """The settings of the control: the same except for the objective, and without what `view` shows of training."""
        return self.alone.model_copy(update={"objective": SftSettings(), "log_probs_after": 0, "snapshots": 0})
