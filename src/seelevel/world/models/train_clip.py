"""Train the small CLIP: pictures with sentences, crops with phrases, and texts with texts of the same meaning.

Checkers compare noun phrases and sentences with its text encoder. So texts of one meaning ('a small brown dog', 'a
brown dog') are drawn together, and texts that differ in kind, colour, number or place are pushed apart.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPModel

from seelevel.json_text import dumps
from seelevel.world.models import family
from seelevel.world.models.optimizer import Optimizers, Saver, one_cycle
from seelevel.world.pictures.drawing import CELL, SIDE
from seelevel.world.pictures.scenes import COLOURS, KINDS, NUMBERS, PLACES, SETTINGS, SIZES, Group, Scene
from seelevel.world.texts.language import OPENINGS, STYLES, existence_answer, harmful, number, phrase, sentence

log = logging.getLogger(__name__)

STEPS = 800
LEARNING_RATE = 2e-3
PICTURES = 32
TEXTS = 128
WINDOW = 63
"""Side of a crop around a cell, in pixels; it is doubled to the picture's side."""
NEAR, FAR = 0.95, 0.6
"""Cosines that pairs of one meaning should exceed and pairs of two meanings should not."""


def any_group(rng: random.Random) -> Group:
    return Group(
        rng.choice(KINDS),
        rng.choices((1, 2, 3), (5, 2, 1))[0],
        rng.choice(SIZES),
        rng.choice(COLOURS),
        rng.choice(PLACES),
    )


def changed(group: Group, rng: random.Random, place: bool) -> Group:
    """The group with one thing about it different: kind, colour, number or (if texts tell it) place."""
    match rng.choice(("kind", "kind", "colour", "count", *(("place", "place") if place else ()))):
        case "kind":
            return replace(group, kind=rng.choice([kind for kind in KINDS if kind != group.kind]))
        case "colour":
            return replace(group, colour=rng.choice([colour for colour in COLOURS if colour != group.colour]))
        case "count":
            return replace(group, count=rng.choice([count for count in NUMBERS if count != group.count]))
        case _:
            return replace(group, place=rng.choice([other for other in PLACES if other != group.place]))


def as_phrase(group: Group, rng: random.Random) -> str:
    text = phrase(group, size=rng.random() < 0.6)
    if rng.random() < 0.1 and group.count == 1:
        text = text.replace("a ", "the ", 1)
    return text


def as_sentence(group: Group, rng: random.Random) -> str:
    style = rng.choice(STYLES)[0]
    text = sentence(group, style)
    return text.replace(f"{group.size} ", "") if rng.random() < 0.25 else text


def as_placed_phrase(group: Group, rng: random.Random) -> str:
    return f"{as_phrase(group, rng)} in the {group.place}"


def as_bare(group: Group, rng: random.Random) -> str:
    """Kind and number alone, as answers to questions say them."""
    if rng.random() < 0.5:
        return number(group.count, group.noun)
    return existence_answer(group.kind, group)


def as_place(group: Group, rng: random.Random) -> str:
    return rng.choice((f"in the {group.place}", f"the {group.place}", f"In the {group.place}", group.place))


def other_pair(rng: random.Random) -> tuple[str, str]:
    """Two texts of one meaning that is not about a group: a setting, a denial, a refusal."""
    match rng.randrange(4):
        case 0:
            setting = rng.choice(SETTINGS)
            texts = [opening.format(setting=setting) for opening in OPENINGS] + [f"a {setting}"]
            first, second = rng.sample(texts, 2)
            return first, second
        case 1:
            kind = rng.choice(KINDS)
            return existence_answer(kind, None), f"There is no {kind} in the image."
        case 2:
            kind, colour = rng.choice(KINDS), rng.choice(COLOURS)
            return f"The {kind} is {colour}.", rng.choice(
                (f"Yes, the {kind} is {colour}.", f"No, the {kind} is {colour}.")
            )
        case _:
            scene = Scene("", rng.choice(SETTINGS), (any_group(rng),), 0)
            refusal = harmful(scene, rng)[1]
            return refusal, refusal.replace("I am sorry, but ", "").replace("Sorry, ", "")


def meanings(rng: random.Random, count: int) -> tuple[list[str], list[str]]:
    """Pairs of texts, each pair of one meaning; every second pair is a near miss of the one before it."""
    forms: tuple[tuple[Callable[[Group, random.Random], str], float, bool], ...] = (
        (as_phrase, 0.38, False), (as_sentence, 0.38, True), (as_placed_phrase, 0.1, True), (as_bare, 0.06, False),
    )  # fmt: skip
    left: list[str] = []
    right: list[str] = []
    drawn: set[tuple[object, ...]] = set()
    while len(left) < count:
        draw = rng.random()
        if draw < 0.05:
            pair = other_pair(rng)
            if pair not in drawn:
                drawn.add(pair)
                left.append(pair[0])
                right.append(pair[1])
            continue
        if draw < 0.08:
            group = any_group(rng)
            if ("place", group.place) not in drawn:
                drawn.add(("place", group.place))
                left.append(as_place(group, rng))
                right.append(as_place(group, rng))
            continue
        form, _, place = rng.choices(forms, [weight for _, weight, _ in forms])[0]
        group = any_group(rng)
        for item in (group, changed(group, rng, place)):
            key = (form, item.kind, item.count, item.colour if form is not as_bare else "", item.place if place else "")
            if key not in drawn:
                drawn.add(key)
                left.append(form(item, rng))
                right.append(form(item, rng))
    return left[:count], right[:count]


def crop(pixels: np.ndarray, place: str) -> np.ndarray:
    """A WINDOW around a cell of a picture, doubled to SIDE×SIDE."""
    cell = PLACES.index(place)
    x = min(max(round((cell % 3 + 0.5) * CELL - WINDOW / 2), 0), SIDE - WINDOW)
    y = min(max(round((cell // 3 + 0.5) * CELL - WINDOW / 2), 0), SIDE - WINDOW)
    return pixels[y : y + WINDOW, x : x + WINDOW].repeat(2, axis=0).repeat(2, axis=1)


def contrast(left: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of unit vectors (n, d) whose rows belong together."""
    logits = scale * left @ right.T
    target = torch.arange(len(left))
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


def margins(left: Tensor, right: Tensor) -> Tensor:
    """Hinge on cosines: pairs below NEAR and non-pairs above FAR."""
    cosines = left @ right.T
    diagonal = torch.eye(len(left), dtype=torch.bool)
    near = nn.functional.relu(NEAR - cosines[diagonal]).mean()
    far = nn.functional.relu(torch.cat([cosines[~diagonal], (left @ left.T)[~diagonal]]) - FAR)
    return near + 4 * far.sum() / len(left)


def train_clip(out: Path, scenes: Sequence[Scene], pixels: np.ndarray, steps_scale: float, seed: int) -> None:
    """Train the CLIP and write `out/clip`; resumes from `out/clip.pt` if it exists."""
    processor = family.clip_processor()
    model: CLIPModel = family.clip(seed).train()
    optimizer = Optimizers(model, LEARNING_RATE)
    saver = Saver(out / "clip.pt", model, optimizer)
    first, steps, began = saver.load(), max(1, int(STEPS * steps_scale)), time.time()

    def encode(texts: Sequence[str]) -> Tensor:
        batch = processor.tokenizer(list(texts), padding=True, return_tensors="pt")
        return nn.functional.normalize(model.get_text_features(**batch, return_dict=True).pooler_output, dim=-1)

    total = 0.0
    for step in range(first, steps):
        rng = random.Random(f"clip/{seed}/{step}")
        chosen = rng.sample(range(len(scenes)), PICTURES)
        groups = [rng.choice(scenes[index].groups) for index in chosen]
        near = [crop(pixels[index], group.place) for index, group in zip(chosen, groups, strict=True)]
        views = family.normalised(np.concatenate([pixels[chosen], np.stack(near)]))
        left, right = meanings(rng, TEXTS)
        texts = encode(
            [
                *left,
                *right,
                *[as_sentence(group, rng) for group in groups],
                *[as_phrase(group, rng) for group in groups],
            ]
        )
        pictures = nn.functional.normalize(model.get_image_features(views, return_dict=True).pooler_output, dim=-1)
        scale = model.logit_scale.exp().clamp(max=50)
        first_texts, second_texts, whole, part = texts.split([TEXTS, TEXTS, PICTURES, PICTURES])
        loss = (
            contrast(first_texts, second_texts, torch.tensor(20.0))
            + margins(first_texts, second_texts)
            + contrast(pictures[:PICTURES], whole, scale)
            + contrast(pictures[PICTURES:], part, scale)
        )
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(one_cycle(step, steps))
        total += loss.item()
        if (step + 1) % 50 == 0:
            log.info("clip step %d loss %.4f seconds %.0f", step + 1, total / 50, time.time() - began)
            total = 0.0
        if (step + 1) % 200 == 0:
            saver.save(step + 1)
    family.save(model, processor, out / "clip")
    record = {"parameters": sum(p.numel() for p in model.parameters()), "steps": steps,
              "seconds": round(time.time() - began)}  # fmt: skip
    (out / "clip.json").write_text(dumps(record, ensure_ascii=True))
    log.info("clip done %s", record)
