"""A scene that answers are judged by: as lines of a judge's prompt, and as the facts they say."""

from seelevel.world.oracle.claims import Facts
from seelevel.world.pictures.scenes import Group

LINES = [
    "setting: kitchen",
    "2 small red cups in the upper left",
    "1 large brown dog in the center",
    "3 large blue bowls in the lower right",
    "1 small white clock in the upper middle",
]
FACTS = Facts(
    "kitchen",
    (
        Group("cup", 2, "small", "red", "upper left"),
        Group("dog", 1, "large", "brown", "center"),
        Group("bowl", 3, "large", "blue", "lower right"),
        Group("clock", 1, "small", "white", "upper middle"),
    ),
)
