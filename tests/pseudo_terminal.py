"""A program in a real pseudo-terminal: keys in, what stands on the screen out. Standard library alone."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType

UP, LEFT, HOME, END, BACKSPACE = "\x1b[A", "\x1b[D", "\x01", "\x05", "\x7f"
CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"
UNFINISHED = re.compile(r"\x1b(\[[?>\d;]*)?$")
CONTROL = re.compile(r"\x1b\[([?>]?)([\d;]*)([A-Za-z@])|\x1b[=>]|(.)", re.DOTALL)


class Screen:
    """What a terminal of `columns` shows of a program's output, lines that have scrolled away included. It knows what
    readline and this program write, and refuses anything else."""

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def feed(self, text: str) -> None:
        for private, number, letter, character in CONTROL.findall(text):
            if character:
                self._character(character)
            elif letter and letter != "m" and not private:
                self._control(letter, max(int(number or 0), 1), bool(number))

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character == "\b":
            self.column = max(self.column - 1, 0)
        elif character >= " ":
            if self.column == self.columns:
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1
        elif character != "\a":
            raise ValueError(f"the screen knows no {character!r}")

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def _control(self, letter: str, count: int, counted: bool) -> None:
        line = self.lines[self.row]
        if letter == "K" and not counted:
            self.lines[self.row] = line[: self.column]
        elif letter == "J" and not counted:
            self.lines[self.row :] = [line[: self.column]]
        elif letter == "P":
            self.lines[self.row] = line[: self.column] + line[self.column + count :]
        elif letter == "@":
            self.lines[self.row] = line[: self.column] + " " * count + line[self.column :]
        elif letter == "C":
            self.column = min(self.column + count, self.columns - 1)
        elif letter == "D":
            self.column = max(self.column - count, 0)
        elif letter == "A":
            self.row = max(self.row - count, 0)
        else:
            raise ValueError(f"the screen knows no ESC [ {letter}")

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)


class PseudoTerminal:
    """`with PseudoTerminal(["seelevel", "chat", ...]) as terminal: terminal.shows(">"); terminal.type("Hi" + ENTER)`.

    The program is killed at the end if it has not ended by then.
    """

    def __init__(self, command: Sequence[str], columns: int = 80, **environment: str) -> None:
        self.columns, self._written, self._code = columns, b"", None
        self._process, self._file = pty.fork()
        if not self._process:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where a shell started the tests in the background
            own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
            os.execvpe(command[0], list(command), {**own, "TERM": "xterm", **environment})
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    _code: int | None

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._code is None:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        if self._file >= 0:
            os.close(self._file)

    @property
    def screen(self) -> str:
        """What it shows now."""
        screen = Screen(self.columns)
        screen.feed(UNFINISHED.sub("", self._written.decode(errors="ignore")))
        return str(screen)

    def type(self, keys: str | bytes) -> None:
        os.write(self._file, keys.encode() if isinstance(keys, str) else keys)

    def hang_up(self) -> None:
        """Close the terminal under the program."""
        os.close(self._file)
        self._file = -1

    def shows(self, text: str, seconds: float = 60) -> str:
        """The screen, once this stands on it."""
        return self.until(lambda screen: text in screen, f"'{text}'", seconds)

    def until(self, holds: Callable[[str], bool], what: str, seconds: float = 60) -> str:
        """The screen, once it is as wanted. Raises AssertionError with the screen where it does not come to that."""
        deadline = time.monotonic() + seconds
        while not holds(self.screen):
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"no {what} on the screen:\n{self.screen}")
        return self.screen

    def ends(self, seconds: float = 60) -> int:
        """The program's exit code, once it has ended; negative for a signal."""
        deadline = time.monotonic() + seconds
        while self._code is None:
            if self._file >= 0:
                self._read()
            else:
                time.sleep(0.05)
            done, status = os.waitpid(self._process, os.WNOHANG)
            if done:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise AssertionError(f"it does not end:\n{self.screen}")
        while self._file >= 0 and self._read():  # what it wrote last
            pass
        return self._code

    def _read(self) -> bool:
        """Whether there may be more: false once the program has closed its side."""
        if select.select([self._file], [], [], 0.1)[0]:
            try:
                found = os.read(self._file, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                return False
            self._written += found
            return bool(found)
        return self._code is None
