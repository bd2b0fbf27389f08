"""What was run and with which settings, from the recipe and the manifests."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import yaml

from seelevel import __version__
from seelevel.facts import AlignFacts, CheckFacts, DataFacts, EvaluateFacts, GenerateFacts
from seelevel.formats import kind
from seelevel.report.costs import say_time, total_seconds
from seelevel.report.figures import CONTROL_WORDS, comparisons
from seelevel.report.reading import SIDES, RunFolder
from seelevel.scorers.overlap import overlap_words
from seelevel.store import ROUND_MODEL

LIBRARIES = ("torch", "transformers", "peft", "spacy")
IDS_SHOWN = 4


def kicker(run: RunFolder) -> str:
    """One line below the title: recipe, seed, stages done."""
    parts = [f"recipe {run.setting('name')}, seed {run.setting('seed')}"] if run.recipe else []
    expected = {s.name for s in run.expected}
    unfinished = [f"{n} {s.state}" for n, s in run.all_stages if s.name in expected and not s.done]
    parts.append(f"all stages done in {say_time(total_seconds(run))}" if not unfinished else "; ".join(unfinished))
    return " · ".join(parts)


def missing(run: RunFolder) -> dict[str, str]:
    """The sentence that replaces a part of the page whose stage is not finished."""
    state = {name: stage.state for name, stage in run.stages.items()}
    return {
        "ladders": f"No ladders yet: generate is {state['generate']}.",
        "align": f"No training curve yet: align is {state['align']}.",
        "evaluate": f"No figures yet: evaluate is {state['evaluate']}.",
        "feedback": f"No feedback yet: feedback is {state['feedback']}.",
        "examples": f"No answers of both models to compare: evaluate is {state['evaluate']}.",
    }


def run_facts(run: RunFolder) -> list[tuple[str, str]]:
    """Names and values of the first table. Rows that the recipe and the manifests do not fill are left out."""
    rows = [
        ("Model aligned", str(run.setting("align", "model") or "")),
        ("Base model trained by", run.stages["base"].words),
        ("Levels", _levels(run)),
        ("Check", run.stages["check"].words),
        ("Feedback", run.stages["feedback"].words),
        ("Training", run.stages["align"].words),
        ("Rounds", _rounds(run)),
        ("Control", _control(run)),
        ("Prompts", str(run.setting("data", "prompts") or "")),
        ("Records", _records(run)),
        ("Evaluated on", _evaluated(run)),
        ("Judged", judged(run)),
        ("Left unscored", _unscored(run)),
        ("Training pictures", _overlap(run)),
        ("Versions", _versions()),
    ]
    return [(name, text) for name, text in rows if text]


def _rounds(run: RunFolder) -> str:
    count = len(run.earlier) + 1
    if count == 1:
        return ""
    return f"{count}: each asks the same prompts again and trains further; ladders and training are the last one's"


def _control(run: RunFolder) -> str:
    """What the control is; empty if the run has none."""
    if run.control is None:
        return ""
    return f"{CONTROL_WORDS}: {run.control.words or run.control.state}"


def _levels(run: RunFolder) -> str:
    """The source of the levels, and the sizes of the parts of a fine-tuning set."""
    stage = run.stages["generate"]
    parts = (stage.facts(GenerateFacts).finetune or {}).get("parts")
    words = stage.words.replace(ROUND_MODEL, "the model of round ")
    return words + (f", in parts of {' + '.join(map(str, parts))} records" if parts and words else "")


def _records(run: RunFolder) -> str:
    facts = run.stages["data"].facts(DataFacts)
    if facts.records is None and not run.rejected:
        return ""
    counts = [
        "" if facts.records is None else f"{facts.records:,} read",
        f"{len(run.rejected):,} set aside" if run.rejected else "none set aside",
        "" if facts.ladders is None else f"{facts.ladders:,} used",
    ]
    return ", ".join(filter(None, counts))


def _evaluated(run: RunFolder) -> str:
    stage = run.stages["evaluate"]
    questions = stage.facts(EvaluateFacts).questions or {}
    counts = ", ".join(f"{name} {count:,}" for name, count in questions.items())
    return "; ".join(filter(None, (stage.words, f"questions: {counts}" if counts else "")))


def judged(run: RunFolder) -> str:
    """Who judged the answers of each benchmark, by which template, how often and when; and how much the repeats differ.
    Empty if no judge did."""
    settings = (run.metrics or {}).get("settings") or {}
    dates = {name: days for name, days in (settings.get("judged") or {}).items() if days}
    if not dates:
        return ""
    repeats = settings.get("judge_repeats", 1)
    parts = [f"by {settings.get('judge')}" + (f", each answer {repeats} times" if repeats > 1 else "")]
    for name, days in dates.items():
        when = f"on {days[0]}" if days[0] == days[1] else f"from {days[0]} to {days[1]}"
        parts.append(f"{name} {when} by the template {settings['judge_templates'][name]}")
    for c in comparisons(run.metrics, run.scorers):
        figures = {side: ((run.metrics or {}).get(side) or {}).get(c.name) or {} for side in SIDES}
        spreads = [f"{side} {c.say(figure['sd'])}" for side, figure in figures.items() if figure.get("sd") is not None]
        if c.metric.headline and spreads:
            parts.append(f"{c.metric.label}, standard deviation over the repeats: {', '.join(spreads)}")
    return "; ".join(parts)


def _unscored(run: RunFolder) -> str:
    """Unscored items per benchmark and side; empty without an evaluation."""
    shares = unscored_shares(run)
    return "" if shares is None else "; ".join(shares) or "nothing: every answer was scored"


def _overlap(run: RunFolder) -> str:
    """Whether training pictures are in the evaluation; empty for a run that did not look."""
    overlap = (run.metrics or {}).get("overlap")
    if overlap is None:
        return ""
    return overlap_words(overlap) or f"none of {overlap['training_pictures']:,} is in the evaluation, nor nearly"


def overlap_note(run: RunFolder) -> str:
    """The warning beside the figures; empty without training pictures in the evaluation."""
    words = overlap_words((run.metrics or {}).get("overlap") or {"benchmarks": {}})
    return f"Warning: {words}. Figures on these pictures also measure memory." if words else ""


def unscored_shares(run: RunFolder) -> list[str] | None:
    """One text per benchmark and side with unscored items; None without an evaluation."""
    counts = ((run.metrics or {}).get("settings") or {}).get("unscored")
    if counts is None:
        return None
    shares = list[str]()
    for side in SIDES:
        for name, count in (counts.get(side) or {}).items():
            items = run.answers(side, name)
            shares += _share(f"{side} {name}", int(count), len(items))
            # A dialogue is scored if one of its rounds is. Its unscored rounds are counted on their own.
            rounds = [item["ratings"] for item in items if item.get("ratings")]
            shares += _share(f"{side} {name} rounds", sum(r.count(None) for r in rounds), sum(map(len, rounds)))
    return shares


def _share(what: str, count: int, total: int) -> list[str]:
    if not count:
        return []
    return [f"{what}: {count:,} of {total:,} ({100 * count / max(total, 1):.1f}%)"]


def checked(run: RunFolder) -> list[str]:
    """What the check counted about its judge, its encoder, and people's overrides."""
    facts, remarks = run.stages["check"].facts(CheckFacts), []
    if facts.judged:
        remarks.append(f"{facts.judged:,} ladders have the order of the judge {run.setting('check', 'judge')}.")
    if facts.contradiction_rate is not None:
        remarks.append(
            f"The judge compared pairs, and contradicted itself in {facts.circles or 0:,} of {facts.triples or 0:,} "
            f"triples of responses ({100 * facts.contradiction_rate:.2f}%): A better than B, B than C, C than A."
        )
    if facts.overridden:
        remarks.append(f"In {facts.overridden:,} ladders people have set levels by hand.")
    if facts.split_texts:
        remarks.append(f"{facts.split_texts:,} texts were too long for the encoder, and were compared in pieces.")
    return remarks


def dropped(run: RunFolder) -> list[str]:
    """Responses and written prompts that generation left out, by reason."""
    facts = run.stages["generate"].facts(GenerateFacts)
    responses = [f"{count:,} responses were left out: {why}." for why, count in (facts.dropped or {}).items()]
    prompts = (facts.set_aside_reasons or {}).items()
    return responses + [f"{count:,} written prompts were set aside: {why}." for why, count in prompts]


def _versions() -> str:
    versions = [f"seelevel {__version__}", f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return ", ".join(versions) + " (when this page was written)"


def rejected(run: RunFolder) -> list[tuple[str, int, str]]:
    """Why records were set aside: reason, number of records, and some of their ids. The most common reason is first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for record in run.rejected:
        name = record.get("id") or record.get("where") or "?"
        reasons[kind(str(record.get("reason", "no reason noted")))].append(str(name))
    ordered = sorted(reasons.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        (why, len(ids), ", ".join(ids[:IDS_SHOWN]) + (", …" if len(ids) > IDS_SHOWN else "")) for why, ids in ordered
    ]


def recipe_text(run: RunFolder) -> str:
    return yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True) if run.recipe else ""


def training_words(run: RunFolder) -> str:
    """Steps, the change of the loss, ladders that were left out, and warnings."""
    facts = run.stages["align"].facts(AlignFacts)
    points = run.logged("loss")
    sentences = []
    if points:
        first, last = (f"{loss:.3g}".replace("-", "\N{MINUS SIGN}") for _, loss in (points[0], points[-1]))
        sentences.append(
            f"{points[-1][0]:,.0f} steps; the loss went from {first} at the first step to {last} at the last."
        )
        if not run.stages["align"].done:
            sentences.append("The training is not finished.")
    if facts.left_out:
        reasons = ", ".join(f"{count:,} for {why}" for why, count in facts.left_out.items())
        sentences.append(f"{facts.ladders or 0:,} ladders were trained on; left out: {reasons}.")
    if facts.layout and run.setting("align", "layout") not in (None, facts.layout):
        sentences.append(f"Training fell back to layout {facts.layout}, because the other one did not agree with it.")
    if facts.logprobs:
        means = ", ".join(f"{entry['mean']:.2f} at level {level}" for level, entry in facts.logprobs.items())
        means = means.replace("-", "\N{MINUS SIGN}")
        sentences.append(f"Before training, the mean log-probability per token of the responses was {means}.")
    if facts.in_order:
        sentences.append(_in_order(facts.in_order))
    if facts.best_fell:
        sentences.append("Warning: for a while the best responses became less likely than before training.")
    return " ".join(sentences)


def _in_order(counts: Mapping[str, int]) -> str:
    """How many ladders the trained model has in the right order, and the reference."""
    words = f"After training, the better response of every pair is more likely in {counts['after']:,} of "
    words += f"{counts['ladders']:,} ladders"
    if "before" not in counts:
        return f"{words}."
    return f"{words} (before: {counts['before']:,}); every pair's margin is above 0 in {counts['margin']:,}."


def control_training(run: RunFolder) -> str:
    """What the control was trained on; empty if there is no control yet."""
    control, aligned = (AlignFacts() if s is None else s.facts(AlignFacts) for s in (run.control, run.stages["align"]))
    if control.steps is None:
        return ""
    words = f"The control took {control.steps:,} steps on {control.ladders or 0:,} ladders."
    if aligned.ladders not in (None, control.ladders):
        words += " SFT also learns from ladders without a pair."
    return words
