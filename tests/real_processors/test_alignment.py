"""From photographs and prompts to an aligned model, on the command line, with the family's processor."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.real_processors.families import FAMILIES, TORCHVISION, make_photograph
from tests.slow.running import finish

pytestmark = [
    pytest.mark.real_processor,
    pytest.mark.skipif(not TORCHVISION, reason="the families' processors need torchvision: make test-families"),
]
SIZES = {"wide.jpg": (120, 70), "high.png": (60, 130), "square.jpg": (56, 56), "large.jpg": (200, 150)}


def talk(*turns):
    return [{"from": ("human", "gpt")[n % 2], "value": turn} for n, turn in enumerate(turns)]


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, tmp_path_factory):
    """Family, folder of the model, folder of the run, and what the run printed."""
    place = tmp_path_factory.mktemp(request.param)
    (place / "eval" / "capability").mkdir(parents=True)
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        make_photograph(place / name, width, height, seed)
    model = FAMILIES[request.param].save(place / "model")
    question, answer = "Describe the picture.", "There is a red cup on the table."
    records = [
        {"id": 1, "image": "wide.jpg", "conversations": talk(question, answer)},
        {"id": 2, "image": ["high.png", "square.jpg"], "conversations": talk("What is there?", "Two small dogs.")},
        {"id": 3, "image": "large.jpg", "conversations": talk(question, answer, "Is there a boat?", "No.")},
        {"id": 4, "conversations": talk("What colour is the bicycle?", "The bicycle is blue.")},
    ]
    (place / "prompts.json").write_text(json.dumps(records))
    asked = {"question_id": 1, "image": "wide.jpg", "text": "What colour is it?", "label": "red", "category": "colour"}
    (place / "eval" / "capability" / "questions.jsonl").write_text(json.dumps(asked) + "\n")
    make_photograph(place / "eval" / "wide.jpg", 120, 70, 0)
    recipe = {
        "name": "real",
        "data": {"prompts": str(place / "prompts.json"), "images": str(place)},
        "generate": {"experts": [str(model), "world:xs"], "sampling": {"max_new_tokens": 8}},
        "check": {"encoder": "world:clip"},
        "align": {"model": str(model), "epochs": 1, "ladders_per_step": 2, "learning_rate": 1e-2, "warmup_steps": 0},
        "evaluate": {"benchmarks": ["capability"], "data": str(place / "eval")},
    }
    (place / "real.yaml").write_text(yaml.safe_dump(recipe))
    code, output = finish(["run", place / "real.yaml", "--out", place / "run"])
    assert code == 0, output
    return FAMILIES[request.param], model, place / "run", output


def test_every_ladder_trains_on_a_shared_prefix(run):
    *_, output = run
    assert "align: 4 ladders" in output
    assert "layout shared" in output


def test_the_aligned_model_has_other_weights_and_the_same_ends(run):
    _, base, out, _ = run
    before, after = (load_file(folder / "model.safetensors") for folder in (base, out / "align" / "model"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    configs = [
        json.loads((folder / "generation_config.json").read_text()) for folder in (base, out / "align" / "model")
    ]
    assert configs[0]["eos_token_id"] == configs[1]["eos_token_id"]


def test_transformers_loads_the_aligned_model_and_generates(run):
    _, base, out, _ = run
    folder = out / "align" / "model"
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(processor) is type(AutoProcessor.from_pretrained(base))
    picture = str(out.parent / "wide.jpg")
    content = [{"type": "image", "path": picture}, {"type": "text", "text": "Describe the picture."}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
        return_tensors="pt",
    )  # fmt: skip
    answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > inputs["input_ids"].shape[1]
