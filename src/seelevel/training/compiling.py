"""Compiled layers of the language model: one compilation for all layers of a kind, and for ladders of any length.

A compiler takes the numbers that it finds in a module for constants. A layer's number, its place in the cache, would
make it compile each layer anew. So here they are variables, and a layer goes to the cache outside compiled code
(`packing.cache`). What is not compiled, or not any more, runs as ever: compiling changes nothing but rounding.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from seelevel.training.packing.inputs import base
from seelevel.training.structure import parts

MOST_VARIANTS = 64
"""Compilations of one piece of code: with gradients, adapters, padding, a prefix or without; for one row or many."""


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
    """Whether the layers of a model are compiled, and nothing is around them yet."""
    forwards = [vars(layer).get("forward") for layer in parts(base(model)).layers]
    return any(hasattr(forward, "_torchdynamo_orig_callable") for forward in forwards)


def uncompiled() -> AbstractContextManager[Any]:
    """While open, compiled layers run without it. Hooks on their parts work here alone."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
