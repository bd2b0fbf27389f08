"""CHAIR: objects that captions invent (Rohrbach et al. 2018, arXiv 1809.02156).

CHAIRi = hallucinated mentions / mentions; CHAIRs = captions with a hallucinated mention / captions; recall = objects
named / objects there, summed over captions. All are ratios of sums.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from seelevel.errors import InputError
from seelevel.language.mentions import Mention, Mentions, read_synonyms, singular
from seelevel.scorers.files import ID_KEYS, TEXT_KEYS, Entry, read_entries, read_json
from seelevel.scorers.intervals import Measure, ratio
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import Item, Reply, Round, Span

IMAGE_KEYS = ("image", "image_id", "question_id", "id")
CAPTION_KEYS = ("caption", *TEXT_KEYS)


def read_objects(path: Path) -> dict[str, list[str]]:
    """Object sets by image: {"<file name or COCO id>": ["dog", ...]}. Raises InputError for anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: object sets are one JSON object of lists, {{'image': ['dog', ...]}}")
    for image, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: the object set of {image!r:.60} is no list of names like ['dog', ...]; mend it")
    return found


def objects_of(entry: Entry, objects: Mapping[str, list[str]]) -> list[str]:
    """The object set of a caption's image: by name, by file name, or by the number at its end (COCO's image id)."""
    for key in IMAGE_KEYS:
        if entry.record.get(key) is not None:
            name = str(entry.record[key])
            number = re.search(r"(\d+)(?:\.\w+)?$", name)
            for known in (
                name,
                PurePath(name).name,
                (number[1].lstrip("0") or "0") if number and key == "image" else name,
            ):
                if known in objects:
                    return objects[known]
    named = {key: entry.record[key] for key in IMAGE_KEYS if key in entry.record}
    what = str(named) if named else "a caption without an image"
    raise InputError(f"{entry.where}: no object set for {what:.200}; check --objects")


def figures_of(found: Sequence[Mention], objects: Sequence[str]) -> dict[str, Any]:
    """One caption's counts, and the words behind them."""
    there = set(objects)
    wrong = [mention for mention in found if mention.object not in there]
    return {
        "mentions": len(found),
        "hallucinated_mentions": len(wrong),
        "hallucinated": [mention.word for mention in wrong],
        "objects": len(there),
        "recalled": len(there & {mention.object for mention in found}),
    }


def totals(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of many captions. Undefined ratios are None."""
    mentions = sum(item["mentions"] for item in items)
    wrong = sum(item["hallucinated_mentions"] for item in items)
    bad = sum(item["hallucinated_mentions"] > 0 for item in items)
    there = sum(item["objects"] for item in items)
    return {
        "chair_i": wrong / mentions if mentions else None,
        "chair_s": bad / len(items) if items else None,
        "chair_recall": sum(item["recalled"] for item in items) / there if there else None,
        "captions": len(items),
        "hallucinated_captions": bad,
        "mentions": mentions,
        "hallucinated_mentions": wrong,
    }


def score_items(predictions: Sequence[Entry], objects: Mapping[str, list[str]], mentions: Mentions) -> Items:
    """One record of counts a caption."""
    there = [objects_of(entry, objects) for entry in predictions]
    found = mentions.find_all(entry.text(CAPTION_KEYS, "caption") for entry in predictions)
    return [figures_of(*pair) for pair in zip(found, there, strict=True)]


def score(predictions: Sequence[Entry], objects: Mapping[str, list[str]], mentions: Mentions) -> dict[str, Any]:
    """Figures of a caption file, and under `unknown_objects` the names in its images' sets that the synonym list lacks:
    nobody can mention them, so they lower the recall."""
    named = {name for entry in predictions for name in objects_of(entry, objects)}
    unknown = sorted(named - set(mentions.objects))
    return {**totals(score_items(predictions, objects, mentions)), "unknown_objects": unknown}


def score_files(predictions: Path, objects: Path, synonyms: Path, lemmatizer: str = "singularize") -> dict[str, Any]:
    """`seelevel score chair`."""
    mentions = Mentions(read_synonyms(synonyms), lemmatizer)
    return score(read_entries(predictions), read_objects(objects), mentions)


MEASURES = [
    Measure("chair_i", lambda item: (item["hallucinated_mentions"], item["mentions"]), ratio),
    Measure("chair_s", lambda item: (float(item["hallucinated_mentions"] > 0), 1), ratio),
    Measure("chair_recall", lambda item: (item["recalled"], item["objects"]), ratio),
]


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """data/chair: questions.jsonl, objects.json, synonyms.txt."""
    folder = data / "chair"
    objects = read_objects(folder / "objects.json")
    mentions = Mentions(read_synonyms(folder / "synonyms.txt"), settings.lemmatizer)
    questions = [
        Question(
            entry.text(ID_KEYS, "id"),
            find_image(data, entry),
            (question_text(entry, ("text", "question", "prompt")),),
            {"objects": objects_of(entry, objects)},
        )
        for entry in read_entries(folder / "questions.jsonl")[: settings.limit]
    ]

    def items(answers: Sequence[Answer], context: Context) -> Items:
        found = mentions.find_all(answer.texts[0] for answer in answers)
        return [
            {**figures_of(said, question.reference["objects"]), "cluster": question.image}
            for question, said in zip(questions, found, strict=True)
        ]

    return Benchmark("chair", questions, settings.sampling.max_new_tokens, items, MEASURES)


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
            text,
            note,
            extra=_listed(text, item["hallucinated"]),
            spans=tuple(invented_spans(text, item["hallucinated"])),
        )

    there = ", ".join(map(str, base.get("reference", {}).get("objects", [])))
    return [Round(str(base["question"]), reply(base), reply(aligned), f"In the picture: {there}" if there else "")]


def _listed(text: str, words: Sequence[str]) -> str:
    """Invented words that could not be found again in the text, and so are not marked."""
    found = {" ".join(map(singular, text[s.start : s.end].lower().split())) for s in invented_spans(text, words)}
    lost = [word for word in words if " ".join(map(singular, word.split())) not in found and word not in found]
    return f"not in the picture: {', '.join(lost)}" if lost else ""
