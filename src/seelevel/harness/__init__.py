"""Bridges to the evaluation harness lmms-eval: `--model seelevel`, its samples in `compare`, answers for `from_log`."""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """What lmms-eval's entry points of the group `lmms_eval.models` ask for: the class behind `--model seelevel`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("seelevel", chat_class_path="seelevel.harness.model.Seelevel")
