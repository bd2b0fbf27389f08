"""The sizes that a forecast computes from a configuration are those of the model that is built from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seelevel.forecast.built import built_shape
from seelevel.forecast.memory import Pass, Piece, training_memory
from seelevel.forecast.shapes import adapter_of, llava_shape, shape_in
from seelevel.forecast.sizes import Shape
from seelevel.forecast.training import forward_flops
from seelevel.training.loading import with_lora
from seelevel.training.settings import LoraSettings, TrainSettings
from tests.families.parts import PARTS
from tests.families.zoo import FAMILIES, build
from tests.training.test_structure import PEFT_TRANSLATES

QWEN3_TOWER = {
    "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16,
    "num_position_embeddings": 2304, "deepstack_visual_indexes": [8, 16, 24],
}  # fmt: skip
COUNTED = [name for name in PARTS if name != "granite_docling"]  # how it tiles pictures is not known here
PUBLISHED: dict[str, tuple[int, dict[str, Any]]] = {
    "Qwen3-VL-8B": (8_767_123_696, {
        "model_type": "qwen3_vl",
        "text_config": {
            "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
        },
        "vision_config": {**QWEN3_TOWER, "out_hidden_size": 4096},
    }),
    "Qwen3-VL-30B-A3B": (31_070_754_032, {
        "model_type": "qwen3_vl_moe",
        "text_config": {
            "hidden_size": 2048, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
            "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
            "vocab_size": 151936,
        },
        "vision_config": {**QWEN3_TOWER, "out_hidden_size": 2048},
    }),
    "Qwen2.5-VL-3B, as on the hub": (3_754_622_976, {
        "model_type": "qwen2_5_vl", "hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16,
        "num_hidden_layers": 36, "num_key_value_heads": 2, "tie_word_embeddings": True, "vocab_size": 151936,
        "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 2048},
    }),
    "Gemma-3-4B": (4_300_079_472, {
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8,
            "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        },
        "vision_config": {
            "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
            "image_size": 896, "patch_size": 14, "vision_use_head": False,
        },
    }),
    "LLaVA-1.5-7B, as on the hub": (7_063_427_072, {
        "model_type": "llava",
        "text_config": {"model_type": "llama", "vocab_size": 32064},
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
            "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
        },
    }),
}  # fmt: skip


def shape_of_family(name: str) -> Shape:
    shape = shape_in(json.loads(json.dumps(FAMILIES[name].config().to_dict())))
    assert shape is not None
    return shape


@pytest.mark.parametrize("name", COUNTED)
def test_weights_are_counted_to_the_last_one_in_every_family(name: str) -> None:
    shape, model, known = shape_of_family(name), build(name), PARTS[name]
    weights = {n: p.numel() for n, p in model.named_parameters()}
    projector = {n for n in weights if n.startswith(known.projector)}
    tower = {n for n in weights if n.startswith(known.tower)} - projector
    assert shape.weights == sum(weights.values())
    assert shape.projector_weights == sum(weights[n] for n in projector)
    assert shape.vision_weights == sum(weights[n] for n in tower)
    assert shape.text_weights == sum(weights[n] for n in weights.keys() - projector - tower)
    text = model.config.get_text_config()
    assert (shape.layers, shape.hidden) == (text.num_hidden_layers, text.hidden_size)
    assert shape.vocabulary == model.get_input_embeddings().num_embeddings


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_the_published_number_of_weights(name: str) -> None:
    published, config = PUBLISHED[name]
    shape = shape_in(config)
    assert shape is not None
    assert shape.weights == published


@pytest.mark.parametrize("target", ["attention+mlp", "attention", ["q_proj", "experts.down_proj"]])
@pytest.mark.parametrize("name", [name for name in COUNTED if name not in PEFT_TRANSLATES])
def test_adapters_have_as_many_weights_as_forecast(name: str, target: Any) -> None:
    if target == ["q_proj", "experts.down_proj"] and not PARTS[name].experts:
        target = ["q_proj"]
    lora = LoraSettings(r=3, target=target)
    model = with_lora(build(name), lora)
    assert shape_of_family(name).adapter_weights(lora) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.unit
def test_the_formula_of_llava_is_the_model_that_is_built() -> None:
    for name in ("llava", "llava_next"):
        config = FAMILIES[name].config().to_dict()
        config["text_config"]["model_type"] = "llama"
        assert (shape := llava_shape(config)) is not None
        assert shape == built_shape(config)
        assert llava_shape({**config, "vision_feature_layer": [-2, 1]}) is None
        assert llava_shape({**config, "text_config": {**config["text_config"], "attention_bias": True}}) is None


@pytest.mark.unit
def test_a_token_meets_two_of_four_experts_and_the_shared_one() -> None:
    [linear, full] = shape_of_family("qwen3_5_moe").blocks
    expert, shared = 3 * 64 * 32, 3 * 64 * 32
    assert full.experts == {"mlp.experts.gate_up_proj": (4, 64, 64), "mlp.experts.down_proj": (4, 64, 32)}
    attention = 64 * 2 * 64 + 2 * 64 * 32 + 64 * 64  # queries with gates, keys, values, output
    assert full.flops == 2 * (attention + 2 * expert + shared)
    delta = 64 * (2 * 32 + 64) + 64 * 64 + 2 * 64 * 4 + 64 * 64  # queries, keys, values; gate; a and b; output
    assert linear.flops == 2 * (delta + 2 * expert + shared)
    assert (full.inner, full.used) == (3 * 32, 2)


@pytest.mark.unit
def test_experts_with_adapters_need_a_copy_of_them_in_each_layer() -> None:
    shape = shape_of_family("qwen3_vl_moe")
    experts = 4 * 3 * 64 * 32
    needs = {}
    for target in (["q_proj"], ["q_proj", "gate_up_proj", "experts.down_proj"]):
        for checkpointing in (False, True):
            settings = TrainSettings(lora=LoraSettings(r=2, target=target), gradient_checkpointing=checkpointing)
            memory = training_memory(shape, settings, [Pass((Piece(1, 20),), 10, 1)])
            needs[len(target), checkpointing] = memory.activations
    assert needs[3, False] - needs[1, False] == 4 * experts * 4  # four layers of float32
    assert needs[3, True] - needs[1, True] == experts * 4


@pytest.mark.unit
def test_only_attention_grows_with_the_square_of_the_length() -> None:
    def growth(name: str) -> float:
        shape = shape_of_family(name)
        (short, _), (long, _) = (forward_flops(shape, Pass((Piece(*size),), 0, 0)) for size in ((2, 10), (1, 20)))
        return long - short

    assert growth("qwen3_vl") == 4 * (20**2 - 2 * 10**2) * 4 * 64
    assert growth("qwen3_5") == growth("qwen3_vl") / 4  # one layer of four
    assert growth("lfm2_vl") == growth("qwen3_vl") / 4


@pytest.mark.unit
def test_layers_that_are_alike_are_one_block() -> None:
    assert [block.count for block in shape_of_family("qwen3_5").blocks] == [3, 1]
    assert [block.count for block in shape_of_family("llama4").blocks] == [2, 2]
    assert [block.count for block in shape_of_family("gemma3").blocks] == [4]
    attention = shape_of_family("qwen3_vl").blocks[0].mixer
    assert attention["self_attn.q_proj"] == (64, 64)
    assert attention["self_attn.k_proj"] == (64, 32)  # two heads of four


@pytest.mark.unit
def test_what_is_not_known_is_none() -> None:
    assert shape_in({"model_type": "clip", "text_config": {}}) is None
    assert shape_in({"model_type": "of-next-year", "text_config": {}}) is None
    assert shape_in({"model_type": "qwen3_vl", "text_config": {"num_hidden_layers": "many"}}) is None
    assert shape_in({"model_type": "fuyu"}) is None  # weights are known, tokens of a picture are not


@pytest.mark.unit
def test_llava_needs_no_torch() -> None:
    code = (
        "import sys; from seelevel.forecast.shapes import shape_of; from seelevel.world import model_path\n"
        "assert shape_of('llava-hf/llava-1.5-7b-hf').weights > 7e9 and shape_of(str(model_path('s'))) is not None\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "target"),
    [("qwen3_5", "attention"), ("smolvlm", ["q_proj", "down_proj"]), ("qwen3_vl_moe", ["v_proj", "experts.down_proj"])],
)
def test_an_adapters_layers_are_read_from_its_folder(name: str, target: Any, tmp_path: Path) -> None:
    lora = LoraSettings(r=3, target=target)
    model = with_lora(build(name), lora)
    model.peft_config["default"].base_model_name_or_path = "somewhere"
    model.save_pretrained(tmp_path)
    found = adapter_of(str(tmp_path))
    assert found is not None
    assert found.r == 3
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert shape_of_family(name).adapter_weights(found) == trained
