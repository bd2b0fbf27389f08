"""The recipes for real models hold the paper's settings and say what they need."""

import re
from importlib import resources
from pathlib import Path

import pytest

from seelevel.forecast import estimate
from seelevel.forecast.shapes import shape_of
from seelevel.forecast.training import HEAD_TOKENS, TOKENS_PER_WORD, TURN_TOKENS, Lengths, training_cost
from seelevel.generate.settings import ExpertsSettings, IncrementalSettings
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.training.settings import precision

pytestmark = pytest.mark.unit
EXPERTS = [
    "llava15-7b-amp-meg", "qwen25vl-3b-amp", "qwen25vl-7b-amp", "qwen3vl-8b-amp", "qwen35-4b-amp", "internvl35-8b-amp",
    "gemma3-4b-amp", "smolvlm2-2b-amp",
]  # fmt: skip
REAL = [*EXPERTS, "llava15-7b-amp-ig"]


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


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_get_smaller_and_one_of_them_is_aligned(name):
    recipe = load_recipe(name)
    assert isinstance(recipe.generate, ExpertsSettings)
    assert recipe.generate.max_levels == 4
    assert recipe.align.model in recipe.generate.experts
    sizes = [shape_of(expert).weights for expert in recipe.generate.experts]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", EXPERTS)
def test_a_dry_run_forecasts_every_stage(name, tmp_path):
    changes = ["data.prompts=world:prompts", "data.images=null", "evaluate.data=world:dev"]
    cost = estimate(Run(load_recipe(name, changes), tmp_path / "run"))
    rows = {row.stage: row for row in cost.rows}
    for stage in ("generate", "align", "evaluate"):
        assert rows[stage].memory > 1e9
        assert rows[stage].seconds > 0
        assert "no forecast" not in rows[stage].models


PUBLISHED = {  # billions of weights: InternVL's table of models; the files of SmolVLM2, in float32
    "OpenGVLab/InternVL3_5-4B-HF": 4.7,
    "OpenGVLab/InternVL3_5-8B-HF": 8.5,
    "OpenGVLab/InternVL3_5-14B-HF": 15.1,
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": 8.99 / 4,
    "HuggingFaceTB/SmolVLM2-256M-Video-Instruct": 1.03 / 4,
}


@pytest.mark.parametrize(("model", "billions"), PUBLISHED.items())
def test_sizes_of_known_models_are_the_published_ones(model, billions):
    assert shape_of(model).weights / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_table_of_many_answers_is_the_forecast():
    """training.md: K = 16 on LLaVA-1.5-7B, by layout, checkpointing and answers per pass."""
    align = load_recipe("llava15-7b-amp-meg").align.model_copy(update={"tokens_per_batch": 4096})
    shape = shape_of(align.model)
    answer = round(110 * TOKENS_PER_WORD) + TURN_TOKENS - HEAD_TOKENS
    sample = [Lengths(40 + shape.image_tokens, (answer,) * 16, 1, interaction=str(number)) for number in range(32)]
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| `(\w+)` \| ([\d.]+) GB \| ([\d.]+) h \|$", page, re.MULTILINE)
    assert len(rows) == 7
    for layout, answers, checkpointing, memory, hours in rows:
        number = answers.strip("`")
        changes = {
            "layout": layout,
            "answers_per_pass": int(number) if number.isdigit() else "all",
            "gradient_checkpointing": checkpointing == "true",
        }
        cost = training_cost(shape, align.model_copy(update=changes), sample, 11_000, "cuda", "bfloat16", True)
        assert float(memory) == pytest.approx(cost.memory.total / 1e9, abs=0.06)
        assert float(hours) == pytest.approx((cost.flops + cost.reference_flops) / 150e12 / 3600, abs=0.06)


def test_incremental_generation_fine_tunes_on_three_thirds_of_other_records():
    recipe = load_recipe("llava15-7b-amp-ig")
    assert isinstance(recipe.generate, IncrementalSettings)
    assert (recipe.generate.levels, recipe.generate.finetune.limit) == (5, 90_000)
    assert recipe.generate.finetune.prompts != recipe.data.prompts


@pytest.mark.parametrize("name", REAL)
def test_picture_and_prompt_are_computed_once(name):
    assert load_recipe(name).align.layout == "shared"


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
