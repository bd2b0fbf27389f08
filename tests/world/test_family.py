"""The shipped models: size, form, one tokenizer, and a quick look at whether they see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from seelevel.errors import InputError
from seelevel.world import MODELS, WEIGHTS, model_path
from seelevel.world.models import train_family
from seelevel.world.models.family import llava_processor
from seelevel.world.models.train_llava import BATCH, PLANS, DialogueEncoder, rows_loss
from seelevel.world.pictures.scenes import draw_scenes

NAMES = (*MODELS, "clip")
CHAT = [
    {"role": "user", "content": "<image>\nDescribe the image."},
    {"role": "assistant", "content": "The image shows a farm."},
    {"role": "user", "content": "Is there a dog in the image?"},
]
pytestmark = pytest.mark.skipif(not (WEIGHTS / "s" / "model.safetensors").is_file(), reason="no weights: world train")


def parameters(name: str) -> int:
    with safe_open(model_path(name) / "model.safetensors", "pt") as file:
        return sum(int(torch.tensor(file.get_slice(key).get_shape()).prod()) for key in file.keys())  # noqa: SIM118


@pytest.mark.unit
def test_the_family_is_within_its_budget_and_grows() -> None:
    counts = [parameters(name) for name in NAMES]
    assert sum(counts) <= 5_500_000
    assert counts[:4] == sorted(counts[:4])
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 12_000_000


@pytest.mark.unit
def test_weights_are_stored_as_float16_and_compute_in_float32() -> None:
    for name in NAMES:
        with safe_open(model_path(name) / "model.safetensors", "pt") as file:
            assert {file.get_tensor(key).dtype for key in file.keys()} <= {torch.float16, torch.int64}  # noqa: SIM118
        assert json.loads((model_path(name) / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.unit
def test_the_four_models_share_one_tokenizer() -> None:
    files = {(model_path(name) / "tokenizer.json").read_bytes() for name in MODELS}
    assert len(files) == 1


@pytest.mark.unit
def test_the_tokenizer_writes_back_whatever_it_read() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path("s"))
    for text in ("Two small red cups.", "naïve café, 3 × 4 = 12\n\tnext", '{"image": "a.png"}', "狗"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


@pytest.mark.unit
def test_the_chat_template_renders_rounds_with_strings_and_with_parts() -> None:
    processor = AutoProcessor.from_pretrained(model_path("s"))
    expected = (
        "<s>USER: <image>\nDescribe the image. ASSISTANT: The image shows a farm.</s>"
        "USER: Is there a dog in the image? ASSISTANT:"
    )
    parts = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe the image."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "The image shows a farm."}]},
        {"role": "user", "content": [{"type": "text", "text": "Is there a dog in the image?"}]},
    ]
    for chat in (CHAT, parts):
        assert processor.apply_chat_template(chat, add_generation_prompt=True) == expected


@pytest.mark.unit
def test_training_rows_equal_the_chat_template_of_the_same_dialogue() -> None:
    processor = AutoProcessor.from_pretrained(model_path("s"))
    turns = [
        ("Describe the image.", "The image shows a farm. A cow is there."),
        ("Is there a dog?", "No, there is not."),
    ]
    row = DialogueEncoder(processor.tokenizer).row([turns])
    chat = [
        {"role": "user", "content": "<image>\nDescribe the image."},
        {"role": "assistant", "content": turns[0][1]},
        {"role": "user", "content": turns[1][0]},
        {"role": "assistant", "content": turns[1][1]},
    ]
    text = processor.apply_chat_template(chat).replace("<image>", "<image>" * 9)
    assert row.ids == processor.tokenizer(text, add_special_tokens=False).input_ids
    assert row.position == list(range(len(row.ids)))


@pytest.mark.unit
def test_dialogues_of_a_row_do_not_see_each_other() -> None:
    processor = AutoProcessor.from_pretrained(model_path("xs"))
    model = AutoModelForImageTextToText.from_pretrained(model_path("xs")).double()
    encoder = DialogueEncoder(processor.tokenizer)
    dialogues = [[("Is there a dog?", "No.")], [("What is there?", "A large red cup is there.")]]
    pixels = torch.randn(1, 3, 126, 126, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        apart = [rows_loss(model, pixels, [encoder.row([turns])]).item() for turns in dialogues]
        together = rows_loss(model, pixels, [encoder.row(dialogues)]).item()
    scored = [sum(encoder.row([turns]).scored) for turns in dialogues]
    mean = sum(loss * count for loss, count in zip(apart, scored, strict=True)) / sum(scored)
    assert together == pytest.approx(mean, rel=1e-9)


@pytest.mark.unit
def test_the_tokenizer_is_the_same_whenever_it_is_trained(tmp_path: Path) -> None:
    llava_processor().save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (model_path("s") / "tokenizer.json").read_bytes()


@pytest.mark.unit
def test_every_size_has_a_plan() -> None:
    assert set(PLANS) == set(MODELS)
    assert BATCH > 0


def test_the_larger_model_recalls_things_of_held_out_scenes() -> None:
    from seelevel.world.models.measure import measure

    figures = measure(model_path("l"), "dev", limit=60, questions=90)
    assert figures["recall"] > 0.75
    assert figures["chair_i"] < 0.25


def test_dev_has_scenes_for_the_full_evaluation() -> None:
    assert len(list(draw_scenes("dev", 600))) == 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["s", "zz"]}, "--models: .*'zz'.* clip, l, m, s, xs"),
        ({"steps_scale": float("nan")}, "--steps-scale: nan "),
        ({"steps_scale": 0.0}, "--steps-scale: 0.0 "),
    ],
)
def test_unknown_models_and_steps_are_refused_before_training(tmp_path: Path, arguments, message) -> None:
    with pytest.raises(InputError, match=message):
        train_family(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
