"""Both layouts compute the same, to rounding, in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seelevel.ladder import Image, Ladder
from seelevel.training.logprobs import chosen_logprobs, token_logprobs
from seelevel.training.objectives.logprobs import TokenLogprobs
from seelevel.training.packing import Batch, fits, pack
from seelevel.training.packing.families import visible, why_not_shared
from seelevel.training.packing.tokens import ImageReader, tokenise
from tests.training.tiny import make_ladder, make_model, make_picture, make_processor


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor()


@pytest.fixture(scope="module")
def model(processor: Any) -> Any:
    return make_model(processor, dtype=torch.float64)


def exact(batch: Batch) -> Batch:
    return replace(batch, images={name: value.double() for name, value in batch.images.items()})


def run(model: Any, batch: Batch) -> tuple[TokenLogprobs, dict[str, Tensor]]:
    """Log-probs, and every tensor's gradient of a sum that weighs each response differently."""
    model.zero_grad()
    policy = token_logprobs(model, exact(batch))
    sums = torch.cat(policy.per_response())
    (sums * torch.linspace(-1, 1, len(sums), dtype=sums.dtype)).sum().backward()
    return policy, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("conditions", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_layouts_agree_in_log_probs_and_in_every_tensors_gradient(
    model: Any, processor: Any, tmp_path: Path, k: int, rounds: int, conditions: bool, count: int
) -> None:
    ladders = [make_ladder(tmp_path, seed, max(k - seed, 2), rounds, conditions) for seed in range(count)]
    (shared, packed), (rows, separate) = (
        run(model, pack(ladders, processor, layout))
        for layout in ("shared", "rows")  # type: ignore[arg-type]
    )
    assert shared.tokens.tolist() == rows.tokens.tolist()
    assert shared.round.tolist() == rows.round.tolist()
    assert torch.allclose(shared.values, rows.values, rtol=1e-9, atol=0)
    assert packed.keys() == separate.keys()
    total = torch.stack([g.norm() for g in separate.values()]).norm()
    for name, gradient in separate.items():
        # A key's bias has a gradient of zero in exact arithmetic (softmax does not see it): only rounding stays.
        assert (packed[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-15 * total, name


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
    (shared, packed), (rows, separate) = (
        run(model, pack(ladders, processor, layout))
        for layout in ("shared", "rows")  # type: ignore[arg-type]
    )
    assert shared.sizes == rows.sizes == (6, 1, 4, 3, 3, 2)
    assert torch.allclose(shared.values, rows.values, rtol=1e-9, atol=0)
    total = torch.stack([g.norm() for g in separate.values()]).norm()
    for name, gradient in separate.items():
        assert (packed[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-15 * total, name
    alone, _ = run(model, pack([ladders[2]], processor, "shared"))
    assert torch.allclose(shared.values[shared.ladder == 2], alone.values, rtol=1e-9, atol=0)


def test_a_shared_row_holds_the_prefix_once_and_each_picture_once(processor: Any, tmp_path: Path) -> None:
    ladder = make_ladder(tmp_path, 1, k=4, pictures=2)
    tokens = tokenise(ladder, processor, ImageReader(processor))
    batch = pack([ladder], processor)
    own = [len(t) - tokens.branch for t in tokens.tokens]
    assert batch.input_ids.shape == (1, tokens.branch + sum(own))
    assert batch.segments[0].tolist() == [0] * tokens.branch + [k + 1 for k, n in enumerate(own) for _ in range(n)]
    expected = [*range(tokens.branch), *(tokens.branch + n for length in own for n in range(length))]
    assert batch.position_ids[0].tolist() == expected
    assert batch.images["pixel_values"].shape[0] == 2
    assert pack([ladder], processor, "rows").images["pixel_values"].shape[0] == 8


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
        found = token_logprobs(model, exact(pack([ladder], processor)))
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


@pytest.mark.unit
def test_a_token_sees_the_prefix_and_its_own_response_only() -> None:
    segments = torch.tensor([[0, 0, 1, 1, 2, -1]])
    assert visible(segments)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


@pytest.mark.unit
def test_a_later_response_sees_the_history_before_it_and_no_other_response() -> None:
    segments = torch.tensor([[0, 1, 2, 0, 3]])
    assert visible(segments)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 1, 1],
    ]


def test_a_ladder_longer_than_the_context_does_not_fit_and_says_by_how_much(processor: Any, tmp_path: Path) -> None:
    ladder: Ladder = make_ladder(tmp_path, 1, k=2)
    tokens = tokenise(ladder, processor, ImageReader(processor))
    assert fits(tokens, tokens.longest) == ""
    limit = tokens.longest - 1
    assert fits(tokens, limit) == f"its longest conversation is {tokens.longest} tokens, the context {limit}"
    assert int(np.sum(tokens.tokens[0] == processor.image_token_id)) == 16


def test_models_that_cannot_take_packed_rows_are_named(model: Any) -> None:
    assert why_not_shared(model.config) == ""
    config = type(model.config)(vision_config=model.config.vision_config, text_config=model.config.text_config)
    config.model_type = "qwen2_vl"
    assert "'qwen2_vl'" in why_not_shared(config)
    eager = make_model(make_processor())
    eager.set_attn_implementation("eager")
    assert "'eager'" in why_not_shared(eager.config)
