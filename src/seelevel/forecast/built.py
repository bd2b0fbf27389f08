"""The sizes of any family that transformers knows: it builds the model without weights. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from seelevel.forecast.sizes import Block, Shape
from seelevel.models.empty import empty_model
from seelevel.models.pictures import picture_of
from seelevel.training.structure import blocks_of, count_weights, layer_weights, parts

EXPERTS_USED = ("num_experts_per_tok", "top_k_experts", "moe_k", "moe_topk")
"""Names of the number of experts that compute a token."""


def built_shape(config: Mapping[str, Any]) -> Shape | None:
    """The shape of the model that a `config.json` describes; None if this version of transformers cannot build it, or
    if it is not known how many tokens its pictures take."""
    model = empty_model(config)
    picture = None if model is None else picture_of(model.config.to_dict())
    if model is None or picture is None:
        return None
    split, embeddings = parts(model), model.get_input_embeddings()
    hidden, vocabulary = embeddings.embedding_dim, embeddings.num_embeddings
    vision_weights, projector_weights = (sum(p.numel() for p in part) for part in (split.tower, split.projector))
    tower = blocks_of(split.encoders[0]) if split.encoders else None
    vision_hidden, vision_mlp = _tower_widths(tower[0]) if tower else (0, 0)
    return Shape(
        hidden=hidden,
        vocabulary=vocabulary,
        blocks=tuple(_blocks(split.layers, model.config.get_text_config(), hidden)),
        text_weights=count_weights(model) - vision_weights - projector_weights,
        projector_weights=projector_weights,
        vision_weights=vision_weights,
        picture=picture,
        vision_layers=len(tower or ()),
        vision_hidden=vision_hidden,
        vision_mlp=vision_mlp,
    )


def _blocks(layers: nn.ModuleList, text: Any, hidden: int) -> list[Block]:
    """The decoder's layers; those that are alike are one block."""
    blocks: list[Block] = []
    for layer in layers:
        block = _block(layer, text, hidden)
        same = next((n for n, other in enumerate(blocks) if replace(other, count=1) == block), None)
        if same is None:
            blocks.append(block)
        else:
            blocks[same] = replace(blocks[same], count=blocks[same].count + 1)
    return blocks


def _block(layer: nn.Module, text: Any, hidden: int) -> Block:
    """One layer. The mixer's last product and the MLP's return to the hidden width, so their inputs tell the widths
    inside; a convolution over time replaces the look at all tokens."""
    weights = layer_weights(layer)
    mixer, mlp = ({name: _sizes(linear) for name, linear in part.items()} for part in (weights.mixer, weights.mlp))
    experts = {name: (int(p.shape[0]), int(p.shape[1]), int(p.shape[2])) for name, p in weights.experts.items()}
    used = next((int(n) for name in EXPERTS_USED if (n := getattr(text, name, None))), 1) if experts else 0
    expert = min((a * b // hidden for _, a, b in experts.values()), default=0)
    return Block(
        count=1,
        mixer=mixer,
        mlp=mlp,
        queries=max((a for a, b in mixer.values() if b == hidden), default=0),
        inner=sum(a for a, b in mlp.values() if b == hidden) + used * expert,
        heads=int(text.num_attention_heads),
        experts=experts,
        used=used,
        quadratic=bool(mixer) and not any(isinstance(module, nn.Conv1d) for module in layer.modules()),
    )


def _sizes(linear: nn.Linear) -> tuple[int, int]:
    return linear.in_features, linear.out_features


def _tower_widths(block: nn.Module) -> tuple[int, int]:
    """Width of a tower's block, and inside its MLP."""
    linear = [_sizes(module) for module in block.modules() if isinstance(module, nn.Linear)]
    width = linear[0][0] if linear else 0
    return width, max((a for a, b in linear if b == width), default=0)
