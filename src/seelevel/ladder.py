"""The type that every stage shares: a ladder, a prompt with K responses, best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypedDict, TypeVar

from seelevel.fingerprints import digest
from seelevel.levels import CRITERIA, PairSet, preference_pairs, rating_levels
from seelevel.notes import Checked, CheckNote, FeedbackNote, LevelOverride, RoundOf

Role = Literal["system", "user", "assistant"]
WORST, BEST = 1, 4
"""Ratings of a criterion are whole numbers from 1 to 4."""
IMAGE_MARK = "<image>"
LOGPROB, REFERENCE, UNORDERED = "logprob", "reference", "samples without an order"
"""The score of a response that is its mean log-prob per token; the note with the standard response's answers, if it is
no level of its ladder; the flag of a ladder whose samples nothing has ranked."""
LONGEST_TEXT = 100_000
"""Characters of the longest answer. The parser takes 700 MiB for it."""
TYPED_NOTES = ("check", "round_of", "feedback", "overrides")
"""Fields of a ladder that files keep beside its free-form notes, so the notes must not use their names."""


class Message(TypedDict):
    """One turn. `<image>` in a user turn marks the place of a picture."""

    role: Role
    content: str


@dataclass(frozen=True)
class Image:
    """A picture: its path, and the SHA-256 of its file once it has been read."""

    path: str
    sha256: str = ""


def unmarked(text: str, *marks: str) -> str:
    """A text without picture marks and without `marks`, including marks that removing another would form."""
    while any(mark in text for mark in (IMAGE_MARK, *marks)):
        for mark in (IMAGE_MARK, *marks):
            text = text.replace(mark, "")
    return text


def pictures_of(prompt: Sequence[Message], images: Sequence[Image]) -> list[Image]:
    """The pictures with a mark in `prompt`, the beginning of a conversation that shows `images`."""
    return list(images[: sum(message["content"].count(IMAGE_MARK) for message in prompt)])


@dataclass(frozen=True)
class Feedback:
    """A judge's feedback on one response.

    `ratings` go from 1 (worst) to 4, for any subset of the criteria. `critique` says what is good and bad; `refinement`
    says how to improve it.
    """

    ratings: dict[str, int]
    critique: str = ""
    refinement: str = ""
    annotator: str = ""

    def __post_init__(self) -> None:
        for criterion, rating in self.ratings.items():
            if criterion not in CRITERIA:
                raise ValueError(f"criterion '{criterion}' is not one of {', '.join(CRITERIA)}")
            if rating not in range(WORST, BEST + 1):
                raise ValueError(f"rating {rating!r} of {criterion} is not a whole number from {WORST} to {BEST}")


@dataclass(frozen=True)
class Response:
    """One answer to a ladder's prompt.

    `messages` starts and ends with an assistant turn; the user's later turns are between. Level 0 is best; equal levels
    are a tie. `condition` is a text at the end of the user turn before the answer. `check` is a checker's result.
    `reasoning` is what a model thought before it answered: it is kept, and never judged, scored or trained.
    """

    messages: list[Message]
    level: int
    origin: dict[str, Any] = field(default_factory=dict)
    condition: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    feedback: Feedback | None = None
    check: Checked | None = None
    reasoning: str = ""

    def __post_init__(self) -> None:
        expect: Role = "assistant"
        for message in self.messages:
            if message["role"] != expect:
                raise ValueError(f"a response alternates assistant and user turns; found {message['role']}")
            expect = "user" if expect == "assistant" else "assistant"
        if not self.messages or expect != "user":
            raise ValueError("a response starts and ends with an assistant turn")
        if self.level < 0:
            raise ValueError(f"level {self.level} is negative; 0 is best")

    @cached_property
    def id(self) -> str:
        """A short hash of messages and origin: the same in every stage, whatever level it has."""
        return digest(self.messages, self.origin)

    @property
    def is_standard(self) -> bool:
        """Whether this is the data set's own answer."""
        return self.origin.get("kind") == "standard"

    @property
    def text(self) -> str:
        """All assistant turns, joined by a blank line."""
        return "\n\n".join(m["content"] for m in self.messages if m["role"] == "assistant")

    @property
    def rounds(self) -> int:
        """Number of assistant turns."""
        return (len(self.messages) + 1) // 2


@dataclass(frozen=True)
class Ladder:
    """A K-level preference. Before the stage `generate` it has no response, or only the standard one.

    `notes` is free-form (`flags`, `dropped`). The other notes of stages are typed: see `seelevel.notes`.
    """

    id: str
    images: list[Image]
    prompt: list[Message]
    responses: list[Response] = field(default_factory=list)
    annotations: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    check: CheckNote | None = None
    round_of: RoundOf | None = None
    feedback: FeedbackNote | None = None
    overrides: tuple[LevelOverride, ...] = ()

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("a ladder needs an id")
        for name in TYPED_NOTES if self.notes else ():
            if name in self.notes:
                raise ValueError(f"ladder {self.id}: notes must not hold '{name}'; it is a field of the ladder")
        if not self.prompt or self.prompt[-1]["role"] != "user":
            raise ValueError(f"ladder {self.id}: the prompt ends with a user turn")
        marks = sum(m["content"].count(IMAGE_MARK) for m in self.prompt)
        marks += sum(
            m["content"].count(IMAGE_MARK) for r in self.responses[:1] for m in r.messages if m["role"] == "user"
        )
        if marks != len(self.images):
            raise ValueError(f"ladder {self.id}: {len(self.images)} images but {marks} {IMAGE_MARK} marks")
        if any(a.level > b.level for a, b in zip(self.responses, self.responses[1:], strict=False)):
            raise ValueError(f"ladder {self.id}: responses stand best first")

    @property
    def levels(self) -> list[int]:
        return [r.level for r in self.responses]

    @property
    def interaction(self) -> str:
        """The id of the interaction that this ladder is a round of; the ladder's own id if it belongs to none."""
        return self.id if self.round_of is None else self.round_of.interaction

    @property
    def ratings_before(self) -> Mapping[str, int]:
        """The ratings of the answer that this round's answer refines; empty if there is none."""
        return {} if self.round_of is None else self.round_of.ratings_before

    @property
    def standard(self) -> Response | None:
        """The data set's own answer, if the ladder has it."""
        return next((response for response in self.responses if response.is_standard), None)

    @property
    def reference(self) -> list[str]:
        """The standard response's answers, also if it is no level of this ladder; empty if there is none."""
        if self.standard is not None:
            return [message["content"] for message in self.standard.messages[::2]]
        texts = self.notes.get(REFERENCE)
        return texts if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else []

    @property
    def holds_measure(self) -> bool:
        """Whether the auto-check measures by the first response; else by the reference outside the ladder."""
        return self.standard is not None or not self.reference

    @property
    def flags(self) -> list[str]:
        """The flags among the notes. A ladder's file may hold a single one, or other values."""
        flags = self.notes.get("flags", [])
        return [str(flag) for flag in (flags if isinstance(flags, list) else [flags])]

    @property
    def unordered(self) -> bool:
        """Whether the best level holds several samples that nothing has ranked."""
        return UNORDERED in self.flags and self.levels.count(min(self.levels, default=0)) > 1

    @property
    def standard_displaced(self) -> bool:
        """Whether another response stands above the standard one. Then nothing can be measured by the first."""
        return self.standard is not None and not self.responses[0].is_standard

    @property
    def reordered(self) -> bool:
        """Whether the responses that a checker saw stand in another order than before the check."""
        places = [response.check.place_before for response in self.responses if response.check is not None]
        return places != sorted(places)

    def pairs(self, which: PairSet | Sequence[Sequence[int]] = "all") -> list[tuple[int, int]]:
        """Index pairs (i, j) of responses with level_i < level_j; never a tie.

        `which` is 'all', 'adjacent' (neighbouring levels among those present), 'best-vs-rest', 'best-vs-worst', or an
        explicit list of level pairs such as [[1, 3]].
        """
        return preference_pairs(self.levels, which)

    def ordered(self, responses: Iterable[Response], check: CheckNote | None = None) -> Ladder:
        """This ladder with other responses, sorted by level (stable), and a checker's note.

        Levels that people have set (`overrides`) stay in force; each override notes the checker's level it replaces.
        Samples have an order now, unless the note says that they are unchecked.
        """
        ranked = sorted(responses, key=lambda r: r.level)
        notes = self.notes
        if UNORDERED in self.flags and (check is None or not check.unchecked):
            notes = {**notes, "flags": [flag for flag in self.flags if flag != UNORDERED]}
        ladder = replace(self, responses=ranked, notes=notes, check=self.check if check is None else check)
        levels = {response.id: response.level for response in ranked}
        levelled = check is not None and not check.unchecked  # else the levels may be those that people set before
        overrides = [
            replace(override, replaces=levels[override.response])
            if override.response in levels and (levelled or override.replaces is None)
            else override
            for override in self.overrides
        ]
        return ladder._with_overrides(overrides) if overrides else ladder

    def left_unchecked(self, check: CheckNote) -> Ladder:
        """This ladder in its order, with a checker's note on why it could not be checked."""
        responses = [replace(response, check=Checked(place)) for place, response in enumerate(self.responses)]
        return self.ordered(responses, check)

    def overridden(self, response: int, level: int, who: str, why: str = "", when: str = "") -> Ladder:
        """This ladder with one response's level set by a person. It replaces a checker's level, also a later one.

        Raises ValueError for a response that does not exist, a negative level, or an empty author.
        """
        if not 0 <= response < len(self.responses):
            raise ValueError(f"ladder {self.id} has no response {response}; it has {len(self.responses)}, from 0")
        if not who:
            raise ValueError("an override needs its author")
        target, others = self.responses[response], list[LevelOverride]()
        replaces: int | None = target.level
        for override in self.overrides:
            if override.response != target.id:
                others.append(override)
            elif override.replaces is not None:
                replaces = override.replaces
        return self._with_overrides([*others, LevelOverride(target.id, who, level, replaces, why, when)])

    def _with_overrides(self, overrides: Sequence[LevelOverride]) -> Ladder:
        """The overrides in force, responses sorted by the levels that they set."""
        levels = {override.response: override.to for override in overrides}
        responses = [replace(r, level=levels.get(r.id, r.level)) for r in self.responses]
        return replace(self, responses=sorted(responses, key=lambda r: r.level), overrides=tuple(overrides))


Part = TypeVar("Part", Ladder, Response)


def changed(part: Part, **changes: Any) -> Part:
    """A copy with changes that need no check, which `replace` would make again. For loops over millions of rows.

    A response whose `id` has been asked for must keep its messages and its origin.
    """
    copy = object.__new__(type(part))
    vars(copy).update(vars(part), **changes)
    return copy


@dataclass(frozen=True)
class Interaction:
    """A conversation with feedback: one (user message, response) per round. Responses carry their feedback."""

    id: str
    images: list[Image]
    turns: list[tuple[Message, Response]]
    annotations: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.turns:
            raise ValueError(f"interaction {self.id} has no turn")
        for user, response in self.turns:
            if user["role"] != "user" or len(response.messages) != 1:
                raise ValueError(f"interaction {self.id}: a turn is one user message and one answer")

    def ladder(self) -> Ladder:
        """The answers of all rounds as responses to the first question, ordered by their ratings (`rating_levels`).

        Answers without ratings are left out.
        """
        rated = [(r, r.feedback.ratings) for _, r in self.turns if r.feedback is not None and r.feedback.ratings]
        levels = rating_levels([ratings for _, ratings in rated])
        responses = [replace(r, level=level) for (r, _), level in zip(rated, levels, strict=True)]
        return Ladder(
            self.id, self.images, [self.turns[0][0]], sorted(responses, key=lambda r: r.level), self.annotations
        )

    def rounds(self) -> list[Ladder]:
        """One ladder per round: history without conditions as the prompt, that round's answer as its one response.

        Each ladder's `round_of` names this interaction and the round, by which the ladders can be joined again.
        """
        ladders, history, before = [], list[Message](), dict[str, int]()
        for number, (user, response) in enumerate(self.turns):
            history = [*history, user]
            answer = [replace(response, level=0)]
            place = RoundOf(self.id, number, before)
            before = response.feedback.ratings if response.feedback is not None else {}
            name = f"{self.id}#{number}"
            ladders.append(Ladder(name, self.images, list(history), answer, self.annotations, round_of=place))
            history = [*history, response.messages[0]]
        return ladders
