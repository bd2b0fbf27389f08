"""How to decode is checked before a model is loaded."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from seelevel.errors import InputError
from seelevel.models.base import Sampling
from seelevel.recipe import load_recipe

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("temperature", value) for value in (-1, 1e-40, 0.0099, 100.1, math.inf, math.nan)),
        *(("repetition_penalty", value) for value in (0, 1e-40, 100.1, math.inf, math.nan)),
        *(("top_p", value) for value in (0, 1.1, math.nan)),
        *(("min_p", value) for value in (-0.1, 1, math.nan)),
        *(("seed", value) for value in (-1, 2**32)),
    ],
)
def test_what_no_model_can_decode_with_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError, match=key):
        Sampling.model_validate({key: value})


def test_the_bounds_themselves_are_allowed() -> None:
    for temperature in (0, 0.01, 100):
        assert Sampling(temperature=temperature, repetition_penalty=100, seed=2**32 - 1).temperature == temperature


def test_beams_that_would_draw_are_refused() -> None:
    with pytest.raises(ValidationError, match="beams search and do not sample; set num_beams: 1"):
        Sampling(num_beams=2, temperature=0.5)


def test_a_recipe_that_asks_for_it_is_refused_in_one_line() -> None:
    for value in ("1e-40", ".inf"):
        with pytest.raises(InputError, match=r"sampling\.temperature: ") as caught:
            load_recipe("world-quick", [f"generate.sampling.temperature={value}"])
        assert "\n" not in str(caught.value)
