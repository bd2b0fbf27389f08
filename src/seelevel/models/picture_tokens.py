"""Does a processor turn a picture into as many tokens as its model makes features? What an old one lacks is completed.

Processors of the LLaVA line count the tokens of a picture themselves. Those saved by older versions of transformers do
not know the sizes that this takes; the model's configuration does.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image as Pictures

from seelevel.errors import InputError
from seelevel.ladder import Message
from seelevel.models.chat_template import has_token, render

FROM_CONFIG = {
    "patch_size": "vision_config.patch_size",
    "vision_feature_select_strategy": "vision_feature_select_strategy",
    "downsample_rate": "downsample_rate",
    "num_query_tokens": "num_query_tokens",
}
"""Attributes of processors, and the keys of `config.json` that say the same."""
FAULTS = (TypeError, ValueError, LookupError, AttributeError, RuntimeError)
TEXT_INPUTS = {"input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"}
REPLACES = {"gemma3", "paligemma"}
"""Families that look up no embedding for a picture's token, so that it may lie outside the vocabulary."""


def complete(processor: Any, config: Any, name: str) -> None:
    """Give a processor what it lacks, from the model's configuration. Raises `InputError` if that lacks it too."""
    for attribute, key in FROM_CONFIG.items():
        if getattr(processor, attribute, 0) is None:
            setattr(processor, attribute, _required(config, key, name, attribute))
    if getattr(processor, "num_image_tokens", 0) is None:
        processor.num_image_tokens = _patches(config, name) ** 2
    if hasattr(processor, "num_additional_image_tokens") and "num_additional_image_tokens" not in _saved(
        processor, name
    ):
        processor.num_additional_image_tokens = _class_tokens(config, processor.num_additional_image_tokens)


def _required(config: Any, key: str, name: str, attribute: str) -> Any:
    value = config
    for part in key.split("."):
        value = getattr(value, part, None)
    if value is None:
        raise InputError(
            f"model {name}: its processor has no {attribute}, and config.json no {key}; add {attribute} to "
            "processor_config.json"
        )
    return value[0] if isinstance(value, list | tuple) else value


def _patches(config: Any, name: str) -> int:
    """Patches along a side of the tower's picture."""
    side, patch = (
        _required(config, f"vision_config.{key}", name, "num_image_tokens") for key in ("image_size", "patch_size")
    )
    return int(side) // int(patch)


def _saved(processor: Any, name: str) -> dict[str, Any]:
    """What was saved of a processor itself; empty if only its parts were."""
    try:
        saved: dict[str, Any] = type(processor).get_processor_dict(name, local_files_only=True)[0]
    except OSError:
        return {}
    return saved


def _class_tokens(config: Any, default: int) -> int:
    """Tokens of the vision tower that are no patches, such as CLIP's class token: the tower is asked, without weights.
    The default if it cannot be."""
    from transformers import AutoModel

    vision = config.vision_config
    try:
        with torch.device("meta"):
            tower = AutoModel.from_config(vision)
            pixels = torch.empty(1, getattr(vision, "num_channels", 3), vision.image_size, vision.image_size)
            tokens = tower(pixel_values=pixels).last_hidden_state.shape[1]
    except (*FAULTS, NotImplementedError):
        return default
    return int(tokens - (vision.image_size // vision.patch_size) ** 2)


def check_pictures(processor: Any, config: Any, name: str) -> None:
    """Read a grey picture as the model would, in a conversation of two rounds.

    Raises `InputError` for a processor that cannot, one without the model's picture token, tokens outside the
    vocabulary, and for LLaVA's line a number of tokens that is not the number of the model's features.
    """
    messages: list[Message] = [
        {"role": "user", "content": "<image>\nWhat is it?"},
        {"role": "assistant", "content": "A wall."},
        {"role": "user", "content": "What colour?"},
    ]
    text = render(messages, processor, answer_next=True)
    mark = getattr(processor, "image_token", None)
    try:
        inputs = processor(text=[text], images=[[Pictures.new("RGB", (640, 480), "grey")]], return_tensors="pt")
    except FAULTS as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"model {name}: its processor cannot read a picture ({type(error).__name__}: {reason}); compare "
            "processor_config.json with that of a newer copy of the model"
        ) from error
    ids, wanted = inputs["input_ids"][0], _picture_token(config)
    if wanted is None:
        return
    count = int((ids == wanted).sum())
    if not count:
        unknown = "" if mark and has_token(processor.tokenizer, mark) else ", which its tokenizer does not know"
        raise InputError(
            f"model {name}: a picture's tokens should have number {wanted} (image_token_id in config.json), but the "
            f"processor makes none from {mark!r}{unknown}; take tokenizer and config.json from the same copy"
        )
    _check_vocabulary(processor, config, name, ids, wanted)
    features = _features(inputs, config) if hasattr(processor, "vision_feature_select_strategy") else None
    if features is not None and features != count:
        raise InputError(
            f"model {name}: its processor makes {count} tokens from a picture of 640 x 480, and the model {features} "
            "features; compare patch_size, vision_feature_select_strategy and num_additional_image_tokens in "
            "processor_config.json with config.json"
        )


def _picture_token(config: Any) -> int | None:
    token = next((getattr(config, key, None) for key in ("image_token_id", "image_token_index")), None)
    return int(token) if isinstance(token, int) else None


def _check_vocabulary(processor: Any, config: Any, name: str, ids: torch.Tensor, picture: int) -> None:
    size = config.get_text_config().vocab_size
    outside = [n for n in ids.unique().tolist() if n >= size and not (n == picture and config.model_type in REPLACES)]
    if outside:
        token = processor.tokenizer.convert_ids_to_tokens(outside[0])
        raise InputError(
            f"model {name}: token {token!r} is number {outside[0]}, but the model has embeddings for {size} "
            "(vocab_size in config.json); take tokenizer and model from the same copy"
        )


def _features(inputs: Any, config: Any) -> int | None:
    """How many features the model makes from a picture, without weights; None if it cannot be told."""
    from seelevel.models.empty import empty_model

    model = empty_model(config.to_dict())
    if model is None:
        return None
    pixels = {k: v.to("meta") if v.is_floating_point() else v for k, v in inputs.items() if k not in TEXT_INPUTS}
    try:
        out = model.get_image_features(**pixels)
    except (*FAULTS, NotImplementedError):
        return None
    parts = getattr(out, "pooler_output", out)
    parts = parts if isinstance(parts, list | tuple) else [parts]
    if not all(isinstance(part, torch.Tensor) for part in parts):
        return None
    return sum(int(part.numel() // part.shape[-1]) for part in parts)
