"""What was run, with what, and what it cost: the page's tables."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import yaml

from seelevel import __version__
from seelevel.formats import kind
from seelevel.report.reading import RunFolder
from seelevel.store import read_manifest

LIBRARIES = ("torch", "transformers", "peft", "spacy")


@dataclass(frozen=True)
class Cost:
    """One stage's line: `share` is its part of the longest stage's time."""

    name: str
    time: str
    share: float
    memory: str
    facts: str


def kicker(run: RunFolder) -> str:
    """One line below the title: recipe, seed, stages done."""
    parts = [f"recipe {run.setting('name')}, seed {run.setting('seed')}"] if run.recipe else []
    unfinished = [f"{s.name} {s.state}" for s in run.expected if not s.done]
    parts.append(f"all stages done in {say_time(_total(run))}" if not unfinished else "; ".join(unfinished))
    return " · ".join(parts)


def missing(run: RunFolder) -> dict[str, str]:
    """What the page says in place of a part that is not there."""
    state = {name: stage.state for name, stage in run.stages.items()}
    return {
        "ladders": f"No ladders yet: generate is {state['generate']}.",
        "align": f"No training curve yet: align is {state['align']}.",
        "evaluate": f"No figures yet: evaluate is {state['evaluate']}.",
        "feedback": f"No feedback yet: feedback is {state['feedback']}.",
        "examples": f"No answers of both models to compare: evaluate is {state['evaluate']}.",
    }


def run_facts(run: RunFolder) -> list[tuple[str, str]]:
    """Names and values of the first table; what the recipe and the manifests do not say is left out."""
    objective = run.setting("align", "objective")
    found: list[tuple[str, Any]] = [
        ("Model aligned", run.setting("align", "model")),
        ("Experts, best first", _listed(run.setting("generate", "experts"))),
        ("Levels from", _levels(run)),
        ("Check", _check(run)),
        ("Feedback", _feedback(run)),
        ("Objective", _objective(objective)),
        ("Training", _training(run)),
        ("Prompts", run.setting("data", "prompts")),
        ("Records", _records(run)),
        ("Evaluated on", _evaluated(run)),
        ("Judge", run.setting("evaluate", "judge")),
        ("Left unscored", unscored(run)),
        ("Versions", _versions()),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else ""


def _levels(run: RunFolder) -> str:
    """What the levels are made of, where it is not experts."""
    found = run.setting("generate")
    generate = found if isinstance(found, dict) else {}
    finetune, shares, writer = (generate.get(name) for name in ("finetune", "shares", "writer"))
    if writer:
        return f"dialogues written by {writer}"
    if isinstance(finetune, dict):
        parts = (run.stages["generate"].manifest or {}).get("finetune") or {}
        sizes = f" of {' + '.join(map(str, parts['parts']))} records" if parts.get("parts") else ""
        return f"{generate.get('model')} fine-tuned on growing parts{sizes} of {finetune.get('prompts')}"
    return f"perturbation of {', '.join(f'{share:.0%}' for share in shares)} of the words" if shares else ""


def _check(run: RunFolder) -> str:
    check = run.setting("check")
    if not isinstance(check, dict):
        return ""
    judge, share = check.get("judge"), check.get("judge_share")
    if check.get("checker") == "judge":
        return f"order of the judge {judge}, {check.get('judge_mode')}"
    threshold = check.get("threshold")
    above = f", threshold {threshold:g}" if isinstance(threshold, int | float) else ""
    mixed = (
        f"; {share:.0%} of the ladders in the order of the judge {judge}, {check.get('judge_mode')}" if share else ""
    )
    return f"{check.get('checker')} with encoder {check.get('encoder')}{above}, parser {check.get('parser')}{mixed}"


def checked(run: RunFolder) -> list[str]:
    """What the check says of its judge and its encoder, and what people have said in the judge's place."""
    facts, said = run.stages["check"].manifest or {}, []
    if facts.get("judged"):
        said.append(f"{facts['judged']:,} ladders stand in the order of the judge {run.setting('check', 'judge')}.")
    if isinstance(rate := facts.get("contradiction_rate"), int | float):
        said.append(
            f"Comparing by pairs it contradicts itself in {facts['circles']:,} of {facts['triples']:,} threes of "
            f"responses ({100 * rate:.2f}%): A better than B, B than C, C than A."
        )
    if facts.get("overridden"):
        said.append(f"In {facts['overridden']:,} ladders people have set levels by hand.")
    if facts.get("split_texts"):
        said.append(f"{facts['split_texts']:,} texts were longer than the encoder reads at once: compared in pieces.")
    return said


def _feedback(run: RunFolder) -> str:
    feedback = run.setting("feedback")
    if not isinstance(feedback, dict):
        return ""
    rounds, ladders = feedback.get("rounds", 1), "of all answers" if feedback.get("ladders") == "ratings" else "a round"
    again = f", up to {rounds} answers a conversation, by {feedback.get('model')}" if rounds > 1 else ""
    return f"judge {feedback.get('judge')}{again}; one ladder {ladders}"


def _objective(objective: Any) -> str:
    if not isinstance(objective, dict):
        return str(objective or "")
    rest = [
        f"{key.replace('_', ' ')} {'/'.join(value) if key == 'criteria' else value}"
        for key, value in objective.items()
        if key != "name" and value is not None
    ]
    return f"{objective.get('name', '')} ({', '.join(rest)})" if rest else str(objective.get("name", ""))


def _training(run: RunFolder) -> str:
    align = run.setting("align")
    if not isinstance(align, dict):
        return ""
    lora = align.get("lora")
    parts = [
        f"{align['epochs']:g} epochs" if "epochs" in align else "",
        f"{align['ladders_per_step']} ladders a step" if "ladders_per_step" in align else "",
        f"learning rate {align['learning_rate']:g}" if "learning_rate" in align else "",
        "full weights" if not lora else f"LoRA r={lora.get('r')}" if isinstance(lora, dict) else "LoRA",
        f"layout {align['layout']}" if "layout" in align else "",
    ]
    return ", ".join(part for part in parts if part)


def _records(run: RunFolder) -> str:
    facts = run.stages["data"].manifest or {}
    if not facts and not run.rejected:
        return ""
    read = [f"{facts['records']:,} read"] if isinstance(facts.get("records"), int) else []
    kept = [f"{facts['ladders']:,} used"] if isinstance(facts.get("ladders"), int) else []
    return ", ".join([*read, f"{len(run.rejected):,} set aside" if run.rejected else "none set aside", *kept])


def _evaluated(run: RunFolder) -> str:
    counts = (run.stages["evaluate"].manifest or {}).get("questions")
    said = str(run.setting("evaluate", "data") or "")
    if isinstance(counts, dict):
        said += ": " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return said


def unscored(run: RunFolder) -> str:
    """Items that could not be scored, of how many, a benchmark and side; empty without an evaluation."""
    counts = ((run.metrics or {}).get("settings") or {}).get("unscored")
    if not isinstance(counts, dict):
        return ""
    said = []
    for side in ("base", "aligned"):
        for name, count in (counts.get(side) or {}).items():
            items = run.answers(side, name)
            said += _share(f"{side} {name}", int(count), len(items))
            # A dialogue is scored when one of its rounds is; the rounds that are not are told apart.
            rounds = [item["ratings"] for item in items if item.get("ratings")]
            said += _share(f"{side} {name} rounds", sum(r.count(None) for r in rounds), sum(map(len, rounds)))
    return "; ".join(said) or "nothing: every answer was scored"


def _share(what: str, count: int, total: int) -> list[str]:
    if not count:
        return []
    return [f"{what}: {count:,} of {total:,} ({100 * count / max(total, 1):.1f}%)"]


def dropped(run: RunFolder) -> list[str]:
    """Responses that generation left out of the ladders, and questions that it could not use, by reason."""
    facts = run.stages["generate"].manifest or {}
    said = [f"{n:,} responses were left out: {why}." for why, n in (facts.get("dropped") or {}).items()]
    reasons = (facts.get("set_aside_reasons") or {}).items()
    return said + [f"{n:,} written dialogues were set aside: {why}." for why, n in reasons]


def _versions() -> str:
    said = [f"seelevel {__version__}", f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        try:
            said.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            continue
    return ", ".join(said) + " (when this page was written)"


def rejected(run: RunFolder) -> list[tuple[str, int, str]]:
    """Kinds of reasons for setting records aside, how many each, and a few of their ids; the most common first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for record in run.rejected:
        name = record.get("id") or record.get("where") or "?"
        reasons[kind(str(record.get("reason", "no reason noted")))].append(str(name))
    ordered = sorted(reasons.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [(why, len(ids), ", ".join(ids[:4]) + (", …" if len(ids) > 4 else "")) for why, ids in ordered]


def recipe_text(run: RunFolder) -> str:
    return yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True) if run.recipe else ""


def training_words(run: RunFolder) -> str:
    """Steps, what the loss did, what was left out, and what went wrong, in words."""
    facts = run.stages["align"].manifest or {}
    points = [(e["step"], e["loss"]) for e in run.log if isinstance(e.get("loss"), int | float) and "step" in e]
    said = []
    if points:
        first, last = (f"{loss:.3g}".replace("-", "\N{MINUS SIGN}") for _, loss in (points[0], points[-1]))
        said.append(f"{points[-1][0]:,} steps; the loss went from {first} at the first to {last} at the last.")
    left_out = facts.get("left_out")
    if isinstance(left_out, dict) and left_out:
        reasons = ", ".join(f"{count:,} for {why}" for why, count in left_out.items())
        said.append(f"{facts.get('ladders', 0):,} ladders were trained on; left out: {reasons}.")
    if facts.get("layout") and run.setting("align", "layout") not in (None, facts["layout"]):
        said.append(f"Training fell back to layout {facts['layout']}, because the other did not agree with it.")
    if facts.get("best_fell"):
        said.append("Warning: for a while the best responses became less likely than before training.")
    return " ".join(said)


def costs(run: RunFolder) -> list[Cost]:
    """A line a finished stage, inputs first, in the order they ran."""
    manifests: list[tuple[str, Mapping[str, Any]]] = []
    for folder in sorted((run.root / "inputs").glob("*")):
        found = read_manifest(folder)
        if found is not None:
            manifests.append((f"inputs/{folder.name}", found))
    manifests += [(stage.name, stage.manifest) for stage in run.stages.values() if stage.manifest is not None]
    longest = max((_seconds(facts) or 0.0 for _, facts in manifests), default=0.0)
    lines = []
    for name, facts in manifests:
        seconds, peak = _seconds(facts), facts.get("peak_bytes")
        memory = f"{peak / 2**30:.2f} GiB" if isinstance(peak, int | float) else "–"
        share = (seconds or 0.0) / longest if longest else 0.0
        lines.append(Cost(name, "–" if seconds is None else say_time(seconds), share, memory, _counts(facts)))
    return lines


def _seconds(facts: Mapping[str, Any]) -> float | None:
    found = facts.get("seconds")
    return float(found) if isinstance(found, int | float) else None


def _counts(facts: Mapping[str, Any]) -> str:
    """A manifest's plain facts in words: numbers, short texts, and small tables of them."""
    said = []
    for key, value in facts.items():
        if key in ("fingerprint", "seconds", "peak_bytes", "ratings", "ratings_by_round"):  # these stand elsewhere
            continue
        text = _plain(value)
        if text:
            said.append(f"{key.replace('_', ' ')} {text}")
    return "; ".join(said)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value if len(value) <= 60 else ""
    if isinstance(value, dict) and len(value) <= 6:
        return ", ".join(f"{key} {text}" for key, part in value.items() if (text := _plain(part)))
    return ""


def cost_caption(run: RunFolder) -> str:
    """The sum of the stages' times, and the machine the page was written on."""
    return (
        f"Stages took {say_time(_total(run))} in all; a stage that was stopped and continued counts its last start "
        f"only. Peak memory is the process's until the stage's end. This page was written on {machine()}."
    )


def _total(run: RunFolder) -> float:
    return sum(_seconds(stage.manifest) or 0.0 for stage in run.stages.values() if stage.manifest is not None)


def machine() -> str:
    """Cores this process may use and the machine's memory, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    plural = "s" if cores != 1 else ""
    return f"{cores} core{plural}, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}"


def say_time(seconds: float) -> str:
    """`8.4 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
