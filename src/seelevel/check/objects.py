"""Order a ladder's responses by the objects that they name, against those that are annotated in the picture.

With A the annotated objects of a picture and N the different objects that a response names (found as CHAIR finds them,
Rohrbach et al. 2018, arXiv 1809.02156):

    precision = |A ∩ N| / |N|     recall = |A ∩ N| / |A|
    F_b = (1 + b²) · precision · recall / (b² · precision + recall)

The default rule is F_1. Precision alone would reward saying little: one sure object is never wrong. Recall alone would
reward naming everything.

- An object counts once, however often it is named.
- A response that names no object has precision 0, recall 0 and F 0. Silence is not accuracy.
- Responses whose figures differ by no more than `tolerance` from the best of a level share that level.
- The standard response stays best unless `standard_first` is off; without one, all responses are ordered.
- A ladder keeps its order, with a note, if its picture is not annotated or holds no listed object, or if no response
  names one.
- If the objects are those of the standard response, an answer is right if it names the same ones. The annotations may
  be poorer than the picture then, as in the auto-check.
- As in CHAIR, 'no dog' names a dog. The rule is for descriptions, not for answers to questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seelevel.check.rules import DIGITS, close_levels, figure
from seelevel.check.settings import FACTS, STANDARD, CheckSettings
from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.language.mentions import Mention, Mentions, places_of, read_synonyms
from seelevel.models.base import ModelRef
from seelevel.notes import Checked, CheckNote, NamedObject, ObjectsNamed
from seelevel.progress import say
from seelevel.scorers.files import image_names, plain_id
from seelevel.scorers.objects import ObjectSets, by_image, names_in, read_object_sets
from seelevel.store import batched

BLOCK = 1024
"""Ladders whose responses are searched for objects at once."""
SHOWN = 5
"""Names of objects in a warning."""


@dataclass(frozen=True)
class Annotations:
    """The annotated objects, and the words for them.

    `sets`: those of a file; None: each ladder has its own. `mentions`: a list of words; None: an object's name is its
    only word. `of_standard`: the objects are those that the standard response names.
    """

    sets: ObjectSets | None
    mentions: Mentions | None
    of_standard: bool = False

    @classmethod
    def read(cls, settings: CheckSettings) -> Annotations:
        """The files of the settings. Raises `InputError` with file and place for what cannot be read."""
        assert settings.annotations is not None  # CheckSettings requires it
        mentions = None if settings.synonyms is None else Mentions(read_synonyms(Path(settings.synonyms)))
        if settings.annotations in (FACTS, STANDARD):
            return cls(None, mentions, settings.annotations == STANDARD)
        return cls(read_object_sets(Path(settings.annotations), mentions), mentions)


class Objects:
    """Ladders in, ladders ordered by their objects out. Responses get the scores `precision`, `recall` and the rule's.

    The reasons are in `Response.check.objects`. `prepare` must see all ladders of a data set before the first is
    ordered: their annotations may be the list of objects.
    """

    def __init__(
        self, annotations: Annotations, rule: str = "f1", tolerance: float = 0.0, standard_first: bool = True
    ) -> None:
        self.sets, self.mentions, self.of_standard = annotations.sets, annotations.mentions, annotations.of_standard
        self.rule, self.tolerance, self.standard_first = rule, tolerance, standard_first
        self._prepared = False
        self._by_image = {} if self.sets is None else by_image(self.sets.images)

    @classmethod
    def from_settings(cls, settings: CheckSettings, judge: ModelRef | None = None, seed: int = 0) -> Objects:
        """From the recipe's settings. `judge` and `seed` are not used."""
        return cls(Annotations.read(settings), settings.ranked_by, settings.tolerance, settings.standard_first)

    def prepare(self, ladders: Iterable[Ladder]) -> None:
        """Learn the objects' names. Says how many ladders have no annotation; raises `InputError` if none has one."""
        self._prepared = True
        names = dict.fromkeys([] if self.sets is None else self.sets.names)
        count, missing = 0, list[str]()
        for ladder in ladders:
            annotated = self.annotated(ladder)
            count += 1
            if annotated is None:
                missing.append(ladder.id)
            elif self.sets is None:
                names.update(dict.fromkeys(annotated))
        inside = "the standard responses" if self.of_standard else "the records' annotations"
        where = inside if self.sets is None else "check.annotations"
        if missing and len(missing) == count:
            raise InputError(f"{where} have objects for none of {count} ladders; {self._remedy(missing[0])}")
        if missing:
            say(
                f"check: {len(missing)} of {count} ladders have no annotated objects and keep their order "
                f"(the first: {missing[0]:.80})"
            )
        listed = [name.strip().lower() for name in names]
        if self.mentions is None:
            self.mentions = Mentions([name] for name in dict.fromkeys(listed))
        elif unknown := [name for name in listed if self.mentions.object_of(name) is None]:
            more = ", …" if len(unknown) > SHOWN else ""
            say(
                f"check: {len(unknown)} annotated objects are not in check.synonyms and do not count: "
                f"{', '.join(unknown[:SHOWN])}{more}"
            )

    def _remedy(self, ladder: str) -> str:
        if self.of_standard:
            return "name a list of synonyms with their objects, or a file as check.annotations"
        if self.sets is None:
            return "they need a list `objects`, or name a file as check.annotations"
        example = next(iter([*self.sets.images, *self.sets.ids]), None)
        if example is None:
            return "the file names no picture; name another file"
        return f"the file names pictures such as {example:.80}, and ladder {ladder:.80} is not among them"

    def annotated(self, ladder: Ladder) -> list[str] | None:
        """The annotated names of a ladder's pictures; None if one has no annotation.

        With `of_standard`: those in the standard response; None if it names no object, or if there is none.
        """
        if self.of_standard and self.mentions is not None:
            return [m.object for m in self.mentions.find("\n\n".join(ladder.reference))] or None
        if self.sets is None:
            return own_objects(ladder.annotations)
        names = [image_names(image.path) for image in ladder.images]
        sets = [next((self._by_image[n] for n in of_image if n in self._by_image), None) for of_image in names]
        listed = [objects for objects in sets if objects is not None]
        if not sets or len(listed) < len(sets):
            return self.sets.ids.get(plain_id(ladder.id))
        return [name for objects in listed for name in objects]

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        if not self._prepared:  # then these are all ladders
            ladders = list(ladders)
            self.prepare(ladders)
        assert self.mentions is not None
        for block in batched(ladders, BLOCK):
            mentions = iter(self.mentions.find_all(r.text for ladder in block for r in ladder.responses))
            for ladder in block:
                yield self._check(ladder, [next(mentions) for _ in ladder.responses], self.mentions)

    def _check(self, ladder: Ladder, mentioned: Sequence[Sequence[Mention]], mentions: Mentions) -> Ladder:
        note = CheckNote("objects", tuple(ladder.levels), rule=self.rule)
        annotated = self.annotated(ladder)
        listed = (mentions.object_of(name.strip().lower()) for name in annotated or [])
        present = {name for name in listed if name is not None}
        if reason := self._why_unchecked(ladder, annotated, present, mentioned):
            return ladder.left_unchecked(replace(note, unchecked=reason))
        first = 1 if self.standard_first and ladder.standard is not None else 0
        named = [compared(r.text, m, present) for r, m in zip(ladder.responses, mentioned, strict=True)]
        figures = [figure(objects.precision, objects.recall, self.rule) for objects in named]
        levels = [0] * first + [first + level for level in close_levels(figures[first:], self.tolerance)]
        responses = [
            replace(
                response,
                level=level,
                scores={**response.scores, "precision": o.precision, "recall": o.recall, self.rule: value},
                check=Checked(place, objects=o),
            )
            for place, (response, level, o, value) in enumerate(
                zip(ladder.responses, levels, named, figures, strict=True)
            )
        ]
        return ladder.ordered(responses, note)

    def _why_unchecked(
        self,
        ladder: Ladder,
        annotated: list[str] | None,
        present: set[str],
        mentioned: Sequence[Sequence[Mention]],
    ) -> str:
        """Why a ladder cannot be checked; empty if it can."""
        if len(ladder.responses) < 2:
            return "fewer than 2 responses"
        if self.standard_first and ladder.standard_displaced:
            return "the standard response is not first"
        if annotated is None:
            return "no objects are annotated"
        if not present:
            return "the picture holds no listed object"
        return "" if any(mentioned) else "no response names an object"


def own_objects(annotations: Mapping[str, Any]) -> list[str] | None:
    """The names in `objects` of a ladder's annotations, or of a mapping among them; None if there is no such list."""
    for place in (annotations, *(value for value in annotations.values() if isinstance(value, dict))):
        if (names := names_in(place.get("objects"))) is not None:
            return names
    return None


def compared(text: str, mentioned: Sequence[Mention], present: set[str]) -> ObjectsNamed:
    """The objects of a response against the set of those in the picture, which must not be empty."""
    words = {mention.word: mention.object for mention in mentioned}
    places: dict[str, list[tuple[int, int]]] = {name: [] for name in words.values()}
    for start, end, word in places_of(words, text):
        places[words[word]].append((start, end))
    objects = [NamedObject(name, tuple(at)) for name, at in places.items()]
    matched = tuple(named for named in objects if named.object in present)
    return ObjectsNamed(
        precision=round(len(matched) / len(objects), DIGITS) if objects else 0.0,
        recall=round(len(matched) / len(present), DIGITS),
        matched=matched,
        invented=tuple(named for named in objects if named.object not in present),
        missed=tuple(sorted(present - places.keys())),
    )
