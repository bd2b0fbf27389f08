"""The comparisons before training find every family of the zoo as docs/families.md has it."""

import pytest
import torch

from seelevel.training.agreement import check_head, checked_layout
from seelevel.training.logprobs import from_logits, token_logprobs
from seelevel.training.packing import collate
from tests.families.ladders import Pictures, ladders
from tests.families.zoo import FAMILIES, NO_HISTORY, ROWS, build

IGNORE_COLUMNS = ["minicpmv4_6", "video_llama_3", "nemotron_h_omni"]
"""Families that compute the logits of all columns, whatever they are asked for."""


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ROWS])
def test_the_head_is_trusted_and_the_layout_is_the_pages(name, capsys):
    model, images, every = build(name), Pictures(FAMILIES[name]), ladders(FAMILIES[name])
    check_head(model, every, images)
    assert "differ by" not in capsys.readouterr().err
    agreed = checked_layout(model, every, images, "shared")
    assert agreed.layout == ("rows" if name in NO_HISTORY else "shared")


@pytest.mark.parametrize("name", ["llava", *IGNORE_COLUMNS])
@torch.no_grad()
def test_log_probs_from_the_head_are_those_of_the_models_own_logits(name):
    model, every = build(name).eval(), ladders(FAMILIES[name])
    for layout in ("rows", "shared"):
        batch = collate(every, Pictures(FAMILIES[name]), layout)
        expected = from_logits(model, batch)
        assert (token_logprobs(model, batch).values - expected).abs().max() < FAMILIES[name].tolerance
