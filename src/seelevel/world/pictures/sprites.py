"""The look of each kind: primitives in a 100×100 box, painted in the thing's colour and in fixed colours.

A primitive is (shape, coordinates, paint[, width]): "e" ellipse and "r" rectangle (x0, y0, x1, y1), "p" polygon,
"l" line (x, y, x, y, …). Paint "body" is the colour of the thing, "dark" and "tint" are shades of it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Primitive = tuple[Any, ...]

COLOUR_RGB: dict[str, RGB] = {
    "red": (214, 40, 40), "yellow": (246, 212, 50), "green": (52, 158, 66), "blue": (44, 96, 214),
    "purple": (150, 62, 178), "brown": (132, 82, 42), "white": (246, 246, 242), "black": (36, 36, 40),
}  # fmt: skip
PAINTS: dict[str, RGB] = {
    "ink": (20, 20, 24), "steel": (150, 156, 164), "glass": (176, 220, 240), "wood": (170, 122, 74),
    "leaf": (70, 140, 70), "cream": (250, 240, 214), "rose": (240, 150, 160), "grey": (104, 106, 112),
    "amber": (250, 190, 60),
}  # fmt: skip
OUTLINE: RGB = (74, 72, 78)


def wheels(*centres: int, y: int = 78, radius: int = 11) -> list[Primitive]:
    return [
        part
        for x in centres
        for part in (
            ("e", (x - radius, y - radius, x + radius, y + radius), "ink"),
            ("e", (x - 4, y - 4, x + 4, y + 4), "steel"),
        )
    ]


def legs(*xs: int, top: int, bottom: int, width: int = 8) -> list[Primitive]:
    return [("r", (x, top, x + width, bottom), "dark") for x in xs]


SPRITES: dict[str, list[Primitive]] = {
    "car": [("p", (22, 52, 34, 28, 66, 28, 80, 52), "body"), ("p", (34, 50, 40, 34, 49, 34, 49, 50), "glass"),
            ("p", (53, 50, 53, 34, 62, 34, 70, 50), "glass"), ("r", (4, 50, 96, 74), "body"),
            ("r", (88, 54, 96, 60), "amber"), *wheels(26, 74)],
    "bus": [("r", (4, 14, 96, 78), "body"), *[("r", (x, 24, x + 14, 46), "glass") for x in (10, 28, 46, 64)],
            ("r", (82, 24, 92, 74), "cream"), ("r", (4, 56, 80, 62), "dark"), *wheels(24, 68, y=80)],
    "truck": [("r", (2, 16, 60, 68), "body"), ("l", (20, 16, 20, 68), "dark", 3), ("l", (40, 16, 40, 68), "dark", 3),
              ("p", (64, 36, 84, 36, 97, 54, 97, 70, 64, 70), "tint"), ("p", (70, 40, 82, 40, 90, 54, 70, 54), "glass"),
              ("r", (2, 68, 97, 74), "ink"), *wheels(20, 46, 82)],
    "bicycle": [("e", (2, 44, 42, 84), None, 5), ("e", (58, 44, 98, 84), None, 5),
                ("l", (22, 64, 40, 34, 70, 34, 50, 64, 22, 64), "body", 7), ("l", (50, 64, 40, 34), "body", 7),
                ("l", (78, 64, 70, 24, 82, 20), "body", 7), ("l", (32, 30, 48, 30), "ink", 6)],
    "sign": [("r", (45, 50, 55, 98), "steel"), ("p", (34, 4, 66, 4, 86, 24, 86, 46, 66, 64, 34, 64, 14, 46, 14, 24),
             "body"), ("r", (26, 28, 74, 40), "cream")],
    "cow": [("r", (14, 34, 74, 66), "body"), ("e", (24, 36, 42, 52), "cream"), ("e", (48, 46, 66, 64), "cream"),
            *legs(16, 28, 54, 66, top=64, bottom=92), ("r", (70, 20, 94, 48), "body"), ("r", (74, 40, 98, 54), "rose"),
            ("l", (72, 22, 64, 8), "cream", 6), ("l", (88, 22, 96, 8), "cream", 6), ("l", (14, 38, 4, 62), "dark", 5)],
    "horse": [("e", (10, 38, 70, 68), "body"), *legs(16, 27, 50, 60, top=60, bottom=98, width=7),
              ("p", (54, 48, 70, 8, 82, 12, 70, 58), "body"), ("p", (68, 6, 98, 26, 94, 36, 70, 24), "body"),
              ("p", (50, 46, 62, 4, 72, 6, 58, 50), "ink"), ("p", (12, 42, 0, 84, 10, 86, 18, 50), "ink")],
    "pig": [("e", (8, 28, 80, 78), "body"), *legs(22, 58, top=72, bottom=90, width=10), ("e", (58, 32, 92, 66), "body"),
            ("e", (78, 42, 98, 60), "rose"), ("e", (84, 48, 88, 54), "ink"), ("p", (60, 36, 64, 20, 74, 34), "dark"),
            ("l", (10, 50, 2, 42, 8, 36, 2, 30), "dark", 4)],
    "barn": [("p", (4, 46, 50, 6, 96, 46), "dark"), ("r", (10, 44, 90, 94), "body"), ("r", (36, 58, 64, 94), "cream"),
             ("l", (36, 58, 64, 94), "ink", 4), ("l", (64, 58, 36, 94), "ink", 4), ("r", (44, 28, 56, 40), "cream")],
    "tractor": [("r", (40, 36, 92, 62), "body"), ("r", (14, 12, 50, 46), "glass"), ("r", (10, 8, 54, 16), "body"),
                ("r", (76, 14, 84, 38), "ink"), ("e", (2, 40, 54, 92), "ink"), ("e", (18, 56, 38, 76), "amber"),
                ("e", (68, 60, 98, 90), "ink"), ("e", (78, 70, 88, 80), "amber")],
    "dog": [("e", (18, 42, 72, 68), "body"), *legs(22, 34, 54, 64, top=60, bottom=92, width=7),
            ("e", (60, 18, 92, 50), "body"), ("r", (82, 32, 99, 44), "tint"), ("e", (94, 31, 100, 38), "ink"),
            ("p", (60, 20, 70, 18, 68, 46, 58, 46), "dark"), ("l", (20, 50, 4, 24), "body", 7)],
    "cup": [("e", (58, 34, 96, 74), None, 9, "dark"), ("p", (10, 24, 74, 24, 66, 88, 18, 88), "body"),
            ("e", (10, 16, 74, 32), "dark")],
    "bowl": [("c", (4, 6, 96, 90), "body"), ("e", (4, 40, 96, 56), "cream"), ("r", (34, 86, 66, 94), "dark")],
    "bottle": [("r", (42, 2, 58, 12), "ink"), ("r", (43, 10, 57, 34), "tint"),
               ("p", (43, 30, 57, 30, 72, 46, 72, 98, 28, 98, 28, 46), "body"), ("r", (28, 58, 72, 80), "cream")],
    "apple": [("e", (8, 24, 60, 94), "body"), ("e", (40, 24, 92, 94), "body"), ("l", (50, 30, 56, 6), "wood", 6),
              ("e", (56, 4, 84, 20), "leaf"), ("e", (20, 36, 34, 52), "tint")],
    "chair": [("r", (18, 2, 28, 98), "dark"), ("r", (20, 4, 34, 50), "body"), ("r", (18, 48, 82, 62), "body"),
              ("r", (72, 60, 82, 98), "dark")],
    "clock": [("e", (4, 4, 96, 96), "body"), ("e", (16, 16, 84, 84), "cream"), ("l", (50, 52, 50, 24), "ink", 6),
              ("l", (50, 50, 70, 58), "ink", 6)],
    "bed": [("r", (2, 24, 12, 92), "wood"), ("r", (90, 50, 98, 92), "wood"), ("r", (10, 56, 92, 82), "body"),
            ("r", (12, 42, 40, 58), "cream"), ("r", (40, 48, 92, 60), "tint")],
    "lamp": [("p", (30, 6, 70, 6, 92, 50, 8, 50), "body"), ("e", (38, 46, 62, 62), "amber"),
             ("r", (46, 50, 54, 88), "steel"), ("e", (26, 84, 74, 98), "grey")],
    "book": [("p", (2, 26, 50, 34, 50, 84, 2, 76), "body"), ("p", (98, 26, 50, 34, 50, 84, 98, 76), "body"),
             ("p", (9, 22, 50, 30, 50, 74, 9, 66), "cream"), ("p", (91, 22, 50, 30, 50, 74, 91, 66), "cream"),
             ("l", (50, 30, 50, 84), "ink", 3), ("l", (16, 38, 42, 43), "grey", 3), ("l", (58, 43, 84, 38), "grey", 3)],
    "cat": [("e", (22, 46, 76, 98), "body"), ("e", (26, 12, 74, 56), "body"), ("p", (28, 28, 28, 0, 46, 16), "body"),
            ("p", (72, 28, 72, 0, 54, 16), "body"), ("e", (36, 28, 44, 38), "amber"), ("e", (56, 28, 64, 38), "amber"),
            ("p", (46, 42, 54, 42, 50, 48), "rose"), ("l", (72, 90, 96, 80, 94, 56), "body", 9)],
    "boat": [("p", (2, 66, 98, 66, 80, 94, 20, 94), "body"), ("r", (46, 4, 52, 68), "wood"),
             ("p", (54, 8, 92, 58, 54, 58), "cream"), ("p", (44, 18, 44, 58, 14, 58), "cream")],
    "ball": [("e", (6, 6, 94, 94), "body"), ("p", (50, 6, 66, 10, 62, 90, 38, 90, 34, 10), "cream"),
             ("e", (42, 4, 58, 16), "dark")],
    "umbrella": [("r", (47, 40, 53, 98), "wood"), ("d", (2, 6, 98, 94), "body"),
                 ("p", (34, 50, 50, 6, 66, 50), "cream"), ("l", (50, 6, 50, 0), "wood", 5)],
    "bucket": [("e", (16, 2, 84, 72), None, 5), ("p", (10, 36, 90, 36, 76, 98, 24, 98), "body"),
               ("e", (10, 28, 90, 46), "grey"), ("r", (18, 62, 82, 70), "tint")],
    "tree": [("r", (42, 58, 58, 98), "wood"), ("e", (6, 28, 54, 70), "body"), ("e", (46, 28, 94, 70), "body"),
             ("e", (24, 2, 76, 52), "body"), ("e", (36, 36, 66, 62), "dark")],
    "bench": [("r", (2, 26, 98, 36), "body"), ("r", (2, 40, 98, 48), "body"), ("r", (2, 58, 98, 68), "dark"),
              ("r", (12, 26, 19, 92), "grey"), ("r", (81, 26, 88, 92), "grey")],
    "flower": [("r", (46, 50, 54, 98), "leaf"), ("e", (52, 70, 84, 86), "leaf"),
               *[("e", (x - 16, y - 16, x + 16, y + 16), "body") for x, y in
                 ((50, 16), (74, 30), (66, 56), (34, 56), (26, 30))], ("e", (37, 25, 63, 51), "amber")],
    "bird": [("e", (16, 36, 74, 76), "body"), ("e", (56, 18, 88, 50), "body"),
             ("p", (86, 28, 100, 36, 86, 42), "amber"), ("p", (26, 50, 58, 46, 34, 10), "dark"),
             ("p", (20, 52, 0, 42, 2, 62), "dark"), ("e", (72, 28, 78, 34), "ink"),
             ("l", (42, 74, 42, 94), "amber", 4), ("l", (54, 74, 54, 94), "amber", 4)],
    "kite": [("p", (50, 2, 84, 36, 50, 74, 16, 36), "body"), ("l", (50, 2, 50, 74), "cream", 4),
             ("l", (16, 36, 84, 36), "cream", 4), ("l", (50, 74, 62, 84, 42, 90, 58, 99), "ink", 4),
             ("p", (56, 78, 70, 80, 64, 90), "rose")],
}  # fmt: skip


def shade(colour: RGB, factor: float) -> RGB:
    """Darker for a factor below 1, nearer to white above."""
    if factor <= 1:
        return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))
    part = factor - 1
    return (
        int(colour[0] + (255 - colour[0]) * part),
        int(colour[1] + (255 - colour[1]) * part),
        int(colour[2] + (255 - colour[2]) * part),
    )


def paint(primitives: list[Primitive], colour: str) -> Image.Image:
    """A sprite at 200×200, RGBA, with a thin outline around every part."""
    body = COLOUR_RGB[colour]
    paints = {**PAINTS, "body": body, "dark": shade(body, 0.68), "tint": shade(body, 1.4)}
    if colour == "black":
        paints["dark"] = (74, 74, 80)
    picture = Image.new("RGBA", (200, 200), (*(128, 128, 128), 0))
    pen = ImageDraw.Draw(picture)
    for shape, coordinates, name, *rest in primitives:
        at = [2 * value for value in coordinates]
        fill = paints[name] if name else None
        if shape == "e" and fill is None:  # a ring
            pen.ellipse(at, outline=paints[rest[1]] if len(rest) > 1 else OUTLINE, width=2 * rest[0])
        elif shape == "e":
            pen.ellipse(at, fill=fill, outline=OUTLINE, width=4)
        elif shape == "r":
            pen.rectangle(at, fill=fill, outline=OUTLINE, width=4)
        elif shape == "p":
            pen.polygon(at, fill=fill, outline=OUTLINE, width=4)
        elif shape == "c":  # lower half of an ellipse
            pen.pieslice(at, 0, 180, fill=fill, outline=OUTLINE, width=4)
        elif shape == "d":  # upper half
            pen.pieslice(at, 180, 360, fill=fill, outline=OUTLINE, width=4)
        else:
            pen.line(at, fill=fill, width=2 * rest[0], joint="curve")
    return picture


@cache
def sprite(kind: str, colour: str, side: int) -> np.ndarray:
    """Pixels of a thing, float32 (side, side, 4): colour times alpha, then alpha in 0..1."""
    picture = paint(SPRITES[kind], colour)
    pixels = np.asarray(picture.convert("RGBa").resize((side, side), Image.Resampling.BOX), dtype=np.float32)
    return np.concatenate([pixels[..., :3], pixels[..., 3:] / 255], axis=2)
