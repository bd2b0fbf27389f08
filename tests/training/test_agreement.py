"""The comparison before training takes no rounding for a fault and lets no fault through, in every number format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache, MistralConfig

from seelevel.training import agreement, checks, comparing
from seelevel.training.agreement import checked_layout, disagreement
from seelevel.training.packing import Batch, passes
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder, tokenise
from seelevel.training.rounding import in_float32, stirred
from tests.training.tiny import make_interaction, make_ladder, make_model, make_processor, with_pictures

FORMATS = ["float32", "bfloat16", "float64", "autocast"]
Fault = Callable[[Batch], Batch]


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor()


@pytest.fixture(scope="module")
def images(processor: Any) -> ImageReader:
    return ImageReader(processor)


@pytest.fixture(scope="module")
def ladder(processor: Any, images: ImageReader, tmp_path_factory: pytest.TempPathFactory) -> TokenisedLadder:
    """Four responses of two rounds to one picture."""
    return tokenise(make_ladder(tmp_path_factory.mktemp("picture"), 1, k=4, rounds=2), processor, images)


def layout_of(model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader, form: str) -> str:
    """What the comparison chooses for a model that trains in a format."""
    model = model.to(torch.float32 if form == "autocast" else getattr(torch, form))
    with torch.autocast("cpu", torch.bfloat16, enabled=form == "autocast"):
        agreed = checked_layout(model, ladders, images, "shared")
    return agreed.layout if agreed.unequal else "shared, one prefix in a pass"


# Faults ------------------------------------------------------------------------------------------------------------


def another_picture(batch: Batch) -> Batch:
    return with_pictures(batch, lambda value: value.flip(-1))


def _first_two(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of as many scored tokens of response 0 and of response 1."""
    first, second = ((batch.response == n).nonzero()[:, 0] for n in (0, 1))
    most = min(len(first), len(second))
    return first[:most], second[:most]


def responses_read_from_each_other(batch: Batch) -> Batch:
    first, second = _first_two(batch)
    swapped = torch.arange(len(batch.tokens))
    swapped[first], swapped[second] = second, first
    return replace(batch, segments=tuple(replace(s, target=swapped[s.target]) for s in batch.segments))


def responses_named_for_each_other(batch: Batch) -> Batch:
    response, (first, second) = batch.response.clone(), _first_two(batch)
    response[first], response[second] = 1, 0
    return replace(batch, response=response)


def a_response_on_the_prefix_of_another_ladder(batch: Batch) -> Batch:
    """What a fork that copies the wrong row of the cache does."""
    last = max(n for n, s in enumerate(batch.segments) if len(s.owner))
    owner = len(batch.segments[0].input_ids) - 1 - batch.segments[last].owner
    segments = [replace(s, owner=owner) if n == last else s for n, s in enumerate(batch.segments)]
    return replace(batch, segments=tuple(segments))


def one_token_of_the_prefix_hidden(batch: Batch) -> Batch:
    first, *others = batch.segments
    mask = first.mask.clone()
    mask[0, -5] = 0
    return replace(batch, segments=(replace(first, mask=mask), *others))


FAULTS = [
    another_picture,
    responses_read_from_each_other,
    responses_named_for_each_other,
    a_response_on_the_prefix_of_another_ladder,
    one_token_of_the_prefix_hidden,
]


@pytest.fixture(scope="module")
def other(processor: Any, images: ImageReader, tmp_path_factory: pytest.TempPathFactory) -> TokenisedLadder:
    """A ladder with a longer prefix: two pictures."""
    return tokenise(make_ladder(tmp_path_factory.mktemp("picture"), 2, k=3, pictures=2), processor, images)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_batch_is_found(
    processor: Any,
    images: ImageReader,
    ladder: TokenisedLadder,
    other: TokenisedLadder,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    fault: Fault,
) -> None:
    whole = comparing.collate

    def collate(*args: Any) -> Batch:
        batch: Batch = whole(*args)
        return fault(batch) if args[2] == "shared" else batch

    monkeypatch.setattr(comparing, "collate", collate)
    assert layout_of(make_model(processor), [ladder, other], images, form) != "shared"


def one_position_off(inputs: dict[str, Any], before: Any) -> dict[str, Any]:
    """Answers stand one place too late."""
    after = segment_numbers(inputs, before)
    return {**inputs, "position_ids": after + 1}


def positions_with_padding_counted(inputs: dict[str, Any], before: Any) -> dict[str, Any]:
    """Answers stand where their columns are, padding of the prefix included."""
    start = before.mask.shape[1]
    return {**inputs, "position_ids": torch.arange(start, start + inputs["input_ids"].shape[1])[None]}


def segment_numbers(inputs: dict[str, Any], before: Any) -> torch.Tensor:
    length = inputs["input_ids"].shape[1]
    return before.mask.sum(1, keepdim=True) + torch.arange(length)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fault", [one_position_off, positions_with_padding_counted], ids=lambda fault: fault.__name__)
def test_wrong_positions_of_answers_are_found(
    processor: Any,
    images: ImageReader,
    ladder: TokenisedLadder,
    other: TokenisedLadder,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    fault: Any,
) -> None:
    whole = passes.segment_inputs

    def inputs(model: Any, segment: Any, before: Any) -> dict[str, Any]:
        right = whole(model, segment, before)
        return fault(right, before) if before is not None else right

    monkeypatch.setattr(passes, "segment_inputs", inputs)
    assert layout_of(make_model(processor), [ladder, other], images, form) != "shared"


def leak_in(model: Any, size: float) -> None:
    """Where answers go through the model together, a little of the second one's first token enters the first one's."""

    def leaks(module: Any, args: Any, options: dict[str, Any], output: torch.Tensor) -> torch.Tensor | None:
        if len(output) < 2 or options["past_key_values"] is None or options["past_key_values"].get_seq_length() < 20:
            return None
        mixed = output.clone()
        mixed[0, 0] += size * output[1, 0]
        return mixed

    model.model.language_model.layers[0].register_forward_hook(leaks, with_kwargs=True)


@pytest.mark.parametrize("form", FORMATS)
def test_an_answer_that_leaks_into_another_is_found(
    processor: Any, images: ImageReader, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    one = tokenise(make_ladder(tmp_path, 1, k=4), processor, images)
    model = make_model(processor)
    leak_in(model, 0.05)
    assert layout_of(model, [one], images, form) == "rows"
    assert one.id in capsys.readouterr().err


@pytest.mark.parametrize("form", [torch.float32, torch.float64])
def test_isolation_alone_finds_a_leak(
    processor: Any, images: ImageReader, ladder: TokenisedLadder, monkeypatch: pytest.MonkeyPatch, form: torch.dtype
) -> None:
    """A small leak is within the bound of agreement; text that is changed shows it by a single bit."""
    model = make_model(processor, dtype=form)
    with torch.no_grad():
        assert agreement._leak(model, [[ladder]], images) == ""
        leak_in(model, 1e-5)
        assert ladder.id in agreement._leak(model, [[ladder]], images)


@pytest.mark.parametrize("form", FORMATS)
def test_a_sliding_window_is_the_models_own_and_a_lost_one_is_found(
    processor: Any, images: ImageReader, ladder: TokenisedLadder, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    model = make_model(processor, text=MistralConfig, sliding_window=16)
    assert layout_of(model, [ladder], images, form) == "shared"
    whole, text = passes._finish, model.config.text_config

    def forgets(model: Any, segment: Any, before: Any, *more: Any, **options: Any) -> Any:
        text.sliding_window = None if before is not None else 16
        found = whole(model, segment, before, *more, **options)
        text.sliding_window = 16
        return found

    monkeypatch.setattr(passes, "_finish", forgets)
    monkeypatch.setattr(passes, "new_cache", lambda model: DynamicCache())
    assert layout_of(model, [ladder], images, form) == "rows"


# Health ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "bfloat16"])
def test_200_random_ladders_give_no_alarm(processor: Any, images: ImageReader, tmp_path: Path, form: str) -> None:
    draw = np.random.default_rng(0)
    for seed in range(20):
        ladders = [
            make_ladder(tmp_path, 10 * seed + n, *(int(draw.integers(*limits)) for limits in ((1, 7), (1, 4))))
            for n in range(10)
        ]
        tokens = [tokenise(one, processor, images) for one in ladders]
        shape = {"num_hidden_layers": 1 + seed % 4, "initializer_range": float(draw.uniform(0.02, 0.3))}
        model = make_model(processor, seed, getattr(torch, form), **shape)
        assert disagreement(model, [tokens], images) == ""


@pytest.mark.parametrize("form", FORMATS)
def test_the_rounds_of_an_interaction_agree_in_every_format(
    processor: Any, images: ImageReader, tmp_path: Path, form: str
) -> None:
    talks = [tokenise(one, processor, images) for n in range(3) for one in make_interaction(tmp_path, n, 2 + n, 3)]
    assert layout_of(make_model(processor), talks, images, form) == "shared"


def test_a_model_of_another_format_comes_back_bit_for_bit(processor: Any) -> None:
    model = make_model(processor, dtype=torch.bfloat16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with in_float32(model):
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    after = model.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())


def test_a_model_without_room_for_float32_is_compared_in_its_own_format(
    processor: Any,
    images: ImageReader,
    ladder: TokenisedLadder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("seelevel.training.rounding.free_memory", lambda: 0)
    model = make_model(processor, dtype=torch.bfloat16)
    assert checked_layout(model, [ladder], images, "shared").layout == "shared"
    assert "no room" in capsys.readouterr().err
    assert model.dtype == torch.bfloat16


def test_what_rounding_explains_grows_with_the_format(
    processor: Any, images: ImageReader, ladder: TokenisedLadder
) -> None:
    found = []
    for form in (torch.float64, torch.float32, torch.bfloat16):
        model = make_model(processor, dtype=form)
        with torch.no_grad():
            plain = comparing.scores(model, [ladder], images, "rows").values
            found.append(comparing.noise_of(model, [ladder], images, plain))
    exact, single, half = found
    assert exact == pytest.approx(single, rel=1)  # parts of the model compute in float32 whatever its format
    assert 1e3 < half / single < 1e6  # 2 ** 16


def test_stirring_leaves_the_model_as_it_was(processor: Any, images: ImageReader, ladder: TokenisedLadder) -> None:
    model = make_model(processor)
    with torch.no_grad():
        before = comparing.scores(model, [ladder], images, "rows").values
        with stirred(model, 0):
            assert not torch.equal(comparing.scores(model, [ladder], images, "rows").values, before)
        assert torch.equal(comparing.scores(model, [ladder], images, "rows").values, before)


def test_long_rows_are_compared_one_at_a_time(
    processor: Any, images: ImageReader, ladder: TokenisedLadder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at most where the company of a row is what is compared: the mask of padded rows is their length squared."""
    whole, most = comparing.collate, list[int]()

    def collate(*args: Any) -> Batch:
        batch: Batch = whole(*args)
        if args[2] == "rows":
            most.append(max(len(segment.mask) for segment in batch.segments))
        return batch

    monkeypatch.setattr(comparing, "collate", collate)
    model = make_model(processor)
    checks.check_rows(model, [ladder, ladder], images)
    assert layout_of(model, [ladder], images, "float32") == "shared" and max(most) > 2
    monkeypatch.setattr(comparing, "LONG", 20)
    monkeypatch.setattr(checks, "LONG", 20)
    most.clear()
    checks.check_rows(model, [ladder, ladder], images)
    assert layout_of(model, [ladder], images, "float32") == "shared" and max(most) == 2
