"""Settings of the engine."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class EngineSettings(BaseModel):
    """Where `generate`, `check`, `feedback` and the answers of `evaluate` are worked on (`engine:` of a recipe).

    `local` does it in this process. `ray` gives shards to workers of a Ray cluster, which all see the run folder under
    the same path. The engine changes no file, so it may change between two calls of a run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["local", "ray"] = "local"
    address: str | None = Field(default=None, description="a cluster, host:port or auto; null: one on this machine")
    workers: int | None = Field(
        default=None, ge=1, description="the most at once, for which a cluster may grow; null: as there is room"
    )
    cpus: float = Field(default=1, ge=0, allow_inf_nan=False, description="processors of a worker")
    gpus: float = Field(default=0, ge=0, allow_inf_nan=False, description="GPUs of a worker")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _needs_something(self) -> Self:
        if self.name == "ray" and self.cpus == self.gpus == 0:
            raise ValueError("a worker needs processors or GPUs; set cpus or gpus")
        return self
