"""A page of `seelevel view` as a file that needs no server.

Links lead to other files. Forms that change something are gone. Each value of a form that filters is a link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit

ADDRESSES = {("a", "href"), ("link", "href"), ("img", "src"), ("script", "src")}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'"
"""That of the server (`door.POLICY`), as far as a page can say it of itself."""
ONLY = {"ladder": ("id",)}
"""Parts of a query that name a page, by the last word of its path. The others only say how somebody came to it."""
SUFFIXES = {
    "text/html": ".html",
    "text/css": ".css",
    "text/javascript": ".js",
    "text/plain": ".txt",
    "application/json": ".json",
    "image/webp": ".webp",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/svg+xml": ".svg",
}
LONGEST_NAME = 40
_PATH = re.compile(r"(?<![\w./:\\~<-])/((?:[\w.@+~%-]+/)+)([\w.@+~%-]*)")


@dataclass(frozen=True)
class Link:
    """An address in a page, of another page or file of the server. `before` and `after`: what stands around it if it is
    written; `without`: what stands there if there is no such file."""

    address: str
    anchor: str
    before: str
    after: str
    without: str


@dataclass
class _Form:
    """A form that filters, while it is read. choices: label, name, and (value, words) of each select."""

    action: str
    choices: list[tuple[str, str, list[tuple[str, str]]]] = field(default_factory=list)
    label: str = ""


class Page(HTMLParser):
    """A page in parts: texts, and links whose files are not known yet. `address`: its own."""

    def __init__(self, address: str, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self._address = address
        self.parts: list[str | Link] = []
        self._dropping = False
        self._form: _Form | None = None
        self._value = ""
        self.feed(html)
        self.close()

    @property
    def links(self) -> list[str]:
        return [part.address for part in self.parts if isinstance(part, Link)]

    def written(self, place: Callable[[str], str | None]) -> str:
        """The page's text. `place`: where a link leads to, relative to this page; None if there is no such file."""
        texts = []
        for part in self.parts:
            if isinstance(part, str):
                texts.append(part)
            elif (there := place(part.address)) is None:
                texts.append(part.without)
            else:
                texts.append(f"{part.before}{escape(there + part.anchor)}{part.after}")
        return "".join(texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and not self._dropping:
            if (given.get("method") or "get").lower() == "post":
                self._dropping = True
            else:
                self._form = _Form(given.get("action") or "")
        elif self._form is not None:
            self._read_choice(self._form, tag, given)
        elif not self._dropping:
            self._add_tag(tag, attrs)

    def _add_tag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        name = next((name for name, value in attrs if (tag, name) in ADDRESSES and value is not None), None)
        if name is None:
            self.parts.append(raw)
            if tag == "head":
                self.parts.append(f'\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">')
            return
        target = dict(attrs)[name] or ""
        if urlsplit(target).scheme or urlsplit(target).netloc or target.startswith("#"):
            self.parts.append(raw)
            return
        start = f"<{tag}" + "".join(_attribute(key, value) for key, value in attrs if key != name)
        without = f"{start}>" if tag == "a" else ""
        address = canonical(urljoin(self._address, target))
        self.parts.append(Link(address, _anchor(target), f'{start} {name}="', '">', without))

    def _read_choice(self, form: _Form, tag: str, given: dict[str, str | None]) -> None:
        if tag == "label":
            form.label = ""
        elif tag == "select":
            form.choices.append((form.label.strip(), given.get("name") or "", []))
        elif tag == "option" and form.choices:
            self._value = given.get("value") or ""
            form.choices[-1][2].append((self._value, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            if self._form is not None:
                self._add_choices(self._form)
            self._form, self._dropping = None, False
        elif self._form is None and not self._dropping:
            self.parts.append(f"</{tag}>")

    def _add_choices(self, form: _Form) -> None:
        """A link for each value of each choice."""
        shown = [(label, name, [pair for pair in pairs if pair[0]]) for label, name, pairs in form.choices]
        if not any(pairs for _, _, pairs in shown):
            return
        self.parts.append('<details><summary>Show some</summary><ul class="choices">')
        if (all_of_them := canonical(urljoin(self._address, form.action))) != canonical(self._address):
            self.parts += ["<li>", Link(all_of_them, "", '<a href="', '">all</a>', "all"), "</li>"]
        for label, name, pairs in shown:
            if not pairs:
                continue
            self.parts.append(f"<li>{label}: ")
            for value, words in pairs:
                address = canonical(urljoin(self._address, f"{form.action}?{urlencode({name: value})}"))
                self.parts.append(Link(address, "", '<a href="', f'">{words.strip()}</a> ', f"{words.strip()} "))
            self.parts.append("</li>")
        self.parts.append("</ul></details>")

    def _text(self, text: str) -> None:
        if self._form is None:
            if not self._dropping:
                self.parts.append(without_paths(text))
        elif self._form.choices and self.lasttag == "option" and (pairs := self._form.choices[-1][2]):
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + text)
        else:
            self._form.label += text

    def handle_data(self, data: str) -> None:
        self._text(data)

    def handle_entityref(self, name: str) -> None:
        self._text(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._text(f"&#{name};")

    def handle_decl(self, decl: str) -> None:
        self.parts.append(f"<!{decl}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)


def _attribute(name: str, value: str | None) -> str:
    return f" {name}" if value is None else f' {name}="{escape(value)}"'


def _anchor(target: str) -> str:
    fragment = urlsplit(target).fragment
    return f"#{fragment}" if fragment else ""


def canonical(address: str) -> str:
    """The one address of a page that has several: without empty values, a first page's number, and an anchor."""
    parts = urlsplit(address)
    pairs = [(name, value) for name, value in parse_qsl(parts.query) if (name, value) != ("page", "1")]
    only = ONLY.get(parts.path.rpartition("/")[2])
    query = urlencode(sorted(pair for pair in pairs if only is None or pair[0] in only))
    return (parts.path or "/") + (f"?{query}" if query else "")


def file_name(address: str, kind: str) -> str:
    """The file of an address, the same in every export. kind: the media type of what it holds."""
    path, _, query = address.partition("?")
    stem = "/".join(map(_safe, unquote(path).strip("/").split("/"))) or "index"
    if query:
        words = re.sub(r"[^A-Za-z0-9._-]+", "-", unquote(query))[:LONGEST_NAME].strip("-.")
        stem += f"-{words}-{sha256(query.encode()).hexdigest()[:8]}"
    suffix = SUFFIXES.get(kind, ".bin")
    return stem if stem.endswith(suffix) else stem + suffix


def _safe(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST_NAME].lstrip(".")
    return name if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}"


def without_paths(text: str) -> str:
    """A text in which absolute paths of this machine are shortened to their last name."""
    if "/" not in text:
        return text
    for place in _places():
        text = text.replace(f"{place}/", "…/")
    return _PATH.sub(lambda match: f"…/{match[2]}" if _is_here(match[1].partition("/")[0]) else match[0], text)


@lru_cache(maxsize=1)
def _places() -> list[str]:
    """Folders whose names may hold what `_PATH` does not expect, such as blanks. The longest is first."""
    places: Iterable[str] = (str(Path.cwd()), str(Path.home()), gettempdir())
    return sorted((place for place in places if place.count("/") > 1), key=len, reverse=True)


@lru_cache(maxsize=1024)
def _is_here(name: str) -> bool:
    return (Path("/") / name).is_dir()
