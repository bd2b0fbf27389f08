"""What all pages of `seelevel view` share: the collections, the templates, and the answers to what cannot be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from typing import Protocol

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from seelevel import __version__
from seelevel.errors import InputError
from seelevel.progress import escape_controls
from seelevel.view.collection import Collection

FILES = ("view", "compare", "runs", "talk")
STYLE = {"page.css": "seelevel.report"}
STYLE |= {f"{name}.{kind}": "seelevel.view" for name in FILES for kind in ("css", "js")}
TYPES = {".css": "text/css", ".js": "text/javascript"}


def in_words(error: Exception) -> str:
    """What went wrong; of a file that the system refuses, its name and why."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} cannot be used ({error.strerror or error})"
    return str(error)


def page_number(request: Request, pages: int) -> int:
    """The page that an address asks for, from 1 to `pages`; the first one if it names none."""
    asked = request.query_params.get("page", "1")
    return min(max(int(asked), 1), pages) if asked.isdecimal() and len(asked) < 10 else 1


class Part(Protocol):
    """Pages that belong together. `link`: the address and the name of the first one, for the line at the top of every
    page; None if it does not stand there. A part with `needs_server = True` is left out of exports."""

    @property
    def link(self) -> tuple[str, str] | None: ...

    def routes(self) -> Sequence[BaseRoute]: ...


class Site:
    """Some collections, and how pages about them are written. still: as files, where nothing can be changed.
    add_new_runs: adds collections that have appeared since.
    first: the most items of a list that are shown, None for all."""

    def __init__(
        self, collections: Sequence[Collection], still: bool = False, add_new_runs: Callable[[], None] = lambda: None
    ) -> None:
        self.collections, self.still, self.add_new_runs = collections, still, add_new_runs
        self.first = next((collection.first for collection in collections if collection.first is not None), None)
        self.links: list[tuple[str, str]] = []
        self.environment = Environment(
            loader=ChoiceLoader([PackageLoader("seelevel", "view"), PackageLoader("seelevel", "report")]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals["twice"] = lambda names: [(name, name) for name in names]

    def app(self, parts: Sequence[Part]) -> Starlette:
        if self.still:
            parts = [part for part in parts if not getattr(part, "needs_server", False)]
        self.links = [part.link for part in parts if part.link is not None]
        routes = [
            Route("/favicon.ico", lambda request: Response(status_code=204)),
            Route("/static/{name}", self.static),
            *(route for part in parts for route in part.routes()),
        ]
        return Starlette(
            routes=routes,
            exception_handlers={HTTPException: self._refused, InputError: self._broken, OSError: self._broken},
        )

    def render(self, template: str, area: str = "", **values: object) -> HTMLResponse:
        """A page. `area`: the address of the part that it belongs to."""
        page = self.environment.get_template(template).render(
            release=__version__,
            still=self.still,
            links=self.links,
            area=area,
            collections=list(enumerate(self.collections)),
            **values,
        )
        return HTMLResponse(escape_controls(page, keep="\n\t"))

    def message(self, status: int, title: str, words: str = "", back: str = "", typed: str = "") -> HTMLResponse:
        """A page with one line, and what to do. `back`: where it leads to; `typed`: a text that would be lost."""
        page = self.render("message.html.j2", title=title, words=words, back=back, typed=typed)
        page.status_code = status
        return page

    def collection(self, request: Request) -> tuple[int, Collection]:
        """The collection that an address names, looked at again. Raises `HTTPException` if there is none."""
        number = request.path_params["collection"]
        if number >= len(self.collections):
            raise HTTPException(404, "There is no such page")
        self.collections[number].refresh()
        return number, self.collections[number]

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STYLE:
            raise HTTPException(404, "There is no such page")
        raw = resources.files(STYLE[name]).joinpath(name).read_bytes()
        return Response(raw, media_type=TYPES[name[name.rindex(".") :]])

    def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self.message(error.status_code, error.detail)

    def _broken(self, request: Request, error: Exception) -> Response:
        return self.message(500, "This cannot be shown", in_words(error))
