"""What is wrong with a recipe is said in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seelevel.complaints import explain

pytestmark = pytest.mark.unit


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = Field(ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    align: Inner


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"align": {"step": 3}}, "key 'align.step' is unknown; did you mean 'steps'? (and 1 more)"),
        ({}, "key 'align' is missing; add it"),
        ({"align": {"steps": 0}}, "align.steps: input should be greater than or equal to 1, not 0"),
    ],
)
def test_the_first_fault_is_named_with_its_key(raw: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(raw)
    assert explain(error.value, raw, Outer) == line
