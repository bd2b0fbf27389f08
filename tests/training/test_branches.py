"""Attention in parts is masked attention, without its work and without keeping more."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from benchmarks.memory import allocations
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import branches, families, pack
from seelevel.training.packing.branches import BranchedMask, _attend, branched
from seelevel.training.packing.families import visible
from tests.training.tiny import make_ladder, make_model, make_processor

SEGMENTS = torch.tensor(
    [
        [0] * 9 + [1] * 4 + [2] * 3 + [3] * 5,
        [0] * 6 + [1] * 2 + [2] * 7 + [-1] * 6,
        [0] * 21,
        [0] * 4 + [1] * 3 + [2] * 2 + [0] * 5 + [3] * 1 + [0] * 1 + [4] * 3 + [-1] * 2,  # rounds of an interaction
    ]
)  # fmt: skip


def added(segments):
    seen = visible(segments)
    return torch.zeros(seen.shape, dtype=torch.float64).masked_fill_(~seen, float("-inf"))


def attended(mask, groups):
    """Attention at every token but padding, and the gradients of a sum that weighs every number differently."""
    torch.manual_seed(0)
    length = SEGMENTS.shape[1]
    shapes = [(len(SEGMENTS), heads, length, 8) for heads in (4, 4 // groups, 4 // groups)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    out = scaled_dot_product_attention(*tensors, attn_mask=mask, dropout_p=0.0, scale=0.3, enable_gqa=groups > 1)
    out = out * (SEGMENTS >= 0)[:, None, :, None]
    (out * torch.randn(out.shape, dtype=torch.float64)).sum().backward()
    return [out.detach(), *(t.grad for t in tensors)]


@pytest.mark.unit
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("recomputed", [False, True])
def test_parts_give_what_the_mask_gives(groups, recomputed):
    mask = branched(added(SEGMENTS), SEGMENTS, recomputed, always=True)
    assert isinstance(mask, BranchedMask)
    for parts, whole in zip(attended(mask, groups), attended(added(SEGMENTS), groups), strict=True):
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


@pytest.mark.unit
def test_to_anything_else_the_mask_is_a_plain_one():
    mask = branched(added(SEGMENTS), SEGMENTS, always=True)
    assert type(mask[:, :, :4]) is torch.Tensor
    assert type(mask.float()) is torch.Tensor
    assert torch.equal(mask + 0, added(SEGMENTS))


@pytest.mark.unit
def test_short_rows_and_rows_without_waste_keep_their_mask():
    assert type(branched(added(SEGMENTS), SEGMENTS)) is torch.Tensor
    alone = torch.zeros(1, 600, dtype=torch.long)  # a prefix and nothing else: all pairs are needed
    assert type(branched(torch.zeros(1, 1, 600, 600), alone)) is torch.Tensor
    many = torch.arange(1, 7).repeat_interleave(100)[None]
    assert type(branched(torch.zeros(1, 1, 600, 600), many)) is BranchedMask


def test_joined_keys_are_not_kept_for_the_backward_pass():
    segments = torch.tensor([[0] * 300 + [n for n in range(1, 9) for _ in range(10)]])
    tensors = [torch.randn(1, 2, 380, 16, requires_grad=True) for _ in range(3)]
    one = tensors[0].numel() * 4

    def kept(recomputed):
        """What is allocated and not released, in sizes of a tensor, while the result lives."""
        mask = branched(added(segments).float(), segments, recomputed, always=True)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            result = scaled_dot_product_attention(*tensors, attn_mask=mask)
        assert result.requires_grad
        return sum(size for _, size in allocations(recorded)) / one

    assert kept(recomputed=False) < 4  # outputs, their parts, the small masks
    assert kept(recomputed=True) > 14  # eight copies of keys and values beside them


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_model_computes_the_same_on_packed_rows(tmp_path, monkeypatch, checkpointing):
    processor = make_processor()
    model = make_model(processor, dtype=torch.float64)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    batch = pack([make_ladder(tmp_path, 1, k=4), make_ladder(tmp_path, 2, k=2)], processor)

    def run():
        model.zero_grad()
        values = token_logprobs(model, batch).values
        (values * torch.linspace(1, 2, len(values), dtype=values.dtype)).sum().backward()
        return values.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    calls = []

    def counted(*arguments, **options):
        calls.append(None)
        return _attend(*arguments, **options)

    monkeypatch.setattr(branches, "_attend", counted)
    plain = run()
    assert not calls
    monkeypatch.setattr(
        families, "branched", lambda mask, segments, recomputed: branched(mask, segments, recomputed, True)
    )
    parts = run()
    # One a layer, one more where it is computed again: a mask that is cut or copied on its way would be a plain one.
    assert len(calls) == model.config.text_config.num_hidden_layers * (2 if checkpointing else 1)
    torch.testing.assert_close(parts, plain, rtol=0, atol=1e-9)
