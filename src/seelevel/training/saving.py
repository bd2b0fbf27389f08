"""How a training writes its model and its logs, and what it checks before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import Tensor
from torch.distributed.tensor import DTensor

from seelevel.errors import NonFiniteLossError
from seelevel.json_text import dumps
from seelevel.models.conditions import FILE as CONDITIONS
from seelevel.models.conditions import Conditions
from seelevel.store import write_json


def model_writer(
    model: Any, processor: Any, conditions: Conditions | None, weights: dict[str, Tensor] | None = None
) -> Callable[[Path], None]:
    """Writes the model as it is then into a folder: weights or adapter, processor, and conditions, if there are any.
    `weights`: those to write, for a model that holds only a part of them."""

    def write(place: Path) -> None:
        model.save_pretrained(place, state_dict=weights)
        processor.save_pretrained(place)
        if conditions is not None:
            write_json(place / CONDITIONS, asdict(conditions))

    return write


def model_bytes(model: Any) -> int:
    """Bytes that `model_writer` writes, and some more."""
    saved = (p for p in model.parameters() if p.requires_grad or not isinstance(model, PeftModel))
    size: int = sum(numbers(p) * p.element_size() for p in saved)
    return size + (1 << 22)


def numbers(weight: Tensor) -> int:
    """How many numbers a weight has, also if DeepSpeed holds a part of it here."""
    return int(getattr(weight, "ds_numel", weight.numel()))


def json_lines(entries: Sequence[dict[str, Any]]) -> str:
    """One line of JSON per entry, keys sorted."""
    return "".join(dumps(entry, sort_keys=True, ensure_ascii=True) + "\n" for entry in entries)


def trained_weights(model: Any) -> int:
    """The number of weights that the training changes."""
    return sum(numbers(p) for p in model.parameters() if p.requires_grad)


def check_weights_finite(model: Any, label: str) -> None:
    """Raise `NonFiniteLossError` for a trained weight that is NaN or infinite. Of split weights all processes call it.

    The last step's loss is never computed, so its weights must be checked.
    """
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    if broken := [name for name, weight in trained if not _is_finite(weight)]:
        raise NonFiniteLossError(
            f"{label}: {len(broken)} of {len(trained)} tensors of weights are NaN or infinite after the last step, "
            f"first {broken[0]}; nothing is saved; lower learning_rate"
        )


def _is_finite(weight: Tensor) -> bool:
    finite = getattr(weight, "ds_tensor", weight).isfinite().all()  # DeepSpeed: this process's part
    return bool(finite.full_tensor() if isinstance(finite, DTensor) else finite)
