"""The size and the fingerprint of a model, from its files, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seelevel.errors import InputError
from seelevel.fingerprints import digest, folder_fingerprint, source_fingerprint
from seelevel.models.backend import TRANSFORMERS
from seelevel.models.base import ModelRef, is_object, is_server
from seelevel.models.config_file import read_json
from seelevel.models.folders import check_model_folder, hub_config
from seelevel.models.pictures import picture_of
from seelevel.models.weights import MODEL, count_parameters, weight_files


@dataclass(frozen=True)
class ModelSize:
    """Parameters, from the headers of a model's safetensors files, and tokens per picture (0: unknown)."""

    parameters: int
    dtype: str
    image_tokens: int


def model_size(folder: Path) -> ModelSize:
    """Size of the model in a folder. Raises `InputError` if files are missing."""
    check_model_folder(folder)
    count, dtypes = count_parameters(weight_files(folder, MODEL))
    picture = picture_of(read_json(folder / "config.json"))
    return ModelSize(count, dtypes, picture.tokens if picture else 0)


def model_fingerprint(model: ModelRef) -> str:
    """A fingerprint of a model's files, and of the backend that answers with them. A hub model's is of its name and
    commit, a Python object's of its module's code, a server's of its name, because nothing else is known about it.

    Raises `InputError` if the path is a file.
    """
    if is_server(model.path):
        return digest(model.path)
    if is_object(model.path):
        return digest(model.name, source_fingerprint(model.path.partition(":")[0]))
    return with_backend(_files_fingerprint(model), model)


def with_backend(fingerprint: str, model: ModelRef) -> str:
    """The fingerprint of local weights together with the backend that answers with them."""
    if model.backend == TRANSFORMERS:
        return fingerprint
    return digest(fingerprint, model.backend.identity)


def _files_fingerprint(model: ModelRef) -> str:
    folder = Path(model.path)
    if folder.is_dir():
        return digest(model.name, folder_fingerprint(folder))
    if folder.exists():
        raise InputError(f"model {model.name} is a file; name the folder that holds config.json and the weights")
    config = hub_config(model.path)
    return digest(model.name, "" if config is None else config.parent.name)
