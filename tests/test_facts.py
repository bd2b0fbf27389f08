"""Facts: what manifests keep, and the words of settings."""

import json
from dataclasses import fields

import pytest

from seelevel import facts
from seelevel.check.settings import CheckSettings
from seelevel.facts import CheckFacts, DataFacts, Facts, GenerateFacts
from seelevel.feedback.settings import FeedbackSettings
from seelevel.recipe import load_recipe, shipped_recipes
from seelevel.scorers.settings import EvaluateSettings
from seelevel.training.settings import AlignSettings, LoraSettings

pytestmark = pytest.mark.unit
KINDS = [kind for kind in vars(facts).values() if isinstance(kind, type) and issubclass(kind, Facts) and kind != Facts]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_facts_survive_a_manifest(kind: type[Facts]) -> None:
    values = {field.name: {"a": n} if "dict" in str(field.type) else n for n, field in enumerate(fields(kind))}
    manifest = json.loads(json.dumps(kind(**values).written()))
    assert kind.read({**manifest, "fingerprint": "x", "unknown": 3}) == kind(**values)


def test_facts_that_nobody_counted_are_not_written() -> None:
    assert CheckFacts(ladders=3, reordered=0).written() == {"ladders": 3, "reordered": 0}


def test_a_manifest_of_an_older_version_is_read() -> None:
    assert DataFacts.read({"ladders": 3}) == DataFacts(ladders=3)
    assert GenerateFacts.read(None) == GenerateFacts()


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_stage_of_a_shipped_recipe_describes_itself_in_one_line(name: str) -> None:
    recipe = load_recipe(name)
    stages = [recipe.generate, recipe.check, recipe.feedback, recipe.align, recipe.evaluate, recipe.base]
    for settings in stages:
        words = "" if settings is None else settings.words
        assert "\n" not in words and "None" not in words and (words or settings is None)
        assert settings is None or "words" not in settings.model_dump()


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (CheckSettings(encoder="clip", threshold=0.85), ["autocheck", "clip", "0.85", "builtin"]),
        (CheckSettings(checker="judge", judge="oracle", judge_mode="pairwise"), ["oracle", "pairwise"]),
        (CheckSettings(encoder="clip", judge="oracle", judge_share=0.25), ["clip", "25%", "oracle", "listwise"]),
        (CheckSettings(checker="objects", annotations="coco.json", rule="f2"), ["objects by f2", "coco.json", "names"]),
        (
            CheckSettings(checker="objects", annotations="facts", synonyms="w.txt", judge="oracle", judge_share=0.25),
            ["objects by f1", "facts", "words of w.txt", "25%", "oracle"],
        ),
        (FeedbackSettings(judge="oracle"), ["oracle"]),
        (FeedbackSettings(judge="oracle", model="small", rounds=3), ["oracle", "3 answers", "small"]),
        (AlignSettings(model="small"), ["mdpo", "beta 0.1", "penalty paper", "4 epochs", "16 ladders", "full weights"]),
        (AlignSettings(model="small", lora=LoraSettings(r=8)), ["LoRA r=8", "layout shared", "0.0003"]),
        (EvaluateSettings(data="held-out", judge="oracle"), ["chair", "pope", "held-out", "oracle"]),
    ],
)
def test_settings_name_what_matters(
    settings: CheckSettings | FeedbackSettings | AlignSettings | EvaluateSettings, parts: list[str]
) -> None:
    assert [part for part in parts if part not in settings.words] == []
