"""`seelevel chat` in a terminal: reads lines, shows answers."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from collections.abc import Generator as Pieces
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from seelevel.chat import Chat
from seelevel.chat.commands import COMMANDS, Talks, annotator, judge_named
from seelevel.chat.saving import Saving, check_save_path
from seelevel.errors import InputError, ServerError
from seelevel.judge import JUDGE_SAMPLING
from seelevel.models import load_generator
from seelevel.models.base import DEFAULT_API, Sampling
from seelevel.naming import named_generator, named_picture
from seelevel.progress import escape_controls
from seelevel.store import cache_folder

HELP = f"""\
{COMMANDS}
/help             these lines
/quit             leave, as Ctrl-D does; Ctrl-C stops an answer"""


def open_chat(
    model: str,
    image: str | None,
    about: Path | None,
    judge: str | None,
    condition: str,
    sampling: Sampling,
    save: Path | None,
    judge_sampling: Sampling = JUDGE_SAMPLING,
) -> Terminal:
    """A chat in this process's terminal, its opening lines written.

    Models and pictures are looked up before anything is loaded; raises `InputError` if one is missing.
    """
    if save is not None:
        check_save_path(save)
    if image is None and about is not None:
        raise InputError("--about tells of a picture; name it with --image")
    speaking = replace(named_generator(model, DEFAULT_API), condition=condition)
    picture, contents = (None, []) if image is None else named_picture(image, about)
    judge = judge_named(judge, image)
    judging = None if judge is None else named_generator(judge, DEFAULT_API)
    width = (lambda: shutil.get_terminal_size().columns) if sys.stdout.isatty() else (lambda: 0)
    print(
        f"model: {model}\npicture: {image or 'none (--image FILE)'}\njudge: {judge or 'none (--judge MODEL)'}",
        flush=True,
    )
    critic = None
    if judging is not None:
        critic = annotator(load_generator(judging), judging.name, picture, contents, judge_sampling)
    enable_history()
    exit_on_signals()
    terminal = Terminal(
        Chat(load_generator(speaking), picture, sampling, critic, contents),
        input,
        lambda text: print(text, end="", flush=True),
        save,
        width,
    )
    terminal.tell(f"condition: {terminal.chat.condition}\n{HELP}")
    return terminal


class Wrapping:
    """Text as it comes, in lines that break between words. `width`: of the screen; 0 breaks no line. Characters
    that would steer the terminal are shown as escapes."""

    def __init__(self, write: Callable[[str], Any], width: int) -> None:
        self.write, self.width = write, width
        self.column, self.gap, self.word, self.any = 0, "", "", False

    def feed(self, text: str) -> None:
        """Write the words of a piece that are whole; the last one may go on in the next piece."""
        out = ""
        for character in text:
            if not character.isspace():
                self.word += escape_controls(character)
                continue
            out += self._placed()
            if not self.any:  # what opens an answer is the template's
                continue
            if character == "\n":
                self.column, self.gap = 0, ""
                out += "\n"
            else:
                self.gap += " "
        self.write(out)

    def end(self) -> None:
        """Write the last word; no piece comes after it."""
        self.write(self._placed())

    def _placed(self) -> str:
        """The word that has ended, on this line or the next."""
        if not self.word:
            return ""
        length = cell_len(self.gap + self.word)
        if self.width and self.column and self.column + length > self.width:
            self.gap, length, self.column = "\n", cell_len(self.word), 0
        found = self.gap + self.word
        self.column, self.gap, self.word, self.any = self.column + length, "", "", True
        return found


class Terminal:
    """The loop that a person types into. `read` gives the next line and raises EOFError at the end; `width` says how
    wide the screen is now, 0 for none."""

    def __init__(
        self,
        chat: Chat,
        read: Callable[[str], str],
        write: Callable[[str], Any],
        save: Path | None,
        width: Callable[[], int] = lambda: 0,
    ) -> None:
        self.chat, self.read, self.write, self.save, self.width = chat, read, write, save, width
        self.talks = Talks(chat)

    def run(self) -> None:
        """Read lines until the user leaves or the terminal closes; the conversations are saved either way."""
        try:
            while self.turn():
                pass
        finally:
            self.keep()

    def turn(self) -> bool:
        """One line of the user; False if it is the last. A mistake is reported in one line and the chat goes on."""
        try:
            line = self.read("> ").strip()
            if line == "/quit":
                return False
            if line:
                self.do(line)
        except EOFError:
            self.write("\n")
            return False
        except KeyboardInterrupt:
            self.write("\n(Ctrl-D or /quit leaves)\n")
        except (InputError, ServerError) as error:
            self.tell(str(error))
        return True

    def do(self, line: str) -> None:
        """One command, or words for the model."""
        if any("\ud800" <= character <= "\udfff" for character in line):
            raise InputError("this line is not UTF-8; set the terminal's encoding to it")
        if line.partition(" ")[0] == "/help":
            self.tell(HELP)
            return
        text, answer = self.talks.do(line)
        self.tell(text)
        if answer is not None:
            self.show(answer)

    def tell(self, text: str) -> None:
        """Write lines of the program, wrapped to the terminal."""
        for line in text.splitlines():
            page = Wrapping(self.write, self.width())
            page.feed(line)
            page.end()
            self.write("\n")

    def show(self, pieces: Pieces[str]) -> None:
        """Write an answer as it arrives; Ctrl-C ends it and keeps the pieces so far."""
        page = Wrapping(self.write, self.width())
        try:
            for piece in pieces:
                page.feed(piece)
        except KeyboardInterrupt:
            pieces.close()
            page.feed(" …")
        page.end()
        self.write("\n" if page.any else "(no answer)\n")
        if self.chat.cut:
            self.tell(f"(cut short; --max-new-tokens is {self.chat.sampling.max_new_tokens})")

    def keep(self) -> None:
        """Save all conversations, and say where."""
        for line in Saving(self.save, f"{self.talks.began}-0").keep(self.talks.all()):
            self.write(f"{line}\n")


def enable_history() -> None:
    """Keep the typed lines for the next chat, if the system has readline and the cache is writable."""
    try:
        import atexit
        import readline
    except ImportError:
        return
    place = cache_folder() / "chat-history"

    def keep() -> None:
        with suppress(OSError):
            readline.write_history_file(place)

    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        readline.read_history_file(place)
    readline.set_history_length(1000)
    atexit.register(keep)


def exit_on_signals() -> None:
    """A closed terminal or SIGTERM ends the chat as /quit does: the conversations are saved."""

    def leave(number: int, _: Any) -> None:
        sys.exit(128 + number)

    for name in ("SIGHUP", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)
