"""CHAIR: objects that captions invent (Rohrbach et al. 2018, arXiv 1809.02156).

CHAIRi = hallucinated mentions / mentions. CHAIRs = captions with a hallucinated mention / captions. Recall = objects
named / objects in the picture. All three are ratios of sums over the captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.language.mentions import Mention, Mentions, places_of, read_synonyms, singular
from seelevel.progress import say
from seelevel.scorers.answers import answer_key, spoken_words, words_of
from seelevel.scorers.files import ID_KEYS, Entry, image_names, plain_id, read_entries
from seelevel.scorers.intervals import Measure, ratio
from seelevel.scorers.objects import IMAGE_KEYS, by_image, read_object_sets
from seelevel.scorers.questions import Answer, Benchmark, Context, Items, Question, find_image, question_text
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.views import BenchmarkView, Item, Reply, Round, Span
from seelevel.scorers.words import Metric


def read_objects(path: Path, mentions: Mentions | None = None) -> dict[str, list[str]]:
    """Object sets by image, or by id for records without an image. Raises as `read_object_sets` does."""
    sets = read_object_sets(path, mentions)
    return {**sets.ids, **sets.images}


def objects_of(entry: Entry, objects: Mapping[str, list[str]]) -> list[str]:
    """The object set of a caption's image, in `by_image(objects)`: by name, by file name, or by its number in COCO.

    Only a record without an image is looked up by its id. Raises InputError if there is no set.
    """
    keys = [key for key in IMAGE_KEYS if image_names(entry.record.get(key))] or list(ID_KEYS)
    for key in keys:
        names = image_names(entry.record.get(key))
        ending = re.search(r"(\d+)(?:\.\w+)?$", names[0]) if names and key == "image" else None
        for name in (*names, *([ending[1].lstrip("0") or "0"] if ending else [])):
            if name in objects:
                return objects[name]
    image = {key: entry.record[key] for key in (*IMAGE_KEYS, *ID_KEYS) if key in entry.record}
    what = str(image) if image else "a caption without an image"
    raise InputError(f"{entry.where}: no object set for {what:.200}; check --objects")


def figures_of(mentions: Sequence[Mention], objects: Sequence[str]) -> dict[str, Any]:
    """The counts of one caption, and its hallucinated words."""
    there = set(objects)
    wrong = [mention for mention in mentions if mention.object not in there]
    return {
        "mentions": len(mentions),
        "hallucinated_mentions": len(wrong),
        "hallucinated": [mention.word for mention in wrong],
        "objects": len(there),
        "recalled": len(there & {mention.object for mention in mentions}),
    }


def totals(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of many captions. Undefined ratios are None."""
    mentions = sum(item["mentions"] for item in items)
    wrong = sum(item["hallucinated_mentions"] for item in items)
    bad = sum(item["hallucinated_mentions"] > 0 for item in items)
    objects = sum(item["objects"] for item in items)
    return {
        "chair_i": wrong / mentions if mentions else None,
        "chair_s": bad / len(items) if items else None,
        "chair_recall": sum(item["recalled"] for item in items) / objects if objects else None,
        "captions": len(items),
        "hallucinated_captions": bad,
        "mentions": mentions,
        "hallucinated_mentions": wrong,
    }


def score(predictions: Sequence[Entry], objects: Mapping[str, list[str]], mentions: Mentions) -> dict[str, Any]:
    """The figures of a caption file. `unknown_objects` are names in the object sets that the synonym list lacks: no
    caption can mention them, so they lower the recall. `unscored`: captions that are null or only a model's thoughts;
    what was thought before a caption is not counted. `repeated_images`: images with several captions, each of which
    counts."""
    known, key = by_image(objects), answer_key(predictions)
    captions, _, _ = spoken_words([words_of(entry, key) for entry in predictions])
    pairs = zip(captions, predictions, strict=True)
    rows = [(text, objects_of(entry, known)) for text, entry in pairs if text is not None]
    mentioned = mentions.find_all(text for text, _ in rows)
    items = [figures_of(found, names) for found, (_, names) in zip(mentioned, rows, strict=True)]
    unknown = sorted({name for _, names in rows for name in names} - set(mentions.objects))
    images = [plain_id(entry.get((*IMAGE_KEYS, *ID_KEYS))) for entry in predictions]
    return {
        **totals(items),
        "unknown_objects": unknown,
        "unscored": len(predictions) - len(rows),
        "unscored_images": [image for image, text in zip(images, captions, strict=True) if text is None],
        "repeated_images": [image for image, n in Counter(images).items() if n > 1],
    }


def score_files(predictions: Path, objects: Path, synonyms: Path, lemmatizer: str = "singularize") -> dict[str, Any]:
    """`seelevel score chair`."""
    mentions = Mentions(read_synonyms(synonyms), lemmatizer)
    found = score(read_entries(predictions), read_objects(objects, mentions), mentions)
    if found["unscored"]:
        say(f"{found['unscored']} captions unscored: they are null, or only a model's thoughts")
    return found


MEASURES = [
    Measure("chair_i", lambda item: (item["hallucinated_mentions"], item["mentions"]), ratio),
    Measure("chair_s", lambda item: (float(item["hallucinated_mentions"] > 0), 1), ratio),
    Measure("chair_recall", lambda item: (item["recalled"], item["objects"]), ratio),
]


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """data/chair: questions.jsonl, objects.json, synonyms.txt."""
    folder = data / "chair"
    mentions = Mentions(read_synonyms(folder / "synonyms.txt"), settings.lemmatizer)
    objects = by_image(read_objects(folder / "objects.json", mentions))
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
        mentioned = mentions.find_all(answer.texts[0] for answer in answers)
        return [
            {**figures_of(named, question.reference["objects"]), "cluster": question.image}
            for question, named in zip(questions, mentioned, strict=True)
        ]

    return Benchmark("chair", questions, settings.sampling.max_new_tokens, items, MEASURES)


ABSENT = "not in the picture"


def invented_spans(text: str, words: Sequence[str]) -> list[Span]:
    """The places where a caption names the given words."""
    return [Span(start, end, "bad", ABSENT, ABSENT) for start, end, _ in places_of(words, text)]


def _invented(item: Item) -> int:
    return int(item["hallucinated_mentions"])


def _gain(base: Item, aligned: Item) -> float | None:
    """How many fewer objects are invented; among equal gains, more recalled objects weigh more. None for a question
    that one model did not answer."""
    if "note" in base or "note" in aligned:
        return None
    fewer = _invented(base) - _invented(aligned)
    return fewer + 0.01 * (aligned["recalled"] - base["recalled"]) if fewer else 0.0


def _rounds(base: Item, aligned: Item) -> list[Round]:
    def reply(item: Item) -> Reply:
        text, words = str(item["answer"]), item["hallucinated"]
        spans = tuple(invented_spans(text, words))
        note = f"names {item['mentions']}, {_invented(item)} invented; finds {item['recalled']} of {item['objects']}"
        return Reply(text, note, extra=_unmarked(text, words, spans), spans=spans)

    objects = ", ".join(map(str, base.get("reference", {}).get("objects", [])))
    return [Round(str(base["question"]), reply(base), reply(aligned), f"In the picture: {objects}" if objects else "")]


def _unmarked(text: str, words: Sequence[str], spans: Sequence[Span]) -> str:
    """The invented words that `spans` do not mark."""
    marked = {" ".join(map(singular, text[s.start : s.end].lower().split())) for s in spans}
    rest = [word for word in words if " ".join(map(singular, word.split())) not in marked and word not in marked]
    return f"{ABSENT}: {', '.join(rest)}" if rest else ""


def invented_view(title: str) -> BenchmarkView:
    """The view of descriptions whose items have `mentions`, `hallucinated`, `recalled` and `objects`."""
    return BenchmarkView(
        title,
        "descriptions",
        ", by the number of invented objects",
        _gain,
        _rounds,
        lambda base, aligned: f"Better: {_invented(base)} → {_invented(aligned)} invented",
        lambda base, aligned: f"Worse: {_invented(base)} → {_invented(aligned)} invented",
        key="names an object that is not in the picture",
    )


SCORER = Scorer(
    "chair",
    benchmark,
    {
        "chair_i": Metric(
            "CHAIRi",
            "objects named that are not in the picture, of all objects named",
            "lower",
            headline=True,
            gloss="CHAIRi, the share of named objects that are not in the picture,",
        ),
        "chair_s": Metric("CHAIRs", "captions that name at least one object that is not there", "lower", headline=True),
        "chair_recall": Metric(
            "CHAIR recall", "objects in the picture that the caption names", "higher", headline=True, beside=True
        ),
    },
    views=(invented_view("Descriptions (CHAIR)"),),
    measures=lambda items: MEASURES,
    scored_by=("lemmatizer",),
)
