"""The stage `feedback` on the page: mean ratings by round, the effect of refining, and conversations in full.

Ratings go from 1 to 4. An answer's quality is the mean of the ratings that apply. Two answers of a conversation are
compared by the criteria that both have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from markupsafe import Markup

from seelevel.facts import FeedbackFacts
from seelevel.fingerprints import digest
from seelevel.formats.parquet import iter_shards, read_ladders
from seelevel.ladder import IMAGE_MARK, Feedback, Image, Ladder, Message, Response
from seelevel.levels import CRITERIA
from seelevel.report.figures import say_change, say_value
from seelevel.report.ladders import Turn
from seelevel.report.pictures import Album, Picture
from seelevel.report.reading import RunFolder
from seelevel.report.sample import largest
from seelevel.report.text import marked


@dataclass(frozen=True)
class Said:
    """An answer of a conversation: its number from 1, the user's words before it, and the judge's feedback."""

    number: int
    asked: str
    text: str
    feedback: Feedback


@dataclass(frozen=True)
class Talk:
    """A conversation with at least two rated answers. `opening` is the prompt before its last user turn."""

    id: str
    images: list[Image]
    opening: list[Message]
    turns: list[Said]

    @property
    def gain(self) -> float | None:
        """The quality of the last answer minus that of the first, by `change`."""
        return change(self.turns[0].feedback, self.turns[-1].feedback)


@dataclass
class Step:
    """All answers of one number, compared with the answers before them."""

    changes: list[float] = field(default_factory=list)

    @property
    def words(self) -> tuple[str, str]:
        """The numbers of answers that rose, stayed and fell; and the mean change of quality."""
        rose, fell = sum(c > 0 for c in self.changes), sum(c < 0 for c in self.changes)
        mean = say_change(sum(self.changes) / len(self.changes), "score")
        return f"{rose:,} / {len(self.changes) - rose - fell:,} / {fell:,}", mean


@dataclass(frozen=True)
class ShownRound:
    """One answer on the page. `asked` is empty if the user only repeats the judge's words."""

    asked: str
    name: str
    ratings: list[str]
    text: Markup
    critique: str
    refinement: str


@dataclass(frozen=True)
class ShownTalk:
    """A conversation on the page. `tone` is the CSS class of a verdict."""

    id: str
    title: str
    tone: str
    pictures: list[Picture]
    opening: list[Turn]
    rounds: list[ShownRound]


@dataclass(frozen=True)
class ConversationFacts:
    """The part of the page about the stage. `rows` of its table have a name and one cell per column."""

    words: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]
    choice: str
    shown: list[ShownTalk]


def change(before: Feedback, after: Feedback) -> float | None:
    """The quality of `after` minus that of `before`, by the criteria that both have; None if they share none."""
    shared = [c for c in CRITERIA if c in before.ratings and c in after.ratings]
    return sum(after.ratings[c] - before.ratings[c] for c in shared) / len(shared) if shared else None


def feedback_facts(run: RunFolder, wanted: int, album: Album) -> ConversationFacts | None:
    """The part of the page about the stage; None if the stage is not finished.

    Of each of three kinds up to half of `wanted` conversations (rounded up) are shown: those whose quality rose most
    from the first answer to the last, those where it fell most, and of the rest those whose ids have the smallest
    hashes.
    """
    stage = run.stages["feedback"]
    if stage.manifest is None:
        return None
    gains, steps = list[tuple[float, tuple[Path, str]]](), dict[int, Step]()
    for path, ladders in iter_shards(stage.path, run.root):
        for talk in conversations(ladders):
            if talk.gain is not None:
                gains.append((talk.gain, (path, talk.id)))
            for before, after in pairwise(talk.turns):
                if (moved := change(before.feedback, after.feedback)) is not None:
                    steps.setdefault(after.number, Step()).changes.append(moved)
    each = (wanted + 1) // 2
    rose, fell = (largest([g for g in gains if sign * g[0] > 0], each) for sign in (1, -1))
    rest = [key for _, key in gains if key not in rose and key not in fell]
    others = sorted(rest, key=lambda key: digest(key[1]))[:each]
    facts = stage.facts(FeedbackFacts)
    columns, rows = _table(facts, steps)
    return ConversationFacts(
        words=_words(run, facts),
        columns=columns,
        rows=rows,
        choice=_choice([gain for gain, _ in gains]),
        shown=_shown({"Rose most": rose, "Fell most": fell, "By hash": others}, run.root, album),
    )


def _words(run: RunFolder, facts: FeedbackFacts) -> str:
    rated, unscored = facts.responses or 0, facts.unscored or 0
    judge = run.setting("feedback", "judge")
    said = f"{rated:,} responses were rated{f' by the judge {judge}' if judge else ''}; "
    if not unscored:
        return said + "none was left unscored."
    share = f"{100 * unscored / (rated + unscored):.1f}%"
    return said + f"{unscored:,} of {rated + unscored:,} ({share}) could not be, and are left out."


def _table(facts: FeedbackFacts, steps: Mapping[int, Step]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Mean ratings by criterion, of all responses and by round of the conversations, and the changes between rounds.

    The manifest counts rounds from 0.
    """
    by_number = {int(number) + 1: means for number, means in (facts.ratings_by_round or {}).items()}
    numbers = sorted({*by_number, *steps})
    columns: list[Mapping[str, Any]] = [facts.ratings or {}, *(by_number.get(number, {}) for number in numbers)]

    def mean(means: Mapping[str, Any], criterion: str) -> str:
        found = means.get(criterion)
        return f"{say_value(found['mean'], 'score')} (n = {found['n']:,})" if found else "–"

    rows = [(c.capitalize(), [mean(means, c) for means in columns]) for c in CRITERIA]
    rows = [(name, cells) for name, cells in rows if set(cells) != {"–"}]
    if steps:
        said = [("–", "–"), *(steps[number].words if number in steps else ("–", "–") for number in numbers)]
        rows.append(("Rose / stayed / fell against the answer before", [counts for counts, _ in said]))
        rows.append(("Mean change of quality against the answer before", [moved for _, moved in said]))
    return ["All responses", *(f"Answer {number}" for number in numbers)], rows


def _choice(gains: Sequence[float]) -> str:
    rose, fell = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return (
        f"{len(gains):,} conversations have at least two rated answers. From the first answer to the last, quality "
        f"rose in {rose:,}, fell in {fell:,} and was the same in {len(gains) - rose - fell:,}. Shown are those where "
        "it rose most, those where it fell most, and as many others by the hash of their names; nobody picked them. "
        "The user's next words are the judge's refinement, or its critique if there is no refinement, unless other "
        "words are shown."
    )


def _shown(chosen: Mapping[str, Sequence[tuple[Path, str]]], root: Path, album: Album) -> list[ShownTalk]:
    """The chosen conversations in their order. Each shard is read once."""
    wanted: dict[Path, set[str]] = {}
    for path, name in (key for keys in chosen.values() for key in keys):
        wanted.setdefault(path, set()).add(name)
    found = {
        (path, talk.id): talk
        for path, names in wanted.items()
        for talk in conversations(read_ladders(path, root))
        if talk.id in names
    }
    return [_show(found[key], why, album) for why, keys in chosen.items() for key in keys]


def _show(talk: Talk, why: str, album: Album) -> ShownTalk:
    gain = talk.gain or 0.0
    rounds = []
    for before, said in zip([None, *talk.turns], talk.turns, strict=False):
        feedback = said.feedback
        rounds.append(
            ShownRound(
                asked="" if before is not None and _repeats(said.asked, before.feedback) else said.asked,
                name=f"answer {said.number}",
                ratings=[f"{c} {feedback.ratings[c]}" for c in CRITERIA if c in feedback.ratings],
                text=marked(said.text),
                critique=feedback.critique,
                refinement=feedback.refinement,
            )
        )
    return ShownTalk(
        id=talk.id,
        title=f"{why}: quality {say_change(gain, 'score')}",
        tone="better" if gain > 0 else "worse" if gain < 0 else "",
        pictures=[album.picture(image.path) for image in talk.images],
        opening=[Turn(m["role"], marked(_bare(m["content"]))) for m in talk.opening],
        rounds=rounds,
    )


def _bare(text: str) -> str:
    return text.replace(IMAGE_MARK, "").strip()


def _repeats(asked: str, feedback: Feedback) -> bool:
    """Whether the user's words contain the judge's, which are on the page already."""
    words = " ".join((feedback.refinement or feedback.critique).split())
    return not asked or (bool(words) and words in " ".join(asked.split()))


# -- conversations in ladders ------------------------------------------------------------------------------------------


def conversations(ladders: Sequence[Ladder]) -> list[Talk]:
    """The conversations in a shard that the stage has written with `ladders: rounds` or `ratings`.

    A later round without the ratings of the answer before it (`ratings_before`) belongs to a dialogue, and answers
    another question.
    """
    first = {ladder.id: ladder for ladder in ladders}
    later: dict[str, list[Ladder]] = {}
    for ladder in ladders:
        if ladder.round_of is not None and ladder.round_of.number == 0:
            first.setdefault(ladder.interaction, ladder)
        elif ladder.ratings_before and ladder.responses and len(ladder.prompt) > 2:
            later.setdefault(ladder.interaction, []).append(ladder)
    by_rounds = [_of_rounds(name, rounds, first.get(name)) for name, rounds in later.items()]
    by_ratings = [_of_ratings(ladder) for ladder in ladders if ladder.id not in later]
    return [talk for talk in (*by_rounds, *by_ratings) if talk is not None and len(talk.turns) > 1]


def _number(ladder: Ladder) -> int:
    assert ladder.round_of is not None
    return ladder.round_of.number


def _of_rounds(name: str, rounds: list[Ladder], first: Ladder | None) -> Talk:
    """A conversation of one ladder per round. The first answer is in the second round's prompt, and its feedback is in
    the ladder that has this answer. If no ladder has it, only its ratings are known, from the next round's note."""
    rounds = sorted(rounds, key=_number)
    start = rounds[0]
    opening, answer, number = start.prompt[:-2], start.prompt[-2]["content"], _number(start)
    known = [
        r.feedback for r in (first.responses if first else []) if r.rounds == 1 and r.text == answer and r.feedback
    ]
    feedback = known[0] if known else Feedback(dict(start.ratings_before))
    turns = [Said(number, _bare(opening[-1]["content"]), answer, feedback)]
    for ladder in rounds:
        response = ladder.responses[0]
        if _number(ladder) != len(turns) + number - 1 or response.feedback is None:
            break
        turns.append(Said(len(turns) + number, _bare(ladder.prompt[-1]["content"]), response.text, response.feedback))
    return Talk(name, start.images, opening[:-1], turns)


def _of_ratings(ladder: Ladder) -> Talk | None:
    """A conversation in one ladder of all answers, in which refined answers have their round. The ladder keeps neither
    the user's words between the answers nor an answer that repeats another one."""
    refined = [r for r in ladder.responses if isinstance(r.origin.get("round"), int) and r.feedback is not None]
    if not refined:
        return None
    model = refined[0].origin.get("model")
    own = [r for r in ladder.responses if r.rounds == 1 and r.origin.get("model") == model and r.feedback is not None]
    answers = sorted(own, key=lambda r: int(r.origin.get("round", 0)))
    if answers[0] in refined:
        return None
    asked = _bare(ladder.prompt[-1]["content"])
    return Talk(ladder.id, ladder.images, ladder.prompt[:-1], [_said(r, asked) for r in answers])


def _said(response: Response, asked: str) -> Said:
    number = int(response.origin.get("round", 0))
    assert response.feedback is not None
    return Said(number + 1, "" if number else asked, response.text, response.feedback)
