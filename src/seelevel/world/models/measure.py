"""Figures of the family on held-out scenes: hallucinated and recalled objects, POPE and capability questions.

Mentions are single words, which is enough for models that speak the world's own language. The benchmarks of `scorers`
measure the same through public formats.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from seelevel.world import MODELS, WEIGHTS
from seelevel.world.models.family import normalised
from seelevel.world.models.train_clip import any_group, as_phrase, as_sentence, changed
from seelevel.world.pictures.drawing import draw_all
from seelevel.world.pictures.scenes import COMPANIONS, KINDS, PLURALS, Scene, draw_scenes
from seelevel.world.texts.datasets import capability_records, pope_records
from seelevel.world.texts.language import DETAILED

log = logging.getLogger(__name__)

KIND_OF: dict[str, str] = {noun: kind for kind in KINDS for noun in (kind, PLURALS[kind])}
BATCH = 60


def mentions(text: str) -> list[str]:
    """Kinds named in a text, in order, one entry per mention."""
    return [KIND_OF[word] for word in re.findall(r"[a-z]+", text.lower()) if word in KIND_OF]


class Answerer:
    """A model folder that answers single questions about scenes, greedily."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def prompt(self, question: str) -> str:
        turn = [{"role": "user", "content": f"<image>\n{question}"}]
        text: str = self.processor.apply_chat_template(turn, add_generation_prompt=True)
        return text.replace("<image>", "<image>" * self.model.config.image_seq_length)

    @torch.no_grad()
    def answer(self, pixels: np.ndarray, questions: Sequence[str], new_tokens: int) -> list[str]:
        """Answers to one question per picture; pixels are uint8 (n, side, side, 3)."""
        answers: list[str] = []
        for at in range(0, len(questions), BATCH):
            prompts = [self.prompt(question) for question in questions[at : at + BATCH]]
            batch = self.processor.tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
            views = normalised(pixels[at : at + BATCH])
            tokens = self.model.generate(
                input_ids=batch.input_ids,
                attention_mask=batch.attention_mask,
                pixel_values=views,
                max_new_tokens=new_tokens,
                do_sample=False,
            )
            answers += self.processor.batch_decode(tokens[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
        return [answer.strip() for answer in answers]


def chair(scenes: Sequence[Scene], answers: Sequence[str]) -> dict[str, float]:
    """CHAIRi, CHAIRs and recall; the share of companions among inventions; how often an absent companion is named."""
    named = invented = companions = wrong = recalled = present = absent = named_absent = 0
    for scene, answer in zip(scenes, answers, strict=True):
        kinds = mentions(answer)
        made_up = [kind for kind in kinds if kind not in scene.kinds]
        gone = [kind for kind in COMPANIONS[scene.setting] if kind not in scene.kinds]
        named += len(kinds)
        invented += len(made_up)
        companions += sum(kind in COMPANIONS[scene.setting] for kind in made_up)
        wrong += bool(made_up)
        recalled += len(scene.kinds & set(kinds))
        present += len(scene.kinds)
        absent += len(gone)
        named_absent += sum(kind in kinds for kind in gone)
    return {
        "chair_i": invented / max(1, named),
        "chair_s": wrong / len(scenes),
        "recall": recalled / present,
        "companion_share": companions / max(1, invented),
        "absent_companion_named": named_absent / max(1, absent),
    }


def pope(records: Sequence[dict[str, Any]], answers: Sequence[str]) -> float:
    """F1 with yes as the positive class."""
    predicted = [answer.lower().startswith("yes") for answer in answers]
    true = [record["label"] == "yes" for record in records]
    both = sum(a and b for a, b in zip(predicted, true, strict=True))
    return float(2 * both / max(1, sum(predicted) + sum(true)))


def measure(folder: Path, split: str = "dev", limit: int = 300, questions: int = 600) -> dict[str, float]:
    """Figures of one model on the first `limit` scenes of a split, `questions` of each kind at most."""
    scenes = list(draw_scenes(split, limit))
    pixels = draw_all(scenes)
    place = {f"{scene.id}.png": index for index, scene in enumerate(scenes)}
    model = Answerer(folder)
    requests = [DETAILED[index % len(DETAILED)] for index in range(len(scenes))]
    result = chair(scenes, model.answer(pixels, requests, 96))

    def answers(records: Sequence[dict[str, Any]]) -> list[str]:
        views = pixels[[place[record["image"]] for record in records]]
        return model.answer(views, [record["text"] for record in records], 16)

    scores = []
    for how in ("random", "popular", "adversarial"):
        records = pope_records(scenes, how)[: questions // 3]
        scores.append(pope(records, answers(records)))
    result["pope_f1"] = sum(scores) / 3
    items = capability_records(scenes, questions)
    right: dict[str, list[bool]] = {}
    for item, answer in zip(items, answers(items), strict=True):
        right.setdefault(item["category"], []).append(answer.lower().rstrip(".") == item["label"])
    result |= {category: sum(marks) / len(marks) for category, marks in sorted(right.items())}
    result["capability"] = sum(sum(marks) for marks in right.values()) / len(items)
    result["parameters"] = sum(parameter.numel() for parameter in model.model.parameters())
    return result


def text_pairs(count: int, seed: int = 1) -> tuple[list[str], list[str], list[bool]]:
    """Pairs of noun phrases or sentences; half of the pairs describe one group in two ways, half two groups."""
    rng = random.Random(f"pairs/{seed}")
    left: list[str] = []
    right: list[str] = []
    same: list[bool] = []
    while len(left) < count:
        group = any_group(rng)
        form, place = rng.choice(((as_phrase, False), (as_sentence, True)))
        alike = rng.random() < 0.5
        other = group if alike else changed(group, rng, place)
        left.append(form(group, rng))
        right.append(form(other, rng))
        same.append(alike)
    return left, right, same


@torch.no_grad()
def measure_encoder(folder: Path = WEIGHTS / "clip", count: int = 4000) -> dict[str, float]:
    """The cosine τ that best separates pairs of one meaning from other pairs, its accuracy, and both mean cosines."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    left, right, same = text_pairs(count)
    vectors = []
    for texts in (left, right):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        vectors.append(torch.nn.functional.normalize(model.get_text_features(**batch).pooler_output, dim=-1))
    cosines = (vectors[0] * vectors[1]).sum(-1)
    true = torch.tensor(same)
    grid = torch.linspace(0.4, 0.99, 60)
    rights = ((cosines[None, :] > grid[:, None]) == true[None, :]).float().mean(1)
    best = int(rights.argmax())
    return {
        "tau": float(grid[best]),
        "accuracy": float(rights[best]),
        "accuracy_at_085": float(((cosines > 0.85) == true).float().mean()),
        "same": float(cosines[true].mean()),
        "different": float(cosines[~true].mean()),
    }


def measure_family(weights: Path = WEIGHTS, split: str = "dev", limit: int = 300) -> dict[str, dict[str, float]]:
    """Figures of every model that has weights."""
    results: dict[str, dict[str, float]] = {}
    for name in MODELS:
        if (weights / name / "model.safetensors").is_file():
            results[name] = measure(weights / name, split, limit)
            log.info("%s %s", name, {key: round(value, 3) for key, value in results[name].items()})
    if (weights / "clip" / "model.safetensors").is_file():
        results["clip"] = measure_encoder(weights / "clip")
    return results
