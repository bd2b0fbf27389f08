"""Train the world's models from scratch, on the world's own scenes.

A row holds one picture and several dialogues about it. Each dialogue attends to the picture and to itself alone, so the
picture is encoded once. Only answers carry loss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.registry import nearest
from seelevel.world.models import family
from seelevel.world.models.optimizer import keep_memory
from seelevel.world.models.train_llava import BATCH, BUCKET, PLANS, train_llava
from seelevel.world.pictures.drawing import draw_all
from seelevel.world.pictures.scenes import draw_scenes

log = logging.getLogger(__name__)

SCENES = 30000


def train_family(
    out: Path, models: Sequence[str] = ("xs", "s", "m", "l", "clip"), steps_scale: float = 1.0, seed: int = 0
) -> None:
    """Train the named models from scratch and write one folder each under `out`.

    Raises `InputError` for an unknown model or an invalid number of steps.
    """
    from seelevel.world.models.train_clip import train_clip

    names = [*PLANS, "clip"]
    for name in models:
        if name not in names:
            raise InputError(f"--models: the world has no model '{name}'; {nearest(name, names)}")
    if not 0 < steps_scale < math.inf:
        raise InputError(f"--steps-scale: {steps_scale} is not a positive, finite number; 1 trains all steps")
    keep_memory()
    out.mkdir(parents=True, exist_ok=True)
    count = max(2 * BATCH * BUCKET, int(SCENES * min(1.0, steps_scale)))
    log.info("drawing %d scenes", count)
    scenes = list(draw_scenes("pretrain", count, seed))
    pixels = draw_all(scenes)
    processor = family.llava_processor()
    for name in models:
        if name == "clip":
            train_clip(out, scenes, pixels, steps_scale, seed)
        else:
            plan = PLANS[name]
            vision, aligned, steps = (
                max(1, int(count * steps_scale)) for count in (plan.vision_steps, plan.align_steps, plan.steps)
            )
            plan = replace(plan, vision_steps=vision, align_steps=aligned, steps=steps)
            train_llava(name, out, scenes, pixels, processor, plan, seed)
