"""Settings of what answers with local weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BackendSettings(BaseModel):
    """What answers with weights in folders or from the hub (`backend:` of a recipe): `transformers`, or `vllm`, its
    offline engine in the same process. Servers and Python objects are asked as ever, and training does not change.

    Both give other answers to the same prompts, so a run that changes its backend asks its models again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["transformers", "vllm"] = "transformers"
    memory: float = Field(default=0.9, gt=0, le=1, description="vLLM: share of a GPU's memory for one model")
    max_length: int | None = Field(default=None, ge=1, description="vLLM: tokens of prompt and answer; null: its most")
    pictures: int = Field(default=1, ge=1, description="vLLM: the most pictures of a prompt")
    gpus: int = Field(default=1, ge=1, description="vLLM: GPUs that share one model")
    prefix_caching: bool = Field(default=False, description="vLLM: compute equal beginnings of prompts once")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


TRANSFORMERS = BackendSettings()
