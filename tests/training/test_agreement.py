"""The comparison before training takes no rounding for a fault and lets no fault through, in every number format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MistralConfig

from seelevel.training import agreement
from seelevel.training.agreement import checked_layout, disagreement
from seelevel.training.packing import Batch, families
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder, tokenise
from seelevel.training.rounding import in_float32, stirred
from tests.training.tiny import make_interaction, make_ladder, make_model, make_processor

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
        return checked_layout(model, ladders, images, "shared")


# Faults ------------------------------------------------------------------------------------------------------------


def one_position_off(batch: Batch) -> Batch:
    """The tokens of the last response stand one place too late."""
    return replace(batch, position_ids=batch.position_ids + (batch.segments == batch.segments.max()))


def another_picture(batch: Batch) -> Batch:
    return replace(batch, images={name: value.flip(-1) for name, value in batch.images.items()})


def _first_two(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of as many scored tokens of response 0 and of response 1."""
    first, second = ((batch.response == n).nonzero()[:, 0] for n in (0, 1))
    most = min(len(first), len(second))
    return first[:most], second[:most]


def responses_read_from_each_other(batch: Batch) -> Batch:
    source, (first, second) = batch.source.clone(), _first_two(batch)
    source[first], source[second] = batch.source[second], batch.source[first]
    return replace(batch, source=source)


def responses_named_for_each_other(batch: Batch) -> Batch:
    response, (first, second) = batch.response.clone(), _first_two(batch)
    response[first], response[second] = 1, 0
    return replace(batch, response=response)


def leaking(visible: Any, query: int, key: int) -> Any:
    """One token of response `query` sees one token of response `key`."""

    def leaks(segments: torch.Tensor) -> torch.Tensor:
        mask: torch.Tensor = visible(segments)
        seeing, seen = ((segments[0] == number).nonzero()[2, 0] for number in (query, key))
        mask[0, 0, seeing, seen] = True
        return mask

    return leaks


FAULTS = [one_position_off, another_picture, responses_read_from_each_other, responses_named_for_each_other]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_packed_batch_is_found(
    processor: Any,
    images: ImageReader,
    ladder: TokenisedLadder,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    fault: Fault,
) -> None:
    whole = agreement.collate

    def collate(*args: Any) -> Batch:
        batch: Batch = whole(*args)
        return fault(batch) if args[2] == "shared" else batch

    monkeypatch.setattr(agreement, "collate", collate)
    assert layout_of(make_model(processor), [ladder], images, form) == "rows"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("query", "key"), [(4, 1), (2, 1), (4, 3)])
def test_a_mask_that_leaks_one_token_to_one_other_is_found(
    processor: Any,
    images: ImageReader,
    ladder: TokenisedLadder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    query: int,
    key: int,
) -> None:
    monkeypatch.setattr(families, "visible", leaking(families.visible, query, key))
    assert layout_of(make_model(processor), [ladder], images, form) == "rows"
    assert ladder.id in capsys.readouterr().err


@pytest.mark.parametrize("form", [torch.float32, torch.float64])
def test_isolation_alone_finds_a_leak(
    processor: Any, images: ImageReader, ladder: TokenisedLadder, monkeypatch: pytest.MonkeyPatch, form: torch.dtype
) -> None:
    """A small leak in a deep model is within the bound of agreement; text that is changed shows it by a single bit."""
    model = make_model(processor, dtype=form)
    with torch.no_grad():
        assert agreement._leak(model, [[ladder]], images) == ""
        monkeypatch.setattr(families, "visible", leaking(families.visible, query=2, key=1))
        assert ladder.id in agreement._leak(model, [[ladder]], images)


@pytest.mark.parametrize("form", FORMATS)
def test_a_lost_sliding_window_is_found(
    processor: Any, images: ImageReader, ladder: TokenisedLadder, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A mask from outside switches the model's own window off; without the list of such models, the comparison sees."""
    model = make_model(processor, text=MistralConfig, sliding_window=16)
    assert layout_of(model, [ladder], images, form) == "rows"
    for module in (families, agreement):
        monkeypatch.setattr(module, "why_not_shared", lambda config: "")
    assert layout_of(model, [ladder], images, form) == "rows"
    assert layout_of(make_model(processor, text=MistralConfig, sliding_window=None), [ladder], images, form) == "shared"


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
    monkeypatch.setattr("seelevel.training.rounding._free", lambda: 0)
    model = make_model(processor, dtype=torch.bfloat16)
    assert checked_layout(model, [ladder], images, "shared") == "shared"
    assert "no room" in capsys.readouterr().err
    assert model.dtype == torch.bfloat16


def test_what_rounding_explains_grows_with_the_format(
    processor: Any, images: ImageReader, ladder: TokenisedLadder
) -> None:
    found = []
    for form in (torch.float64, torch.float32, torch.bfloat16):
        model = make_model(processor, dtype=form)
        with torch.no_grad():
            plain = agreement._scores(model, [ladder], images, "rows").values
            found.append(agreement._rounding(model, [ladder], images, plain))
    exact, single, half = found
    assert exact == pytest.approx(single, rel=1)  # parts of the model compute in float32 whatever its format
    assert 1e3 < half / single < 1e6  # 2 ** 16


def test_stirring_leaves_the_model_as_it_was(processor: Any, images: ImageReader, ladder: TokenisedLadder) -> None:
    model = make_model(processor)
    with torch.no_grad():
        before = agreement._scores(model, [ladder], images, "rows").values
        with stirred(model, 0):
            assert not torch.equal(agreement._scores(model, [ladder], images, "rows").values, before)
        assert torch.equal(agreement._scores(model, [ladder], images, "rows").values, before)
