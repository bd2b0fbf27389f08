"""A person who types into the chat, and what then stands on the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from seelevel.chat import Chat
from seelevel.chat.terminal import Terminal
from seelevel.judge.annotate import Annotator
from seelevel.models.base import Generator as Model
from seelevel.models.base import Sampling
from tests.judge.made import Critic, counted


def typed(*lines: str | type[BaseException]) -> Callable[[str], str]:
    """A person who types these lines and then Ctrl-D."""
    left = iter(lines)

    def read(_: str) -> str:
        line = next(left, EOFError)
        if isinstance(line, str):
            return line
        raise line

    return read


def talk(model: Model, *lines: str | type[BaseException], folder: Path, judged: bool = True) -> tuple[str, Chat]:
    """What stands on the screen, and the chat."""
    chat = Chat(model, "a.png", Sampling(), Annotator(Critic(counted), "critic") if judged else None)
    screen: list[str] = []
    Terminal(chat, typed(*lines), screen.append, folder / "said.jsonl").run()
    return "".join(screen), chat
