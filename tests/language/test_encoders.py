"""Text encoders, on a tiny CLIP made here."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from seelevel.errors import InputError
from seelevel.language.encoders import ClipTextEncoder, load_encoder
from tests.language.tiny_clip import save_tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"), ["a", "b", "c", "d", "e", "f", "red", "blue", "dog", "cat"])


@pytest.fixture(scope="module")
def encoder(folder: Path) -> ClipTextEncoder:
    return load_encoder(str(folder))


def direct(encoder: ClipTextEncoder, text: str) -> np.ndarray:
    """One text through the model alone, by its own public call."""
    with torch.inference_mode():
        inputs = encoder.tokenizer(text, return_tensors="pt")
        features = encoder.model.get_text_features(input_ids=inputs["input_ids"]).pooler_output[0]
    return (features / features.norm()).numpy()


def test_vectors_are_float32_of_length_one_and_in_the_order_of_the_texts(encoder: ClipTextEncoder) -> None:
    texts = ["red dog", "a b c d e", "cat", "red dog"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (4, 12)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, direct(encoder, text), atol=1e-6)


def test_a_text_past_the_positions_is_the_mean_of_pieces_that_fit(encoder: ClipTextEncoder) -> None:
    # Six words and two special tokens fit; twelve words are halved.
    fits, rest = "a b c d e f", "red blue dog cat a b"
    mean = (direct(encoder, fits) + direct(encoder, rest)) / 2
    np.testing.assert_allclose(encoder.encode([f"{fits} {rest}"])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_end_of_a_long_text_counts(encoder: ClipTextEncoder) -> None:
    start = "a b c d e f " * 3
    one, other = encoder.encode([start + "dog", start + "cat"])
    assert np.abs(one - other).max() > 1e-3


def test_a_text_is_encoded_alike_alone_and_in_company(encoder: ClipTextEncoder) -> None:
    alone = encoder.encode(["red dog"])[0]
    company = encoder.encode(["red dog", *[f"{a} {b} {c}" for a in "abc" for b in "def" for c in "ab"]])[0]
    np.testing.assert_allclose(alone, company, atol=1e-6)


def test_no_texts_give_no_vectors(encoder: ClipTextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 12)


def test_a_folder_may_carry_its_threshold(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clip"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert load_encoder(str(folder)).threshold is None
    (copy / "seelevel.json").write_text(json.dumps({"threshold": 0.7}))
    assert load_encoder(str(copy)).threshold == 0.7


def test_an_encoder_whose_weights_are_cut_off_or_lacking_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "lacking")
    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if "text_projection" in name)
    save_file({n: w for n, w in weights.items() if n != lost}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"lacks 1 weights, first {lost}"):
        load_encoder(str(copy))
    cut = shutil.copytree(folder, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(cut))


def test_a_language_model_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(InputError, match="llama model without a text encoder"):
        load_encoder(str(tmp_path))


def test_folders_without_a_text_encoder_are_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(tmp_path))


def test_pickled_weights_are_not_read(folder: Path, encoder: ClipTextEncoder, tmp_path: Path) -> None:
    copy = tmp_path / "clip"
    copy.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (copy / file.name).write_bytes(file.read_bytes())
    torch.save(encoder.model.state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(copy))
