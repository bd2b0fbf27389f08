"""The benchmark's Qwen2.5-VL: its tokens, its sizes, its arithmetic; and peers that agree on it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Pictures
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import arithmetic, shapes, train_step
from benchmarks.peers import _with_adapters
from benchmarks.towers import Qwen25
from seelevel.forecast.known import KNOWN
from seelevel.models.chat_template import render
from seelevel.training.packing.tokens import ImageReader, tokenise

TINY = shapes.SHAPES["qwen25vl-tiny"]
COMMAND = ["--shape", "qwen25vl-tiny", "--device", "cpu", "--response", "10", "--repeats", "1", "--threads", "1"]
SMALL = shapes.Shape(10, 8, 1, 4, 3, Qwen25(2, 2, 1, grid=3, intermediate=5, whole=(1,), window=56), kv_heads=2)


def run(capsys, *arguments):
    train_step.main([*COMMAND, "--json", *arguments])
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_peers_agree_on_a_picture_with_its_own_positions(capsys):
    report = run(capsys, "--peers", "rows-full", "rows", "shared", "shared-4", "--k", "5", "--ladders", "2")
    assert max(report["settings"]["largest_differences"].values()) < 1e-5
    assert report["settings"]["prefix"] == 25 + 40  # the picture and its words
    tokens = {r["peer"]: r["tokens_per_ladder"] for r in report["results"]}
    rows, shared = 5 * (65 + 10), 65 + 5 * 9
    assert tokens == {"rows-full": rows, "rows": rows, "shared": shared, "shared-4": shared}


def test_peers_agree_with_adapters_in_bfloat16_as_far_as_it_goes(capsys):
    options = ["--shape", "qwen25vl-tiny-lora", "--dtype", "bfloat16", "--k", "3"]
    report = run(capsys, *options, "--peers", "rows-full", "rows", "shared", "shared-1")
    assert 0 < max(report["settings"]["largest_differences"].values()) < 0.1


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed (extra bench)")
def test_trl_computes_the_same_step(capsys):
    report = run(capsys, "--peers", "shared", "trl", "--k", "3")
    assert max(report["settings"]["largest_differences"].values()) < 1e-5
    assert [r["tokens_per_ladder"] for r in report["results"]] == [65 + 3 * 9, 2 * 3 * (65 + 10)]


@pytest.mark.unit
def test_a_prefix_is_exactly_as_long_as_asked(tmp_path: Path):
    processor = shapes.make_processor(TINY)
    ladder = shapes.make_ladder(TINY, tmp_path, 3, 65, (8, 12))
    tokens = tokenise(ladder, processor, ImageReader(processor))
    assert tokens.branch == 65
    assert [len(ids) for ids in tokens.tokens] == [65 + 8, 65 + 10, 65 + 12]
    assert tokens.image_spans == [[(2, 27)]] * 3  # behind the role and the picture's start
    picture = Pictures.open(ladder.images[0].path)
    text = render([*ladder.prompt, *ladder.responses[0].messages], processor)
    given = processor(images=[picture], text=[text], return_tensors="pt")
    assert given["input_ids"][0].tolist() == tokens.tokens[0].tolist()
    assert given["mm_token_type_ids"].sum() == 25
    assert given["image_grid_thw"].tolist() == [[1, 10, 10]]


@pytest.mark.unit
@pytest.mark.parametrize("name", ["qwen25vl-44m", "qwen25vl-7b"])
def test_a_picture_is_1296_tokens(name: str, tmp_path: Path):
    shape = shapes.SHAPES[name]
    processor = shapes.make_processor(shape)
    ladder = shapes.make_ladder(shape, tmp_path, 2, 1336, (60, 100))
    given = ImageReader(processor).read((ladder.images[0].path,))
    assert given["image_grid_thw"].tolist() == [[1, 72, 72]]
    assert given["pixel_values"].shape == (5184, 3 * 2 * 14 * 14)
    assert tokenise(ladder, processor, ImageReader(processor)).branch == shape.image_tokens + shapes.PROMPT == 1336
    assert shape.fitted(200).image_tokens == 13**2  # 200 less marks of roles and picture, and a question


@pytest.mark.unit
def test_the_7b_shape_has_the_published_sizes():
    model = shapes.make_model(shapes.SHAPES["qwen25vl-7b"], torch.device("meta"))
    assert sum(p.numel() for p in model.parameters()) == 8_292_166_656  # the model's page: 8.29B
    published = KNOWN["Qwen/Qwen2.5-VL-7B-Instruct"]
    for part in ("text_config", "vision_config"):
        config = getattr(model.config, part)
        assert {name: getattr(config, name) for name in published[part]} == published[part]
    assert model.config.vision_config.fullatt_block_indexes == [7, 15, 23, 31]
    assert model.config.vision_config.window_size == 112
    assert model.config.text_config.rope_parameters["mrope_section"] == [16, 24, 24]
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.unit
def test_arithmetic_of_grouped_heads_and_windows_by_hand():
    # heads of 2: queries and outputs 8 × 8, keys and values 8 × 4, three matrices 8 × 3
    assert arithmetic.linear_weights(SMALL) == 2 * 64 + 2 * 32 + 3 * 24
    # 36 patches; windows of 4 × 4, 4 × 2, 2 × 4 and 2 × 2 patches in the first layer, all patches in the second
    linear = 2 * 36 * (4 * 2 * 2 + 3 * 2 * 5)
    attention = 4 * 2 * (16**2 + 2 * 8**2 + 4**2) + 4 * 2 * 36**2
    pixels = 2 * 36 * 2 * (3 * 2 * 14 * 14)
    assert SMALL.tower.flops() == 2 * linear + attention + pixels
    assert SMALL.tower.projector_flops(8) == 2 * 9 * (8 * 8 + 8 * 8)
    adapted = arithmetic.adapter_weights(replace(SMALL, lora=2))
    assert adapted == 2 * ((8 + 8) * 2 + (8 + 4) * 2 + (8 + 3) * 3)
    # MFU: 3 tokens forward and back over 264 weights, one of them scored
    assert arithmetic.counted_flops(SMALL, 3, 1, reference=False) == 6 * (264 * 3 + 80)


@pytest.mark.unit
def test_arithmetic_is_what_torch_counts():
    model = shapes.make_model(TINY, torch.device("cpu"))
    model.set_attn_implementation("eager")  # torch counts no attention of the processor's kernels
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.model.visual(torch.randn(100, 3 * 2 * 14 * 14), torch.tensor([[1, 10, 10]]))
    assert counted.get_total_flops() == TINY.tower.flops() + TINY.tower.projector_flops(TINY.width)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.model.language_model(inputs_embeds=torch.randn(1, 20, TINY.width), use_cache=False)
    whole_square = 4 * 20**2 * TINY.width * TINY.layers  # eager attention computes what the mask hides
    assert counted.get_total_flops() == 2 * 20 * arithmetic.linear_weights(TINY) + whole_square


@pytest.mark.unit
def test_adapters_have_the_weights_that_are_counted():
    shape = shapes.SHAPES["qwen25vl-tiny-lora"]
    model = _with_adapters(shapes.make_model(shape, torch.device("cpu")), shape.lora)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == arithmetic.adapter_weights(shape)
