"""Examples of both models' answers: what got better, what got worse, and how common each is.

A benchmark is read as evaluate writes it (`evaluate/base/<name>.jsonl`, `evaluate/aligned/<name>.jsonl`), joined by id.
Examples are picked by their scores alone, as many of one direction as of the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seelevel.language.mentions import singular
from seelevel.report.exchanges import CONVERSATIONS, conditions
from seelevel.report.pictures import Album, Picture
from seelevel.report.reading import RunFolder
from seelevel.report.replies import Benchmark, Item, Reply, Round
from seelevel.report.sample import largest
from seelevel.report.text import Span, marked

Pair = tuple[Item, Item]


@dataclass(frozen=True)
class Example:
    """One item of a benchmark with both answers."""

    id: str
    title: str
    picture: Picture
    rounds: list[Round]
    short: bool = False
    alt: str = ""
    sides: tuple[str, str] = ("base", "aligned")


@dataclass(frozen=True)
class Group:
    """A benchmark's examples. `words` says how many items changed which way; `key` explains the marks."""

    title: str
    words: str
    better: list[Example]
    worse: list[Example]
    key: str = ""


def read_examples(run: RunFolder, wanted: int, album: Album) -> list[Group]:
    """A group for each known benchmark that both models have answered."""
    evaluated = (run.metrics or {}).get("settings") or {}  # the recipe may say another condition: `--set` changes one
    groups, asked_for = [], str(evaluated.get("condition") or run.setting("evaluate", "condition") or "top")
    for name, benchmark in BENCHMARKS.items():
        base = {str(item["id"]): item for item in run.answers("base", name)}
        pairs = [(base[key], item) for item in run.answers("aligned", name) if (key := str(item["id"])) in base]
        if pairs:
            groups.append(_group(benchmark, pairs, wanted, run.root, album))
        both = [(item, item) for _, item in pairs if "worst_answer" in item]
        if both:
            groups.append(_group(conditions(asked_for), both, wanted, run.root, album))
    return groups


def _group(benchmark: Benchmark, pairs: Sequence[Pair], wanted: int, root: Path, album: Album) -> Group:
    gains = [(gain, pair) for pair in pairs if (gain := benchmark.gain(*pair)) is not None]
    better, worse = [g for g in gains if g[0] > 0], [g for g in gains if g[0] < 0]
    same, unscored = len(gains) - len(better) - len(worse), len(pairs) - len(gains)
    words = (
        f"Of {len(gains):,} {benchmark.things}, {len(better):,} {benchmark.verbs[0]}, {len(worse):,} "
        f"{benchmark.verbs[1]} and {same:,} {benchmark.verbs[2]}{benchmark.by}."
    )
    if unscored:
        words += f" {unscored:,} could not be scored on both sides."

    def shown(found: Sequence[tuple[float, Pair]], title: Callable[[Item, Item], str]) -> list[Example]:
        return [
            Example(
                str(base["id"]),
                title(base, aligned),
                album.picture(_place(base.get("image"), root)),
                benchmark.rounds(base, aligned),
                benchmark.short,
                _words_for(base),
                benchmark.sides,
            )
            for base, aligned in largest(_once(found), (wanted + 1) // 2 if benchmark.long else wanted)
        ]

    return Group(benchmark.title, words, shown(better, benchmark.better), shown(worse, benchmark.worse), benchmark.key)


def _once(found: Sequence[tuple[float, Pair]]) -> list[tuple[float, Pair]]:
    """Each question about a picture once: the same one may stand in several question sets."""
    first: dict[str, tuple[float, Pair]] = {}
    for gain, pair in found:
        first.setdefault(repr((pair[0].get("image"), pair[0]["question"])), (gain, pair))
    return list(first.values())


def _words_for(item: Item) -> str:
    """What a picture shows, as far as the item says, for those who cannot see it."""
    reference = item.get("reference") or {}
    there = reference.get("objects") or reference.get("image_content") or []
    return f"Picture with {', '.join(map(str, there))}" if there else f"Picture of question {item['id']}"


def _place(image: Any, root: Path) -> Path | None:
    """A picture's file; relative paths start at the run folder."""
    return root / str(image) if image else None


# -- CHAIR -------------------------------------------------------------------------------------------------------------


ABSENT = "not in the picture"


def invented_spans(text: str, words: Sequence[str]) -> list[Span]:
    """Where a caption names the given words, in singular or plural, whatever their case.

    CHAIR counts tokens by their singular form; so the same rule finds them here.
    """
    tokens = [(m.start(), m.end(), m.group()) for m in re.finditer(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.lower())]
    forms = [(token, singular(token)) for _, _, token in tokens]
    targets = {tuple(word.split()) for word in words} | {tuple(map(singular, word.split())) for word in words}
    spans, at = list[Span](), 0
    sizes = sorted({len(target) for target in targets}, reverse=True)
    while at < len(tokens):
        size = next((n for n in sizes if _matches(forms[at : at + n], n, targets)), 0)
        if size:
            spans.append(Span(tokens[at][0], tokens[at + size - 1][1], "bad", ABSENT, ABSENT))
        at += size or 1
    return spans


def _matches(forms: Sequence[tuple[str, str]], size: int, targets: set[tuple[str, ...]]) -> bool:
    return len(forms) == size and any(tuple(form[kind] for form in forms) in targets for kind in (0, 1))


def _invented(item: Item) -> int:
    return int(item["hallucinated_mentions"])


def _chair_gain(base: Item, aligned: Item) -> float | None:
    """Fewer invented mentions are better; of equally many, more of what is there. None where one did not answer."""
    if "note" in base or "note" in aligned:
        return None
    fewer = _invented(base) - _invented(aligned)
    return fewer + 0.01 * (aligned["recalled"] - base["recalled"]) if fewer else 0.0


def _chair_rounds(base: Item, aligned: Item) -> list[Round]:
    def reply(item: Item) -> Reply:
        text, wrong = str(item["answer"]), _invented(item)
        note = f"names {item['mentions']}, {wrong} invented; finds {item['recalled']} of {item['objects']}"
        return Reply(
            marked(text, invented_spans(text, item["hallucinated"])), note, extra=_listed(text, item["hallucinated"])
        )

    there = ", ".join(map(str, base.get("reference", {}).get("objects", [])))
    return [Round(str(base["question"]), reply(base), reply(aligned), f"In the picture: {there}" if there else "")]


def _listed(text: str, words: Sequence[str]) -> str:
    """Invented words that could not be found again in the text, and so are not marked."""
    found = {" ".join(map(singular, text[s.start : s.end].lower().split())) for s in invented_spans(text, words)}
    lost = [word for word in words if " ".join(map(singular, word.split())) not in found and word not in found]
    return f"not in the picture: {', '.join(lost)}" if lost else ""


# -- yes or no, and one right answer -----------------------------------------------------------------------------------


def _right_gain(base: Item, aligned: Item) -> float | None:
    if base.get("right") is None or aligned.get("right") is None:
        return None
    return float(bool(aligned["right"])) - float(bool(base["right"]))


def _right_rounds(base: Item, aligned: Item) -> list[Round]:
    def reply(item: Item) -> Reply:
        right = bool(item["right"])
        return Reply(marked(str(item["answer"])), "✓ right" if right else "✗ wrong", "better" if right else "worse")

    label = base.get("reference", {}).get("label", base.get("label", ""))
    return [Round(str(base["question"]), reply(base), reply(aligned), f"Right answer: {label}")]


# -- dialogues ---------------------------------------------------------------------------------------------------------


def _dialogue_gain(base: Item, aligned: Item) -> float | None:
    if base.get("mean") is None or aligned.get("mean") is None:
        return None
    return float(aligned["mean"] - base["mean"])


def _dialogue_rounds(base: Item, aligned: Item) -> list[Round]:
    def reply(item: Item, n: int) -> Reply:
        ratings = item.get("ratings") or []
        rating = ratings[n] if n < len(ratings) else None
        if rating is None:
            return Reply(marked(str(item["answer"][n])), "not rated")
        return Reply(marked(str(item["answer"][n])), f"rated {rating} of 6", "worse" if rating < 3 else "")

    standard = base.get("reference", {}).get("answers", [])
    return [
        Round(
            str(question),
            reply(base, n),
            reply(aligned, n),
            f"Standard answer: {standard[n]}" if n < len(standard) else "",
        )
        for n, question in enumerate(base["question"])
    ]


def _means(base: Item, aligned: Item) -> str:
    return f"mean rating {base['mean']:.1f} → {aligned['mean']:.1f}"


BENCHMARKS = {
    "chair": Benchmark(
        "Descriptions (CHAIR)",
        "descriptions",
        ", by the number of invented objects",
        _chair_gain,
        _chair_rounds,
        lambda b, a: f"Better: {_invented(b)} → {_invented(a)} invented",
        lambda b, a: f"Worse: {_invented(b)} → {_invented(a)} invented",
        key="names an object that is not in the picture",
    ),
    "mrhal": Benchmark(
        "Dialogues (MRHal)",
        "dialogues",
        ", by the judge's mean rating",
        _dialogue_gain,
        _dialogue_rounds,
        lambda b, a: f"Better: {_means(b, a)}",
        lambda b, a: f"Worse: {_means(b, a)}",
        long=True,
    ),
    "feedback": CONVERSATIONS,
    "pope": Benchmark(
        "Is there a …? (POPE)",
        "questions",
        "",
        _right_gain,
        _right_rounds,
        lambda b, a: "Better: wrong → right",
        lambda b, a: "Worse: right → wrong",
        short=True,
    ),
    "capability": Benchmark(
        "Colour, count and place (capability)",
        "questions",
        "",
        _right_gain,
        _right_rounds,
        lambda b, a: "Better: wrong → right",
        lambda b, a: "Worse: right → wrong",
        short=True,
    ),
}
