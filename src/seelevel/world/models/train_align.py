"""Second part of a model's training: image tokens learn to stand for the words of the things that they show.

LLaVA aligns its projector with the language model before it trains the whole model. Here annotations align the vision
tower, the projector and the word embeddings. The reading is linear, so that attention can copy from it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerBase

from seelevel.world.models.family import normalised
from seelevel.world.models.optimizer import Optimizers, one_cycle
from seelevel.world.models.train_vision import BATCH, targets
from seelevel.world.pictures.scenes import COLOURS, KINDS, SETTINGS, SIZES, Scene

log = logging.getLogger(__name__)


def word_ids(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> list[int]:
    """The token of each word as it stands inside a sentence."""
    return [tokenizer(f" {word}", add_special_tokens=False).input_ids[0] for word in words]


def train_alignment(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    scenes: Sequence[Scene],
    pixels: np.ndarray,
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Train tower, projector and embeddings in place.

    The image token of a cell should point at the embeddings of the words for the things in it (kind, colour, size,
    number, row, column). The mean of all image tokens should point at the setting.
    """
    words = [
        word_ids(tokenizer, ["nothing", *KINDS]),
        word_ids(tokenizer, COLOURS),
        word_ids(tokenizer, SIZES),
        word_ids(tokenizer, ["a", "two", "three"]),
    ]
    rows, columns = word_ids(tokenizer, ["upper", "middle", "lower"]), word_ids(tokenizer, ["left", "center", "right"])
    places = word_ids(tokenizer, SETTINGS)
    embeddings = model.get_input_embeddings()
    trained = nn.ModuleList([model.model.vision_tower, model.model.multi_modal_projector, embeddings])
    optimizer = Optimizers(trained, learning_rate)
    cells, settings = targets(scenes)
    row_of, column_of = torch.arange(9) // 3, torch.arange(9) % 3
    rng = random.Random(f"align/{seed}")
    began, right, total = time.time(), 0.0, 0
    for step in range(steps):
        chosen = rng.sample(range(len(scenes)), min(BATCH, len(scenes)))
        features = model.model.get_image_features(normalised(pixels[chosen]), return_dict=True).pooler_output
        tokens = torch.stack(features)
        cell_tokens = nn.functional.rms_norm(tokens, tokens.shape[-1:])
        picture_tokens = nn.functional.rms_norm(tokens.mean(1), tokens.shape[-1:])
        logits = [cell_tokens @ embeddings.weight[ids].T for ids in words]
        loss = nn.functional.cross_entropy(picture_tokens @ embeddings.weight[places].T, settings[chosen])
        for ids, where in ((rows, row_of), (columns, column_of)):
            position_logits = cell_tokens @ embeddings.weight[ids].T
            loss = loss + nn.functional.cross_entropy(position_logits.flatten(0, 1), where.repeat(len(chosen)))
        for index, part in enumerate(logits):
            loss = loss + nn.functional.cross_entropy(part.flatten(0, 1), cells[chosen, :, index].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step(one_cycle(step, steps))
        occupied = cells[chosen, :, 0] > 0
        right += float((logits[0].argmax(-1) == cells[chosen, :, 0])[occupied].sum())
        total += int(occupied.sum())
        if (step + 1) % 100 == 0:
            took = time.time() - began
            log.info("align step %d loss %.3f kinds right %.3f seconds %.0f",
                     step + 1, loss.item(), right / total, took)  # fmt: skip
            right, total = 0.0, 0
