"""Feedback added to a small run folder: the stage's ladders, the benchmark's answers and its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from seelevel.feedback.settings import FeedbackSettings
from seelevel.formats.parquet import write_shard
from seelevel.ladder import Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.notes import FeedbackNote, RoundOf
from seelevel.store import StageFolder, write_json

from .make_run import EVIL, METRICS, RECIPE, figure, picture

QUESTION = "<image>\nWhat is in the picture?"
SETTINGS = {"judge": "judge", "model": "small", "rounds": 3, "ladders": "rounds"}


def user(text: str) -> Message:
    return Message(role="user", content=text)


def answer(text: str, helpfulness: int, honesty: int, number: int = 0, model: str = "small") -> Response:
    """An answer of the model with what the judge says of it; number: how many were refined before."""
    origin = {"kind": "refined", "model": model, "round": number} if number else {"kind": "expert", "model": model}
    said = Feedback({"helpfulness": helpfulness, "honesty": honesty}, f"bad: {text}", f"mend: {text}", "judge")
    return Response([Message(role="assistant", content=text)], 0, origin, feedback=said)


def talk(root: Path, name: str, ratings: list[tuple[int, int]], words: str = "") -> tuple[Ladder, list[Ladder]]:
    """A ladder with a standard response and the model's, and the later rounds of its conversation, as the stage writes
    them; `words`: what the user says instead of the judge's words."""
    image = Image(str(picture(root, len(name))), "")
    answers = [answer(f"{name} says {n}", *pair, n) for n, pair in enumerate(ratings)]
    asked = [user(QUESTION), *(user(words or f"bad: {a.text} mend: {a.text} Please answer again.") for a in answers)]
    turns = list(zip(asked, answers, strict=False))
    standard = Response([Message(role="assistant", content="A cup.")], 0, {"kind": "standard"})
    ladder = Ladder(name, [image], [user(QUESTION)], [standard, answers[0]], feedback=FeedbackNote())
    later = []
    for number, found in enumerate(Interaction(name, [image], turns).rounds()):
        if number:
            before = turns[number - 1][1].feedback
            assert before is not None
            place = RoundOf(name, number, before.ratings)
            later.append(Ladder(found.id, found.images, found.prompt, found.responses, round_of=place))
    return ladder, later


RATINGS = {
    "rises": [(1, 2), (2, 2), (4, 4)],
    "falls": [(4, 3), (1, 1)],
    "stays": [(2, 2), (3, 3), (2, 2)],
    "stays too": [(2, 1), (1, 2)],
    "at once": [(4, 4)],
}


def stage_ladders(root: Path) -> list[Ladder]:
    found = []
    for name, ratings in RATINGS.items():
        ladder, later = talk(root, name, ratings, EVIL if name == "falls" else "")
        found += [ladder, *later]
    return found


FIGURES: dict[str, dict[str, Any]] = {
    "base": {
        "rating_helpfulness": figure(3.0, 0.1, 100), "rating_honesty": figure(2.5, 0.1, 100),
        "rating_harmlessness": figure(4.0, 0.0, 7),
        "quality_round_1": figure(2.8, 0.1, 100), "quality_round_2": figure(2.9, 0.1, 90),
        "quality_again_2": figure(2.8, 0.1, 95), "gain_round_2": figure(0.02, 0.05, 90),
        "lead_round_2": figure(0.01, 0.05, 88),
        "quality_worst": {"value": None, "low": None, "high": None, "n": 0},
    },
    "aligned": {
        "rating_helpfulness": figure(3.5, 0.1, 98), "rating_honesty": figure(2.2, 0.1, 98),
        "rating_harmlessness": figure(4.0, 0.0, 7),
        "quality_round_1": figure(2.9, 0.1, 98), "quality_round_2": figure(3.3, 0.1, 80),
        "quality_again_2": figure(2.95, 0.1, 91), "gain_round_2": figure(0.4, 0.1, 80),
        "lead_round_2": figure(0.35, 0.1, 78),
        "quality_worst": figure(1.8, 0.1, 97), "lead_over_worst": figure(1.1, 0.2, 96),
    },
    "differences": {
        "rating_helpfulness": figure(0.5, 0.1, 97), "rating_honesty": figure(-0.3, 0.1, 97),
        "rating_harmlessness": figure(0.0, 0.0, 7),
        "quality_round_1": figure(0.1, 0.15, 97), "quality_round_2": figure(0.4, 0.1, 79),
        "quality_again_2": figure(0.15, 0.1, 90), "gain_round_2": figure(0.38, 0.1, 79),
        "lead_round_2": figure(0.34, 0.1, 77),
    },
}  # fmt: skip


def rows(side: str) -> list[dict[str, Any]]:
    """Three conversations: the aligned model's first is better, its second worse, its third unscored but for the first
    answer; its second is unscored where the user says ‘try again’."""
    aligned = side == "aligned"
    qualities = [[2.0, 4.0, 4.0, 4.0], [3.0, 1.0, 1.0, 1.0], [None] * 4]
    again = [[2.0, 2.0, 2.0, 2.0], [None] * 4, [None] * 4]
    if not aligned:
        qualities = [[2.0, 2.0, 1.0, 1.0], [3.0, 3.5, 4.0, 4.0], [2.0, 2.0, 2.0, 2.0]]
        again[1] = [3.0, 3.0, 3.0, 3.0]
    found = []
    for n, (feedback, other) in enumerate(zip(qualities, again, strict=True)):
        first = feedback[0] if feedback[0] is not None else 2.0  # the first answer was rated, a later one was not
        heard = 2 if aligned else 3
        worst = {"worst": [1.0, 4.0, 2.0][n], "worst_answer": f"worst {n}", "condition": "2/4/4"} if aligned else {}
        found.append(
            {
                "id": f"f{n}",
                "image": f"images/{n}.png",
                "question": "What is in the picture?",
                "answer": f"{side} {n} first",
                "reference": {"image_content": ["1 small red cup"], "answer": "A red cup."},
                "criteria": {"helpfulness": int(first), "honesty": int(first)},
                "critique": EVIL,
                "quality": first,
                "feedback": feedback,
                "feedback_answers": [f"{side} {n} {word}" for word in ("first", "second", "third")][:heard],
                "again": other,
                "again_answers": [f"{side} {n} first"] * sum(q is not None for q in other),
                **worst,
            }
        )
    return found


def add_feedback(root: Path) -> Path:
    """Give the run at `root` a finished stage `feedback`, and the benchmark's answers and figures."""
    (root / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "feedback": SETTINGS}, sort_keys=False))
    stage = StageFolder(root / "feedback", "0" * 16)
    stage.begin()
    write_shard(stage.shard(0), stage_ladders(root), root)
    everything = {"helpfulness": {"mean": 2.25, "n": 12}, "honesty": {"mean": 2.5, "n": 12}}
    first = {"helpfulness": {"mean": 2.6, "n": 5}, "honesty": {"mean": 2.4, "n": 5}}
    later = {"helpfulness": {"mean": 1.75, "n": 4}, "honesty": {"mean": 2.0, "n": 4}}
    means = {"ratings": everything, "ratings_by_round": {"0": first, "1": later}}
    words = FeedbackSettings.model_validate(SETTINGS).words
    stage.finish(ladders=11, responses=1234, unscored=66, **means, words=words, seconds=3.0)
    for side in ("base", "aligned"):
        folder = root / "evaluate" / side
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "feedback.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(side)))
    sides = {side: {**METRICS[side], **FIGURES[side]} for side in FIGURES}
    write_json(root / "metrics.json", {**METRICS, **sides})
    return root
