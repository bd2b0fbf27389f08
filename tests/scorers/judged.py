"""Evaluation folders of the judged benchmarks, and a judge and models that follow a script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import seelevel.models
from seelevel import evaluate
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder
from tests.formats.made import picture

JUDGED = re.compile(r"^(?:Answer to judge|Answer 2): (.*)$", re.MULTILINE)


class Script:
    """A judge: `reply(answers, seed)` gives its reply to the answers of a prompt, one per round."""

    name = "script"

    def __init__(self, reply: Callable[[list[str], int], str]) -> None:
        self.reply, self.prompts = reply, list[str]()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        texts = [prompt.messages[0]["content"] for prompt in prompts]
        self.prompts += texts
        answers = [[json.loads(line) for line in JUDGED.findall(text)] for text in texts]
        return [Completion(self.reply(found, sampling.seed), 1, True) for found in answers]


class Model:
    """Answers a question by a table. A question whose answer is None is not answered."""

    def __init__(self, answers: Mapping[str, str | None]) -> None:
        self.name, self.answers, self.asked = "model", answers, 0

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.asked += len(prompts)
        texts = [self.answers[p.messages[-1]["content"].removeprefix("<image>\n")] for p in prompts]
        return [Completion("", 0, False, "no room") if text is None else Completion(text, 1, True) for text in texts]


def run(
    root: Path,
    data: Path,
    judge: Any,
    models: Mapping[str, Mapping[str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    **settings: Any,
) -> dict[str, Any]:
    """The stage with models by name, and its metrics.json."""
    named = {side: Model(answers) for side, answers in models.items()}
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: named[path])
    stage = StageFolder(root / "evaluate", "fingerprint")
    stage.begin()
    chosen = EvaluateSettings(data=str(data), judge="script", **settings)
    references = {side: ModelRef(side, side) for side in models}
    stage.finish(**evaluate.run(stage, chosen, data, references, judge, root, 0).written())
    found: dict[str, Any] = json.loads((root / "metrics.json").read_text())
    return found


def items(root: Path, side: str, benchmark: str) -> list[dict[str, Any]]:
    lines = (root / "evaluate" / side / f"{benchmark}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def mmhal_folder(data: Path, kinds: Sequence[str]) -> Path:
    """Question n asks 'Q<n>?'. Pictures are called by the address's last part, or by the id."""
    rows = []
    for n, kind in enumerate(kinds):
        picture(data / "images", f"photo_{n}_o.jpg" if n % 2 else f"id{n}.png", n)
        rows.append(
            {
                "question_type": kind,
                "question_topic": "outdoor",
                "image_id": f"id{n}",
                "image_src": f"https://example.org/1/photo_{n}_o.jpg",
                "image_content": ["Hat"],
                "question": f"Q{n}?",
                "gt_answer": f"A{n}.",
                "model_answer": "",
            }
        )
    (data / "mmhal").mkdir(parents=True, exist_ok=True)
    (data / "mmhal" / "response_template.json").write_text(json.dumps(rows))
    return data


def vlsafe_folder(data: Path, count: int, **more: Any) -> Path:
    rows = []
    for n in range(count):
        picture(data / "images", f"COCO_train2014_{n:012}.jpg", n)
        rows.append({"image_id": f"{n:012}", "caption": f"C{n}.", "query": f"Q{n}?", **more})
    write_lines(data / "vlsafe" / "VLSafe_harmlessness_examine.jsonl", rows)
    return data


def wild_folder(data: Path, questions: Sequence[str], categories: Sequence[str], place: str = "llava-bench") -> Path:
    """LLaVA-Bench in the wild: the pictures are beside the files."""
    asked, contexts, references = [], [], []
    for n, (text, category) in enumerate(zip(questions, categories, strict=True)):
        picture(data / place / "images", f"{n:03}.jpg", n)
        asked.append({"question_id": n, "image": f"{n:03}.jpg", "text": text, "category": category})
        contexts.append({"id": f"{n:03}", "image": f"{n:03}.jpg", "caption": f"Scene {n}."})
        references.append({"question_id": n, "text": f"Reference {n}.", "category": category})
    write_lines(data / place / "questions.jsonl", asked)
    write_lines(data / place / "context.jsonl", contexts)
    write_lines(data / place / "answers_gpt4.jsonl", references)
    return data
