"""The application of `seelevel view`: all of its parts. Another part is one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette

from seelevel.view.collection import Collection
from seelevel.view.comparing import Compare
from seelevel.view.galleries import Ladders
from seelevel.view.runs import Runs
from seelevel.view.sessions import Sessions
from seelevel.view.site import Site
from seelevel.view.talking import Talking


def application(
    collections: Sequence[Collection],
    sessions: Sessions | None = None,
    still: bool = False,
    add_new_runs: Callable[[], None] = lambda: None,
) -> Starlette:
    """sessions: the conversations, if there is a model to talk with. still: for an export, whose pages have no
    server. add_new_runs: adds collections that have appeared since."""
    site = Site(collections, still, add_new_runs)
    talking = [] if sessions is None else [Talking(site, sessions)]
    return site.app([Ladders(site), Compare(site), Runs(site), *talking])
