"""A model's files: the same ones have the same fingerprint, also when they come from the hub."""

import json

import pytest

from seelevel.errors import InputError
from seelevel.models.base import ModelRef
from seelevel.models.files import model_fingerprint

pytestmark = pytest.mark.unit


def test_a_folder_s_fingerprint_changes_with_its_weights(tmp_path):
    model = ModelRef("mine", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = model_fingerprint(model)
    assert model_fingerprint(model) == first
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert model_fingerprint(model) != first


def test_a_hub_model_s_fingerprint_is_its_commit_wherever_the_cache_lies(tmp_path, monkeypatch):
    found = []
    for cache, commit in (("a", "1" * 40), ("b", "1" * 40), ("c", "2" * 40)):
        folder = tmp_path / cache / "models--owner--model"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text(json.dumps({"model_type": "llava"}))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / cache))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        found.append(model_fingerprint(ModelRef("owner/model", "owner/model")))
    assert found[0] == found[1] != found[2]


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="is a file; name the folder"):
        model_fingerprint(ModelRef("m", str(tmp_path / "model.bin")))
