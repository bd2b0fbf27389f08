"""Liger's Triton kernels (arXiv 2410.10989) in a model that is loaded: its norms and gated MLPs, and nothing else.

Its losses are not used, because log-probs are computed here; nor its rotary embeddings, which would be replaced in all
models of a family at once. Weights and their names stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from seelevel.progress import say

WITHOUT = {"rope": False, "cross_entropy": False, "fused_linear_cross_entropy": False}
"""Parts of Liger that are left out."""
_METHODS: WeakKeyDictionary[nn.Module, list[tuple[nn.Module, dict[str, Any]]]] = WeakKeyDictionary()
"""Of each model (without adapters around it): modules, and their methods that are Liger's."""


def use_liger(model: Any) -> None:
    """Put Liger's kernels into a model. Says so if Liger has none for this family."""
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN, _apply_liger_kernel_to_instance

    before = [(module, {*vars(module)}) for module in model.modules()]
    if model.config.model_type in MODEL_TYPE_TO_APPLY_LIGER_FN:
        with _classes_kept():
            _apply_liger_kernel_to_instance(model, **WITHOUT)
    changed = [(module, _methods(module, names)) for module, names in before]
    _METHODS[model] = [(module, methods) for module, methods in changed if methods]
    if not _METHODS[model]:
        say(f"align.use_liger_kernel: Liger has no kernels for models of kind {model.config.model_type}; none are used")


def _methods(module: nn.Module, before: set[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in before and callable(value)}


@contextmanager
def _classes_kept() -> Iterator[None]:
    """Undo what happens to classes and functions of transformers' models, so that only this model changes."""
    parts = [part for name, part in sys.modules.items() if name.startswith("transformers.models.")]
    before = [(part, dict(vars(part))) for part in parts if ".modeling_" in part.__name__]
    try:
        yield
    finally:
        for part, names in before:
            for name, value in names.items():
                if vars(part).get(name) is not value:
                    setattr(part, name, value)


def has_liger(model: Any) -> bool:
    """Whether Liger's kernels are in a model (without adapters around it)."""
    return bool(_METHODS.get(model))


@contextmanager
def without_liger(model: Any) -> Iterator[None]:
    """While open, a model's layers are those of transformers."""
    changed = _METHODS.get(model, [])
    for module, methods in changed:
        for name in methods:
            del vars(module)[name]
    try:
        yield
    finally:
        for module, methods in changed:
            vars(module).update(methods)


def discard_liger(model: Any) -> None:
    """Undo `use_liger`."""
    for module, methods in _METHODS.pop(model, []):
        for name in methods:
            del vars(module)[name]
