"""A model's folder is whole, or one line names the file and the remedy. No model is loaded."""

import json
import shutil
import struct

import pytest

from seelevel.errors import InputError
from seelevel.models.files import model_size
from seelevel.models.folders import adapter_base, check_model_folder
from seelevel.world import model_path

pytestmark = pytest.mark.unit


def tensors(path, *names):
    """A safetensors file of single numbers."""
    header = {name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n, name in enumerate(names)}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 4 * len(names))


def model(path, **weights):
    """A folder with shards: `a="x y"` is a file a.safetensors with the tensors x and y."""
    path.mkdir()
    (path / "config.json").write_text("{}")
    for name, inside in weights.items():
        tensors(path / f"{name}.safetensors", *inside.split())
    index = {tensor: f"{name}.safetensors" for name, inside in weights.items() for tensor in inside.split()}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return path


def adapter(path, base, **settings):
    path.mkdir()
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), **settings}))
    tensors(path / "adapter_model.safetensors", "a")
    return path


class TestShards:
    def test_whole_ones_are_counted_once(self, tmp_path):
        folder = model(tmp_path / "m", a="x y", b="z")
        tensors(folder / "consolidated.safetensors", "x", "y", "z")  # the same weights in another library's form
        assert model_size(folder).parameters == 3

    def test_a_missing_one_is_named(self, tmp_path):
        folder = model(tmp_path / "m", a="x", b="y")
        (folder / "b.safetensors").unlink()
        with pytest.raises(InputError, match=r"m lacks 1 of its weight files, first b\.safetensors"):
            check_model_folder(folder)

    def test_one_that_was_cut_off_is_named(self, tmp_path):
        folder = model(tmp_path / "m", a="x", b="y")
        for end in (-1, 20, 4):
            tensors(folder / "b.safetensors", "y")
            (folder / "b.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:end])
            with pytest.raises(InputError, match=r"b\.safetensors.* cut off"):
                check_model_folder(folder)

    def test_one_without_a_tensor_of_the_index_is_named(self, tmp_path):
        folder = model(tmp_path / "m", a="x", b="y")
        tensors(folder / "b.safetensors", "other")
        with pytest.raises(InputError, match=r"b\.safetensors lacks y, which model\.safetensors\.index\.json says"):
            check_model_folder(folder)

    def test_shards_without_their_index_are_refused(self, tmp_path):
        folder = model(tmp_path / "m", a="x")
        (folder / "model.safetensors.index.json").unlink()
        with pytest.raises(InputError, match=r"a\.safetensors, but neither .* nor model\.safetensors\.index\.json"):
            check_model_folder(folder)

    def test_a_pointer_of_git_lfs_is_told_from_weights(self, tmp_path):
        folder = model(tmp_path / "m", a="x")
        (folder / "a.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        with pytest.raises(InputError, match=r"a\.safetensors is a Git LFS pointer.*git lfs pull"):
            check_model_folder(folder)

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pth"])
    def test_pickles_are_refused(self, tmp_path, name):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=r"pickled weights.*save_pretrained"):
            check_model_folder(tmp_path)


class TestAdapters:
    def test_a_base_that_has_moved_is_named_with_the_adapter_and_the_key(self, tmp_path):
        folder = adapter(tmp_path / "lora", "/somewhere/else/base")
        with pytest.raises(InputError) as caught:
            adapter_base(folder)
        for part in (str(folder), "/somewhere/else/base", "base_model_name_or_path", "adapter_config.json"):
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_relative_base_starts_at_the_adapter(self, tmp_path):
        base = model(tmp_path / "base", a="x")
        assert adapter_base(adapter(tmp_path / "lora", "../base")) == str(tmp_path / "lora" / "../base")
        assert adapter_base(adapter(tmp_path / "other", base)) == str(base)
        assert adapter_base(adapter(tmp_path / "hub", "owner/base")) == "owner/base"

    def test_an_adapter_on_an_adapter_is_refused(self, tmp_path):
        first = adapter(tmp_path / "first", model(tmp_path / "base", a="x"))
        with pytest.raises(InputError, match=r"second: its base .*first is an adapter itself"):
            adapter_base(adapter(tmp_path / "second", first))

    def test_pickled_adapters_and_tuned_prompts_are_refused(self, tmp_path):
        base = model(tmp_path / "base", a="x")
        with pytest.raises(InputError, match="kind PROMPT_TUNING"):
            adapter_base(adapter(tmp_path / "prompt", base, peft_type="PROMPT_TUNING"))
        pickled = adapter(tmp_path / "pickled", base)
        (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
        with pytest.raises(InputError, match="pickled weights"):
            adapter_base(pickled)

    def test_files_of_other_trainers_beside_an_adapter_do_no_harm(self, tmp_path):
        base = model(tmp_path / "base", a="x")
        folder = adapter(tmp_path / "lora", base)
        for name in ("config.json", "args.json", "additional_config.json", "trainer_state.json", "all_results.json"):
            (folder / name).write_text("{}")
        (folder / "training_args.bin").write_bytes(b"x")
        (folder / "checkpoint-10").mkdir()
        assert adapter_base(folder) == str(base)

    def test_a_whole_model_beside_an_adapter_is_refused(self, tmp_path):
        folder = shutil.copytree(model_path("xs"), tmp_path / "both")
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base"}))
        tensors(folder / "adapter_model.safetensors", "a")
        with pytest.raises(InputError, match="whole weights and an adapter"):
            check_model_folder(folder)
