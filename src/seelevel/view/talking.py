"""Talk: a chat with one or several models about a picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from seelevel.errors import DiskFullError, InputError
from seelevel.image_store import ImageStore
from seelevel.images import ImageError, check_image
from seelevel.json_text import dumps
from seelevel.judge import image_content
from seelevel.ladder import unmarked
from seelevel.naming import ORACLE, WORLD, named_picture
from seelevel.progress import escape_controls
from seelevel.view.collection import Collection, Place
from seelevel.view.conversations import MOST, Busy, Picture, Session
from seelevel.view.pictures import SIDES, Pictures
from seelevel.view.sessions import Sessions
from seelevel.view.site import Site

SCRIPTED = "application/x-ndjson"
"""What a script of ours accepts: one JSON object per line, as things happen."""
LONGEST_NAME = 40
"""Characters of a scene's name."""


class Talking:
    """The pages of conversations. Without any model that could answer there are none."""

    def __init__(self, site: Site, sessions: Sessions) -> None:
        self.site, self.sessions = site, sessions
        self.uploads = ImageStore(sessions.folder)
        self._shown = Pictures()

    @property
    def link(self) -> tuple[str, str]:
        return ("/talk", "Talk")

    def routes(self) -> list[Route]:
        return [
            Route("/talk", self.begin),
            Route("/talk/{session}", self.page),
            Route("/talk/{session}/say", self.say, methods=["POST"]),
            Route("/talk/{session}/stop", self.stop, methods=["POST"]),
            Route("/talk/{session}/scene", self.scene, methods=["POST"]),
            Route("/talk/{session}/picture", self.upload, methods=["POST"]),
            Route("/talk/{session}/picture/{address}", self.picture),
        ]

    def begin(self, request: Request) -> Response:
        """A new conversation; about the picture of the ladder that the address names, if it names one."""
        session = self.sessions.new()
        number, name = request.query_params.get("collection", ""), request.query_params.get("ladder", "")
        if number.isdecimal() and len(number) < 6 and int(number) < len(self.site.collections):
            collection = self.site.collections[int(number)]
            if (place := collection.place_of.get(name)) is not None:
                self._show_ladder(session, collection, place)
        return RedirectResponse(f"/talk/{session.name}", 303)

    def _show_ladder(self, session: Session, collection: Collection, place: Place) -> None:
        ladder = collection.ladder(place)
        picture = None
        if ladder.images:
            path = ladder.images[0].path
            try:
                check_image(path)
            except ImageError as error:
                raise InputError(f"picture {path}: {error}; put a whole one there") from error
            judge = ORACLE if self.sessions.voices.is_of_the_world(collection.run) else None
            picture = Picture(path, ladder.id, image_content(ladder), judge)
        session.look_at(picture, unmarked(ladder.prompt[-1]["content"]).strip())

    def page(self, request: Request) -> Response:
        session = self._session(request)
        session.settle(1.0)  # a page that is loaded again has ended the answers of before
        choices = self.sessions.voices.choices()
        models = [
            {
                "key": key,
                "label": voice.label,
                "conditions": voice.has_conditions,
                "chosen": key in session.chosen,
                "column": session.column(key),
            }
            for key, voice in choices.items()
        ]
        return self.site.render("talk.html.j2", area="/talk", session=session, models=models, most=MOST)

    async def say(self, request: Request) -> Response:
        """Words or a command for the chosen models, or for the one whose column the form stands in.

        A script gets what happens as it happens, and an end of its connection ends the answers; a browser without
        scripts gets the page when all is there.
        """
        session = await run_in_threadpool(self._session, request)
        fields = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        choices = await run_in_threadpool(self.sessions.voices.choices)
        keys = list(dict.fromkeys(fields.get("model", [])))
        line = " ".join([*fields.get("command", []), fields.get("words", [""])[0]]).replace("\r\n", "\n").strip()
        if not keys or len(keys) > MOST or not choices.keys() >= set(keys):
            return self._refused(request, 400, f"choose one to {MOST} of the models")
        if not line:
            return self._refused(request, 400, "write something first")
        loop, events = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()

        def emit(event: dict[str, Any] | None) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(events.put_nowait, event)

        asked = list(dict.fromkeys([*keys, *session.talks])) if line == "/new" and "column" not in fields else keys
        try:
            session.start([key for key in asked if key in choices], line, emit)
        except Busy as error:
            return self._refused(request, 409, str(error))
        if "column" not in fields:
            session.chosen = keys
        if request.headers.get("accept") == SCRIPTED:
            return StreamingResponse(self._stream(session, events), media_type=SCRIPTED)
        async for _ in self._stream(session, events):
            pass
        return RedirectResponse(f"/talk/{session.name}", 303)

    async def _stream(self, session: Session, events: asyncio.Queue[dict[str, Any] | None]) -> AsyncIterator[str]:
        try:
            while (event := await events.get()) is not None:
                yield _json(event) + "\n"
        finally:
            session.stop()  # nobody reads any more

    def stop(self, request: Request) -> Response:
        session = self._session(request)
        session.stop()
        return self._done(request, session)

    async def scene(self, request: Request) -> Response:
        """A picture of the embedded world by its name; an empty name takes the picture away."""
        session = await run_in_threadpool(self._session, request)
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        name = fields.get("scene", [""])[0].strip()
        return await run_in_threadpool(self._look, request, session, name)

    def _look(self, request: Request, session: Session, name: str) -> Response:
        try:
            if name and (not name.startswith(WORLD) or len(name) > LONGEST_NAME):
                raise InputError(
                    f"'{name:.40}' is not the name of a scene; write one such as world:test/0, or drop a file"
                )
            session.look_at(Picture(*_scene(name)) if name else None)
        except InputError as error:
            return self._refused(request, 409 if isinstance(error, Busy) else 400, str(error))
        return self._done(request, session)

    async def upload(self, request: Request) -> Response:
        """The bytes of a picture's file. The door has seen how many there are."""
        session = await run_in_threadpool(self._session, request)
        raw = await request.body()
        return await run_in_threadpool(self._take, request, session, raw)

    def _take(self, request: Request, session: Session, raw: bytes) -> Response:
        try:
            session.look_at(Picture(self.uploads.put_bytes(raw).path, "your picture"))
        except (ImageError, OSError, DiskFullError) as error:
            return self._refused(request, 400, f"this picture cannot be used: {error}")
        except Busy as error:
            return self._refused(request, 409, str(error))
        return self._done(request, session)

    async def picture(self, request: Request) -> Response:
        session = await run_in_threadpool(self._session, request)
        picture = session.picture
        if picture is None or picture.address != request.path_params["address"]:
            raise HTTPException(404, "There is no such picture")
        return await self._shown.response(picture.path, max(SIDES))

    def _session(self, request: Request) -> Session:
        if (session := self.sessions.get(request.path_params["session"])) is None:
            raise HTTPException(404, "There is no such conversation; begin a new one under Talk")
        return session

    def _done(self, request: Request, session: Session) -> Response:
        """What a script needs to show the conversation as it is now; else the page again."""
        if request.headers.get("accept") != SCRIPTED:
            return RedirectResponse(f"/talk/{session.name}", 303)
        picture = session.picture
        address = "" if picture is None else f"/talk/{session.name}/picture/{picture.address}"
        columns = {key: session.column(key) for key in list(session.talks)}
        event = {"picture": address, "name": "" if picture is None else picture.name, "columns": columns}
        return Response(_json(event), media_type=SCRIPTED)

    def _refused(self, request: Request, status: int, words: str) -> Response:
        if request.headers.get("accept") == SCRIPTED:
            return PlainTextResponse(escape_controls(words), status)
        return self.site.message(status, "Not done", words)


def _scene(name: str) -> tuple[str, str, list[str]]:
    path, contents = named_picture(name)
    return path, name, contents


def _json(value: dict[str, Any]) -> str:
    return dumps(_shown(value))


def _shown(value: Any) -> Any:
    """Texts as the page may show them: without control characters."""
    if isinstance(value, str):
        return escape_controls(value, keep="\n\t")
    if isinstance(value, dict):
        return {key: _shown(each) for key, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list) else value
