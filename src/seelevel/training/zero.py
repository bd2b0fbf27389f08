"""What DeepSpeed is asked to do. Neither torch nor DeepSpeed is imported.

A launcher writes `configuration` into a file and starts the processes with `environment`. `accelerate launch
--use_deepspeed --deepspeed_config_file FILE` does the same with a file of its user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.json_text import loads
from seelevel.opening import read_text
from seelevel.training.launched import sharding

ASKED = "ACCELERATE_USE_DEEPSPEED"
FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
STAGES = (2, 3)
BUCKET = 200_000_000
"""Gradients reduced at a time, in numbers: 800 MB in float32."""


def configuration(stage: int) -> dict[str, Any]:
    """DeepSpeed's configuration for ZeRO of a stage. `auto`: filled in from the recipe when the training begins."""
    split: dict[str, Any] = {"stage": stage, "reduce_bucket_size": BUCKET, "overlap_comm": False}
    if stage == 3:
        # Which modules a pass uses may differ between processes, so none may fetch or keep weights on a guess.
        split |= {"stage3_prefetch_bucket_size": 0, "stage3_max_reuse_distance": 0}
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": 1,  # a step's passes are counted by the trainer
        "gradient_clipping": "auto",
        "zero_optimization": split,
        "zero_allow_untested_optimizer": True,  # torch's AdamW, as in one process
        "bf16": {"enabled": False},  # align.dtype decides
        "fp16": {"enabled": False},
    }


def environment(file: Path) -> dict[str, str]:
    """The variables with which the processes are started. file: has a `configuration`."""
    return {ASKED: "true", FILE: str(file)}


@contextmanager
def taken_over() -> Iterator[dict[str, Any] | None]:
    """Opens with the configuration that the launcher asks for, None for none. While open, accelerate and transformers
    do not see that DeepSpeed is asked for. Raises `InputError` as `asked_configuration` does."""
    if sharding() != "DEEPSPEED":
        yield None
        return
    given = asked_configuration()
    value = os.environ.pop(ASKED)
    try:
        yield given
    finally:
        os.environ[ASKED] = value


def asked_configuration() -> dict[str, Any]:
    """The configuration that the launcher has named. Raises `InputError` if DeepSpeed is not installed, or asked for
    what would change the training."""
    if find_spec("deepspeed") is None:
        raise InputError("DeepSpeed is not installed; install it with `pip install 'seelevel[deepspeed]'`")
    file = os.environ.get(FILE, "")
    if not file:
        raise InputError(f"DeepSpeed needs a configuration file in {FILE}; launch with --launch zero2 or zero3")
    given: dict[str, Any] = read_configuration(Path(file))
    check(given, file)
    return given


def check_dtype(dtype: str, adapters: bool) -> None:
    """Raise `InputError` for weights that DeepSpeed would round differently from one process. dtype: of the weights;
    adapters: they alone train, in float32."""
    if dtype == "float64" or (dtype == "bfloat16" and not adapters):
        raise InputError(f"align.dtype: DeepSpeed updates float32 weights, not {dtype}; use auto, or --launch fsdp2")


def read_configuration(file: Path) -> Any:
    """Raises `InputError` if a file is not JSON."""
    try:
        return loads(read_text(file))
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error})") from error


def check(given: Any, place: str) -> None:
    """Raise `InputError` if a configuration would train something else than the recipe says. Other keys are its
    writer's choice."""
    split = given.get("zero_optimization") if isinstance(given, dict) else None
    split = split if isinstance(split, dict) else {}
    stage = split.get("stage")
    if stage not in STAGES:
        raise InputError(f"{place}: zero_optimization.stage is {stage}; only 2 and 3 are supported")
    for key in ("optimizer", "scheduler"):
        if key in given:
            raise InputError(f"{place}: {key}: the recipe decides; remove it")
    for key in ("offload_optimizer", "offload_param"):
        if (split.get(key) or {}).get("device", "none") != "none":
            raise InputError(f"{place}: zero_optimization.{key}: not supported; remove it")
    for name, value in _flat(configuration(stage)).items():
        if name != "zero_optimization.reduce_bucket_size" and (other := _flat(given).get(name)) != value:
            raise InputError(f"{place}: {name} is {other}; it must be {value}")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves by their dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves
