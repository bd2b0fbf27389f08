"""Object HalBench: 300 detailed descriptions, checked for COCO's objects (RLHF-V, arXiv 2312.00849).

chair_s = descriptions with an object that is not there / descriptions. chair_i = mentions of such objects / mentions.
recall = objects named / objects in the picture. chair_s_naming leaves out descriptions that name no object, as the
tables of RLHF-V and RLAIF-V do. The mentions are those that the file lists per description, or CHAIR's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.images import ImageError, check_bytes, is_picture
from seelevel.language.mentions import Mentions, read_synonyms
from seelevel.progress import say
from seelevel.scorers.answers import answer_key, spoken_words, words_of
from seelevel.scorers.chair import figures_of, invented_view, objects_of, read_objects
from seelevel.scorers.files import ID_KEYS, Entry, image_names, plain_id, read_entries
from seelevel.scorers.intervals import Measure, ratio
from seelevel.scorers.noted import noted, over
from seelevel.scorers.objects import IMAGE_KEYS, by_image
from seelevel.scorers.questions import (
    Answer,
    Benchmark,
    Context,
    Items,
    Question,
    find_image,
    find_picture,
    question_text,
)
from seelevel.scorers.scorer import Scorer
from seelevel.scorers.settings import EvaluateSettings
from seelevel.scorers.words import Metric
from seelevel.store import cache_folder, write_atomically

NAMED, WRONG, THERE = "mscoco_generated_words", "mscoco_hallucinated_words", "mscoco_gt_words"
"""Keys of the public scripts' output: objects named, words of wrong ones, and objects in the picture."""


def listed_item(entry: Entry) -> dict[str, int]:
    """The counts of a description whose objects the record lists. Raises InputError if a list is missing."""
    named, wrong, there = (entry.record.get(key) for key in (NAMED, WRONG, THERE))
    if not isinstance(named, list) or not isinstance(wrong, list) or len(wrong) > len(named):
        raise InputError(
            f"{entry.where}: no lists {NAMED} and {WRONG}; give --objects and --synonyms to count a caption's objects"
        )
    objects = {str(name) for name in there} if isinstance(there, list) else set[str]()
    return {
        "mentions": len(named),
        "hallucinated_mentions": len(wrong),
        "objects": len(objects),
        "recalled": len(objects & {str(name[-1] if isinstance(name, list) and name else name) for name in named}),
    }


def totals(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of many descriptions, as fractions. Undefined ones are None."""

    def total(key: str) -> int:
        return sum(item[key] for item in items)

    bad = sum(item["hallucinated_mentions"] > 0 for item in items)
    return {
        "chair_s": over(bad, len(items)),
        "chair_i": over(total("hallucinated_mentions"), total("mentions")),
        "n": len(items),
        "recall": over(total("recalled"), total("objects")),
        "chair_s_naming": over(bad, sum(item["mentions"] > 0 for item in items)),
        "mentions": total("mentions"),
        "hallucinated_mentions": total("hallucinated_mentions"),
    }


def score(answers: Sequence[Entry], questions: Sequence[Entry] = ()) -> dict[str, Any]:
    """The figures of records with listed objects. `contradicting_ids`: records whose own `metrics` say otherwise than
    their lists. A description of an image that was there before counts again."""
    items = [listed_item(entry) for entry in answers]
    names = [_image(entry) for entry in answers]
    contradicting = [
        name
        for name, entry, item in zip(names, answers, items, strict=True)
        if isinstance(metrics := entry.record.get("metrics"), dict)
        and "CHAIRs" in metrics
        and bool(metrics["CHAIRs"]) != (item["hallucinated_mentions"] > 0)
    ]
    return {**totals(items), **noted(names, map(_image, questions)), "contradicting_ids": contradicting}


def score_captions(
    answers: Sequence[Entry], objects: Mapping[str, list[str]], mentions: Mentions, questions: Sequence[Entry] = ()
) -> dict[str, Any]:
    """The figures of captions, whose objects are found as CHAIR finds them. A null caption is unparsable."""
    known, key = by_image(objects), answer_key(answers)
    captions, _, _ = spoken_words([words_of(entry, key) for entry in answers])
    rows = [(text, objects_of(entry, known)) for text, entry in zip(captions, answers, strict=True) if text is not None]
    found = mentions.find_all(text for text, _ in rows)
    items = [figures_of(named, there) for named, (_, there) in zip(found, rows, strict=True)]
    names = [_image(entry) for entry in answers]
    unread = [name for name, text in zip(names, captions, strict=True) if text is None]
    return {**totals(items), **noted(names, map(_image, questions), unread)}


def _image(entry: Entry) -> str:
    """The image's id, else its number in COCO or its name: the benchmark's own `image` is the picture in base64."""
    value = entry.get(("image_id", *IMAGE_KEYS))
    return entry.key if value is None else (image_names(value) or [plain_id(value)])[-1]


def score_files(
    predictions: Path,
    questions: Path | None = None,
    objects: Path | None = None,
    synonyms: Path | None = None,
    lemmatizer: str = "wordnet",
) -> dict[str, Any]:
    """`seelevel score objhal`. Raises InputError if only one of `objects` and `synonyms` is given."""
    asked, answers = read_entries(questions) if questions else [], read_entries(predictions)
    if objects is None and synonyms is None:
        figures = score(answers, asked)
        if figures["contradicting_ids"]:
            say(f"{len(figures['contradicting_ids'])} records' metrics contradict their lists, which are counted")
        return figures
    if objects is None or synonyms is None:
        raise InputError("captions need both --objects and --synonyms to count their objects; give the other one, too")
    mentions = Mentions(read_synonyms(synonyms), lemmatizer)
    return score_captions(answers, read_objects(objects, mentions), mentions, asked)


# -- as a benchmark of a run ------------------------------------------------------------------------------------------

COCO_NAMES = ("COCO_val2014_{:0>12}.jpg", "{:0>12}.jpg", "COCO_train2014_{:0>12}.jpg")
LONGEST_NAME = 1000
"""Characters; a longer `image` is the picture itself."""


def benchmark(data: Path, settings: EvaluateSettings) -> Benchmark:
    """data/objhal: questions *.jsonl or *.json with `question` and `image_id`, objects.json, synonyms.txt.

    A picture is the file of the record's `image`, the picture in base64 there, or COCO's of `image_id`.
    """
    folder = data / "objhal"
    objects_file = folder / "objects.json"
    files = [file for file in sorted(folder.glob("*.json*")) if file != objects_file]
    if len(files) != 1:
        listed = ", ".join(file.name for file in files) or "none"
        raise InputError(f"{folder}: one file of questions (*.jsonl) is needed, and there is {listed}; keep one")
    mentions = Mentions(read_synonyms(folder / "synonyms.txt"), settings.lemmatizer)
    objects = by_image(read_objects(objects_file, mentions))
    questions = []
    for entry in read_entries(files[0])[: settings.limit]:
        place = Path(_picture(data, entry))
        named = Entry({"image": place.name, "image_id": entry.get(("image_id",))}, entry.where)
        text = question_text(entry, ("question", "text", "prompt"))
        there = objects_of(named, objects)
        questions.append(Question(_name(entry, place), str(place), (text,), {"objects": there}))

    def items(answers: Sequence[Answer], context: Context) -> Items:
        mentioned = mentions.find_all(answer.texts[0] for answer in answers)
        return [
            {
                **figures_of(named, question.reference["objects"]),
                "words": len(answer.texts[0].split()),
                "cluster": question.image,
            }
            for question, answer, named in zip(questions, answers, mentioned, strict=True)
        ]

    return Benchmark("objhal", questions, settings.sampling.max_new_tokens, items, MEASURES)


def _name(entry: Entry, place: Path) -> str:
    value = entry.get((*ID_KEYS, "image_id"))
    return place.stem if value is None else plain_id(value)


def _picture(data: Path, entry: Entry) -> str:
    """The file of a question's picture. One in base64 is kept in the user's cache, under its number in COCO."""
    image, number = entry.get(("image",)), entry.get(("image_id",))
    if isinstance(image, str) and len(image) > LONGEST_NAME:
        return str(_kept(image, entry))
    if image is not None or number is None:
        return find_image(data, entry)
    return find_picture(data, [form.format(plain_id(number)) for form in COCO_NAMES], entry.where)


def _kept(image: str, entry: Entry) -> Path:
    try:
        raw = base64.b64decode(image, validate=True)
        if not is_picture(raw):
            raise ImageError("it is not a picture")
        suffix = check_bytes(raw).suffix
    except (binascii.Error, ValueError) as error:  # an ImageError is a ValueError
        raise InputError(f"{entry.where}: 'image' is not a picture in base64 ({error}); name its file") from error
    number = plain_id(entry.first(("image_id",), "image_id"))
    content = hashlib.sha256(raw).hexdigest()[:16]
    path = cache_folder() / "objhal" / content / f"{number:0>12}.{suffix}"
    if not path.is_file():
        write_atomically(path, raw)
    return path


MEASURES = [
    Measure("objhal_chair_i", lambda item: (item["hallucinated_mentions"], item["mentions"]), ratio),
    Measure("objhal_chair_s", lambda item: (float(item["hallucinated_mentions"] > 0), 1), ratio),
    Measure(
        "objhal_chair_s_naming",
        lambda item: (float(item["hallucinated_mentions"] > 0), float(item["mentions"] > 0)),
        ratio,
    ),
    Measure("objhal_recall", lambda item: (item["recalled"], item["objects"]), ratio),
    Measure("objhal_words", lambda item: (item["words"], 1), ratio),
]

SCORER = Scorer(
    "objhal",
    benchmark,
    {
        "objhal_chair_i": Metric(
            "Object HalBench CHAIRi", "objects named that are not there, of all named", "lower", headline=True
        ),
        "objhal_chair_s": Metric(
            "Object HalBench CHAIRs", "descriptions that name an object that is not there", "lower", headline=True
        ),
        "objhal_chair_s_naming": Metric(
            "Object HalBench CHAIRs, naming", "the same, of descriptions that name an object", "lower", table="details"
        ),
        "objhal_recall": Metric(
            "Object HalBench recall", "objects in the picture that are named", "higher", headline=True, beside=True
        ),
        "objhal_words": Metric(
            "Object HalBench words", "words per description", "neither", "score", top=400.0, beside=True
        ),
    },
    views=(invented_view("Descriptions (Object HalBench)"),),
    measures=lambda items: MEASURES,
    scored_by=("lemmatizer",),
    public_files=True,
)
