"""`seelevel view`: ladders in the browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from seelevel.errors import InputError
from seelevel.progress import show


def view(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN|LADDERS|FILE", help="Run folders, folders of ladders, or files.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures that a FILE names.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    model: Annotated[
        list[str] | None, typer.Option(help="A model to talk with, as of seelevel chat; repeatable.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="The model that judges the answers.")] = None,
    save: Annotated[Path | None, typer.Option(help="New file for what is said; default: in the cache.")] = None,
    who: Annotated[str, typer.Option(help="The name that changes are noted by.", show_default="your login")] = "",
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the pages to this folder instead, as files without a server.")
    ] = None,
    first: Annotated[int, typer.Option(help="With --export: the most ladders of each source.", min=1)] = 500,
) -> None:
    """Look at ladders in the browser, change them, talk with models. It answers this machine, with its token."""
    if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
        raise InputError("seelevel view needs a server: pip install 'seelevel[view]'")
    if not sources and (export is not None or not model):
        raise InputError("name a run folder, a folder of ladders or a file; or a model to talk with, in --model")
    if export is not None:
        from seelevel.view.exporting import export as write

        write(sources or [], images, export, first)
        show(f"export: {export / 'index.html'}")
        return
    from seelevel.view.serving import TalkOptions, serve

    if save is not None:
        from seelevel.chat.saving import check_save_path

        check_save_path(save)
    talk = TalkOptions(model or [], judge, save)
    serve(sources or [], images, port, browser, who.strip() or _login(), talk)


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return "somebody"
