"""A folder of lmms-eval tasks over questions of the embedded world, for `--include_path`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

UTILS = """\
from lmms_eval.tasks.pope.utils import *


def captions_to_visual(doc):
    return [doc["image"].convert("RGB")]


def captions_to_text(doc):
    return doc["question"]


def captions_results(doc, results):
    return {"caption_words": len(results[0].split()), "caption": {"image_id": doc["question_id"]}}


def mean(values):
    return sum(values) / len(values)


def nothing(values):
    return len(values)
"""
POPE_FIGURES = ("accuracy", "precision", "recall", "f1_score", "yes_ratio")


class Function(str):
    """A function of utils.py, `!function` in a task's YAML."""


yaml.SafeDumper.add_representer(
    Function, lambda dumper, name: dumper.represent_scalar("!function", f"utils.{name}", style=None)
)


def task(name: str, data: Path, **more: object) -> dict[str, object]:
    return {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "metadata": [{"version": 0.0}],
        **more,
    }


def pope(name: str, data: Path, post_prompt: str = "", until: Sequence[str] = ()) -> dict[str, object]:
    """POPE with the harness's own functions."""
    decoding = {"max_new_tokens": 16, "temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False}
    metrics = [
        {"metric": f"pope_{kind}", "aggregation": Function(f"pope_aggregate_{kind}"), "higher_is_better": True}
        for kind in POPE_FIGURES
    ]
    return task(
        name,
        data,
        doc_to_visual=Function("pope_doc_to_visual"),
        doc_to_text=Function("pope_doc_to_text"),
        doc_to_target="answer",
        process_results=Function("pope_process_results"),
        generation_kwargs=decoding | ({"until": list(until)} if until else {}),
        lmms_eval_specific_kwargs={"default": {"pre_prompt": "", "post_prompt": post_prompt}},
        metric_list=metrics,
    )


def captions(name: str, data: Path) -> dict[str, object]:
    return task(
        name,
        data,
        doc_to_visual=Function("captions_to_visual"),
        doc_to_text=Function("captions_to_text"),
        doc_to_target="answer",
        process_results=Function("captions_results"),
        generation_kwargs={"max_new_tokens": 96, "do_sample": False, "until": []},
        metric_list=[
            {"metric": "caption_words", "aggregation": Function("mean"), "higher_is_better": False},
            {"metric": "caption", "aggregation": Function("nothing"), "higher_is_better": False},
        ],
    )


def write_data(path: Path, evaluation: Path, records: list[dict[str, str]]) -> None:
    """Questions with their pictures inside, as a data set of the hub."""
    from datasets import Dataset, Image

    rows = [{**record, "image": str(evaluation / "images" / record["image"])} for record in records]
    Dataset.from_list(rows).cast_column("image", Image()).to_parquet(path)


def write_tasks(folder: Path, evaluation: Path, pope_items: int = 100, chair_items: int = 50) -> Path:
    """`world_pope`, `world_pope_phrase` and `world_captions`, of an evaluation folder.

    The world's models answer in sentences, and the harness's rule takes nothing but 'yes' and 'no'. So `world_pope`
    ends answers at a comma. `world_pope_phrase` has the prompt and the decoding of the harness's own task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = [json.loads(line) for line in (evaluation / "pope" / "adversarial.json").read_text().splitlines()]
    yes_no = [
        {"question_id": str(q["question_id"]), "image": q["image"], "question": q["text"], "answer": q["label"]}
        for q in asked[:pope_items]
    ]
    objects = json.loads((evaluation / "chair" / "objects.json").read_text())
    described = [json.loads(line) for line in (evaluation / "chair" / "questions.jsonl").read_text().splitlines()]
    shown = [
        {
            "question_id": q["image"],
            "image": q["image"],
            "question": q["text"],
            "answer": ", ".join(objects[q["image"]]),
        }
        for q in described[:chair_items]
    ]
    write_data(folder / "pope.parquet", evaluation, yes_no)
    write_data(folder / "captions.parquet", evaluation, shown)
    phrase = "\nAnswer the question using a single word or phrase."
    for settings in (
        pope("world_pope", folder / "pope.parquet", until=(",", ".")),
        pope("world_pope_phrase", folder / "pope.parquet", phrase),
        captions("world_captions", folder / "captions.parquet"),
    ):
        (folder / f"{settings['task']}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (folder / "utils.py").write_text(UTILS)
    return folder
