"""The pages with ladders, and the pictures that stand in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from seelevel.errors import InputError
from seelevel.view.changes import Outdated
from seelevel.view.collection import PATIENCE, Collection, Place
from seelevel.view.filters import ORDERS, Filters
from seelevel.view.pages import card_of, ladder_page
from seelevel.view.pictures import SIDES, Pictures
from seelevel.view.runs import continuing
from seelevel.view.site import Site, in_words, page_number

PER_PAGE = 48
UNTIL_READ = 20.0
"""Seconds that a link to a ladder waits until all files are read."""


def _level(fields: Mapping[str, str]) -> tuple[str, int]:
    text = fields.get("level", "")
    if not text.isdecimal() or len(text) > 3:
        raise InputError(f"level '{text:.20}' is not a number from 0; choose one")
    return "level", int(text)


def _typed(fields: Mapping[str, str], name: str) -> str:
    return fields.get(name, "").replace("\r\n", "\n").strip()


ACTIONS: dict[str, Callable[[Mapping[str, str]], tuple[str, Any]]] = {
    "level": _level,
    "as checked": lambda fields: ("level", None),
    "drop": lambda fields: ("drop", True),
    "put back": lambda fields: ("drop", None),
    "critique": lambda fields: ("critique", _typed(fields, "critique")),
    "text": lambda fields: ("text", _typed(fields, "text")),
}
"""What the buttons of an answer change: the field of its override, and its value; None takes the field back."""


class Ladders:
    """The gallery of a collection, the pages of its ladders, and their pictures."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.pictures = Pictures()
        self.link = ("/", "Ladders") if site.collections else None

    def routes(self) -> list[Route]:
        return [
            Route("/", self.home),
            Route("/{collection:int}", self.gallery),
            Route("/{collection:int}/ladder", self.ladder),
            Route("/{collection:int}/change", self.change, methods=["POST"]),
            Route("/{collection:int}/picture/{shard:int}/{row:int}/{number:int}/{side:int}", self.picture),
        ]

    def home(self, request: Request) -> Response:
        self.site.add_new_runs()
        if not self.site.collections:
            return RedirectResponse("/talk", 303)
        for collection in self.site.collections:
            collection.refresh(PATIENCE / len(self.site.collections))
        if len(self.site.collections) == 1:
            return RedirectResponse("/0", 303)
        return self.site.render("home.html.j2", area="/")

    def gallery(self, request: Request) -> Response:
        number, collection = self.site.collection(request)
        filters = Filters.of(request.query_params)
        waiting = collection.waiting  # before the ladders are listed: what is read meanwhile is not among them
        places = collection.matching(filters)
        pages = max(1, -(-len(places) // PER_PAGE))
        page = page_number(request, pages)
        shown = places[(page - 1) * PER_PAGE : page * PER_PAGE]
        return self.site.render(
            "gallery.html.j2",
            area="/",
            title=collection.name,
            number=number,
            collection=collection,
            waiting=waiting,
            filters=filters,
            orders=ORDERS,
            origins=[name for name, _ in collection.origins.most_common()],
            flags=[name for name, _ in collection.flags.most_common()],
            sizes=sorted(collection.sizes),
            total=len(collection),
            count=len(places),
            page=page,
            pages=pages,
            cards=[card_of(collection, place, filters.needs_margins) for place in shown],
            side=SIDES[0],
        )

    def ladder(self, request: Request) -> Response:
        number, collection = self.site.collection(request)
        name = request.query_params.get("id", "")
        if name not in collection.place_of:
            collection.refresh(UNTIL_READ)
        if (place := collection.place_of.get(name)) is None:
            raise HTTPException(404, "There is no ladder of that name")
        filters = Filters.of(request.query_params)
        return self.site.render(
            "ladder.html.j2",
            area="/",
            number=number,
            collection=collection,
            filters=filters,
            place=place,
            side=SIDES[1],
            command="" if collection.run is None else continuing(collection.run),
            **ladder_page(collection, place),
            **self._neighbours(collection, filters, place),
        )

    def _neighbours(self, collection: Collection, filters: Filters, place: Place) -> dict[str, str | int]:
        """The names of the ladders before and after one, among those that the filters show, and its number."""
        places = collection.matching(filters)
        here = places.index(place) if place in places else -1

        def name(at: int) -> str:
            return collection.shards[places[at][0]].ids[places[at][1]] if here >= 0 and 0 <= at < len(places) else ""

        return {"before": name(here - 1), "after": name(here + 1), "at": here + 1, "count": len(places)}

    async def change(self, request: Request) -> Response:
        """One change by hand; then the ladder again. The fields are those of the ladder's page."""
        body = (await request.body()).decode("utf-8", "replace")
        fields = dict(parse_qsl(body, keep_blank_values=True))
        number = request.path_params["collection"]
        if number >= len(self.site.collections):
            raise HTTPException(404, "There is no such page")
        query = Filters.of(dict(parse_qsl(fields.get("query", "")))).query(id=fields.get("id", ""))
        try:
            await run_in_threadpool(self._change, self.site.collections[number], fields)
        except (InputError, OSError) as error:  # as in a folder that may only be read
            status = 409 if isinstance(error, Outdated) else 400 if isinstance(error, InputError) else 500
            action, back = fields.get("action", ""), f"/{number}/ladder?{query}"
            typed = _typed(fields, action) if action in ("critique", "text") else ""
            return self.site.message(status, "Not saved", in_words(error), back, typed)
        return RedirectResponse(f"/{number}/ladder?{query}", 303)

    def _change(self, collection: Collection, fields: dict[str, str]) -> None:
        action = fields.get("action", "")
        if action == "undo":
            collection.changes.undo()
            return
        if (place := collection.place_of.get(fields.get("id", ""))) is None:
            raise InputError("there is no ladder of that name; look at the gallery again")
        if action not in ACTIONS:
            raise InputError("this page is of another version; load it again")
        name, value = ACTIONS[action](fields)
        response = fields.get("response", "")
        ladder = collection.changeable(place, response)
        collection.changes.set(ladder, response, fields.get("version", ""), **{name: value})

    async def picture(self, request: Request) -> Response:
        number, shard, row, at, side = (
            request.path_params[name] for name in ("collection", "shard", "row", "number", "side")
        )
        if number >= len(self.site.collections):
            raise HTTPException(404, "There is no such picture")
        collection = self.site.collections[number]
        if shard >= len(collection.shards) or row >= len(collection.shards[shard]):
            raise HTTPException(404, "There is no such picture")
        ladder = await run_in_threadpool(collection.ladder, (shard, row))
        if at >= len(ladder.images):
            raise HTTPException(404, "There is no such picture")
        return await self.pictures.response(ladder.images[at].path, side)
