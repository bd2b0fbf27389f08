"""Exported models in a process that has nothing of seelevel: `answers(task, ...)` gives their greedy tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

SCRIPT = """
import importlib.util, json, sys
from pathlib import Path

sys.path[:] = [place for place in sys.path if not Path(place, "seelevel").is_dir()]
assert importlib.util.find_spec("seelevel") is None
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

torch.set_num_threads(1)


def answers(task):
    model = AutoModelForImageTextToText.from_pretrained(task["base"] or task["folder"], dtype=torch.float32)
    if task["base"]:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, task["folder"])
    if task["inputs"]:
        batches = [load_file(task["inputs"])]
    else:
        processor = AutoProcessor.from_pretrained(task["folder"])
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
    command = [sys.executable, "-I", "-W", "ignore", "-c", SCRIPT, json.dumps([asdict(task) for task in tasks])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[list[list[int]]] = json.loads(done.stdout)
    return found
