"""The pages that compare models of the opened runs: their figures, and their answers side by side."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seelevel.errors import InputError
from seelevel.report.plots import SIGNS
from seelevel.view import compared
from seelevel.view.compared import MOST, Choice, Evaluated, Kept, Runs
from seelevel.view.compared_figures import READINGS, is_sequence, over_models, parts
from seelevel.view.compared_items import CHANGES, ORDERS, Items, Look
from seelevel.view.pictures import SIDES, Pictures
from seelevel.view.site import Site, page_number

AREA = "/compare"
PER_PAGE = 20
BESIDE = 4
"""Answers that a list shows of an item; of more models, those of the first and the last."""


class Compare:
    """The comparison of some models, the list of a benchmark's items, and the page of one of them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.runs = Runs(site.collections)
        self.pictures = Pictures()

    @property
    def link(self) -> tuple[str, str] | None:
        return (AREA, "Compare") if self.runs.roots else None

    def routes(self) -> list[Route]:
        return [
            Route(AREA, self.figures),
            Route(f"{AREA}/items", self.items),
            Route(f"{AREA}/item", self.item),
            Route(f"{AREA}/picture", self.picture),
        ]

    def _open(self, request: Request) -> tuple[Choice, Kept]:
        choice = self.runs.chosen(request.query_params)
        return choice, self.runs.comparison(choice)

    def figures(self, request: Request, trouble: str = "") -> Response:
        """The choice of models, and their figures. `trouble`: why another page cannot be shown."""
        self.site.add_new_runs()
        runs = self.runs.evaluated()
        choice, kept, comparisons = None, None, None
        try:
            choice = self.runs.chosen(request.query_params)
            kept = self.runs.comparison(choice)
            comparisons = kept.figures(0 if trouble else compared.PATIENCE)
        except InputError as error:
            trouble = trouble or str(error)
        return self.site.render(
            "compare.html.j2",
            area=AREA,
            runs=runs,
            choice=choice,
            whole=[(run, _whole(run)) for run in runs if len(run.models) > 2],
            models=[] if kept is None else self._models(kept),
            benchmarks=[] if kept is None else list(kept.items),
            parts=[] if comparisons is None else parts(comparisons),
            notes=[] if kept is None else kept.notes,
            waiting=kept is not None and comparisons is None and not trouble,
            trouble=trouble,
            signs=SIGNS,
            readings=READINGS,
        )

    def _models(self, kept: Kept) -> list[dict[str, str]]:
        """The models of a comparison: letter, name, where they come from, and the class of their colour."""
        sides = kept.sides
        names = {collection.run: collection.name for collection in self.site.collections}
        several = len({side.root for side in sides}) > 1
        return [
            {
                "label": side.label,
                "name": f"{names.get(side.root, side.root.name)}: {side.side}" if several else side.side,
                "model": "" if side.model in ("", side.side) else side.model,
                "kind": side.side if side.side in ("base", "control", "aligned") else "",
            }
            for side in sides
        ]

    def items(self, request: Request) -> Response:
        """A benchmark's items with the answers side by side."""
        look = Look.of(request.query_params)
        try:
            choice, kept = self._open(request)
            items = kept.benchmark(look.benchmark)
            places = items.matching(look)[: self.site.first]
            pages = max(1, -(-len(places) // PER_PAGE))
            page = page_number(request, pages)
            models = self._models(kept)
            beside = range(len(models)) if len(models) <= BESIDE else (0, len(models) - 1)
            figure = items.figure(look)
            cards = [
                {
                    "id": items.ids[place],
                    "tone": items.tone(figure, place),
                    "turns": items.turns(place, beside, short=True),
                    "picture": bool(items.first[place].get("image")),
                    "alt": items.alternative(place),
                }
                for place in places[(page - 1) * PER_PAGE : page * PER_PAGE]
            ]
        except InputError as error:
            return self._told(request, error)
        return self.site.render(
            "compare_items.html.j2",
            **self._shared(kept, choice, look, items),
            beside=[models[n] for n in beside],
            count=len(places),
            counts=items.counts(look),
            orders=list(ORDERS.items()),
            changes=list(CHANGES.items()),
            benchmarks=list(kept.items),
            cards=cards,
            page=page,
            pages=pages,
            side=SIDES[0],
        )

    def _shared(self, kept: Kept, choice: Choice, look: Look, items: Items) -> dict[str, Any]:
        """What a list and the page of an item both show."""
        figure = items.figure(look)
        values = {**look.values, "benchmark": items.scorer.name}
        return {
            "area": AREA,
            "choice": choice,
            "look": look,
            "models": self._models(kept),
            "name": items.scorer.name,
            "total": len(items),
            "figures": list(items.figures.items()),
            "figure": figure,
            "neither": figure in items.measures and items.metric(figure).better == "neither",
            "key": items.key(),
            "address": lambda **more: choice.query(**{**values, **more}),
        }

    def item(self, request: Request) -> Response:
        """One item with the answers of all models: one at a time, or side by side."""
        look = Look.of(request.query_params)
        try:
            choice, kept = self._open(request)
            items = kept.benchmark(look.benchmark)
            place = self._place(request, items)
            models = self._models(kept)
            figure = items.figure(look)
            turns = items.turns(place, range(len(models)))
            places = items.matching(look)[: self.site.first]
        except InputError as error:
            return self._told(request, error)
        here = places.index(place) if place in places else -1
        neighbours: dict[str, Any] = {
            rel: items.ids[places[at]] if here >= 0 and 0 <= at < len(places) else None
            for rel, at in (("before", here - 1), ("after", here + 1))
        }
        asked = request.query_params.get("at", "")
        return self.site.render(
            "compare_item.html.j2",
            **self._shared(kept, choice, look, items),
            id=items.ids[place],
            tone=items.tone(figure, place),
            turns=turns,
            values=items.values(place),
            picture=bool(items.first[place].get("image")),
            alt=items.alternative(place),
            here=here + 1,
            count=len(places),
            at=min(int(asked), len(models) - 1) if asked.isdecimal() and len(asked) < 4 else len(models) - 1,
            everything=request.query_params.get("show") == "all",
            whole=self._more(choice),
            **self._plot(kept, items, figure),
            side=SIDES[1],
            **neighbours,
        )

    def _plot(self, kept: Kept, items: Items, figure: str) -> dict[str, Any]:
        """A figure over the models of a training, if it is there by now: the chosen one, or the first main one."""
        comparisons = None
        with suppress(InputError):  # the page of figures tells it
            comparisons = kept.figures(0)
        shown = figure if figure in items.measures else items.main[0][0]
        if comparisons is None or not is_sequence(kept.sides):
            return {"plot": "", "plotted": ""}
        benchmark = next(part for part in comparisons.benchmarks if part.name == items.scorer.name)
        names = [model["name"] for model in self._models(kept)]
        return {"plot": over_models(benchmark, shown, "over-models", names), "plotted": items.metric(shown).label}

    def _more(self, choice: Choice) -> Choice | None:
        """All models of the chosen run, if there are others."""
        run = next((run for run in self.runs.evaluated() if choice.runs == {run.number}), None)
        whole = None if run is None else _whole(run)
        return whole if whole is not None and len(whole.models) > len(choice.models) else None

    def _place(self, request: Request, items: Items) -> int:
        nth = request.query_params.get("nth", "0")
        key = request.query_params.get("id", ""), int(nth) if nth.isdecimal() and len(nth) < 10 else 0
        if key not in items.place_of:
            raise InputError(f"there is no item '{key[0]:.60}' in what is compared; choose another one")
        return items.place_of[key]

    def _told(self, request: Request, error: InputError) -> Response:
        page = self.figures(request, str(error))
        page.status_code = 404
        return page

    async def picture(self, request: Request) -> Response:
        """The picture of an item, which the address names by benchmark and id."""
        try:
            path = await run_in_threadpool(self._picture, request)
        except InputError as error:
            raise HTTPException(404, "There is no such picture") from error
        side = request.query_params.get("size", "")
        return await self.pictures.response(path, int(side) if side.isdecimal() and len(side) < 5 else 0)

    def _picture(self, request: Request) -> str:
        _, kept = self._open(request)
        items = kept.benchmark(request.query_params.get("benchmark", ""))
        image = items.first[self._place(request, items)].get("image")
        if not image:
            raise InputError("this item has no picture")
        return str(kept.root / str(image))


def _whole(run: Evaluated) -> Choice:
    """The models of a run without its control; of more than can be compared, evenly many from the first to the last."""
    models = [model for model in run.models if model != "control"]
    if len(models) > MOST:
        models = [models[round(n * (len(models) - 1) / (MOST - 1))] for n in range(MOST)]
    return Choice(tuple((run.number, model) for model in models))
