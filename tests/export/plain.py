"""An exported model in a process that has nothing of seelevel: `answers(folder, ...)` gives its greedy tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
task = json.loads(sys.argv[1])
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
print(json.dumps([
    model.eval().generate(**batch, max_new_tokens=24, do_sample=False)[0].tolist() for batch in batches
]))
"""


def answers(
    folder: Path, inputs: Path | None = None, questions: list[tuple[str, str]] | None = None, base: str = ""
) -> list[list[int]]:
    """Greedy tokens of the model in a folder, in float32. inputs: a safetensors file of the model's inputs; questions:
    pictures and questions, read with the folder's processor. base: the folder holds an adapter for this model."""
    task: dict[str, Any] = {"folder": str(folder), "base": base, "questions": questions or []}
    task["inputs"] = "" if inputs is None else str(inputs)
    command = [sys.executable, "-I", "-W", "ignore", "-c", SCRIPT, json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[list[int]] = json.loads(done.stdout)
    return found
