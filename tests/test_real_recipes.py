"""The recipes for real models hold the paper's settings and say what they need."""

import re
from importlib import resources

import pytest

from seelevel.generate.settings import ExpertsSettings, IncrementalSettings
from seelevel.recipe import load_recipe

pytestmark = pytest.mark.unit
REAL = ["llava15-7b-amp-meg", "llava15-7b-amp-ig", "qwen25vl-3b-amp"]


@pytest.mark.parametrize("name", REAL)
def test_alignment_is_as_in_the_paper(name):
    align = load_recipe(name).align
    assert (align.objective.name, align.objective.beta, align.objective.penalty) == ("mdpo", 0.1, "paper")
    assert (align.lora.r, align.lora.alpha, align.lora.target) == (64, 16, "attention+mlp")
    assert (align.epochs, align.learning_rate, align.ladders_per_step) == (4, 5e-5, 16)
    assert (align.scheduler, align.warmup_steps, align.max_grad_norm) == ("cosine", 20, 0.3)


@pytest.mark.parametrize("name", REAL)
def test_experts_decode_and_the_check_encodes_as_in_the_paper(name):
    recipe = load_recipe(name)
    sampling = recipe.generate.sampling
    assert (sampling.num_beams, sampling.repetition_penalty, sampling.max_new_tokens) == (4, 1.1, 512)
    assert (recipe.check.encoder, recipe.check.threshold) == ("openai/clip-vit-large-patch14", 0.85)


@pytest.mark.parametrize("name", ["llava15-7b-amp-meg", "qwen25vl-3b-amp"])
def test_the_model_to_align_is_the_smallest_expert_of_four_levels(name):
    recipe = load_recipe(name)
    assert isinstance(recipe.generate, ExpertsSettings)
    assert recipe.generate.levels_at_most == 4
    assert recipe.generate.experts[-1] == recipe.align.model


def test_incremental_generation_fine_tunes_on_three_thirds_of_other_records():
    recipe = load_recipe("llava15-7b-amp-ig")
    assert isinstance(recipe.generate, IncrementalSettings)
    assert (recipe.generate.levels, recipe.generate.finetune.limit) == (5, 90_000)
    assert recipe.generate.finetune.prompts != recipe.data.prompts


def test_a_family_without_an_adapter_trains_in_rows():
    assert load_recipe("qwen25vl-3b-amp").align.layout == "rows"


@pytest.mark.parametrize("name", REAL)
def test_the_head_of_the_file_says_what_it_needs(name):
    text = resources.files("seelevel").joinpath("recipes", f"{name}.yaml").read_text()
    head = text[: text.index("\nname:")]
    assert re.search(r"Memory.*\d+ GB", head, re.DOTALL)
    assert re.search(r"Time.*hours", head, re.DOTALL)
