"""Models behind one seam: `Generator.generate(prompts, sampling)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seelevel.models.hf import LocalModel


def load_model(name_or_path: str, **options: Any) -> LocalModel:
    """Load an image-text-to-text model of `transformers` from a folder or hub name (see `LocalModel.load`)."""
    from seelevel.models.hf import LocalModel

    return LocalModel.load(name_or_path, **options)
