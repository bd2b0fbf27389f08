"""The model that a configuration describes, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def empty_model(config: Mapping[str, Any]) -> Any | None:
    """The model that a `config.json` describes, without weights; None if transformers cannot build it here."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    is_known = config.get("model_type") in CONFIG_MAPPING
    try:
        made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config)) if is_known else None
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(made) if is_known else None
    except (StrictDataclassError, ImportError, LookupError, ValueError, TypeError, AttributeError, RuntimeError):
        return None
