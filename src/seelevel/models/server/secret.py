"""A server's key: read from the environment, and removed from all that the server says."""

from __future__ import annotations

import base64
import html
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from seelevel.errors import InputError
from seelevel.models.base import Completion

SHORTEST = 8
"""Shorter keys are not removed from answers. Local servers get such keys, for instance EMPTY."""
LAYERS, READ_AT_MOST = 3, 1 << 24
"""Encodings inside each other that are undone, and characters that are searched per text."""
ESCAPES = re.compile(r"(?<!\\)\\++(?:u\{?([0-9a-fA-F]{1,6})\}?|[uU]([0-9a-fA-F]{4,8})|x([0-9a-fA-F]{2})|([0-7]{3}))")
QUOTED_PRINTABLE = re.compile(r"=(?:\r?\n|([0-9A-Fa-f]{2}))")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{10,}")
HEX = re.compile(r"(?:(?:\\x|0x|%)?[0-9A-Fa-f]{2}[\s:,;-]{0,2}){8,}")
PRINTABLE = re.compile(rb"[\x20-\x7e]{8,}")
BEGINNING, TAIL = 12, 4096
"""Of a growing text: so many characters of a key are enough to stop it, and so many at its end are searched."""
HELD = "it held the key of ${} in an encoded form"


class Secret:
    """The key in an environment variable; '' if it is not set. Raises `InputError`, with the variable's name and not
    the key, if the key cannot be sent: it holds a space, a line end or anything else but visible ASCII characters."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.value = os.environ.get(variable, "") if variable else ""
        if not re.fullmatch(r"[\x21-\x7e]*", self.value):
            raise InputError(
                f"${variable} cannot be a key: it holds a space, a line end or another character that no key has; "
                "set the variable again"
            )
        self._plain = re.compile(re.escape(self.value), re.IGNORECASE)

    def removed(self, text: str) -> str:
        """The text with '…' in place of the key, or '' if the text holds the key in an encoded form."""
        if not self.value:
            return text
        text = self._plain.sub("…", text)
        return text if len(self.value) < SHORTEST or not self._is_hidden_in(text) else ""

    def cleaned(self, completion: Completion) -> Completion:
        """The completion without the key. If it held the key in an encoded form, it is empty, with a note."""
        if len(self.value) < SHORTEST:
            return completion
        fields = {name: getattr(completion, name) for name in ("text", "reasoning", "note")}
        cleaned: dict[str, Any] = {name: self.removed(text) for name, text in fields.items()}
        if any(fields[name] and not cleaned[name] for name in fields):
            return replace(completion, text="", reasoning="", note=HELD.format(self.variable))
        return replace(completion, **cleaned)

    def check(self, text: str) -> None:
        """Raise `InputError` if a text that is still growing holds the beginning of the key, plain or encoded."""
        beginning, end = self.value[:BEGINNING].casefold(), text[-TAIL:]
        if len(self.value) >= SHORTEST and (beginning in end.casefold() or self._is_hidden_in(end, beginning)):
            raise InputError(f"the answer was stopped: it showed the key of ${self.variable}")

    def _is_hidden_in(self, text: str, wanted: str = "") -> bool:
        """Whether the key, or the part of it that is wanted, shows after escapes and encodings are undone, layer by
        layer."""
        wanted = wanted or self.value.casefold()
        layer, seen, read = [text], {text}, 0
        for _ in range(LAYERS):
            below: list[str] = []
            for outer in layer:
                for inner in _decoded(outer):
                    read += len(inner)
                    if wanted in inner.casefold():
                        return True
                    if read > READ_AT_MOST:
                        return True  # so much nesting has no honest reason
                    if inner not in seen:
                        seen.add(inner)
                        below.append(inner)
            layer = below
        return False


def _decoded(text: str) -> Iterator[str]:
    """The text with one kind of escape or encoding undone, for each kind that it may hold."""
    compact = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] not in "CZ")
    if compact != text:
        yield compact
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield unquote(text, errors="replace")
    if "\\" in text:
        yield ESCAPES.sub(_character, text)
        yield text.replace("\\", "")
    if "=" in text:
        yield QUOTED_PRINTABLE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)
    for run in BASE64.finditer(text):
        for start in range(4):
            inside = run[0][start:].replace("-", "+").replace("_", "/")
            whole = inside[: len(inside) - (len(inside) % 4 == 1)]
            yield from _texts(base64.b64decode(whole + "=" * (-len(whole) % 4)))
    for run in HEX.finditer(text):
        digits = re.sub(r"\\x|0x|[^0-9A-Fa-f]", "", run[0])
        yield from _texts(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _character(found: re.Match[str]) -> str:
    number = int(found[4], 8) if found[4] else int(found[1] or found[2] or found[3], 16)
    return chr(number) if number < 0x110000 else found[0]


def _texts(raw: bytes) -> Iterator[str]:
    """The readable stretches of decoded bytes, also of UTF-16."""
    for bytes_ in (raw, raw.replace(b"\0", b"")):
        if stretches := PRINTABLE.findall(bytes_):
            yield b"\n".join(stretches).decode("ascii")
