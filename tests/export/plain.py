"""A process that has nothing of seelevel: `printed(code)` runs code in it, `answers(task, ...)` asks models."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

ALONE = """
import importlib.util, sys
from pathlib import Path

sys.path[:] = [place for place in sys.path if not Path(place, "seelevel").is_dir()]
assert importlib.util.find_spec("seelevel") is None
"""
ASK = """
import json
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

torch.set_num_threads(1)


def answers(task):
    model = AutoModelForImageTextToText.from_pretrained(
        task["base"] or task["folder"], dtype=torch.float32, local_files_only=True
    )
    if task["base"]:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, task["folder"])
    if task["inputs"]:
        batches = [load_file(task["inputs"])]
    else:
        processor = AutoProcessor.from_pretrained(task["folder"], local_files_only=True)
        batches = []
        for picture, question in task["questions"]:
            turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
            text = processor.apply_chat_template([turn], add_generation_prompt=True)
            batches.append(processor(text=text, images=[Image.open(picture)], return_tensors="pt"))
    return [model.eval().generate(**batch, max_new_tokens=24, do_sample=False)[0].tolist() for batch in batches]


print(json.dumps([answers(task) for task in json.loads(sys.argv[1])]))
"""


@dataclass(frozen=True)
class Task:
    """A model's folder and what it is asked. inputs: a safetensors file of the model's inputs; questions: pictures and
    questions, read with the folder's processor. base: the folder holds an adapter for this model."""

    folder: str
    base: str = ""
    inputs: str = ""
    questions: tuple[tuple[str, str], ...] = ()


def answers(*tasks: Task) -> list[list[list[int]]]:
    """Greedy tokens of each task's model, in float32, one list per question."""
    found: list[list[list[int]]] = json.loads(printed(ASK, json.dumps([asdict(task) for task in tasks])))
    return found


def printed(code: str, *arguments: str) -> str:
    """What code prints."""
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
