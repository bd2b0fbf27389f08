"""seelevel: align vision-language models to say what they see."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seelevel.formats.parquet import load_ladders, save_ladders
    from seelevel.ladder import Feedback, Image, Interaction, Ladder, Message, Response

__version__ = "0.1.0"
__all__ = [
    "Feedback",
    "Image",
    "Interaction",
    "Ladder",
    "Message",
    "Response",
    "__version__",
    "load_ladders",
    "save_ladders",
]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for: the command's help needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module("seelevel.formats.parquet" if name.endswith("_ladders") else "seelevel.ladder")
    return globals().setdefault(name, getattr(module, name))


def __dir__() -> list[str]:
    return __all__
