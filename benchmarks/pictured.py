"""Checkers that see the picture of real captions: CLIPScore and a judge."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from seelevel.check.image import PictureEncoder
from seelevel.check.judged import JudgeOrder
from seelevel.check.settings import CheckSettings
from seelevel.ladder import Image, Ladder, Response
from seelevel.models.base import ApiSettings
from seelevel.naming import named_generator

Worths = Callable[[str, Sequence[str]], list[float]]
"""From an image's number and its captions to what each is worth; more is better."""


def _files(pictures: Path) -> dict[int, str]:
    """COCO's pictures by number: COCO_val2014_000000000042.jpg, or with other words before the number."""
    return {int(m[1]): str(file) for file in pictures.iterdir() if (m := re.search(r"(\d+)\.\w+$", file.name))}


def similarities(clip: Path, pictures: Path) -> Worths:
    """The cosine of a caption and its picture."""
    encoder, files = PictureEncoder(str(clip)), _files(pictures)

    def of(image: str, texts: Sequence[str]) -> list[float]:
        picture = encoder.picture(files[int(image)])
        return [float(vector @ picture) for vector in encoder.texts.encode(texts)]

    return of


def judged(judge: str, pictures: Path, seed: int) -> Worths:
    """The level that a judge of all captions together gives each, the best highest. All tie if it cannot tell."""
    settings = CheckSettings(checker="judge", judge=judge, judge_sees_pictures=True)
    order, files = JudgeOrder.from_settings(settings, named_generator(judge, ApiSettings()), seed), _files(pictures)

    def of(image: str, texts: Sequence[str]) -> list[float]:
        responses = [
            Response([{"role": "assistant", "content": text}], 0, {"caption": n}) for n, text in enumerate(texts)
        ]
        prompt = "<image>\nDescribe the picture."
        ladder = Ladder(image, [Image(files[int(image)])], [{"role": "user", "content": prompt}], responses)
        (checked,) = order([ladder])
        levels = {int(response.origin["caption"]): response.level for response in checked.responses}
        return [-float(levels[n]) for n in range(len(texts))]

    return of
