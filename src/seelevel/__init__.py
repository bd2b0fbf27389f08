"""seelevel: align vision-language models to say what they see."""

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
