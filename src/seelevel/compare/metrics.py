"""The figures of a task of lmms-eval: the metrics that it logs for each document."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from seelevel.compare.sides import Item
from seelevel.errors import InputError
from seelevel.harness.samples import Samples
from seelevel.json_text import loads
from seelevel.opening import read_text
from seelevel.progress import say
from seelevel.scorers.chair import SCORER as CHAIR
from seelevel.scorers.intervals import Array, Measure, ratio
from seelevel.scorers.joining import comparable
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.words import Better, Chance, Metric


def task_items(samples: Samples) -> list[Item]:
    """One item per document: what was asked, the target, the answers, and the numbers that its metrics log.

    `right` is there if all numbers of each document are one, 0 or 1.
    """
    items: list[Item] = []
    for sample in samples.samples:
        media = [str(source) for source in sample.record.get("input_media") or []]
        data = sha256(media[0].encode()).hexdigest() if media else ""
        items.append(
            {
                "id": str(sample.doc_id),
                "question": comparable(sample.prompt),
                "image": sample.picture or data or f"doc {sample.doc_id}",
                "answer": sample.texts,
                "reference": sample.target,
                "numbers": dict(_numbers(sample.metrics)),
                **_yes_no(sample.metrics),
                **_objects(sample.metrics),
            }
        )
    values: list[set[float]] = [set(item["numbers"].values()) for item in items]
    if all(len(of_item) == 1 and of_item <= {0, 1} for of_item in values):
        items = [{**item, "right": of_item == {1}} for item, of_item in zip(items, values, strict=True)]
    return items


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Metrics that are numbers, or hold one as `score`."""
    for name, value in metrics.items():
        number = value.get("score") if isinstance(value, Mapping) else value
        if isinstance(number, bool | int | float) and math.isfinite(number):
            yield name, float(number)


def _yes_no(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What POPE's metrics log: the answer and the label of a yes-or-no question."""
    for value in metrics.values():
        if isinstance(value, Mapping) and value.get("ground_truth") in ("yes", "no") and "prediction" in value:
            return {"said": str(value["prediction"]), "label": str(value["ground_truth"])}
    return {}


def _objects(metrics: Mapping[str, Any]) -> dict[str, int]:
    """What CHAIR's metrics log: objects named, and objects in the picture."""
    for name, value in metrics.items():
        if "chair" in name and isinstance(value, Mapping) and isinstance(value.get("pred"), list):
            there, named = set(value["answer"]), value["pred"]
            return {
                "mentions": len(named),
                "hallucinated_mentions": sum(word not in there for word in named),
                "objects": len(there),
                "recalled": len(there & set(named)),
            }
    return {}


# -- as figures --------------------------------------------------------------------------------------------------------


def task_scorer(samples: Samples) -> Scorer:
    """How a task's documents become figures: POPE's and CHAIR's as the task adds them up, else a mean per metric.

    Raises InputError for a task none of whose metrics is a number.
    """
    items = task_items(samples)
    if all("said" in item for item in items):
        return Scorer(samples.task, _not_asked, YES_NO_METRICS, measures=lambda items: YES_NO)
    if all("mentions" in item for item in items):
        return Scorer(samples.task, _not_asked, CHAIR.metrics, measures=CHAIR.measures)
    names = list(dict.fromkeys(name for item in items for name in item["numbers"]))
    if not names:
        logged = ", ".join(samples.samples[0].metrics) or "there are none"
        raise InputError(f"{samples.path}: no metric is a number by document ({logged}); nothing can be compared")
    better = _directions(samples)
    metrics = {name: _metric(name, better.get(name), [i["numbers"].get(name, 0) for i in items]) for name in names}
    return Scorer(samples.task, _not_asked, metrics, measures=_means)


def _not_asked(*_: Any) -> Any:
    raise InputError("a task of lmms-eval is asked by lmms-eval")


def _means(items: Sequence[Mapping[str, Any]]) -> list[Measure]:
    names = dict.fromkeys(name for item in items for name in item["numbers"])
    return [Measure(name, _number(name), ratio) for name in names]


def _number(name: str) -> Any:
    return lambda item: (item["numbers"][name], 1.0) if name in item["numbers"] else None


def _metric(name: str, higher: bool | None, values: Sequence[float]) -> Metric:
    better: Better = "neither" if higher is None else "higher" if higher else "lower"
    rate = all(0 <= value <= 1 for value in values)
    return Metric(name.replace("_", " "), "", better, "rate" if rate else "score", 1.0 if rate else max(values))


def _directions(samples: Samples) -> Mapping[str, bool]:
    """By metric whether higher is better, from the results that lmms-eval writes beside the samples."""
    results = samples.path.with_name(samples.path.name.partition("samples_")[0] + "results.json")
    if not results.is_file():
        return {}
    try:
        directions = loads(read_text(results))["higher_is_better"][samples.task]
    except (ValueError, KeyError, TypeError):
        say(f"{results} does not say which figures of {samples.task} are better when higher; fetch it again")
        return {}
    return {name: higher for name, higher in directions.items() if isinstance(higher, bool)}


def _cells(item: Mapping[str, Any]) -> tuple[float, ...]:
    """tp, fp, fn, tn, true questions, all. As in the task, an answer other than 'yes' and 'no' is wrong, and none of
    the first four."""
    said, label = item["said"], item["label"]
    cells = (("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no"))
    return (*(float((said, label) == cell) for cell in cells), float(label == "yes"), 1.0)


def _over(part: Sequence[float], whole: Sequence[float]) -> Callable[[Array], Array]:
    """A ratio of two weighted sums of `_cells`."""
    return lambda sums: ratio(np.stack([sums @ np.array(part), sums @ np.array(whole)], axis=-1))


def _chance(sums: Array) -> Array:
    """The accuracy of the same answers in random order."""
    tp, fp, fn, tn, true, n = np.moveaxis(sums, -1, 0)
    return ratio(np.stack([true * (tp + fp) + (n - true) * (fn + tn), n * n], axis=-1))


EVERY = (0, 0, 0, 0, 0, 1)
YES_NO = [
    Measure("f1", _cells, _over((2, 0, 0, 0, 0, 0), (2, 1, 1, 0, 0, 0))),
    Measure("accuracy", _cells, _over((1, 0, 0, 1, 0, 0), EVERY)),
    Measure("precision", _cells, _over((1, 0, 0, 0, 0, 0), (1, 1, 0, 0, 0, 0))),
    Measure("recall", _cells, _over((1, 0, 0, 0, 0, 0), (1, 0, 1, 0, 0, 0))),
    Measure("yes", _cells, _over((1, 1, 0, 0, 0, 0), EVERY)),
    Measure("chance", _cells, _chance),
]
CHANCE = Chance("accuracy", "chance", 0.5)
RECALL = "‘yes’ among the answers of ‘yes’ and ‘no’ to true questions"
YES_NO_METRICS = {
    "f1": Metric("F1", "‘yes’ is the positive class", "higher", chance=CHANCE),
    "accuracy": Metric("Accuracy", "answers that are the label", "higher", chance=CHANCE),
    "precision": Metric("Precision", "answers of ‘yes’ that are right", "higher", table="details", chance=CHANCE),
    "recall": Metric("Recall", RECALL, "higher", beside=True, chance=CHANCE),
    "yes": Metric("Yes-ratio", "answers of ‘yes’", "neither"),
    "chance": Metric("Chance level", "accuracy of the same answers in random order", "neither", table="details"),
}
"""The figures of lmms-eval's POPE, but for its `pope_yes_ratio`, which counts the labels, and with the level of chance
that this package's POPE has."""
