"""Both layouts compute the same, to rounding, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import LlavaConfig

from seelevel.ladder import Image, Ladder
from seelevel.training.logprobs import chosen_logprobs, token_logprobs
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import BEGINS, Batch, collate, fits, pack
from seelevel.training.packing.inputs import why_not_shared
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.schedule import SEGMENT_TOKENS, answer_groups
from tests.training.tiny import conversations, in_float64, make_ladder, make_model, make_picture, make_processor


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor()


@pytest.fixture(scope="module")
def model(processor: Any) -> Any:
    return make_model(processor, dtype=torch.float64)


def run(model: Any, batch: Batch) -> tuple[TokenLogprobs, dict[str, Tensor]]:
    """Log-probs, and every tensor's gradient of a sum that weighs each response differently."""
    model.zero_grad()
    policy = token_logprobs(model, in_float64(batch))
    sums = torch.cat(policy.per_response())
    (sums * torch.linspace(-1, 1, len(sums), dtype=sums.dtype)).sum().backward()
    return policy, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def agree(one: tuple[TokenLogprobs, dict[str, Tensor]], other: tuple[TokenLogprobs, dict[str, Tensor]]) -> None:
    """The same log-probs, and the same gradient of every tensor."""
    (values, found), (expected, gradients) = one, other
    assert torch.allclose(values.values, expected.values, rtol=1e-9, atol=0)
    assert found.keys() == gradients.keys()
    total = torch.stack([g.norm() for g in gradients.values()]).norm()
    for name, gradient in gradients.items():
        # A key's bias has a gradient of zero in exact arithmetic (softmax does not see it): only rounding stays.
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-15 * total, name


@pytest.mark.parametrize("answers", [None, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("conditions", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_layouts_agree_in_log_probs_and_in_every_tensors_gradient(
    model: Any, processor: Any, tmp_path: Path, k: int, rounds: int, conditions: bool, count: int, answers: int | None
) -> None:
    ladders = [make_ladder(tmp_path, seed, max(k - seed, 2), rounds, conditions) for seed in range(count)]
    images = ImageReader(processor)
    tokens = [tokenise(ladder, processor, images) for ladder in ladders]
    packed, plain = collate(tokens, images, "shared", answers), collate(tokens, images, "rows")
    for name in ("tokens", "ladder", "response", "round"):
        assert getattr(packed, name).tolist() == getattr(plain, name).tolist()
    assert conversations(packed) == conversations(plain)
    agree(run(model, packed), run(model, plain))


def later_picture(folder: Path, seed: int, k: int) -> Ladder:
    """A ladder whose second question, inside the responses, brings a second picture."""
    ladder = make_ladder(folder, seed, k=k, rounds=2)
    responses = [
        replace(r, messages=[r.messages[0], {"role": "user", "content": "<image>\nAnd this?"}, r.messages[2]])
        for r in ladder.responses
    ]
    return replace(ladder, images=[*ladder.images, Image(make_picture(folder, 900 + seed))], responses=responses)


def test_layouts_agree_on_mixed_ladders_in_one_batch(model: Any, processor: Any, tmp_path: Path) -> None:
    """K of 1 to 6, no picture to three, one to three rounds, conditions, a picture in a later turn: one batch."""
    bare = Ladder("bare", [], [{"role": "user", "content": "Is there a boat?"}], make_ladder(tmp_path, 9, 3).responses)
    ladders = [
        make_ladder(tmp_path, 0, k=6, pictures=3),
        make_ladder(tmp_path, 1, k=1),
        make_ladder(tmp_path, 2, k=4, rounds=3, pictures=2),
        bare,
        later_picture(tmp_path, 3, k=3),
        make_ladder(tmp_path, 4, k=2, conditions=True, pictures=2),
    ]
    shared, rows = (run(model, pack(ladders, processor, layout)) for layout in ("shared", "rows"))  # type: ignore[arg-type]
    assert shared[0].sizes == rows[0].sizes == (6, 1, 4, 3, 3, 2)
    agree(shared, rows)
    alone, _ = run(model, pack([ladders[2]], processor, "shared"))
    assert torch.allclose(shared[0].values[shared[0].ladder == 2], alone.values, rtol=1e-9, atol=0)


def test_a_batch_holds_each_prefix_and_each_picture_once(processor: Any, tmp_path: Path) -> None:
    ladder = make_ladder(tmp_path, 1, k=4, pictures=2)
    tokens = tokenise(ladder, processor, ImageReader(processor))
    batch = pack([ladder], processor)
    prefix, *answers = batch.segments
    assert prefix.input_ids.tolist() == [tokens.tokens[0][: tokens.branch].tolist()]
    # What predicts an answer's first token is the prefix's last; nothing reads the answer's own last.
    scored = sorted(int((rounds >= 0).sum()) for rounds in tokens.rounds)
    assert sorted(int(n) for s in answers for n in s.mask.sum(1)) == [n - 1 for n in scored]
    assert prefix.images["pixel_values"].shape[0] == 2 and not any(s.images for s in answers)
    [plain] = pack([ladder], processor, "rows").segments
    assert plain.images["pixel_values"].shape[0] == 8


def test_prefixes_of_other_lengths_are_padded_on_the_left_and_answers_on_the_right(
    processor: Any, tmp_path: Path
) -> None:
    prefix, *answers = pack(
        [make_ladder(tmp_path, 1, k=4, pictures=2), make_ladder(tmp_path, 2, k=3)], processor
    ).segments
    assert prefix.padded_left and prefix.mask[:, -1].tolist() == [1, 1] and 0 in prefix.mask[:, 0]
    assert all((s.mask.diff(dim=1) <= 0).all() and s.parent == 0 for s in answers)


def test_a_ladder_with_pictures_in_its_responses_has_a_row_for_each(processor: Any, tmp_path: Path) -> None:
    batch = pack([make_ladder(tmp_path, 1, k=2), later_picture(tmp_path, 3, k=3)], processor)
    assert [len(s.input_ids) for s in batch.segments if s.parent == BEGINS] == [1, 3]
    assert batch.segments[-1].images["pixel_values"].shape[0] == 6


def test_log_probs_are_those_of_plain_forward_passes_over_whole_conversations(
    model: Any, processor: Any, tmp_path: Path
) -> None:
    ladder = make_ladder(tmp_path, 2, k=3, rounds=2)
    reader = ImageReader(processor)
    tokens = tokenise(ladder, processor, reader)
    pictures = reader.read(tokens.images)["pixel_values"].double()
    expected: list[float] = []
    for ids, rounds in zip(tokens.tokens, tokens.rounds, strict=True):
        row = torch.from_numpy(ids)[None]
        with torch.no_grad():
            logits = model(input_ids=row, pixel_values=pictures).logits[0]
        chosen = logits.log_softmax(-1)[:-1].gather(1, row[0, 1:, None])[:, 0]
        expected += chosen[rounds[1:] >= 0].tolist()
    with torch.no_grad():
        found = token_logprobs(model, in_float64(pack([ladder], processor)))
    assert found.values.tolist() == pytest.approx(expected, rel=1e-12)
    assert found.sizes == (3,)


def test_log_probs_in_chunks_are_those_at_once_with_their_gradients() -> None:
    logits = torch.randn(40, 11, dtype=torch.float64, requires_grad=True)
    place, tokens = torch.randint(0, 40, (25,)), torch.randint(0, 11, (25,))
    whole = chosen_logprobs(logits, place, tokens)
    pieces = chosen_logprobs(logits, place, tokens, chunk=33)
    assert torch.equal(whole, pieces)
    weights = torch.randn(25, dtype=torch.float64)
    first, second = (torch.autograd.grad((v * weights).sum(), logits)[0] for v in (whole, pieces))
    assert torch.allclose(first, second, rtol=1e-12, atol=1e-15)


def test_a_ladder_longer_than_the_context_does_not_fit_and_says_by_how_much(processor: Any, tmp_path: Path) -> None:
    ladder: Ladder = make_ladder(tmp_path, 1, k=2)
    tokens = tokenise(ladder, processor, ImageReader(processor))
    assert fits(tokens, tokens.longest) == ""
    limit = tokens.longest - 1
    assert fits(tokens, limit) == f"its longest conversation is {tokens.longest} tokens, the context {limit}"
    assert int(np.sum(tokens.tokens[0] == processor.image_token_id)) == 16


def test_a_model_without_a_cache_of_a_prefix_is_named(model: Any) -> None:
    assert why_not_shared(model) == ""

    class Diffusion(torch.nn.Module):
        config = LlavaConfig()

        def forward(self, input_ids: Tensor) -> None: ...

    assert "cache" in why_not_shared(Diffusion())
    Diffusion.config.is_encoder_decoder = True
    assert "encoder" in why_not_shared(Diffusion())


@pytest.mark.parametrize("lengths", [[5], [100, 95, 80, 70, 60], [900, 9, 2, 700, 300], [40, 4000, 40, 3000, 41, 40]])
@pytest.mark.parametrize("most", [None, 1, 3])
def test_answers_are_grouped_as_cheaply_as_can_be(lengths: list[int], most: int | None) -> None:
    def cost(groups: Sequence[Sequence[int]]) -> int:
        return sum(SEGMENT_TOKENS + len(group) * max(lengths[n] for n in group) for group in groups)

    groups = answer_groups(lengths, most)
    assert sorted(n for group in groups for n in group) == list(range(len(lengths)))
    assert all(len(group) <= (most or len(lengths)) for group in groups)
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    for cuts in itertools.product([False, True], repeat=len(lengths) - 1):
        ends = [*(n + 1 for n, cut in enumerate(cuts) if cut), len(lengths)]
        other = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if all(len(group) <= (most or len(lengths)) for group in other):
            assert cost(groups) <= cost(other)


def test_another_segment_is_for_much_padding_only() -> None:
    assert answer_groups([60, 70, 80, 90, 100]) == [[4, 3, 2, 1, 0]]
    assert answer_groups([60, 1000, 50]) == [[1], [0, 2]]
