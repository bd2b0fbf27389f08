"""How well checkers order real captions.

    python -m benchmarks.check_captions --json rows.json

Ladders are the captions of one image by several models: OPERA's captions (two models, three decoders each; each model
has images of its own, so a ladder has three) and POPE's (three models, two prompts: six). One caption stands for the
standard response, the others are ordered by each checker. The truth is the precision, recall and F1 of the objects that
a caption names, against COCO's annotations, with CHAIR's synonyms. The figure is Kendall's tau-b of a checker's order
and the truth's: its mean over ladders, with a bootstrap interval over images. A ladder whose captions are equally true
has none; a checker that ties all captions gets 0.

Standards: `each`, every caption in turn; `best`, the captions with the highest F1 of their image, which comes closer to
a data set's own answers. The auto-check is measured for every rule and threshold. Images with an even number choose
rule and threshold (by agreement with F1, the mean over the three sets, standards `each`), the odd ones show them.

No CLIP weights come with the package: `--clip FOLDER --pictures FOLDER` adds the checker `image`, with a CLIP or SigLIP
and COCO's pictures; `--judge MODEL --pictures FOLDER` adds the checker `judge`, listwise, with a model that sees them.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.check import DATA, _minilm
from benchmarks.lexical import Lexical, trigrams, words
from benchmarks.pictured import judged, similarities
from seelevel.check.autocheck import DEFAULT_THRESHOLD, Comparison, Units
from seelevel.check.objects import compared
from seelevel.check.rules import Rule, figure
from seelevel.language.chunks import noun_chunks
from seelevel.language.encoders import TextEncoder, Vectors, load_encoder
from seelevel.language.mentions import Mention, Mentions, read_synonyms
from seelevel.levels import kendall_tau_b
from seelevel.naming import named_model
from seelevel.scorers.answers import USUAL_KEYS
from seelevel.scorers.files import read_entries
from seelevel.scorers.intervals import Measure, differences, figures, ratio
from seelevel.store import batched

SETS = {
    "opera, instructblip": ("captions_opera", "instructblip_*"),
    "opera, llava-1.5": ("captions_opera", "llava-1.5_*"),
    "pope, 3 models": ("captions_pope", "*"),
}
RULES: tuple[Rule, ...] = ("recall", "precision", "f1", "f0.5", "f2")
GRID = (0.5, 0.6, 0.7, 0.8, 0.85)
TRUTHS = ("f1", "precision", "recall")
STANDARDS = ("each", "best")
BLOCK = 200
"""Images whose captions are parsed and encoded together."""

Worth = Sequence[float]
"""What a caption is ranked by; more is better."""


@dataclass
class Captions:
    """The captions of one image, the objects that they name, and those in the image."""

    image: str
    texts: list[str]
    mentioned: list[list[Mention]]
    present: set[str]

    def truth(self) -> list[dict[str, float]]:
        """Precision, recall and F1 of each caption's objects."""
        rows = []
        for text, mentions in zip(self.texts, self.mentioned, strict=True):
            objects = compared(text, mentions, self.present)
            f1 = figure(objects.precision, objects.recall, "f1")
            rows.append({"precision": objects.precision, "recall": objects.recall, "f1": f1})
        return rows


def read_ladders(data: Path, name: str, limit: int | None, mentions: Mentions) -> list[Captions]:
    folder, pattern = SETS[name]
    captions: dict[str, list[str]] = {}
    for file in sorted((data / folder).glob(f"{pattern}.json*")):
        for entry in read_entries(file):
            captions.setdefault(entry.text(("image_id",), "image"), []).append(entry.text(USUAL_KEYS, "caption"))
    objects = json.loads((data / "chair" / "coco2014_trainval_imid_to_objects.json").read_text())
    ladders = []
    for image, texts in list(captions.items())[:limit]:
        listed = (mentions.object_of(name) for name in objects.get(image, []))
        present = {name for name in listed if name is not None}
        if present:
            ladders.append(Captions(image, texts, mentions.find_all(texts), present))
    return ladders


def baselines(ladder: Captions, standard: int, response: int, rng: random.Random) -> dict[str, Worth]:
    """What needs no encoder: chance, length, words and objects shared with the standard response."""
    a, b = (Counter(words(ladder.texts[n])) for n in (standard, response))
    shared = sum((a & b).values())
    precision, recall = shared / max(sum(b.values()), 1), shared / max(sum(a.values()), 1)
    named = {mention.object for mention in ladder.mentioned[standard]}
    objects = compared(ladder.texts[response], ladder.mentioned[response], named or {""})
    truth = compared(ladder.texts[response], ladder.mentioned[response], ladder.present)
    length = sum(b.values())
    return {
        "random": [rng.random()],
        "longer first": [length],
        "shorter first": [-length],
        "words of the standard, recall": [recall],
        "words of the standard, f1": [figure(precision, recall, "f1")],
        "objects of the standard, recall": [objects.recall],
        "objects of the standard, f1": [figure(objects.precision, objects.recall, "f1")],
        "objects, annotated (the truth itself)": [figure(truth.precision, truth.recall, "f1")],
    }


@dataclass(frozen=True)
class Encoded:
    """The vectors of a caption's chunks and sentences, shape [units, dimensions]; None if it has no chunk."""

    chunks: Vectors | None
    sentences: Vectors | None

    @classmethod
    def of(cls, units: Units, vectors: Mapping[str, Vectors]) -> Encoded:
        sides = (units.phrases, units.sentences)
        return cls(*(np.stack([vectors[text] for text in side]) if side else None for side in sides))


def autochecks(standard: Encoded, response: Encoded) -> dict[Any, Worth]:
    """What the auto-check ranks a response by, by (rule, threshold)."""

    def cosines(a: Vectors | None, b: Vectors | None) -> Vectors:
        if a is None or b is None:
            return np.zeros((0 if a is None else len(a), 0 if b is None else len(b)), dtype=np.float32)
        return np.asarray(a @ b.T)

    chunks = cosines(standard.chunks, response.chunks)
    lowest = Comparison.of(chunks, cosines(standard.sentences, response.sentences), GRID[0])
    worths: dict[Any, Worth] = {}
    for threshold in GRID:
        matchings = (getattr(lowest, field.name) for field in fields(lowest))
        at = Comparison(*(replace(m, matched=[s > threshold for s in m.similarity]) for m in matchings))
        worths |= {(rule, threshold): at.worth(rule) for rule in RULES}
    return worths


def measured(
    ladders: Sequence[Captions],
    encoders: Mapping[str, TextEncoder],
    pictured: Mapping[str, Callable[[str, Sequence[str]], list[float]]],
    seed: int,
) -> list[dict[Any, Any]]:
    """Per image {(checker, truth, standards): [sum of tau-b, number of ladders]}, with its cluster.

    pictured: checkers that see the picture, by name: from image and captions to what the captions are worth.
    """
    rng, items = random.Random(seed), []
    for block in batched(ladders, BLOCK):
        texts = list(dict.fromkeys(text for ladder in block for text in ladder.texts))
        units = {text: Units(chunks) for text, chunks in zip(texts, noun_chunks(texts), strict=True)}
        pieces = list(dict.fromkeys(t for unit in units.values() for t in unit.phrases + unit.sentences))
        vectors = {name: dict(zip(pieces, encoder.encode(pieces), strict=True)) for name, encoder in encoders.items()}
        for ladder in block:
            encoded = {name: [Encoded.of(units[t], vectors[name]) for t in ladder.texts] for name in encoders}
            seen = {name: worths(ladder.image, ladder.texts) for name, worths in pictured.items()}

            def worth(standard: int, response: int) -> dict[Any, Worth]:
                worths: dict[Any, Worth] = dict(baselines(ladder, standard, response, rng))  # noqa: B023
                for name, captions in encoded.items():  # noqa: B023
                    of_encoder = autochecks(captions[standard], captions[response])
                    worths |= {(name, *key): value for key, value in of_encoder.items()}
                return worths | {name: [values[response]] for name, values in seen.items()}  # noqa: B023

            items.append({"cluster": ladder.image, **_of_image(ladder, worth)})
    return items


def _of_image(ladder: Captions, worth: Callable[[int, int], dict[Any, Worth]]) -> dict[Any, list[float]]:
    truth, sums = ladder.truth(), dict[Any, list[float]]()
    best = max(row["f1"] for row in truth)
    for standard in range(len(truth)):
        others = [n for n in range(len(truth)) if n != standard]
        worths = [worth(standard, n) for n in others]
        kinds = STANDARDS if truth[standard]["f1"] == best else STANDARDS[:1]
        for name in TRUTHS:
            order = [truth[n][name] for n in others]
            if len(set(order)) < 2:
                continue
            for checker in worths[0]:
                ranks = sorted({tuple(row[checker]) for row in worths})
                tau = kendall_tau_b([ranks.index(tuple(row[checker])) for row in worths], order) or 0.0
                for kind in kinds:
                    total = sums.setdefault((checker, name, kind), [0.0, 0])
                    total[0], total[1] = total[0] + tau, total[1] + 1
    return sums


def measure(key: Any) -> Measure:
    return Measure("tau_b", lambda item: item.get(key), ratio)


def half(items: Sequence[dict[Any, Any]], odd: int) -> list[dict[Any, Any]]:
    return [item for item in items if int(item["cluster"]) % 2 == odd]


def chosen(sets: Mapping[str, Sequence[dict[Any, Any]]], encoder: str) -> tuple[str, float]:
    """Rule and threshold that agree best with F1 on the even images."""

    def agreement(rule: str, threshold: float) -> float:
        totals = [_total(half(items, 0), ((encoder, rule, threshold), "f1", "each")) for items in sets.values()]
        return sum(total / max(count, 1) for total, count in totals)

    return max(((rule, t) for rule in RULES for t in GRID), key=lambda pair: agreement(*pair))


def _total(items: Sequence[dict[Any, Any]], key: Any) -> tuple[float, float]:
    rows = [item[key] for item in items if key in item]
    return sum(row[0] for row in rows), sum(row[1] for row in rows)


def report(sets: Mapping[str, Sequence[dict[Any, Any]]], encoders: Mapping[str, TextEncoder]) -> list[dict[str, Any]]:
    """One row per checker, set, standards and truth, on the odd images.

    `over_paper` is the difference from the auto-check's `recall` at the encoder's own threshold; for checkers without
    an encoder, from that of the last encoder.
    """
    keys = dict.fromkeys(key[0] for items in sets.values() for item in items for key in item if isinstance(key, tuple))
    own = {
        name: min(GRID, key=lambda t, e=encoder: abs(t - (e.threshold or DEFAULT_THRESHOLD)))  # type: ignore[misc]
        for name, encoder in encoders.items()
    }
    last = list(encoders)[-1]
    checkers: list[tuple[str, Any, str]] = [(name, name, last) for name in keys if isinstance(name, str)]
    for encoder in encoders:
        tuned = chosen(sets, encoder)
        for rule, threshold in dict.fromkeys([*((rule, own[encoder]) for rule in RULES), tuned]):
            mark = " (chosen)" if (rule, threshold) == tuned else ""
            checkers.append((f"autocheck {encoder}, {rule} at {threshold}{mark}", (encoder, rule, threshold), encoder))
    rows = []
    for set_, items in sets.items():
        shown = half(items, 1)
        for name, checker, encoder in checkers:
            for key in [(truth, kind) for truth in TRUTHS for kind in STANDARDS]:
                paper, other = (_renamed(shown, (c, *key)) for c in ((encoder, "recall", own[encoder]), checker))
                change = differences([measure("tau")], paper, other)["tau_b"]
                rows.append({**_row(set_, name, shown, checker, *key), "over_paper": change})
    return rows


def _renamed(items: Sequence[dict[Any, Any]], key: Any) -> list[dict[str, Any]]:
    return [{"cluster": item["cluster"], "tau": item.get(key)} for item in items]


def _row(set_: str, name: str, items: Sequence[dict[Any, Any]], checker: Any, truth: str, kind: str) -> dict[str, Any]:
    key = (checker, truth, kind)
    ladders = int(_total(items, key)[1])
    value = figures([measure(key)], items)["tau_b"]
    return {"set": set_, "checker": name, "truth": truth, "standards": kind, "ladders": ladders, **value}


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows as a table: one line per set, standards and checker, one column per truth."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        lines.setdefault((row["set"], row["standards"], row["checker"]), {})[row["truth"]] = row
    before: tuple[str, ...] = ()
    for (set_, kind, checker), by_truth in sorted(lines.items(), key=lambda line: line[0][:2]):
        if before != (before := (set_, kind)):
            print(f"\n{set_}, standards {kind}\n{'checker':48}" + "".join(f"{truth:>26}" for truth in TRUTHS))
        print(f"{checker:48}" + "".join(f"{_interval(by_truth.get(truth)):>26}" for truth in TRUTHS))
        if (change := by_truth["f1"].get("over_paper")) is not None and change["value"]:
            gains = (_interval(by_truth[truth].get("over_paper")) for truth in TRUTHS)
            print(f"{'  over the paper':48}" + "".join(f"{gain:>26}" for gain in gains))


def _interval(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    if figure["low"] is None:
        return f"{figure['value']:+.3f}"
    return f"{figure['value']:+.3f} [{figure['low']:+.3f}, {figure['high']:+.3f}]"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options, started = _options(arguments), time.monotonic()
    torch.set_num_threads(options.threads)
    mentions = Mentions(read_synonyms(options.data / "chair" / "synonyms_lisaanne.txt"))
    encoders: dict[str, TextEncoder] = {"words": Lexical(words), "trigrams": Lexical(trigrams)}
    encoders["world:clip"] = load_encoder(named_model("world:clip").path)
    if "MiniLM" in options.encoders:
        encoders["MiniLM"] = load_encoder(options.encoder or _minilm())
    encoders = {name: encoders[name] for name in options.encoders}
    pictured = {} if options.clip is None else {"image": similarities(options.clip, options.pictures)}
    if options.judge is not None:
        pictured["judge"] = judged(options.judge, options.pictures, options.seed)
    ladders = {name: read_ladders(options.data, name, options.limit, mentions) for name in SETS}
    sets = {name: measured(of_set, encoders, pictured, options.seed) for name, of_set in ladders.items()}
    rows = report(sets, encoders)
    settings = {
        "images": {name: [len(half(items, 0)), len(half(items, 1))] for name, items in sets.items()},
        "seed": options.seed,
        "threads": options.threads,
        "device": platform.machine(),
        "seconds": round(time.monotonic() - started),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    show(rows)
    print(settings)
    if options.json is not None:
        options.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))
    return {"settings": settings, "rows": rows}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with captions_*/ and chair/")
    parser.add_argument("--limit", type=int, help="images of each set; default: all")
    parser.add_argument("--encoders", nargs="*", default=["words", "trigrams", "world:clip", "MiniLM"])
    parser.add_argument("--encoder", help="a folder instead of the extra bench's all-MiniLM-L6-v2")
    parser.add_argument("--clip", type=Path, help="a CLIP's or SigLIP's folder; also needs --pictures")
    parser.add_argument("--judge", help="a model that sees pictures, as in a recipe; also needs --pictures")
    parser.add_argument("--pictures", type=Path, help="folder of COCO's val2014 pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write all rows to this file")
    options = parser.parse_args(arguments)
    if (options.clip is None and options.judge is None) != (options.pictures is None):
        parser.error("--pictures goes together with --clip or --judge")
    return options


if __name__ == "__main__":
    main()
