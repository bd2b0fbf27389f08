"""Where a model's parts are: the decoder's layers, the vision tower, the projector. Found by structure, not by names.

Names differ between families: a decoder is `language_model` or `text_model`, an output projection `o_proj` or
`out_proj`. What they have in common: transformers knows the decoder and the encoders of a model; the decoder's layers
are its largest `ModuleList`; and attention, or what replaces it, is the part of a layer that takes a mask or a cache.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from seelevel.errors import InputError
from seelevel.registry import nearest
from seelevel.training.settings import LoraSettings, chosen_layers, is_named

MIXES = {"attention_mask", "past_key_values", "cache", "cache_params"}
"""Arguments of a module that reads other tokens than its own."""


@dataclass(frozen=True)
class Parts:
    """The parts of a vision-language model.

    `layers`: of the decoder. `encoders`: the modules that pictures (or sound) go through first. `tower`: their weights.
    `projector`: the weights between tower and decoder, which may be the end of an encoder (Qwen's merger).
    """

    decoder: nn.Module
    layers: nn.ModuleList
    encoders: list[nn.Module]
    tower: list[nn.Parameter]
    projector: list[nn.Parameter]


@dataclass(frozen=True)
class Layer:
    """The weights of one decoder layer that adapters can reach, by their names inside the layer.

    `mixer`: linear layers of attention, or of what replaces it. `mlp`: the other linear layers, without routers.
    `experts`: matrices [experts, a, b] of routed experts.
    """

    mixer: dict[str, nn.Linear]
    mlp: dict[str, nn.Linear]
    experts: dict[str, nn.Parameter]


def parts(model: Any) -> Parts:
    """The parts of a model as transformers loads it, without adapters."""
    decoder = text = model.get_decoder()
    while (inner := decoder.get_decoder()) is not decoder:  # a causal language model inside the model
        decoder = inner
    layers = max((module for module in decoder.modules() if isinstance(module, nn.ModuleList)), key=count_weights)
    encoders = list(_encoders(model))
    outside = [text, model.get_output_embeddings(), model.get_input_embeddings(), *encoders]
    inside = {id(p) for module in outside if module is not None for p in module.parameters()}
    projector = [p for p in model.parameters() if id(p) not in inside]
    if not projector:
        projector = [p for encoder in encoders[:1] for module in _mergers(encoder) for p in module.parameters()]
    between = {id(p) for p in projector}
    tower = [p for encoder in encoders for p in encoder.parameters() if id(p) not in between]
    return Parts(decoder, layers, encoders, tower, projector)


def _encoders(model: Any) -> Iterable[nn.Module]:
    """The encoders that the model names, and its other modules with blocks that take pixels."""
    base = model.base_model
    encoders = [model.get_encoder(modality=modality) for modality in ("image", "video", "audio")]
    encoders += [child for child in base.children() if "pixel_values" in _arguments(child) and blocks_of(child)]
    # A model without such an encoder answers with itself.
    return {id(e): e for e in encoders if isinstance(e, nn.Module) and e not in (model, base)}.values()


def _mergers(encoder: nn.Module) -> list[nn.Module]:
    """Children of an encoder after its first list of blocks, without norms: they turn patches into tokens."""
    children = list(encoder.children())
    blocks = next((number for number, child in enumerate(children) if blocks_of(child)), len(children))
    return [child for child in children[blocks + 1 :] if any(p.ndim > 1 for p in child.parameters())]


def blocks_of(encoder: nn.Module) -> nn.ModuleList | None:
    """The first list of layers inside an encoder."""
    return next((module for module in encoder.modules() if isinstance(module, nn.ModuleList)), None)


def count_weights(*modules: nn.Module) -> int:
    """Number of weights in modules; shared ones count once."""
    return sum({id(p): p.numel() for module in modules for p in module.parameters()}.values())


def layer_weights(layer: nn.Module) -> Layer:
    """The linear layers and experts of a decoder layer. A router is known by its outputs: one for each expert, or a
    single gate."""
    mixers = [name for name, module in layer.named_modules() if name and MIXES & {*_arguments(module)}]
    mixers = [f"{name}." for name in mixers]

    def mixes(name: str) -> bool:
        return any(name.startswith(mixer) for mixer in mixers)

    linear = {name: module for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
    experts = {name: p for name, p in layer.named_parameters() if p.ndim == 3 and not mixes(name)}
    routes = {1} | {p.shape[0] for p in experts.values()}
    mlp = {name: module for name, module in linear.items() if not mixes(name) and module.out_features not in routes}
    return Layer({name: module for name, module in linear.items() if mixes(name)}, mlp, experts)


def _arguments(module: nn.Module) -> Iterable[str]:
    return inspect.signature(module.forward).parameters


@dataclass(frozen=True)
class Adapted:
    """What gets adapters. `layers`: the full name of the decoder's layers. `modules`, `experts`: linear layers and
    matrices of experts, by their numbers and names in it. `spared`: experts that get no adapters."""

    layers: str
    modules: list[str]
    experts: list[str]
    spared: list[str]

    @property
    def targets(self) -> set[str]:
        """Full names."""
        return {f"{self.layers}.{name}" for name in (*self.modules, *self.experts)}

    @property
    def pattern(self) -> str:
        """Matches the full names of the linear layers."""
        names = "|".join(re.escape(name) for name in without_numbers(self.modules))
        return rf"{re.escape(self.layers)}\.\d+\.({names})"


def without_numbers(names: Iterable[str]) -> list[str]:
    """`3.mlp.up_proj` → `mlp.up_proj`, each once."""
    return list(dict.fromkeys(name.partition(".")[2] for name in names))


def adapted(model: Any, settings: LoraSettings, key: str = "align") -> Adapted:
    """Which weights of a model get adapters. `key`: the settings' place in the recipe.

    Raises `InputError` for a name that no layer of the decoder has.
    """
    layers = parts(model).layers
    modules, experts, spared = [], [], []
    known: set[str] = set()
    for number, layer in enumerate(layers):
        weights = layer_weights(layer)
        names = chosen_layers(settings, weights.mixer, weights.mlp, weights.experts)
        modules += [f"{number}.{name}" for name in names if name not in weights.experts]
        experts += [f"{number}.{name}" for name in names if name in weights.experts]
        spared += [f"{number}.{name}" for name in weights.experts if name not in names]
        known |= {name.rpartition(".")[2] for name in (*weights.mixer, *weights.mlp, *weights.experts)}
    for wanted in () if isinstance(settings.target, str) else settings.target:
        if not any(is_named(name, wanted) for name in (*modules, *experts)):
            raise InputError(
                f"{key}.lora.target: the language model has no linear layer '{wanted}'; {nearest(wanted, known)}"
            )
    if not modules and not experts:
        raise InputError(f"{key}.lora.target: no layer of the language model can take adapters; name another model")
    place = next(name for name, module in model.named_modules() if module is layers)
    return Adapted(place, modules, experts, spared)
