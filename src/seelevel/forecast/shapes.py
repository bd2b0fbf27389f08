"""The sizes of a model from its configuration. Nothing is downloaded, no weight is read, torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.models.folders import adapter_base, read_json
from seelevel.training.settings import LORA_TARGETS, LoraSettings, lora_targets


@dataclass(frozen=True)
class Shape:
    """The sizes that a model's memory and time depend on. `image_tokens`: tokens per picture."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int
    vocabulary: int
    tied: bool
    vision_layers: int = 0
    vision_hidden: int = 0
    vision_mlp: int = 0
    patches: int = 0
    side: int = 0
    patch: int = 1
    image_tokens: int = 0
    context: int = 4096

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape | None:
        """From `config.json`; None if it does not describe a Llama-like decoder."""
        text, vision = config.get("text_config") or config, config.get("vision_config") or {}
        if not {"num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"} <= text.keys():
            return None
        heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
        side, patch = int(vision.get("image_size") or 0), int(vision.get("patch_size") or 1)
        patches = (side // patch) ** 2
        return cls(
            layers=int(text["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=int(text.get("num_key_value_heads") or heads),
            head_size=int(text.get("head_dim") or hidden // heads),
            mlp=int(text["intermediate_size"]),
            vocabulary=int(text.get("vocab_size") or config.get("vocab_size") or 32000),
            tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
            vision_layers=int(vision.get("num_hidden_layers") or vision.get("depth") or 0),
            vision_hidden=int(vision.get("hidden_size") or 0),
            vision_mlp=int(vision.get("intermediate_size") or 0),
            patches=patches,
            side=side,
            patch=patch,
            image_tokens=int(config.get("image_seq_length") or patches),
            context=int(text.get("max_position_embeddings") or 4096),
        )

    @property
    def queries(self) -> int:
        return self.heads * self.head_size

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Input and output width of each linear layer of a decoder block."""
        q, kv = self.queries, self.kv_heads * self.head_size
        return {
            "q_proj": (self.hidden, q),
            "k_proj": (self.hidden, kv),
            "v_proj": (self.hidden, kv),
            "o_proj": (q, self.hidden),
            "gate_proj": (self.hidden, self.mlp),
            "up_proj": (self.hidden, self.mlp),
            "down_proj": (self.mlp, self.hidden),
        }

    @property
    def block(self) -> int:
        """Weights of a decoder block."""
        return sum(a * b for a, b in self.linear.values()) + 2 * self.hidden

    @property
    def text_weights(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.block + embeddings + self.hidden

    @property
    def projector_weights(self) -> int:
        return (self.vision_hidden + 1) * self.hidden + (self.hidden + 1) * self.hidden if self.vision_hidden else 0

    @property
    def vision_weights(self) -> int:
        d, f = self.vision_hidden, self.vision_mlp
        block = 4 * (d * d + d) + 2 * d * f + f + 5 * d
        return self.vision_layers * block + (3 * self.patch**2 + self.patches + 6) * d

    @property
    def weights(self) -> int:
        return self.text_weights + self.projector_weights + self.vision_weights

    def adapter_weights(self, lora: LoraSettings) -> int:
        sizes = self.linear
        return self.layers * sum(lora.r * sum(sizes[name]) for name in lora_targets(lora) if name in sizes)


KNOWN = {
    "llava-hf/llava-1.5-7b-hf": Shape(
        layers=32, hidden=4096, heads=32, kv_heads=32, head_size=128, mlp=11008, vocabulary=32064, tied=False,
        vision_layers=24, vision_hidden=1024, vision_mlp=4096, patches=576, side=336, patch=14, image_tokens=576,
    ),
    "llava-hf/llava-1.5-13b-hf": Shape(
        layers=40, hidden=5120, heads=40, kv_heads=40, head_size=128, mlp=13824, vocabulary=32064, tied=False,
        vision_layers=24, vision_hidden=1024, vision_mlp=4096, patches=576, side=336, patch=14, image_tokens=576,
    ),
    "llava-hf/llava-v1.6-34b-hf": Shape(
        layers=60, hidden=7168, heads=56, kv_heads=8, head_size=128, mlp=20480, vocabulary=64064, tied=False,
        vision_layers=24, vision_hidden=1024, vision_mlp=4096, patches=576, side=336, patch=14, image_tokens=2880,
    ),
    "Qwen/Qwen2.5-VL-3B-Instruct": Shape(
        layers=36, hidden=2048, heads=16, kv_heads=2, head_size=128, mlp=11008, vocabulary=151936, tied=True,
        vision_layers=32, vision_hidden=1280, vision_mlp=3420, patches=1564, side=0, patch=14, image_tokens=391,
        context=128000,
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": Shape(
        layers=28, hidden=3584, heads=28, kv_heads=4, head_size=128, mlp=18944, vocabulary=152064, tied=False,
        vision_layers=32, vision_hidden=1280, vision_mlp=3420, patches=1564, side=0, patch=14, image_tokens=391,
        context=128000,
    ),
    "Qwen/Qwen2.5-VL-32B-Instruct": Shape(
        layers=64, hidden=5120, heads=40, kv_heads=8, head_size=128, mlp=27648, vocabulary=152064, tied=False,
        vision_layers=32, vision_hidden=1280, vision_mlp=3456, patches=1564, side=0, patch=14, image_tokens=391,
        context=128000,
    ),
}  # fmt: skip
"""Models of the shipped recipes, so that their cost can be estimated before they are downloaded. If the tokens of a
picture depend on its size, they are those of a photograph of 640 × 480."""


def shape_of(model: str) -> Shape | None:
    """The shape of a model in a folder (of an adapter: its base), of a well-known model, or in the hub's cache; else
    None."""
    folder = Path(model)
    if folder.is_dir():
        base = adapter_base(folder)
        if base is not None:
            return shape_of(base)
        return Shape.of(read_json(folder / "config.json")) if (folder / "config.json").is_file() else None
    if model in KNOWN:
        return KNOWN[model]
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json") if model.count("/") == 1 else None
    return Shape.of(read_json(Path(config))) if isinstance(config, str) else None


def adapter_of(model: str) -> LoraSettings | None:
    """Rank and layers of the adapter in a folder; None if the model is not an adapter."""
    folder = Path(model)
    if not folder.is_dir() or adapter_base(folder) is None:
        return None
    config = read_json(folder / "adapter_config.json")
    modules = str(config.get("target_modules"))
    layers = [name for name in LORA_TARGETS["attention+mlp"] if name in modules]
    return LoraSettings(r=int(config.get("r") or 8), target=layers or "attention+mlp")
