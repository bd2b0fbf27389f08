"""Models behind one seam: `Generator.generate(prompts, sampling)`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.models.base import Generator, ModelRef, is_object, is_server
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import check_condition, read_conditions
from seelevel.registry import import_named

if TYPE_CHECKING:
    from seelevel.models.local import LocalModel
    from seelevel.models.server.client import ApiModel
    from seelevel.models.vllm import VllmModel


def load_model(name_or_path: str, **options: Any) -> LocalModel:
    """Load an image-text-to-text model of `transformers` from a folder or hub name (see `LocalModel.load`)."""
    from seelevel.models.local import LocalModel

    return LocalModel.load(name_or_path, **options)


def load_generator(model: ModelRef | str, batch_size: int | None = None) -> Generator:
    """The model behind a name: on a server, a Python object (`module:attribute`, called without arguments), or local,
    with the backend of `model`.

    batch_size: prompts, or calls to a server, at once; None leaves it to the model. A model trained on conditions is
    asked under the one of `model`. Raises `InputError` for a condition that the model does not know.
    """
    ref = ModelRef(model, model) if isinstance(model, str) else model
    if is_object(ref.path):
        generator: Generator = import_named(ref.path)()
        return generator
    answering: ApiModel | LocalModel | VllmModel
    if not is_server(ref.path) and ref.backend.name == "vllm":
        from seelevel.models.vllm import VllmModel

        answering = VllmModel(ref.path, ref.backend, batch_size)
    else:
        answering = _served(ref) if is_server(ref.path) else load_model(ref.path)
        if batch_size is not None:
            answering.batch_size = batch_size
    conditions = None if is_server(ref.path) else read_conditions(Path(ref.path))
    check_condition(conditions, ref.condition)
    return answering if conditions is None else Conditioned(answering, conditions, ref.condition)


def _served(ref: ModelRef) -> ApiModel:
    from seelevel.models.server.client import ApiModel

    return ApiModel(ref.path, ref.api)
