"""The recipes for real models hold the paper's settings and say what they need."""

import re
from importlib import resources

import pytest

from seelevel.forecast.shapes import shape_of
from seelevel.forecast.training import HEAD_TOKENS, TOKENS_PER_WORD, TURN_TOKENS, Lengths, training_cost
from seelevel.generate.settings import ExpertsSettings, IncrementalSettings
from seelevel.recipe import load_recipe
from seelevel.training.settings import precision

pytestmark = pytest.mark.unit
REAL = ["llava15-7b-amp-meg", "llava15-7b-amp-ig", "qwen25vl-3b-amp"]


def head_of(name):
    """The comment above a recipe."""
    text = resources.files("seelevel").joinpath("recipes", f"{name}.yaml").read_text()
    return text[: text.index("\nname:")]


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
    assert recipe.generate.max_levels == 4
    assert recipe.generate.experts[-1] == recipe.align.model


def test_incremental_generation_fine_tunes_on_three_thirds_of_other_records():
    recipe = load_recipe("llava15-7b-amp-ig")
    assert isinstance(recipe.generate, IncrementalSettings)
    assert (recipe.generate.levels, recipe.generate.finetune.limit) == (5, 90_000)
    assert recipe.generate.finetune.prompts != recipe.data.prompts


def test_a_family_without_an_adapter_trains_in_rows():
    assert load_recipe("qwen25vl-3b-amp").align.layout == "shared"


@pytest.mark.parametrize("name", REAL)
def test_the_head_of_the_file_says_what_it_needs(name):
    head = head_of(name)
    assert re.search(r"Memory.*\d+ GB", head, re.DOTALL)
    assert re.search(r"Time.*hours", head, re.DOTALL)


@pytest.mark.parametrize("name", REAL)
def test_what_aligning_needs_in_the_head_is_the_forecast(name):
    recipe = load_recipe(name)
    shape = shape_of(recipe.align.model)
    answer = round(110 * TOKENS_PER_WORD) + TURN_TOKENS - HEAD_TOKENS  # the head says how long they are
    sizes = (40 + shape.image_tokens, (answer,) * recipe.generate.max_levels, 1)
    sample = [Lengths(*sizes, interaction=str(number)) for number in range(32)]
    cost = training_cost(shape, recipe.align, sample, 11_000, "cuda", *precision(recipe.align, "cuda"))
    text = " ".join(head_of(name).replace("\n#", "").split())
    assert float(re.search(r"[Aa]lign: (\d+) GB", text)[1]) == pytest.approx(cost.memory.total / 1e9, rel=0.15)
    assert f"{cost.steps:,} steps" in text
    hours = (cost.flops + cost.reference_flops) / 150e12 / 3600
    assert float(re.search(r"Align: ([\d.]+) hours", text)[1]) == pytest.approx(hours, rel=0.15)


def test_feedback_on_a_real_model_is_judged_by_a_server_within_a_budget():
    recipe = load_recipe("llava15-7b-dress")
    assert (recipe.check, recipe.align.objective.name, recipe.feedback.rounds) == (None, "conditional", 3)
    assert recipe.feedback.judge == recipe.evaluate.judge
    assert recipe.feedback.judge.rpartition("#")[2] in recipe.api.prices
    assert recipe.api.budget is not None


def test_what_aligning_on_feedback_needs_in_the_head_is_the_forecast():
    recipe = load_recipe("llava15-7b-dress")
    shape = shape_of(recipe.align.model)
    answer = round(110 * TOKENS_PER_WORD) + TURN_TOKENS - HEAD_TOKENS
    first, later = 40 + shape.image_tokens, answer + 60  # a round more: the answer before and the user's words
    sample = [
        Lengths(first + round_ * later, (answer,) * (1 if round_ else 2), 1, interaction=str(number))
        for number in range(64)
        for round_ in range(recipe.feedback.rounds)
    ]
    cost = training_cost(shape, recipe.align, sample, 33_000, "cuda", *precision(recipe.align, "cuda"))
    text = " ".join(head_of("llava15-7b-dress").replace("\n#", "").split())
    assert float(re.search(r"Align: (\d+) GB", text)[1]) == pytest.approx(cost.memory.total / 1e9, rel=0.15)
    assert f"{cost.steps:,} steps" in text
    hours = cost.flops / 150e12 / 3600
    assert float(re.search(r"Align: ([\d.]+) hours", text)[1]) == pytest.approx(hours, rel=0.15)
