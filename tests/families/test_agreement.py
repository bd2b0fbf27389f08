"""The comparisons before training find every family of the zoo as docs/families.md has it."""

import pytest
import torch

from seelevel.errors import InputError
from seelevel.training.agreement import Agreed, checked_layout
from seelevel.training.checks import check_head, check_rows
from seelevel.training.logprobs import from_logits, token_logprobs
from seelevel.training.packing import collate, passes
from tests.families.ladders import Pictures, ladders
from tests.families.zoo import CHOOSES, COMMON, FAMILIES, NO_HISTORY, ONE_PREFIX, REFUSED, ROWS, build

COMPUTE_ALL_COLUMNS = ["minicpmv4_6", "video_llama_3", "nemotron_h_omni"]
"""Families that compute the logits of all columns, whatever they are asked for."""


@pytest.mark.parametrize(
    "name",
    [
        name if name in COMMON else pytest.param(name, marks=pytest.mark.slow)
        for name in FAMILIES
        if name not in REFUSED and name not in CHOOSES
    ],
)
def test_the_head_is_trusted_and_the_layout_is_the_pages(name, capsys):
    model, images, every = build(name), Pictures(FAMILIES[name]), ladders(FAMILIES[name])
    check_rows(model, every, images)
    check_head(model, every, images)
    assert "differ by" not in capsys.readouterr().err
    expected = Agreed("rows" if name in NO_HISTORY | ROWS else "shared", unequal=name not in ONE_PREFIX)
    assert checked_layout(model, every, images, "shared") == expected


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "mllama"])  # its pictures are refused
def test_a_family_that_cannot_be_trained_is_refused_by_name(name):
    with pytest.raises(InputError, match=f"models of kind {name} cannot be trained"):
        check_rows(build(name), ladders(FAMILIES[name]), Pictures(FAMILIES[name]))


@pytest.mark.parametrize("name", ["llava", *COMPUTE_ALL_COLUMNS])
@torch.no_grad()
def test_log_probs_from_the_head_are_those_of_the_models_own_logits(name):
    model, every = build(name).eval(), ladders(FAMILIES[name])
    for layout in ("rows", "shared"):
        batch = collate(every, Pictures(FAMILIES[name]), layout)
        expected = from_logits(model, batch)
        assert (token_logprobs(model, batch).values - expected).abs().max() < FAMILIES[name].tolerance


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "glm4v"])
def test_positions_left_from_another_batch_are_found(name, monkeypatch, capsys):
    """`rope_deltas` is the model's own memory of the last pictures that it saw."""
    left = []

    def stale(model, segment, before):
        left.append(shift_after(model, segment, before))
        older = left[max(len(left) - 2, 0)]
        return older[:1].expand(len(segment.mask))

    shift_after = passes.shift_after
    monkeypatch.setattr(passes, "shift_after", stale)
    every = ladders(FAMILIES[name])
    assert checked_layout(build(name), every, Pictures(FAMILIES[name]), "shared").layout == "rows"
    assert "log-probs differ by" in capsys.readouterr().err
    assert len({int(shift) for shifts in left for shift in shifts}) > 1
