"""The application of `seelevel view`: all of its parts. Another part is one line here."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette

from seelevel.view.collection import Collection
from seelevel.view.galleries import Ladders
from seelevel.view.runs import Runs
from seelevel.view.site import Site


def application(collections: Sequence[Collection]) -> Starlette:
    site = Site(collections)
    return site.app([Ladders(site), Runs(site)])
