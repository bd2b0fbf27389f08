"""A small run folder as the stages leave it, made in a fraction of a second and without a model."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from PIL import Image as Pictures
from PIL import ImageDraw

from seelevel.check.settings import CheckSettings
from seelevel.formats.parquet import write_shard
from seelevel.generate.settings import ExpertsSettings
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.notes import Checked, CheckNote, Coverage, Match
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder, write_json
from seelevel.training.settings import AlignSettings

RECIPE: dict[str, Any] = {
    "name": "small-run",
    "seed": 0,
    "data": {"prompts": "prompts.json", "images": "pictures", "limit": None, "max_rejected": 0.05},
    "generate": {"method": "experts", "experts": ["large", "middle"]},
    "check": {"checker": "autocheck", "encoder": "clip", "threshold": 0.85, "parser": "builtin"},
    "align": {
        "model": "small",
        "objective": {"name": "mdpo", "beta": 0.1, "penalty": "paper", "pairs": "all"},
        "layout": "shared",
        "lora": None,
        "epochs": 4,
        "learning_rate": 3.0e-4,
        "ladders_per_step": 16,
    },
    "evaluate": {"benchmarks": ["chair", "pope", "mrhal", "capability"], "data": "held-out", "judge": "judge"},
    "report": {},
}
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def picture(root: Path, n: int) -> Path:
    """A coloured picture of 96 pixels a side."""
    rng = random.Random(n)
    image = Pictures.new("RGB", (96, 96), tuple(rng.randrange(140, 256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = rng.randrange(70), rng.randrange(70)
        draw.ellipse((x, y, x + 24, y + 24), fill=tuple(rng.randrange(256) for _ in range(3)))
    path = root / "images" / f"{n}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def chunk(text: str, words: str, matched: bool, best: str = "") -> Match:
    start = text.index(words)
    return Match(words, best, 0.97 if matched else 0.41, matched, start, start + len(words))


def coverage(acc: float, chunks: tuple[Match, ...], standard: tuple[Match, ...]) -> Coverage:
    return Coverage(acc, 0.9, acc, acc, 0.9, 0.9, chunks, standard, ())


def ladders(root: Path, n: int) -> tuple[Ladder, Ladder]:
    """One ladder before and after the check; every second one is reordered, every fifth one ends in a tie."""
    standard, middle, large = "A red cup and two dogs.", "Two dogs, a red cup.", "A red cup and a green bus."
    texts = [(standard, {"kind": "standard"})]
    texts += [(large, {"kind": "expert", "model": "large"}), (middle, {"kind": "expert", "model": "middle"})]
    image = Image(str(picture(root, n)), "")
    prompt = [Message(role="user", content="<image>\nWhat is in the picture?")]

    def response(k: int) -> Response:
        text, origin = texts[k]
        return Response([Message(role="assistant", content=text)], k, origin)

    before = Ladder(f"ladder-{n}", [image], prompt, [response(k) for k in range(3)])
    note = CheckNote("autocheck", (0, 1, 2), threshold=0.85)
    if n % 7 == 6:
        return before, before.left_unchecked(replace(note, unchecked="the standard response has no noun chunk"))
    order = [0, 2, 1] if n % 2 else [0, 1, 2]
    levels = [0, 1, 1] if n % 5 == 4 else [0, 1, 2]
    wanted = (chunk(standard, "A red cup", True), chunk(standard, "two dogs", True))
    of_large = (chunk(large, "A red cup", True, "A red cup"), chunk(large, "a green bus", False, "A red cup"))
    of_middle = (chunk(middle, "Two dogs", True, "two dogs"), chunk(middle, "a red cup", True, "A red cup"))
    coverages = (
        coverage(1.0, wanted, wanted),
        coverage(0.5, of_large, (wanted[0], replace(wanted[1], matched=False))),
        coverage(1.0, of_middle, wanted),
    )
    scores = [{"acc": measured.acc, "score": measured.score} for measured in coverages]
    checked = [
        replace(response(k), level=level, scores=scores[k], check=Checked(k, coverages[k]))
        for k, level in zip(order, levels, strict=True)
    ]
    return before, before.ordered(checked, note)


def figure(value: float, reach: float, n: int = 500) -> dict[str, Any]:
    return {"value": value, "low": value - reach, "high": value + reach, "n": n}


METRICS: dict[str, Any] = {
    "base": {
        "chair_i": figure(0.213, 0.02), "chair_s": figure(0.385, 0.04), "chair_recall": figure(0.812, 0.02),
        "pope_f1": figure(0.861, 0.015), "pope_accuracy": figure(0.864, 0.014), "pope_yes": figure(0.488, 0.012),
        "mrhal_score_c": figure(3.21, 0.15), "mrhal_score_m": figure(3.24, 0.14),
        "mrhal_hallucination_c": figure(0.312, 0.03), "mrhal_hallucination_m": figure(0.29, 0.04),
        "capability_accuracy": figure(0.703, 0.02), "pope_random_f1": figure(0.89, 0.02),
    },
    "aligned": {
        "chair_i": figure(0.129, 0.018), "chair_s": figure(0.242, 0.035), "chair_recall": figure(0.816, 0.02),
        "pope_f1": figure(0.872, 0.014), "pope_accuracy": figure(0.874, 0.014), "pope_yes": figure(0.472, 0.012),
        "mrhal_score_c": figure(3.52, 0.15), "mrhal_score_m": figure(3.55, 0.14),
        "mrhal_hallucination_c": figure(0.255, 0.03), "mrhal_hallucination_m": figure(0.22, 0.04),
        "capability_accuracy": figure(0.681, 0.02), "pope_random_f1": figure(0.90, 0.02),
    },
    "differences": {
        "chair_i": figure(-0.084, 0.017), "chair_s": figure(-0.143, 0.03), "chair_recall": figure(0.004, 0.011),
        "pope_f1": figure(0.011, 0.012), "pope_accuracy": figure(0.01, 0.012), "pope_yes": figure(-0.016, 0.009),
        "mrhal_score_c": figure(0.31, 0.1), "mrhal_score_m": figure(0.31, 0.11),
        "mrhal_hallucination_c": figure(-0.057, 0.03), "mrhal_hallucination_m": figure(-0.07, 0.05),
        "capability_accuracy": figure(-0.022, 0.012), "pope_random_f1": figure(0.01, 0.012),
    },
    "settings": {"unscored": {"base": {"chair": 0, "mrhal": 1}, "aligned": {"chair": 0, "mrhal": 0}}},
}  # fmt: skip


def answers(root: Path, side: str) -> dict[str, list[dict[str, Any]]]:
    """A few items a benchmark; number 0 got better, number 1 got worse, number 2 stayed as it was."""
    good = [side == "aligned", side == "base", True]
    found: dict[str, list[dict[str, Any]]] = {"chair": [], "pope": [], "capability": [], "mrhal": []}
    for n, right in enumerate(good):
        image = f"images/{n}.png"
        caption = "A red cup and two dogs." if right else f"A red cup, two dogs and three wine glasses. {EVIL}"
        wrong = [] if right else ["wine glass"]
        common = {"id": f"c{n}", "image": image}
        found["chair"].append(
            {
                **common,
                "question": "Describe the picture.",
                "answer": caption,
                "reference": {"objects": ["cup", "dog"]},
                "mentions": 2 + len(wrong),
                "hallucinated_mentions": len(wrong),
                "hallucinated": wrong,
                "objects": 2,
                "recalled": 2,
            }
        )
        said = {"answer": "Yes." if right else "No.", "reference": {"label": "yes"}, "right": right}
        found["pope"].append({**common, "question": "Is there a cup?", **said, "set": "random", "label": "yes"})
        said = {"answer": "red" if right else "blue", "reference": {"label": "red"}, "right": right}
        found["capability"].append({**common, "question": "What colour is the cup?", **said, "category": "colour"})
        ratings = [6, 5] if right else [6, 1]
        unscored = n == 2 and side == "base"
        found["mrhal"].append(
            {
                **common,
                "question": ["What is there?", "Is there a bus?"],
                "answer": ["A cup.", "No." if right else EVIL],
                "reference": {"answers": ["A red cup.", "No, there is none."], "image_content": ["1 small red cup"]},
                "ratings": [] if unscored else ratings,
                "mean": None if unscored else sum(ratings) / 2,
            }
        )
    return found


def make_run(
    root: Path, count: int = 20, stages: tuple[str, ...] = ("data", "generate", "check", "align", "evaluate")
) -> Path:
    """Write the folder `root` as a run that has finished `stages`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    pairs = [ladders(root, n) for n in range(count)]
    facts: dict[str, dict[str, Any]] = {
        "data": {"records": count + 3, "ladders": count},
        "generate": {"ladders": count, "words": ExpertsSettings.model_validate(RECIPE["generate"]).words},
        "check": {"ladders": count, "words": CheckSettings.model_validate(RECIPE["check"]).words},
        "align": {
            "steps": 60,
            "ladders": count - 1,
            "left_out": {"no pair": 1},
            "layout": "rows",
            "best_fell": True,
            "logprobs": {"0": {"mean": -1.5, "n": 19}, "1": {"mean": -0.25, "n": 38}},
            "words": AlignSettings.model_validate(RECIPE["align"]).words,
        },
        "evaluate": {
            "questions": {"chair": 3, "pope": 3, "mrhal": 3, "capability": 3},
            "words": EvaluateSettings.model_validate(RECIPE["evaluate"]).words,
        },
    }
    for number, name in enumerate(stages):
        stage = StageFolder(root / name, "0" * 16)
        stage.begin()
        if name == "data":
            rows = [{"where": "record 7", "id": "r7", "reason": "image '7.png' is missing"}] * 2
            rows.append({"where": "record 9", "id": EVIL, "reason": "no answer"})
            (stage.path / "rejected.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if name in ("generate", "check"):
            write_shard(stage.shard(0), [pair[name == "check"] for pair in pairs], root)
        if name == "align":
            (stage.path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log_entries()))
        if name == "evaluate":
            for side in ("base", "aligned"):
                (stage.path / side).mkdir()
                for benchmark, items in answers(root, side).items():
                    lines = "".join(json.dumps(item) + "\n" for item in items)
                    (stage.path / side / f"{benchmark}.jsonl").write_text(lines)
            write_json(root / "metrics.json", METRICS)
        stage.finish(**facts[name], seconds=12.5 * (number + 1), peak_bytes=2**30)
    return root


def log_entries(steps: int = 60) -> list[dict[str, float]]:
    rng = random.Random(0)
    entries = []
    for step in range(1, steps + 1):
        share = step / steps
        preference = 0.69 - 0.3 * share + rng.gauss(0, 0.04)
        penalty = -6 * share + rng.gauss(0, 0.8)
        entries.append(
            {
                "step": step,
                "loss": preference + penalty,
                "preference": preference,
                "penalty": penalty,
                "margin": 8 * share + rng.gauss(0, 1),
                "accuracy": min(1.0, 0.55 + 0.3 * share + rng.gauss(0, 0.05)),
                "margin_0_1": 5 * share + rng.gauss(0, 1),
                **({"margin_1_2": 3 * share + rng.gauss(0, 1)} if step % 3 else {}),
                "best_logprob": -0.6 + 0.2 * share + rng.gauss(0, 0.03),
                "grad_norm": 3 + rng.random(),
            }
        )
    return entries
