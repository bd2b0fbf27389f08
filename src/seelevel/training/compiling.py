"""Compiled layers of the language model: one compilation for all layers of a kind, and for ladders of any length.

`torch.compile` treats integers on a module as constants. Each layer has another one, its place in the cache, so each
layer would be compiled anew. Here these integers are variables, and the cache is called outside compiled code
(`packing.cache`). Compiling changes nothing but rounding, and which weights a dropout drops.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from seelevel.training.packing.inputs import base
from seelevel.training.structure import parts

MOST_VARIANTS = 64
"""The most compilations of one piece of code: with gradients, adapters, padding, a prefix or not; one row or many."""


def compile_layers(model: Any, backend: str = "inductor") -> None:
    """Compile the decoder's layers when they first run. Modules, weights and their names stay as they are."""
    from torch._dynamo import config

    config.allow_unspec_int_on_nn_module = True
    config.recompile_limit = max(MOST_VARIANTS, config.recompile_limit)
    for layer in parts(base(model)).layers:
        layer.forward = torch.compile(layer.forward, backend=backend, dynamic=True)


def do_not_compile(model: Any) -> None:
    """Undo `compile_layers`."""
    for layer in parts(base(model)).layers:
        vars(layer).pop("forward", None)


def is_compiled(model: Any) -> bool:
    """Whether the layers of a model are compiled. False once `recompute_layers` has wrapped them."""
    forwards = [vars(layer).get("forward") for layer in parts(base(model)).layers]
    return any(hasattr(forward, "_torchdynamo_orig_callable") for forward in forwards)


def uncompiled() -> AbstractContextManager[Any]:
    """While open, compiled layers run uncompiled. Hooks on their submodules run only here."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
