"""`seelevel chat` in a terminal: reads commands, shows answers, saves conversations."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as Pieces
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from seelevel.chat import Chat, described
from seelevel.errors import DiskFullError, InputError, ServerError
from seelevel.formats.nlf import write
from seelevel.image_store import ImageStore
from seelevel.images import ImageError
from seelevel.judge import JUDGE_SAMPLING
from seelevel.judge.annotate import Annotator
from seelevel.ladder import Image, Interaction
from seelevel.models import load_generator
from seelevel.models.base import DEFAULT_API, Sampling
from seelevel.naming import ORACLE, WORLD, named_generator, named_picture
from seelevel.progress import escape_controls
from seelevel.store import cache_folder

HELP = """\
/feedback         how the judge rates the last answer, and why
/refine [WORDS]   another answer, following the judge's words or yours
/condition WHICH  another answer, under these ratings: top, worst, none, or 2/4/4
/new              forget the conversation
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
    if judge is None and image is not None and image.startswith(WORLD):
        judge = ORACLE
    judging = None if judge is None else named_generator(judge, DEFAULT_API)
    width = (lambda: shutil.get_terminal_size().columns) if sys.stdout.isatty() else (lambda: 0)
    print(
        f"model: {model}\npicture: {image or 'none (--image FILE)'}\njudge: {judge or 'none (--judge MODEL)'}",
        flush=True,
    )
    annotator = None
    if judging is not None:
        sees = not contents and picture is not None
        annotator = Annotator(load_generator(judging), judging.name, sampling=judge_sampling, sees=sees)
    enable_history()
    exit_on_signals()
    terminal = Terminal(
        Chat(load_generator(speaking), picture, sampling, annotator, contents),
        input,
        lambda text: print(text, end="", flush=True),
        save,
        width,
    )
    terminal.tell(f"condition: {terminal.chat.condition}\n{HELP}")
    return terminal


def check_save_path(save: Path) -> None:
    """Raise `InputError` where a new file cannot be written."""
    if save.exists():
        raise InputError(f"--save {save} is there already; name a new file")
    try:
        save.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--save {save}: {error.strerror} ({error.filename}); name another place") from error
    if not os.access(save.parent, os.W_OK):
        raise InputError(f"--save {save}: {save.parent} cannot be written to; name another place")


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
        self.said: list[Interaction] = []

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
        command, _, rest = line.partition(" ")
        rest = rest.strip()
        if not line.startswith("/"):
            self.show(self.chat.ask(line))
        elif command == "/feedback":
            self.tell(described(self.chat.feedback()))
        elif command == "/refine":
            if not rest:
                rest = self.chat.request()
                self.tell(f"asked: {rest}")
            self.show(self.chat.refine(rest))
        elif command == "/condition":
            if rest:
                self.chat.under(rest)
            self.tell(f"condition: {self.chat.condition}")
            if rest and self.chat.turns:
                self.again()
        elif command == "/new":
            self.forget()
        elif command == "/help":
            self.tell(HELP)
        else:
            self.tell(f"unknown command {command}; /help lists them")

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

    def again(self) -> None:
        """Show another answer to the last request; the conversation with the one it replaces is kept for the end."""
        before, last = self.current(), self.chat.turns[-1]
        try:
            self.show(self.chat.again())
        finally:
            if last not in self.chat.turns:
                self.said += before

    def forget(self) -> None:
        """Start a new conversation; the old one is saved at the end."""
        self.said += self.current()
        self.chat.turns = []

    def current(self) -> list[Interaction]:
        """The current conversation; empty if it has no turns."""
        name = f"{time.strftime('chat-%Y%m%d-%H%M%S')}-{len(self.said)}"
        return [self.chat.interaction(name)] if self.chat.turns else []

    def keep(self) -> None:
        """Save all conversations as LVLM_NLF records; in the cache if the user's file cannot be written.

        The picture is copied to `images` beside the file, so that both can be moved. An existing file is never
        overwritten.
        """
        talks = [*self.said, *self.current()]
        if not talks:
            return
        fallback = cache_folder() / "chats" / f"{talks[0].id}.jsonl"
        for place in dict.fromkeys((self.save or fallback, fallback)):
            try:
                with unused_path(place) as file:
                    write([ladder for talk in talks for ladder in talk.rounds()], file)
            except (OSError, DiskFullError) as error:
                self.write(f"{place} cannot be written ({getattr(error, 'strerror', None) or error})\n")
            else:  # the text is safe now, even if the terminal closes here
                copies = [replace(talk, images=[beside(i, file.parent) for i in talk.images]) for talk in talks]
                with suppress(OSError, DiskFullError):
                    write([ladder for talk in copies for ladder in talk.rounds()], file)
                if talks[0].images and copies[0].images == talks[0].images:
                    self.write(
                        f"the picture cannot be copied to {file.parent / 'images'}; the file names it as it is\n"
                    )
                self.write(f"saved: {file}\n")
                return


def beside(picture: Image, folder: Path) -> Image:
    """The picture's copy in `images` of a folder; the picture itself if it cannot be copied."""
    try:
        return ImageStore(folder).put(picture.path)
    except (ImageError, OSError, DiskFullError):
        return picture


@contextmanager
def unused_path(file: Path) -> Iterator[Path]:
    """The first free name of `a.jsonl`, `a-2.jsonl`, `a-3.jsonl` …

    The file is created at once, so that no other chat takes the name, and deleted if writing fails.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = file if number == 1 else file.with_stem(f"{file.stem}-{number}")
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


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
