"""How many tokens a photograph of 640 × 480 pixels takes, from a model's configuration. Torch-free.

Each rule is that of the family's processor at its default settings. The few tokens that mark tiles and rows are left
out, except where the model itself makes them. A processor that splits pictures otherwise changes the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

WIDTH, HEIGHT = 640, 480
FINEST = 4 * 3 + 1
"""Tiles of a picture of this shape if at most 12 may be used, and a thumbnail."""


@dataclass(frozen=True)
class Picture:
    """A picture inside a model. `tokens`: in the decoder's rows; `patches`: in the vision tower, of all tiles;
    `pixels`: values of a colour channel that the processor makes."""

    tokens: int
    patches: int
    pixels: int


@dataclass(frozen=True)
class Vision:
    """The configurations of a model and of its tower."""

    config: Mapping[str, Any]
    tower: Mapping[str, Any]

    def one(self, key: str) -> int:
        """A size of the tower: a number, or one for each of two sides that are alike."""
        value = self.tower[key]
        return int(value if isinstance(value, int) else value[0])

    @property
    def side(self) -> int:
        return self.one("image_size")

    @property
    def patch(self) -> int:
        return self.one("patch_size")

    @property
    def grid(self) -> int:
        """Patches along a side of a square picture."""
        return self.side // self.patch

    def tiles(self, count: int, merge: float = 1) -> Picture:
        """Square tiles, whose patches are merged `merge` × `merge`."""
        return Picture(count * int(self.grid / merge) ** 2, count * self.grid**2, count * self.side**2)

    def cells(self, columns: int, rows: int, merge: int, frames: int = 1) -> Picture:
        """A picture in its own shape: each token is a cell of `merge` × `merge` patches."""
        patches = columns * rows * merge**2
        return Picture(columns * rows, patches, patches * self.patch**2 * frames)


def picture_of(config: Mapping[str, Any]) -> Picture | None:
    """A photograph inside the model that a `config.json` describes; None if its family or its sizes are unknown."""
    rule = RULES.get(str(config.get("model_type")))
    try:
        return None if rule is None else rule(Vision(config, config["vision_config"]))
    except (LookupError, TypeError, ValueError, ZeroDivisionError):
        return None


def _llava(vision: Vision) -> Picture:
    if vision.tower.get("model_type") == "pixtral":
        return _pixtral(vision)
    whole = vision.tiles(1)
    tokens = vision.config.get("mm_tokens_per_image") or vision.config.get("image_seq_length") or whole.tokens
    return Picture(int(tokens), whole.patches, whole.pixels)


def _pixtral(vision: Vision) -> Picture:
    merge = int(vision.config.get("spatial_merge_size", 1))
    columns, rows = (math.ceil(side / (vision.patch * merge)) for side in (WIDTH, HEIGHT))
    picture = vision.cells(columns, rows, merge)
    return Picture(picture.tokens + rows, picture.patches, picture.pixels)  # each row ends with a token


def _native(vision: Vision) -> Picture:
    """Qwen and GLM: the nearest size in whole cells."""
    merge = vision.one("spatial_merge_size")
    columns, rows = (round(side / (vision.patch * merge)) for side in (WIDTH, HEIGHT))
    return vision.cells(columns, rows, merge, vision.one("temporal_patch_size"))


def _within(vision: Vision, tokens: int, merge: int) -> Picture:
    """The largest size of this shape that has at most so many tokens."""
    scale = math.sqrt(tokens / (WIDTH * HEIGHT))
    return vision.cells(math.floor(WIDTH * scale), math.floor(HEIGHT * scale), merge)


def _anyres(vision: Vision) -> Picture:
    """LLaVA-NeXT and its kin: a thumbnail, and tiles without their padding, with a newline after each row."""
    grid = int(vision.grid * Fraction(vision.config.get("downsample_rate") or 1))

    def fit(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(size[1] / WIDTH, size[0] / HEIGHT)
        useful = min(int(WIDTH * scale) * int(HEIGHT * scale), WIDTH * HEIGHT)
        return useful, -(size[0] * size[1] - useful)

    best = max(vision.config["image_grid_pinpoints"], key=fit)
    rows, columns = (side // vision.side * grid for side in best)
    if WIDTH * rows > HEIGHT * columns:
        rows -= (rows - HEIGHT * columns // WIDTH) // 2 * 2
    else:
        columns -= (columns - WIDTH * rows // HEIGHT) // 2 * 2
    tiles = vision.tiles(best[0] * best[1] // vision.side**2 + 1)
    return Picture(grid**2 + rows * (columns + 1), tiles.patches, tiles.pixels)


def least_enlarged(width: int, height: int, side: int, most: int) -> tuple[int, int]:
    """Columns and rows of tiles that hold a picture and enlarge it least; if none does, that shrink it least."""
    grids = [(columns, rows) for columns in range(1, most + 1) for rows in range(1, most // columns + 1)]
    scales = {(c, r): min(c * side / width, r * side / height) for c, r in grids}
    large = {grid: scale for grid, scale in scales.items() if scale >= 1}
    wanted = min(large.values()) if large else max(scales.values())
    return min((g for g, scale in scales.items() if scale == wanted), key=lambda g: g[0] * g[1])


def _with_thumbnail(vision: Vision, most: int, merge: float) -> Picture:
    columns, rows = least_enlarged(WIDTH, HEIGHT, vision.side, most)
    return vision.tiles(columns * rows + (columns * rows > 1), merge)


def _mllama(vision: Vision) -> Picture:
    """One token in the row: the decoder looks at the patches by cross-attention. All tiles are computed."""
    tiles = vision.tiles(int(vision.tower["max_num_tiles"]))
    return Picture(1, tiles.patches, tiles.pixels)


def _molmo2(vision: Vision) -> Picture:
    """Tiles that overlap by 8 patches, each 2 × 2 patches one token, and a thumbnail."""
    grid, overlap = vision.grid, 8
    inner = (grid - overlap) * vision.patch
    margin = overlap * vision.patch
    columns, rows = least_enlarged(WIDTH - margin, HEIGHT - margin, inner, 8)
    width, height, thumbnail = (
        math.ceil(n / 2) for n in (columns * (grid - overlap) + overlap, rows * (grid - overlap) + overlap, grid)
    )
    tiles = vision.tiles(columns * rows + 1)
    return Picture(width * height + thumbnail**2, tiles.patches, tiles.pixels)


def _minicpm(vision: Vision) -> Picture:
    """Two halves and a thumbnail, each as large as a square of `image_size`."""
    side = int(vision.config["image_size"])
    return Vision(vision.config, {**vision.tower, "image_size": side}).tiles(3, merge=4)


RULES: dict[str, Callable[[Vision], Picture]] = {
    **dict.fromkeys(("llava", "vipllava", "gemma3", "got_ocr2"), _llava),
    **dict.fromkeys(("paligemma", "deepseek_vl"), lambda vision: vision.tiles(1)),
    **dict.fromkeys(("mistral3", "lighton_ocr"), _pixtral),
    **dict.fromkeys(("llava_next", "llava_next_video", "llava_onevision", "granite4_vision"), _anyres),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), _native),
    **dict.fromkeys(("glm4v", "glm4v_moe", "glm46v", "glm_ocr"), _native),
    "internvl": lambda vision: vision.tiles(FINEST, 1 / vision.config["downsample_ratio"]),
    **dict.fromkeys(("idefics3", "smolvlm"), lambda vision: vision.tiles(FINEST, vision.config["scale_factor"])),
    "aya_vision": lambda vision: vision.tiles(FINEST, vision.config["downsample_factor"]),
    "cohere2_vision": lambda vision: _with_thumbnail(vision, 12, vision.config["downsample_factor"]),
    "ovis2": lambda vision: vision.tiles(2 * 2 + 1, vision.tower["hidden_stride"]),
    "llama4": lambda vision: _with_thumbnail(vision, 16, 1 / vision.tower["pixel_shuffle_ratio"]),
    "mllama": _mllama,
    "molmo2": _molmo2,
    "minicpmv4_6": _minicpm,
    "gemma4": lambda vision: _within(vision, 280, vision.tower["pooling_kernel_size"]),
    "lfm2_vl": lambda vision: _within(vision, 256, vision.config["downsample_factor"]),
}
