"""The application of `seelevel view`: all of its parts. Another part is one line here."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette

from seelevel.view.collection import Collection
from seelevel.view.galleries import Ladders
from seelevel.view.runs import Runs
from seelevel.view.site import Site


def application(collections: Sequence[Collection], still: bool = False) -> Starlette:
    """still: for an export, whose pages have no server."""
    site = Site(collections, still)
    return site.app([Ladders(site), Runs(site)])
