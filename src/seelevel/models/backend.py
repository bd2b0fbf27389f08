"""Settings of what answers with local weights."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BackendSettings(BaseModel):
    """What answers with weights in folders or from the hub (`backend:` of a recipe): `transformers`, or `vllm`, its
    offline engine in the same process. Servers and Python objects are asked as ever, and training does not change.

    Both give other answers to the same prompts, so a run that changes its backend asks its models again. It does not
    for more memory or GPUs.
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

    @model_validator(mode="after")
    def _only_of_vllm(self) -> Self:
        fields = type(self).model_fields
        changed = [key for key in fields if key != "name" and getattr(self, key) != fields[key].default]
        if self.name == "transformers" and changed:
            raise ValueError(f"{', '.join(changed)}: only vLLM has such settings; add name: vllm, or leave them out")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What answers depend on by more than rounding, for fingerprints. `pictures` only refuses prompts.
        `prefix_caching` should not change answers, but has, by a fault of vLLM."""
        return self.model_dump(mode="json", include={"name", "max_length", "prefix_caching"})


TRANSFORMERS = BackendSettings()
