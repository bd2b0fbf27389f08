"""Object HalBench: 300 detailed descriptions, checked for COCO's objects (RLHF-V, arXiv 2312.00849).

chair_s = descriptions with an object that is not there / descriptions. chair_i = mentions of such objects / mentions.
recall = objects named / objects in the picture. chair_s_naming leaves out descriptions that name no object, as the
tables of RLHF-V and RLAIF-V do. The mentions are those that the file lists per description, or CHAIR's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.language.mentions import Mentions, read_synonyms
from seelevel.progress import say
from seelevel.scorers.answers import answer_key, spoken_words, words_of
from seelevel.scorers.chair import figures_of, objects_of, read_objects
from seelevel.scorers.files import Entry, plain_id, read_entries
from seelevel.scorers.noted import noted, over
from seelevel.scorers.objects import IMAGE_KEYS, by_image

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
    value = entry.get(IMAGE_KEYS)
    return entry.key if value is None else plain_id(value)


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
