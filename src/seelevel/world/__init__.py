"""The built-in world: drawn scenes, texts about them, an oracle that judges answers, and small trained models.

No core module and no stage imports this package. Only the pipeline and the command line do: they turn names such as
``world:s`` or ``world:test`` into folders.
"""

from __future__ import annotations

from pathlib import Path

from seelevel.errors import InputError

MODELS = ("xs", "s", "m", "l")
"""The LLaVA family, smallest first; ``clip`` is the text and image encoder beside it."""

WEIGHTS = Path(__file__).parent / "weights"


def model_path(name: str) -> Path:
    """Folder of a shipped model: ``xs``, ``s``, ``m``, ``l`` or ``clip``.

    Raises InputError for any other name, or if the weights have not been trained yet.
    """
    if name not in (*MODELS, "clip"):
        raise InputError(f"world:{name}: no such model; the world has {', '.join((*MODELS, 'clip'))}")
    folder = WEIGHTS / name
    if not (folder / "model.safetensors").is_file():
        raise InputError(f"{folder}: the weights are missing; `seelevel world train --out {WEIGHTS}` makes them")
    return folder
