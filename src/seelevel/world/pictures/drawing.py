"""Draw a scene's picture: background, clutter, things, noise. The same scene gives the same pixels."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from seelevel.world.pictures.scenes import PLACES, Scene
from seelevel.world.pictures.sprites import RGB, sprite

SIDE = 126
CELL = SIDE / 3
PIXELS = {("large", 1): 46, ("small", 1): 32, ("large", 2): 34, ("small", 2): 26, ("large", 3): 31, ("small", 3): 24}
"""Side of a thing in pixels, by its size and the number of things in its cell."""
SPREAD: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0, 0),),
    2: ((-0.52, -0.12), (0.52, 0.12)),
    3: ((0, -0.5), (-0.54, 0.42), (0.54, 0.42)),
}
"""Centres of the things of a group, in sides of one thing."""
BANDS: dict[str, tuple[tuple[RGB, int], ...]] = {
    "street": (((206, 220, 232), 40), ((196, 190, 184), 62), ((172, 174, 178), 128)),
    "farm": (((206, 230, 246), 48), ((226, 214, 160), 72), ((204, 226, 170), 128)),
    "kitchen": (((244, 236, 220), 84), ((214, 196, 172), 128)),
    "bedroom": (((226, 216, 236), 88), ((206, 186, 166), 128)),
    "beach": (((198, 230, 250), 44), ((150, 206, 226), 70), ((244, 228, 188), 128)),
    "park": (((212, 234, 250), 34), ((190, 222, 176), 128)),
}
"""Horizontal bands of a setting: the colour of each and the row at which it ends."""


@cache
def background(setting: str) -> Image.Image:
    """The empty setting, SIDE×SIDE."""
    picture = Image.new("RGB", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    top = 0
    for colour, bottom in BANDS[setting]:
        pen.rectangle((0, top, SIDE, bottom), fill=colour)
        top = bottom
    if setting == "street":
        for x in range(0, SIDE, 24):
            pen.rectangle((x, 96, x + 12, 98), fill=(236, 234, 214))
    elif setting == "farm":
        for x in range(0, SIDE, 10):
            pen.line((x, 128, x + 6, 74), fill=(188, 212, 150))
    elif setting == "kitchen":
        for x in range(0, SIDE, 16):
            pen.line((x, 0, x, 84), fill=(230, 220, 200))
        for y in range(0, 84, 16):
            pen.line((0, y, SIDE, y), fill=(230, 220, 200))
    elif setting == "bedroom":
        for x in range(4, SIDE, 12):
            pen.line((x, 0, x, 87), fill=(214, 202, 226), width=3)
    elif setting == "beach":
        for y in (50, 58, 66):
            pen.line((0, y, SIDE, y + 1), fill=(176, 220, 236))
    elif setting == "park":
        pen.polygon((50, 128, 78, 128, 70, 34, 62, 34), fill=(226, 214, 190))
    return picture


def clutter(pen: ImageDraw.ImageDraw, rng: random.Random) -> None:
    """Draw a few small marks in pale greys and browns, which are not things."""
    for _ in range(rng.randint(3, 9)):
        x, y, side = rng.randrange(SIDE), rng.randrange(SIDE), rng.randint(2, 6)
        level = rng.randint(130, 235)
        fill = (level, level - rng.randint(0, 18), level - rng.randint(0, 30))
        box = (x, y, x + side, y + rng.randint(2, 6))
        if rng.random() < 0.5:
            pen.ellipse(box, fill=fill)
        else:
            pen.line(box, fill=fill, width=2)


def draw(scene: Scene) -> np.ndarray:
    """Pixels of a scene, uint8 (SIDE, SIDE, 3)."""
    rng = random.Random(scene.seed)
    picture = background(scene.setting).copy()
    clutter(ImageDraw.Draw(picture), rng)
    pixels = np.asarray(picture).astype(np.float32)
    pixels *= rng.uniform(0.92, 1.03)
    for group in scene.groups:
        cell = PLACES.index(group.place)
        across = (cell % 3 + 0.5) * CELL + rng.uniform(-2, 2)
        down = (cell // 3 + 0.5) * CELL + rng.uniform(-2, 2)
        for dx, dy in SPREAD[group.count]:
            side = PIXELS[group.size, group.count] + rng.randint(-1, 1)
            x = round(across + (dx + rng.uniform(-0.04, 0.04)) * side - side / 2)
            y = round(down + (dy + rng.uniform(-0.04, 0.04)) * side - side / 2)
            x, y = min(max(x, 0), SIDE - side), min(max(y, 0), SIDE - side)
            thing = sprite(group.kind, group.colour, side)
            patch = pixels[y : y + side, x : x + side]
            patch *= 1 - thing[..., 3:]
            patch += thing[..., :3]
    noise = np.random.default_rng(scene.seed).integers(-7, 8, (SIDE, SIDE, 1), dtype=np.int16)
    drawn: np.ndarray = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return drawn


def picture(scene: Scene) -> Image.Image:
    """The scene as a PIL picture."""
    return Image.fromarray(draw(scene))


def draw_all(scenes: list[Scene]) -> np.ndarray:
    """Pixels of many scenes, uint8 (n, SIDE, SIDE, 3)."""
    pixels = np.empty((len(scenes), SIDE, SIDE, 3), dtype=np.uint8)
    for index, scene in enumerate(scenes):
        pixels[index] = draw(scene)
    return pixels


def contact_sheet(scenes: list[Scene], captions: list[str], path: Path, columns: int = 3) -> None:
    """Write a PNG of pictures with their captions below."""
    width, height = 300, SIDE * 2 + 62
    rows = -(-len(scenes) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        x, y = index % columns * width, index // columns * height
        sheet.paste(picture(scene).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST), (x + 6, y + 6))
        words, line, top = caption.split(), "", y + 2 * SIDE + 10
        for word in words:
            if len(line) + len(word) > 48:
                pen.text((x + 6, top), line, fill="black")
                line, top = "", top + 11
            line = f"{line} {word}".strip()
        pen.text((x + 6, top), line, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
