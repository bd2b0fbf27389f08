"""Models behind one seam: `Generator.generate(prompts, sampling)`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from seelevel.lookup import load
from seelevel.models.base import Generator, ModelRef, is_server

if TYPE_CHECKING:
    from seelevel.models.hf import LocalModel

OBJECT = re.compile(r"seelevel(\.\w+)+:\w+")


def load_model(name_or_path: str, **options: Any) -> LocalModel:
    """Load an image-text-to-text model of `transformers` from a folder or hub name (see `LocalModel.load`)."""
    from seelevel.models.hf import LocalModel

    return LocalModel.load(name_or_path, **options)


def load_generator(model: ModelRef | str) -> Generator:
    """Whatever answers under a model's name: a server's model, an object of this package, a local model."""
    ref = ModelRef(model, model) if isinstance(model, str) else model
    if is_server(ref.path):
        from seelevel.models.api import ApiModel

        return ApiModel(ref.path, ref.api)
    if OBJECT.fullmatch(ref.path):
        made: Generator = load(ref.path)()
        return made
    return load_model(ref.path)
