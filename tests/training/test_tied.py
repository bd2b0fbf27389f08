"""Models whose head is their embedding: trained, saved and loaded again without a weight too few or too many."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

from seelevel.models import load_model
from seelevel.training.fit import fit
from seelevel.training.settings import LoraSettings, TrainSettings
from tests.training.tiny import make_ladder, make_model, make_processor


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    processor = make_processor()
    model = make_model(processor, tie_word_embeddings=True)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "tied")
    processor.save_pretrained(tmp_path / "tied")
    return tmp_path / "tied"


def names(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        return {*weights.keys()}


@pytest.mark.unit
def test_a_tied_model_is_loaded_without_a_head_in_its_weights(tied: Path) -> None:
    assert not any("lm_head" in name for name in names(tied))
    model = load_model(str(tied)).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("lora", [None, LoraSettings(r=2)])
def test_a_tied_model_is_trained_and_loaded_again_with_every_weight(
    tied: Path, tmp_path: Path, lora: LoraSettings | None
) -> None:
    ladders = [make_ladder(tmp_path, seed) for seed in range(2)]
    settings = TrainSettings(lora=lora, epochs=1, ladders_per_step=2, cache=False, device="cpu", warmup_steps=0)
    fit(ladders, str(tied), settings, tmp_path / "out")
    folder = tmp_path / "out" / ("adapter" if lora else "model")
    trained = load_model(str(folder), device="cpu").model
    head, embeddings = trained.get_output_embeddings().weight, trained.get_input_embeddings().weight
    assert head is embeddings
    before = load_model(str(tied), device="cpu").model.get_input_embeddings().weight
    assert torch.equal(embeddings, before) == (lora is not None)
    if lora is None:
        _, loading = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
        assert not loading["missing_keys"] and not loading["unexpected_keys"]
        assert names(folder) == names(tied)
