"""Model card and data card: README.md with front matter, filled from what the run knows about itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from seelevel import __version__
from seelevel.export.data import FILES, Data
from seelevel.export.weights import Rounding
from seelevel.facts import AlignFacts, CheckFacts, EvaluateFacts
from seelevel.ladder import IMAGE_MARK, Ladder
from seelevel.models.conditions import Conditions
from seelevel.models.folders import is_hub_name
from seelevel.naming import ORACLE, OWN_BASE, WORLD
from seelevel.opening import read_text
from seelevel.recipe import Recipe, texts_in
from seelevel.report.costs import say_time, total_seconds
from seelevel.report.facts import checked, run_facts, unscored_shares
from seelevel.report.figures import CONTROL_WORDS, Comparison, Figure, against_control, comparisons, outcome
from seelevel.report.reading import RunFolder
from seelevel.stages import made_under_these_settings, without_keys
from seelevel.training.settings import NO_EFFECT
from seelevel.yaml_text import load_yaml

VERDICTS = {
    "better": "better",
    "worse": "**worse**",
    "changed": "changed",
    "unclear": "no clear change",
    "chance": "at chance",
}
CONTROL_VERDICTS = VERDICTS | {"unclear": "no clear difference", "changed": "different"}
COLUMNS = ["", "base", "aligned", "difference", "n", "verdict"]
CONTROL_COLUMNS = ["control", "from the control", "verdict on that"]
WORLDS_LICENCE = "apache-2.0"
"""Of everything that the embedded world draws, writes and trains."""
METHODS = {
    "mdpo": "AMP, [arXiv 2405.11165](https://arxiv.org/abs/2405.11165)",
    "conditional": "DRESS, [arXiv 2311.10081](https://arxiv.org/abs/2311.10081)",
}
"""The paper that an objective comes from, for the two papers that this package follows."""
SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Exported:
    """What an export holds. `base`: the folder of the base model; `rounding`: None for an adapter; `data`: None if no
    ladder has a pair."""

    run: RunFolder
    recipe: Recipe
    base: Path
    rounding: Rounding | None
    conditions: Conditions | None
    data: Data | None


def model_card(exported: Exported) -> str:
    """README.md of the model or the adapter."""
    run, recipe, facts = exported.run, exported.recipe, exported.run.stages["align"].facts(AlignFacts)
    rows = comparisons(run.metrics, run.scorers)
    with_control = any(row.control for row in rows)
    name = _base_name(recipe)
    front: dict[str, Any] = {
        "library_name": "transformers" if exported.rounding else "peft",
        "pipeline_tag": "image-text-to-text",
        "tags": ["seelevel", "preference-alignment", recipe.align.objective.name],
    }
    if _on_hub(name):
        front |= {"base_model": name, "base_model_relation": "finetune" if exported.rounding else "adapter"}
    licence = _licence(name, exported.base)
    text = _render(
        "model_card.md.j2",
        front=front | licence,
        title=_title(run),
        base=name,
        made=recipe.base is not None and recipe.align.model == OWN_BASE,
        rounding=exported.rounding,
        condition=exported.conditions.text("top") if exported.conditions else "",
        outcome=" ".join(filter(None, (outcome(rows), against_control(rows)))),
        facts=[*run_facts(run), *_training_rows(run, recipe, facts)],
        data=exported.data,
        left_out=facts.left_out or {},
        columns=COLUMNS + (CONTROL_COLUMNS if with_control else []),
        rows=[_figure_row(row) + (_control_cells(row) if with_control else []) for row in rows],
        worse=[_sentence(row) for row in rows if row.verdict == "worse"],
        control=CONTROL_WORDS if with_control else "",
        worse_than_control=[
            _sentence_of_control(row) for row in rows if row.control and row.control.verdict == "worse"
        ],
        limits=_limits(run, recipe, facts, rows),
        licence=licence.get("license", ""),
        recipe=_recipe_text(recipe) if made_under_these_settings(recipe, run.root, "align") else "",
        method=METHODS.get(recipe.align.objective.name, ""),
    )
    return _without_places(text, recipe, run.root)


def data_card(exported: Exported, ladders: Sequence[Ladder]) -> str:
    """README.md of the preference data."""
    run, recipe, data = exported.run, exported.recipe, exported.data
    assert data is not None
    licence = {"license": WORLDS_LICENCE} if _world_data(recipe) else {}
    front: dict[str, Any] = {
        "task_categories": ["image-text-to-text"],
        "tags": ["seelevel", "preferences", "dpo"],
        "size_categories": [next((name for most, name in SIZES if data.pairs < most), "n>1M")],
        "configs": [{"config_name": name, "data_files": file} for name, file in FILES.items()],
    }
    example = next(ladder for ladder in ladders if ladder.pairs())
    better, worse = example.pairs()[0]
    text = _render(
        "data_card.md.j2",
        front=front | licence,
        title=_title(run),
        data=data,
        files=FILES,
        licence=licence.get("license", ""),
        prompts=str(run.setting("data", "prompts")),
        facts=[
            (key, value) for key, value in run_facts(run) if key in ("Levels", "Rounds", "Check", "Feedback", "Records")
        ],
        checked=checked(run),
        asked=" ".join(example.prompt[-1]["content"].replace(IMAGE_MARK, "").split()),
        better=" ".join(example.responses[better].text.split()),
        worse=" ".join(example.responses[worse].text.split()),
    )
    return _without_places(text, recipe, run.root)


def _render(template: str, front: dict[str, Any], **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("seelevel", "export"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", "\\|")
    body = environment.get_template(template).render(version=__version__, **values)
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{body.strip()}\n"


def _title(run: RunFolder) -> str:
    return str(run.setting("report", "title") or run.setting("name"))


# --- what the run knows -------------------------------------------------------------------------------------------


def _base_name(recipe: Recipe) -> str:
    """The model that was there before the run."""
    if recipe.base is not None and recipe.align.model == OWN_BASE:
        return recipe.base.model
    return recipe.align.model


def _on_hub(name: str) -> bool:
    return "/" in name and is_hub_name(name) and not Path(name).is_dir() and not name.startswith(WORLD)


def _licence(name: str, base: Path) -> dict[str, Any]:
    """The base's licence as front matter: from its own card, or the world's; empty if there is none."""
    if name.startswith(WORLD):
        return {"license": WORLDS_LICENCE}
    card = base / "README.md"
    try:
        head = re.match(r"---\n(.*?)\n---", read_text(card), re.S) if card.is_file() else None
        front = load_yaml(head[1]) if head else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    keys = ("license", "license_name", "license_link")
    return {key: front[key] for key in keys if front.get(key)} if isinstance(front, dict) else {}


def _world_data(recipe: Recipe) -> bool:
    """Whether pictures, prompts and responses are all the embedded world's."""
    writers = [recipe.data.prompts, *recipe.generate.models]
    writers += [] if recipe.feedback is None or recipe.feedback.model is None else [recipe.feedback.model]
    of_world = recipe.base is not None and _base_name(recipe).startswith(WORLD)
    return all(name.startswith(WORLD) or name == ORACLE or (of_world and name == OWN_BASE) for name in writers)


def _training_rows(run: RunFolder, recipe: Recipe, facts: AlignFacts) -> list[tuple[str, str]]:
    manifest = run.stages["align"].manifest or {}
    seconds = manifest.get("seconds")
    total = say_time(total_seconds(run))
    where = f" in {facts.dtype} on {facts.device}" if facts.dtype and facts.device else ""
    weights = "" if facts.trained_weights is None else f", {facts.trained_weights:,} weights"
    return [
        ("Steps", f"{facts.steps:,} on {facts.ladders or 0:,} ladders{weights}" if facts.steps is not None else ""),
        ("Training time", "" if seconds is None else f"{say_time(float(seconds))}{where}, of {total} for the run"),
        ("Seed", str(recipe.seed)),
    ]


def _figure_row(row: Comparison) -> list[str]:
    sides = [_with_interval(row, figure) for figure in (row.base, row.aligned)]
    change = "–" if row.difference is None else _change(row)
    count = "" if row.difference is None or row.difference.n is None else f"{row.difference.n:,}"
    arrow = {"lower": " ↓", "higher": " ↑"}.get(row.metric.better, "")
    return [row.metric.label + arrow, *sides, change, count, VERDICTS.get(str(row.verdict), "no interval")]


def _with_interval(row: Comparison, figure: Figure | None) -> str:
    return "–" if figure is None else f"{row.say(figure.value)} ({figure.interval(row.say)})"


def _control_cells(row: Comparison) -> list[str]:
    control = row.control
    if control is None or control.difference is None:
        return ["–", "–", "–"]
    verdict = CONTROL_VERDICTS.get(str(control.verdict), "no interval")
    return [_with_interval(row, control.base), _change(control), verdict]


def _sentence_of_control(row: Comparison) -> str:
    control = row.control
    assert control is not None and control.base is not None and control.aligned is not None
    sides = f"{row.say(control.aligned.value)}, the control {row.say(control.base.value)}"
    return f"{row.metric.label}: {sides}; {_change(control)}."


def _change(row: Comparison) -> str:
    assert row.difference is not None
    return f"{row.say_change(row.difference.value, unit=True)} ({row.difference.interval(row.say_change)})"


def _sentence(row: Comparison) -> str:
    assert row.base is not None and row.aligned is not None
    meaning = f" ({row.metric.meaning})" if row.metric.meaning else ""
    sides = f"{row.say(row.base.value)} before, {row.say(row.aligned.value)} after"
    return f"{row.metric.label}{meaning}: {sides}; {_change(row)}."


def _limits(run: RunFolder, recipe: Recipe, facts: AlignFacts, rows: Sequence[Comparison]) -> list[str]:
    """What the figures do not show, as far as the run tells."""
    questions = run.stages["evaluate"].facts(EvaluateFacts).questions or {}
    counts = ", ".join(f"{name} {count:,}" for name, count in questions.items())
    limits = [f"It was measured on questions of {recipe.evaluate.data} ({counts}) and on nothing else."]
    if not any(row.metric.kind == "rate" and row.metric.better == "lower" and row.verdict == "better" for row in rows):
        limits.append("No error rate is shown to have fallen: read the table before you use it.")
    controls = [row.control for row in rows if row.control is not None]
    if controls and not any(row.verdict == "better" for row in controls):
        limits.append(f"No figure is shown to be better than the control's: {CONTROL_WORDS}.")
    if chance := [row.metric.label for row in rows if row.verdict == "chance"]:
        limits.append(f"The base model guesses at {'; '.join(chance)}: these figures say nothing about it.")
    if recipe.evaluate.judge is not None:
        limits.append(f"{recipe.evaluate.judge} judged the answers that need a judge, and no person checked it.")
    if shares := unscored_shares(run):
        limits.append(f"Answers without a score: {'; '.join(shares)}.")
    if not run.stages["check"].facts(CheckFacts).overridden:
        limits.append("No person has checked the preferences that it learned.")
    if facts.best_fell:
        limits.append("While it trained, its best responses became less likely than before for a while.")
    limits.append(f"One training with one seed ({recipe.seed}): the intervals are over questions, not over seeds.")
    if recipe.align.model.startswith(WORLD) or _base_name(recipe).startswith(WORLD):
        limits.append("It is a tiny model of drawn scenes, made to try the method. It knows no photograph.")
    return limits


def _recipe_text(recipe: Recipe) -> str:
    """The recipe without defaults, servers, trackers and the report. Methods keep their names."""
    kept = without_keys(NO_EFFECT, recipe.model_dump(mode="json", exclude={"api", "report"}, exclude_defaults=True))
    kept["check"] = kept.get("check")
    kept["generate"] = {"method": recipe.generate.method, **kept["generate"]}
    kept["align"]["objective"] = {"name": recipe.align.objective.name, **kept["align"].get("objective", {})}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).strip()


def _without_places(text: str, recipe: Recipe, root: Path) -> str:
    """A card without the folders of this machine: a path keeps its last part."""
    named = [value for _, value in texts_in(recipe.model_dump(mode="json")) if "/" in value and _is_place(value)]
    for place in sorted({*named, str(root), str(Path.home())}, key=len, reverse=True):
        text = text.replace(place, Path(place).name) if len(place) > 1 else text
    return text


def _is_place(value: str) -> bool:
    try:
        return Path(value).is_absolute() or Path(value).exists()
    except OSError:  # a text too long for a path
        return False
