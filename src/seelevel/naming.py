"""Names of models in recipes: `world:s`, a folder, a hub name, a server's model, `world:oracle`."""

from __future__ import annotations

from pathlib import Path

from seelevel.errors import InputError
from seelevel.models.base import ApiSettings, ModelRef, is_server
from seelevel.models.folders import adapter_base, check_model_folder
from seelevel.store import cache_folder

WORLD, ORACLE = "world:", "world:oracle"
OWN_BASE = "run:base"
"""In recipes: the model that the run makes first, under `base:`."""


def named_model(name: str) -> ModelRef:
    """A model whose weights are here or on the hub. Raises `InputError` where a folder is not there or not whole."""
    if name.startswith(WORLD):
        from seelevel.world import model_path

        return ModelRef(name, str(model_path(name.removeprefix(WORLD))))
    if Path(name).is_dir():
        if adapter_base(Path(name)) is None:
            check_model_folder(Path(name))
    elif is_server(name):
        raise InputError(f"model {name} is a server's, but its weights are needed here; name a folder or a hub model")
    elif name.startswith((".", "/", "~")) or name.count("/") != 1:  # a hub name is owner/model
        raise InputError(f"model folder {name} does not exist; name a folder, a hub model or one of world:xs s m l")
    return ModelRef(name, name)


def named_generator(name: str, api: ApiSettings) -> ModelRef:
    """Whatever answers prompts: a model, a server's model, the world's oracle. Raises `InputError` as `named_model`."""
    if name == ORACLE:
        return ModelRef(name, "seelevel.world.oracle:Oracle")
    if is_server(name):
        from seelevel.models.api import split_name

        split_name(name)
        return ModelRef(name, name, api)
    return named_model(name)


def named_picture(name: str, beside: Path | None = None) -> tuple[str, list[str]]:
    """A picture's path and what is known of it, a line each: those of `beside`, a file of text, or else those that come
    with a picture of the world's (`world:test/3`). Raises `InputError` where there is none."""
    if name.startswith(WORLD):
        from seelevel.world.datasets import one_picture

        path, known = one_picture(name.removeprefix(WORLD), cache_folder() / "pictures")
    else:
        from seelevel.images import ImageError, check_image

        path, known = name, []
        if not Path(name).is_file():
            raise InputError(f"picture {name} does not exist; name a file, or one of the world's: world:test/0")
        try:
            check_image(name)
        except ImageError as error:
            raise InputError(f"picture {name}: {error}; name another one") from error
    if beside is None:
        return path, known
    try:
        lines = beside.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{beside} cannot be read as text ({error}); mend the path or save it as UTF-8") from error
    return path, [line.strip() for line in lines if line.strip()]
