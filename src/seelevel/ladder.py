"""The one noun every stage shares: a prompt with K responses, best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict

from seelevel.notes import notes_moved

Role = Literal["system", "user", "assistant"]
PairSet = Literal["all", "adjacent", "best-vs-rest", "best-vs-worst"]
CRITERIA = ("helpfulness", "honesty", "harmlessness")
IMAGE_MARK = "<image>"


class Message(TypedDict):
    """One turn; `<image>` in a user turn marks an image's place."""

    role: Role
    content: str


@dataclass(frozen=True)
class Image:
    """A picture by path, and by the SHA-256 of its file once it has been read."""

    path: str
    sha256: str = ""


def unmarked(text: str, *marks: str) -> str:
    """A text without picture marks, `marks` among them, and without those that taking others away would make."""
    while any(mark in text for mark in (IMAGE_MARK, *marks)):
        for mark in (IMAGE_MARK, *marks):
            text = text.replace(mark, "")
    return text


def pictures_of(prompt: Sequence[Message], images: Sequence[Image]) -> list[Image]:
    """The pictures that the beginning of a conversation has marks for, of all that the conversation shows."""
    return list(images[: sum(message["content"].count(IMAGE_MARK) for message in prompt)])


@dataclass(frozen=True)
class Feedback:
    """A judge's word on one response: ratings 1 (worst) to 4 for any subset of the criteria, in words what is good and
    bad (critique) and what to do about it (refinement)."""

    ratings: dict[str, int]
    critique: str = ""
    refinement: str = ""
    annotator: str = ""

    def __post_init__(self) -> None:
        for criterion, rating in self.ratings.items():
            if criterion not in CRITERIA:
                raise ValueError(f"criterion '{criterion}' is none of {', '.join(CRITERIA)}")
            if rating not in (1, 2, 3, 4):
                raise ValueError(f"rating {rating!r} of {criterion} is not a whole number from 1 to 4")


@dataclass(frozen=True)
class Response:
    """One answer to a ladder's prompt. `messages` opens and closes with an assistant turn, with the user's later turns
    between. Level 0 is best; equal levels are a tie. `condition` is text that ends the user turn before it."""

    messages: list[Message]
    level: int
    origin: dict[str, Any] = field(default_factory=dict)
    condition: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    feedback: Feedback | None = None

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
    """A K-level preference. A prompt that has not been answered yet has no response, or its standard one."""

    id: str
    images: list[Image]
    prompt: list[Message]
    responses: list[Response] = field(default_factory=list)
    annotations: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("a ladder needs an id")
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
        """The id of the interaction that this ladder is a round of; its own where it is none's, or the first round."""
        return str(self.notes.get("interaction", self.id))

    @property
    def standard_displaced(self) -> bool:
        """Whether a response stands above the standard one: then nothing can be measured by the first."""
        places = [n for n, response in enumerate(self.responses) if response.origin.get("kind") == "standard"]
        return bool(places) and places[0] > 0

    def pairs(self, which: PairSet | Sequence[Sequence[int]] = "all") -> list[tuple[int, int]]:
        """Index pairs (i, j) of responses with level_i < level_j; never a tie.

        `which` is 'all', 'adjacent' (neighbouring levels among those present), 'best-vs-rest', 'best-vs-worst', or an
        explicit list of level pairs such as [[1, 3]].
        """
        return preference_pairs(self.levels, which)

    def ordered(self, responses: Iterable[Response], **notes: Any) -> Ladder:
        """This ladder with its responses replaced, sorted by level (stable), and notes added. Levels that people have
        set (`overridden`) stand; their notes say which of a checker's levels they take the place of."""
        ranked = sorted(responses, key=lambda r: r.level)
        found = replace(self, responses=ranked, notes={**self.notes, **notes})
        entries = found.notes.get("overrides", [])
        if not entries:
            return found
        levels = {response.text: response.level for response in ranked}
        levelled = "order" in notes.get("check", {})  # else these may be the levels that people have set before
        dated = [
            {**e, "from": levels[e["text"]]} if e["text"] in levels and (levelled or "from" not in e) else e
            for e in entries
        ]
        return found._with_overrides(dated)

    def overridden(self, response: int, level: int, who: str, why: str = "", when: str = "") -> Ladder:
        """This ladder with one response's level set by hand, whatever a checker finds before or after.

        `notes["overrides"]` holds an entry for each such response: `text`, `who`, `from` and `to` (levels), and `why`
        and `when` where they are given. Raises ValueError for a response that is not there, a negative level, nobody.
        """
        if not 0 <= response < len(self.responses):
            raise ValueError(f"ladder {self.id} has no response {response}, but {len(self.responses)} from 0")
        if not who:
            raise ValueError("an override needs its author")
        text, before = self.responses[response].text, self.responses[response].level
        entries = self.notes.get("overrides", [])
        before = next((e["from"] for e in entries if e["text"] == text and "from" in e), before)
        said = {name: words for name, words in (("why", why), ("when", when)) if words}
        entry = {"text": text, "who": who, **said, "from": before, "to": level}
        return self._with_overrides([*(e for e in entries if e["text"] != text), entry])

    def _with_overrides(self, entries: list[dict[str, Any]]) -> Ladder:
        """Levels as the entries say, responses in their order, and what a checker noted of each along with them."""
        wanted = {entry["text"]: int(entry["to"]) for entry in entries}
        levels = [wanted.get(response.text, response.level) for response in self.responses]
        order = sorted(range(len(levels)), key=levels.__getitem__)
        notes = notes_moved({**self.notes, "overrides": entries}, order)
        return replace(self, responses=[replace(self.responses[n], level=levels[n]) for n in order], notes=notes)


def preference_pairs(levels: Sequence[int], which: PairSet | Sequence[Sequence[int]] = "all") -> list[tuple[int, int]]:
    """Index pairs (i, j) with levels[i] < levels[j] that the pair set asks for (see `Ladder.pairs`)."""
    present = sorted(set(levels))
    rank = {level: n for n, level in enumerate(present)}
    if isinstance(which, str):
        last = len(present) - 1
        wanted: dict[str, Callable[[int, int], bool]] = {
            "all": lambda a, b: True,
            "adjacent": lambda a, b: rank[b] == rank[a] + 1,
            "best-vs-rest": lambda a, b: rank[a] == 0,
            "best-vs-worst": lambda a, b: rank[a] == 0 and rank[b] == last,
        }
        if which not in wanted:
            raise ValueError(f"pair set '{which}' is none of {', '.join(wanted)}")
        keep = wanted[which]
    else:
        explicit = {(int(a), int(b)) for a, b in which}
        keep = lambda a, b: (a, b) in explicit  # noqa: E731 - a predicate like those above
    return [(i, j) for i, a in enumerate(levels) for j, b in enumerate(levels) if a < b and keep(a, b)]


def dense_levels(keys: Sequence[Any]) -> list[int]:
    """Levels 0.. for sort keys where the smallest key is best and equal keys share a level."""
    order = {key: n for n, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


def shared_criteria(ratings: Sequence[Mapping[str, int]]) -> list[str]:
    """The criteria that all of several ratings have."""
    return [name for name in CRITERIA if all(name in own for own in ratings)]


def rating_levels(ratings: Sequence[Mapping[str, int]]) -> list[int]:
    """Levels 0.. by the mean of the criteria that all have (two at a time, each pair by what both have, could run in a
    circle); equal, then by the lowest criterion; equal, then a tie. Where they share no criterion, all are a tie."""
    shared = shared_criteria(ratings)
    values = [[own[name] for name in shared] for own in ratings]
    return dense_levels([(-sum(own), -min(own, default=0)) for own in values])


@dataclass(frozen=True)
class Interaction:
    """A conversation with feedback: (user message, response) a round, the responses carrying their feedback."""

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
        """The answers of all rounds as responses to the first question, by their ratings (`rating_levels`). Answers
        without ratings are left out."""
        rated = [(r, r.feedback.ratings) for _, r in self.turns if r.feedback is not None and r.feedback.ratings]
        levels = rating_levels([ratings for _, ratings in rated])
        responses = [replace(r, level=level) for (r, _), level in zip(rated, levels, strict=True)]
        return Ladder(
            self.id, self.images, [self.turns[0][0]], sorted(responses, key=lambda r: r.level), self.annotations
        )

    def rounds(self) -> list[Ladder]:
        """One ladder a round: history without conditions as the prompt, that round's answer as its one response.

        Notes: `interaction`, this one's id, and `round` from 0, by which they can be put together again; `before`, the
        ratings of the answer before, where it has some.
        """
        ladders, history, before = [], list[Message](), dict[str, int]()
        for number, (user, response) in enumerate(self.turns):
            history = [*history, user]
            answer = [replace(response, level=0)]
            notes = {"interaction": self.id, "round": number, **({"before": before} if before else {})}
            before = response.feedback.ratings if response.feedback is not None else {}
            ladders.append(Ladder(f"{self.id}#{number}", self.images, list(history), answer, self.annotations, notes))
            history = [*history, response.messages[0]]
        return ladders
