"""Train one LLaVA model of the world."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerBase

from seelevel.errors import InputError
from seelevel.json_text import dumps
from seelevel.world.models import family
from seelevel.world.models.optimizer import Optimizers, Saver, one_cycle
from seelevel.world.models.train_align import train_alignment
from seelevel.world.models.train_vision import train_vision
from seelevel.world.pictures.scenes import Scene
from seelevel.world.texts.language import Turns, pretraining

BATCH = 12
BUCKET = 8
"""Batches whose rows are sorted together by length, to save padding."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Steps and highest learning rates of one model: for the vision tower, its alignment and the whole model.

    A model with a `start` grows out of that trained model and skips the first two parts.
    """

    vision_steps: int
    vision_rate: float
    align_steps: int
    steps: int
    learning_rate: float
    muon_rate: float
    start: str = ""


PLANS: dict[str, Plan] = {
    "xs": Plan(600, 4e-3, 250, 1200, 2e-3, 4e-3),
    "s": Plan(1000, 4e-3, 300, 2000, 2e-3, 4e-3),
    "m": Plan(0, 0.0, 0, 900, 1.5e-3, 3e-3, start="s"),
    "l": Plan(0, 0.0, 0, 1300, 1.5e-3, 3e-3, start="s"),
}


@dataclass(frozen=True)
class PackedRow:
    """A picture prefix and dialogues as token ids.

    segment: each token's dialogue, 0 for the prefix; scored: True if the token carries loss.
    """

    ids: list[int]
    segment: list[int]
    position: list[int]
    scored: list[bool]


class DialogueEncoder:
    """Dialogues to token ids, in pieces that are cached.

    Turns are cut at special tokens and before spaces, where the tokenizer cuts anyway.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.cache: dict[str, list[int]] = {}
        self.prefix = self.ids("<s>USER: ") + [family.IMAGE] * family.IMAGE_TOKENS + self.ids("\n")

    def ids(self, text: str) -> list[int]:
        if text not in self.cache:
            if len(self.cache) > 200_000:
                self.cache.clear()
            self.cache[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.cache[text]

    def answer(self, text: str) -> list[int]:
        ids: list[int] = []
        for index, part in enumerate(text.split(". ")):  # sentences recur, so they are cached one by one
            ids += self.ids(" " + part + ".") if index < text.count(". ") else self.ids(" " + part)
        return ids

    def row(self, dialogues: Sequence[Turns]) -> PackedRow:
        ids, scored = list(self.prefix), [False] * len(self.prefix)
        segment, position = [0] * len(ids), list(range(len(ids)))
        for number, turns in enumerate(dialogues, start=1):
            start = len(ids)
            for index, (user, answer) in enumerate(turns):
                prompt = self.ids(("USER: " if index else "") + user + " ASSISTANT:")
                reply = [*self.answer(answer), family.EOS]
                ids += prompt + reply
                scored += [False] * len(prompt) + [True] * len(reply)
            segment += [number] * (len(ids) - start)
            position += range(len(self.prefix), len(self.prefix) + len(ids) - start)
        return PackedRow(ids, segment, position, scored)


def batches(
    scenes: Sequence[Scene], encoder: DialogueEncoder, size: int, seed: int
) -> Iterator[tuple[list[int], list[PackedRow]]]:
    """Endless batches of (scene indices, rows); every pass over the scenes draws new texts."""
    rng = random.Random(seed)
    while True:
        order = list(range(len(scenes)))
        rng.shuffle(order)
        for start in range(0, len(order) - size * BUCKET + 1, size * BUCKET):
            chunk = order[start : start + size * BUCKET]
            rows = [(index, encoder.row(pretraining(scenes[index], rng))) for index in chunk]
            rows.sort(key=lambda pair: len(pair[1].ids))
            groups = [rows[at : at + size] for at in range(0, len(rows), size)]
            rng.shuffle(groups)
            for group in groups:
                yield [index for index, _ in group], [row for _, row in group]


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    length = max(len(row) for row in rows)
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])


def rows_loss(model: LlavaForConditionalGeneration, pixels: Tensor, rows: Sequence[PackedRow]) -> Tensor:
    """Mean cross-entropy of the scored tokens of packed rows."""
    ids = padded([row.ids for row in rows], family.PAD)
    segment = padded([row.segment for row in rows], -1)
    position = padded([row.position for row in rows], 0)
    scored = padded([row.scored for row in rows], False).bool()
    length = ids.shape[1]
    visible = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
    mask = (visible & torch.ones(length, length, dtype=torch.bool).tril())[:, None]
    embedded = model.model.get_input_embeddings()(ids)
    features = torch.stack(model.model.get_image_features(pixels, return_dict=True).pooler_output)
    at = rows[0].ids.index(family.IMAGE)
    embedded = torch.cat([embedded[:, :at], features, embedded[:, at + features.shape[1] :]], dim=1)
    hidden = model.model.language_model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=position, use_cache=False
    ).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][scored[:, 1:]])
    return nn.functional.cross_entropy(logits, ids[:, 1:][scored[:, 1:]])


def train_llava(
    name: str, out: Path, scenes: Sequence[Scene], pixels: np.ndarray, processor: LlavaProcessor, plan: Plan, seed: int
) -> None:
    """Train one size and write its folder under `out`; resumes from `out/<name>.pt` if it exists."""
    model = family.llava(name, seed).train()
    optimizer = Optimizers(model, plan.learning_rate, plan.muon_rate)
    saver = Saver(out / f"{name}.pt", model, optimizer)
    first = saver.load()
    if first == 0 and plan.start:
        if not (out / plan.start / "model.safetensors").is_file():
            raise InputError(f"{out}: {name} starts from {plan.start}, which is missing; train {plan.start} first")
        family.grow(LlavaForConditionalGeneration.from_pretrained(out / plan.start, dtype=torch.float32), model)
    elif first == 0:
        train_vision(model.model.vision_tower, scenes, pixels, plan.vision_steps, plan.vision_rate, seed)
        train_alignment(model, processor.tokenizer, scenes, pixels, plan.align_steps, plan.vision_rate, seed)
    # A grown model should not see the smaller model's first batches again.
    source = batches(scenes, DialogueEncoder(processor.tokenizer), BATCH, seed + 17 * bool(plan.start))
    for _ in range(first):
        next(source)
    began, loss_sum = time.time(), 0.0
    for step in range(first, plan.steps):
        indices, rows = next(source)
        loss = rows_loss(model, family.normalised(pixels[indices]), rows)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(one_cycle(step, plan.steps))
        loss_sum += loss.item()
        if (step + 1) % 100 == 0:
            log.info("%s step %d loss %.4f seconds %.0f", name, step + 1, loss_sum / 100, time.time() - began)
            loss_sum = 0.0
        if (step + 1) % 200 == 0:
            saver.save(step + 1)
    family.save(model, processor, out / name)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    record = {"parameters": parameters, "steps": plan.steps, "seconds": round(time.time() - began)}
    (out / f"{name}.json").write_text(dumps(record, ensure_ascii=True))
    log.info("%s done %s", name, record)
