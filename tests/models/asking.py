"""What tests ask servers for."""

from __future__ import annotations

from typing import Any

from seelevel.models.base import ApiSettings, Prompt, Sampling
from seelevel.models.server.client import ApiModel

GREEDY = Sampling(max_new_tokens=16)


def ask(text: str, *images: str) -> Prompt:
    return Prompt([{"role": "user", "content": "<image>\n" * len(images) + text}], list(images))


def model(server: Any, name: str = "m", **settings: Any) -> ApiModel:
    return ApiModel(f"{server.address}#{name}", ApiSettings(**settings), first_wait=0.01)
