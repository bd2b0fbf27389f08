"""The reference cache: what is read equals, bit for bit, what would be computed; what is broken or of others is not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.store import cache_folder
from seelevel.training import reference
from seelevel.training.fit import fit
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import collate
from seelevel.training.packing.tokens import ImageReader, TokenisedLadder, tokenise
from seelevel.training.reference import by_level, reference_logprobs
from seelevel.training.settings import TrainSettings
from tests.training.tiny import make_ladder, make_model, make_processor, save_model


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor()


@pytest.fixture(scope="module")
def model(processor: Any) -> Any:
    return make_model(processor)


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    folder = tmp_path_factory.mktemp("pictures")
    return [make_ladder(folder, seed, k=2 + seed % 3, rounds=1 + seed % 2) for seed in range(6)]


@pytest.fixture(scope="module")
def images(processor: Any) -> ImageReader:
    return ImageReader(processor)


@pytest.fixture(scope="module")
def tokens(ladders: list[Ladder], processor: Any, images: ImageReader) -> list[TokenisedLadder]:
    return [tokenise(ladder, processor, images) for ladder in ladders]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the ladders that went through a model."""
    seen: list[str] = []

    def counted(model: Any, batch: Any) -> Any:
        seen.extend(batch.ids)
        return token_logprobs(model, batch)

    monkeypatch.setattr(reference, "token_logprobs", counted)
    return seen


def equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_another_order_and_another_limit_read_what_is_there_and_equal_a_cold_start(
    model: Any, tokens: list[TokenisedLadder], images: ImageReader, tmp_path: Path, passes: list[str]
) -> None:
    first = reference_logprobs(model, tokens[:4], images, "shared", tmp_path / "warm")
    assert passes == [t.id for t in tokens[:4]]
    shuffled = [tokens[3], tokens[5], tokens[0]]
    warm = reference_logprobs(model, shuffled, images, "shared", tmp_path / "warm")
    assert passes[4:] == [tokens[5].id]
    cold = reference_logprobs(model, shuffled, images, "shared", tmp_path / "cold")
    assert equal(warm, cold)
    assert equal([warm[2], warm[0]], [first[0], first[3]])


def test_log_probs_are_in_the_order_of_a_batch(
    model: Any, tokens: list[TokenisedLadder], images: ImageReader, tmp_path: Path
) -> None:
    with torch.no_grad():
        whole = token_logprobs(model, collate(tokens, images, "shared"))
    found = reference_logprobs(model, tokens, images, "shared", tmp_path)
    assert torch.allclose(torch.cat(found), whole.values, atol=1e-5)


def test_other_weights_layouts_answers_or_pictures_are_not_mixed_up(
    model: Any, processor: Any, ladders: list[Ladder], tmp_path: Path, passes: list[str]
) -> None:
    images = ImageReader(processor)
    tokens = [tokenise(ladders[0], processor, images)]
    first = reference_logprobs(model, tokens, images, "shared", tmp_path)
    other = reference_logprobs(make_model(processor, seed=1), tokens, images, "shared", tmp_path)
    assert not torch.equal(first[0], other[0])
    reference_logprobs(model, tokens, images, "rows", tmp_path)
    picture = Path(ladders[0].images[0].path)
    before = picture.read_bytes()
    picture.write_bytes(Path(ladders[1].images[0].path).read_bytes())
    fresh = ImageReader(processor)
    reference_logprobs(model, [tokenise(ladders[0], processor, fresh)], fresh, "shared", tmp_path)
    picture.write_bytes(before)
    assert len(passes) == 4
    reference_logprobs(model, tokens, images, "shared", tmp_path)
    assert len(passes) == 4


def test_the_same_weights_under_another_configuration_are_another_model(
    processor: Any, tokens: list[TokenisedLadder], images: ImageReader, tmp_path: Path, passes: list[str]
) -> None:
    """An adapter's alpha is in no weight, and so is the layer of the vision tower that is read."""
    values = []
    for alpha in (8, 64, 8):
        wanted = LoraConfig(r=2, lora_alpha=alpha, target_modules=["q_proj"], init_lora_weights=False)
        torch.manual_seed(0)
        adapted = get_peft_model(make_model(processor), wanted).eval()
        values.append(reference_logprobs(adapted, tokens[:1], images, "shared", tmp_path)[0])
    assert len(passes) == 2
    assert torch.equal(values[0], values[2]) and not torch.equal(values[0], values[1])
    plain = make_model(processor)
    reference_logprobs(plain, tokens[:1], images, "shared", tmp_path)
    plain.config.vision_feature_layer = -2
    reference_logprobs(plain, tokens[:1], images, "shared", tmp_path)
    assert len(passes) == 4


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-10], lambda raw: b"", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])]
)
def test_a_corrupt_file_is_reported_deleted_and_recomputed(
    model: Any,
    tokens: list[TokenisedLadder],
    images: ImageReader,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Any,
) -> None:
    first = reference_logprobs(model, tokens, images, "shared", tmp_path)
    [file] = tmp_path.rglob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert equal(reference_logprobs(model, tokens, images, "shared", tmp_path), first)
    assert str(file) in capsys.readouterr().err
    assert file.read_bytes() == whole


def test_entries_of_the_wrong_length_are_not_used(
    model: Any, tokens: list[TokenisedLadder], images: ImageReader, tmp_path: Path
) -> None:
    first = reference_logprobs(model, tokens[:1], images, "shared", tmp_path)
    [file] = tmp_path.rglob("*.safetensors")
    file.unlink()
    key = reference.ladder_fingerprint(tokens[0])
    reference._write(file.parent, {key: first[0][:-1].clone()})
    assert equal(reference_logprobs(model, tokens[:1], images, "shared", tmp_path), first)


def test_many_writers_and_readers_of_the_same_entries_never_see_half_a_file(
    tokens: list[TokenisedLadder], tmp_path: Path
) -> None:
    entries = {"key": torch.arange(reference._scored(tokens[0]), dtype=torch.float32)}

    def work(_: int) -> bool:
        reference._write(tmp_path, entries)
        return torch.equal(reference._read(tmp_path, {"key": tokens[0]})["key"], entries["key"])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_one_line(model: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*; set align\.cache or SEELEVEL_CACHE"):
        reference_logprobs(model, [], ImageReader(None), "shared", tmp_path / "file" / "below")


def settings(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 3, "epochs": 2, "save_steps": 2, "learning_rate": 1e-3, "device": "cpu"}
    return TrainSettings(**{**plain, **changes})


def weights(out: Path) -> str:
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_a_training_with_a_warm_cache_ends_in_the_bytes_of_one_with_a_cold_one(
    ladders: list[Ladder], tmp_path: Path, passes: list[str]
) -> None:
    base = str(save_model(tmp_path / "base"))
    fit(list(reversed(ladders))[:3], base, settings(), tmp_path / "other", seed=0)  # other data, another order
    assert len(list(cache_folder().rglob("*.safetensors"))) == 1
    fit(ladders, base, settings(objective={"name": "dpo"}), tmp_path / "warm", seed=0)
    assert len(passes) == len(ladders)  # three of them were known
    fit(ladders, base, settings(objective={"name": "dpo"}, cache=False), tmp_path / "cold", seed=0)
    assert len(passes) == 2 * len(ladders)
    assert weights(tmp_path / "warm") == weights(tmp_path / "cold")
    assert not (tmp_path / "cold" / "reference").exists()


def test_the_recipe_may_name_another_folder(ladders: list[Ladder], tmp_path: Path) -> None:
    base = str(save_model(tmp_path / "base"))
    fit(ladders[:3], base, settings(cache=str(tmp_path / "mine")), tmp_path / "out", seed=0)
    assert list((tmp_path / "mine").rglob("*.safetensors"))
    assert not (cache_folder() / "reference").exists()


def test_levels_have_the_means_of_their_own_responses(
    model: Any, ladders: list[Ladder], tokens: list[TokenisedLadder], images: ImageReader, tmp_path: Path
) -> None:
    """Each response alone, in a row of its own, over its scored tokens."""
    expected: dict[int, list[float]] = {}
    for ladder, whole in zip(ladders, tokens, strict=True):
        for n, level in enumerate(ladder.levels):
            alone = replace(whole, tokens=[whole.tokens[n]], rounds=[whole.rounds[n]])
            alone = replace(alone, image_spans=[whole.image_spans[n]])
            with torch.no_grad():
                values = token_logprobs(model, collate([alone], images, "rows")).values
            expected.setdefault(level, []).append(float(values.mean()))
    found = by_level(ladders, tokens, reference_logprobs(model, tokens, images, "shared", tmp_path))
    assert {level: entry["n"] for level, entry in found.items()} == {str(k): len(v) for k, v in expected.items()}
    for level, values in expected.items():
        assert found[str(level)]["mean"] == pytest.approx(sum(values) / len(values), abs=1e-5)
