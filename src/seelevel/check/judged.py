"""A judge orders a ladder's responses, instead of the auto-check or for a share of the ladders.

Zhang et al. 2024 (AMP, arXiv 2405.11165) compare with a model judge's order of the same responses, and replace the
check by the judge for a share of the ladders.

- *listwise*: one call per ladder rates every response from 0 to 10. Equal ratings are a tie. A response of several
  rounds is rated per answer, and has the mean.
- *pairwise*: one call per pair of responses says which is better. Levels follow wins minus losses, so a circle
  (A > B, B > C, C > A) becomes a tie. The share of circles among all triples of responses is the judge's
  *contradiction rate* (AMP, section 4.6: people 14.4%, GPT-4V 11.95%).

What the paper leaves open and is decided here:

- the standard response stays best, and the judge sees it as the standard answer, as in the auto-check; a ladder without
  a standard response is ordered as a whole
- the judge sees the responses shuffled (by the ladder's id and the seed), so that their place says nothing
- a ladder for which the judge's verdict is incomplete keeps its initial order, with a note
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from seelevel.check.judge_prompts import LISTWISE, PAIRWISE
from seelevel.check.settings import CheckSettings
from seelevel.fingerprints import digest
from seelevel.judge import JUDGE_SAMPLING, Judge, JudgeTemplate, Unscored, image_content, sample_ladder
from seelevel.judge.replies import Record, parse_ratings
from seelevel.ladder import IMAGE_MARK, Ladder
from seelevel.levels import dense_levels
from seelevel.models import load_generator
from seelevel.models.base import Generator, ModelRef, Sampling
from seelevel.notes import Checked, CheckNote, Compared
from seelevel.store import batched
from seelevel.thoughts import spoken

# Ladders whose prompts go to the judge in one call.
BLOCK = 128
TOP = 10
_FIRST, _SECOND = (1.0, 0.0), (0.0, 1.0)
WORTH = {"1": _FIRST, "one": _FIRST, "first": _FIRST, "2": _SECOND, "two": _SECOND, "second": _SECOND}
"""What both answers are worth, by the one that is better; any other word is a tie."""
_NAMED = r"(?:the\s+)?(?:answer|response|option|model)?[\s#*_`\[\"'(]*(1|2|one|two|first|second|tie|equal|draw)"
_BETTER = re.compile(
    rf"(?:(?:the|overall|final)\s+)*better(?:\s+(?:answer|response|one|option))?[\W_]*(?:is\b[\W_]*)?{_NAMED}\b(.*)",
    re.IGNORECASE,
)
_IS_BETTER = re.compile(
    r"(?:the\s+)?(?:answer|response)[\W_]*(1|2|one|two)[\W_]*is\s+(?:\w+\s+)?better\b(.*)", re.IGNORECASE
)
_REASON = re.compile(
    r"[\W_]*(?:(?:answer|response)[\W_]*)?|\s*[\W_]{0,4}\s*\([^()]*\)[\W_]*|\s*[,;:\u2013\u2014-]\s*\D*"
)
"""What may follow a verdict: nothing, a remark in brackets, or a reason without a number."""
_MARKUP = "*_#>{\"'` \t"  # of Markdown and JSON, before a line's words


@dataclass(frozen=True)
class Verdict:
    """How much each answer of a prompt is worth, in the order shown, None if the judge cannot tell; and its reply."""

    worth: tuple[float | None, ...]
    reply: str


@dataclass(frozen=True)
class Ranking:
    """How much each response is worth, by its place; more is better. The rest is for the note (see `CheckNote`)."""

    worth: Mapping[int, float]
    comparisons: tuple[Compared, ...] = ()
    triples: int = 0
    circles: int = 0


class Mode(Protocol):
    """A way to ask a judge for an order."""

    template: str

    def groups(self, responses: Sequence[int]) -> list[tuple[int, ...]]:
        """The groups of responses that the judge sees together, one prompt per group."""

    def parse(self, reply: str, record: Record) -> Verdict:
        """The verdict of a reply. Raises ValueError with the reason if it has none."""

    def rank(self, groups: Sequence[tuple[int, ...]], verdicts: Sequence[Verdict]) -> Ranking | str:
        """All verdicts on a ladder as one ranking, or the reason why there is none."""


class Listwise:
    """All responses in one prompt; the judge rates each."""

    template = LISTWISE

    def groups(self, responses: Sequence[int]) -> list[tuple[int, ...]]:
        return [tuple(responses)]

    def parse(self, reply: str, record: Record) -> Verdict:
        rounds = int(record["rounds"])
        ratings = parse_ratings(reply, len(record["answers"]) * rounds, TOP, halves=True)
        each = [ratings[n : n + rounds] for n in range(0, len(ratings), rounds)]
        return Verdict(tuple(None if None in rated else sum(r or 0 for r in rated) / rounds for rated in each), reply)

    def rank(self, groups: Sequence[tuple[int, ...]], verdicts: Sequence[Verdict]) -> Ranking | str:
        group, verdict = groups[0], verdicts[0]
        worth = {n: rating for n, rating in zip(group, verdict.worth, strict=True) if rating is not None}
        if len(worth) < len(group):
            return f"the judge could not rate {len(group) - len(worth)} of {len(group)} responses"
        return Ranking(worth)


class Pairwise:
    """Two responses per prompt; the judge names the better one."""

    template = PAIRWISE

    def groups(self, responses: Sequence[int]) -> list[tuple[int, ...]]:
        return list(combinations(responses, 2))

    def parse(self, reply: str, record: Record) -> Verdict:
        stripped = [line.lstrip(_MARKUP) for line in re.sub(r"</?answer>", "", spoken(reply)).split("\n")]
        lines = [
            line for line in stripped if re.match(r"(?:(?:the|overall|final)\s+)*better(?![a-z])", line, re.IGNORECASE)
        ]
        lines = lines or [line for line in stripped if _IS_BETTER.match(line)]
        match = (_BETTER.fullmatch(lines[-1]) or _IS_BETTER.fullmatch(lines[-1])) if lines else None
        if match is None or not _REASON.fullmatch(match[2]):
            raise ValueError("it does not end with a line 'Better: 1', 'Better: 2' or 'Better: tie'")
        return Verdict(WORTH.get(match[1].lower(), (0.0, 0.0)), reply)

    def rank(self, groups: Sequence[tuple[int, ...]], verdicts: Sequence[Verdict]) -> Ranking | str:
        wins = {n: 0.0 for group in groups for n in group}
        better: dict[tuple[int, int], bool] = {}
        for (a, b), verdict in zip(groups, verdicts, strict=True):
            won = (verdict.worth[0] or 0.0) - (verdict.worth[1] or 0.0)
            wins[a], wins[b] = wins[a] + won, wins[b] - won
            better[a, b], better[b, a] = won > 0, won < 0
        circles, triples = contradictions(sorted(wins), better)
        compared = tuple(Compared((min(a, b), max(a, b)), _winner(a, b, better)) for a, b in groups)
        return Ranking(wins, compared, triples, circles)


MODES: dict[str, Mode] = {"listwise": Listwise(), "pairwise": Pairwise()}


def contradictions(responses: Sequence[int], better: Mapping[tuple[int, int], bool]) -> tuple[int, int]:
    """How many triples of responses are a circle (a > b, b > c, c > a), and the number of triples."""
    triples = list(combinations(responses, 3))
    circles = sum(
        (better[a, b] and better[b, c] and better[c, a]) or (better[b, a] and better[c, b] and better[a, c])
        for a, b, c in triples
    )
    return circles, len(triples)


def _compared(ladder: Ladder, group: Sequence[int], shown: bool) -> dict[str, Any]:
    """The values for the judge's template."""
    return {
        "pictures": len(ladder.images) if shown else 0,
        "image_content": image_content(ladder),
        "rounds": ladder.responses[group[0]].rounds,
        "answers": [rounds_of(ladder, n) for n in group],
    }


def check_template(file: Path, shown: bool) -> None:
    """Raise `InputError` for a judge's template that cannot be rendered, or that does not show the answers."""
    one, other = (_compared(sample_ladder(), group, shown) for group in ((0, 1), (1, 0)))
    JudgeTemplate(file).check(one, other, int(shown))


def _winner(a: int, b: int, better: Mapping[tuple[int, int], bool]) -> int | None:
    return a if better[a, b] else b if better[b, a] else None


class JudgeOrder:
    """Ladders in, re-levelled ladders with the judge's reasons out, in the same order.

    Rated responses get the score `rating` (listwise: 0 to 10; pairwise: wins minus losses), also in
    `Response.check.rating`; the standard response has none. The judge's replies are in `Ladder.check`.
    """

    def __init__(
        self,
        judge: Generator,
        mode: str = "listwise",
        seed: int = 0,
        template: str | Path | None = None,
        show_pictures: bool = False,
        sampling: Sampling = JUDGE_SAMPLING,
    ) -> None:
        self.name, self.mode, self.seed, self.show_pictures = judge.name, mode, seed, show_pictures
        self._mode = MODES[mode]
        self._judge = Judge(template or self._mode.template, self._mode.parse, judge, sampling)

    @classmethod
    def from_settings(cls, settings: CheckSettings, judge: ModelRef | None, seed: int) -> JudgeOrder:
        assert judge is not None
        template = None if settings.judge_template is None else Path(settings.judge_template)
        shown, sampling = settings.judge_sees_pictures, settings.judge_sampling
        return cls(load_generator(judge), settings.judge_mode, seed, template, shown, sampling)

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for block in batched(ladders, BLOCK):
            groups = [self._groups(ladder) for ladder in block]
            prompts = [(ladder, group) for ladder, of_ladder in zip(block, groups, strict=True) for group in of_ladder]
            records = [_compared(ladder, group, self.show_pictures) for ladder, group in prompts]
            pictures = [[i.path for i in ladder.images] if self.show_pictures else [] for ladder, _ in prompts]
            verdicts = iter(self._judge.judge(records, pictures))
            for ladder, of_ladder in zip(block, groups, strict=True):
                yield self._ordered(ladder, of_ladder, [next(verdicts) for _ in of_ladder])

    def _groups(self, ladder: Ladder) -> list[tuple[int, ...]]:
        """The groups of responses for the prompts, each shuffled; none if there is nothing to order."""
        places = list(range(_first(ladder), len(ladder.responses)))
        if len(places) < 2 or _why_unchecked(ladder):
            return []
        rng = random.Random(digest("judge's order", self.seed, ladder.id))
        return [tuple(rng.sample(group, len(group))) for group in self._mode.groups(places)]

    def _ordered(self, ladder: Ladder, groups: list[tuple[int, ...]], verdicts: list[Verdict | Unscored]) -> Ladder:
        replies = tuple(verdict.reply for verdict in verdicts)
        note = CheckNote("judge", tuple(ladder.levels), judge=self.name, mode=self.mode, replies=replies)
        ranking: Ranking | str = _why_unchecked(ladder) or self._ranking(groups, verdicts)
        if isinstance(ranking, str):
            return ladder.left_unchecked(replace(note, unchecked=ranking))
        first, worth = _first(ladder), ranking.worth
        ranked = dense_levels([-worth.get(n, 0.0) for n in range(first, len(ladder.responses))])
        levels = [0] * first + [first + level for level in ranked]
        responses = [
            replace(
                response,
                level=level,
                scores={**response.scores, "rating": worth[n]} if n in worth else response.scores,
                check=Checked(n, rating=worth.get(n)),
            )
            for n, (response, level) in enumerate(zip(ladder.responses, levels, strict=True))
        ]
        counted = replace(note, comparisons=ranking.comparisons, triples=ranking.triples, circles=ranking.circles)
        return ladder.ordered(responses, counted)

    def _ranking(self, groups: list[tuple[int, ...]], verdicts: list[Verdict | Unscored]) -> Ranking | str:
        whole = [verdict for verdict in verdicts if not isinstance(verdict, Unscored)]
        if len(whole) < len(verdicts):
            reason = next(verdict.reason for verdict in verdicts if isinstance(verdict, Unscored))
            return f"{len(verdicts) - len(whole)} of {len(verdicts)} replies of the judge could not be read: {reason}"
        return self._mode.rank(groups, whole) if groups else Ranking({})  # one response below the standard


class Mixed:
    """The judge orders a share of the ladders, chosen by a hash of id and seed; the checker orders the rest."""

    def __init__(self, checker: Any, judged: JudgeOrder, share: float, seed: int) -> None:
        self.checker, self.judged, self.share, self.seed = checker, judged, share, seed

    def is_judged(self, ladder: Ladder) -> bool:
        return int(digest("judge share", self.seed, ladder.id), 16) / 16**16 < self.share

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for block in batched(ladders, BLOCK):
            chosen = [self.is_judged(ladder) for ladder in block]
            judged = self.judged([ladder for ladder, judge in zip(block, chosen, strict=True) if judge])
            checked = iter(self.checker([ladder for ladder, judge in zip(block, chosen, strict=True) if not judge]))
            for judge in chosen:
                yield next(judged if judge else checked)


def _first(ladder: Ladder) -> int:
    """The place of the first response that the judge orders: the standard response, if there is one, stays best."""
    return 0 if ladder.standard is None else 1


def _why_unchecked(ladder: Ladder) -> str:
    """Why a judge cannot order a ladder; empty if it can."""
    if len(ladder.responses) < 2:
        return "fewer than 2 responses"
    if ladder.standard_displaced:
        return "the standard response is not first"
    rounds = {response.rounds for response in ladder.responses} | {len(ladder.reference)} - {0}
    return "responses of unequal rounds" if len(rounds) > 1 else ""


def rounds_of(ladder: Ladder, n: int) -> list[dict[str, str]]:
    """A response's rounds: question, standard answer (empty if there is none), answer."""
    messages = ladder.responses[n].messages
    questions = [ladder.prompt[-1], *messages[1::2]]
    references = ladder.reference or ["" for _ in questions]
    return [
        {
            "question": question["content"].replace(IMAGE_MARK, "").strip(),
            "reference": reference,
            "answer": a["content"],
        }
        for question, reference, a in zip(questions, references, messages[::2], strict=True)
    ]
