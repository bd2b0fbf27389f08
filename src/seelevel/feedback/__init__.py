"""Feedback: a judge rates responses in numbers and words, and a model may answer again on what it said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from seelevel.errors import InputError
from seelevel.facts import FeedbackFacts
from seelevel.feedback.settings import FeedbackSettings
from seelevel.fingerprints import digest
from seelevel.formats.parquet import iter_shards
from seelevel.formats.shards import Transform, change_shards
from seelevel.judge import Unscored
from seelevel.judge.annotate import Annotator
from seelevel.judge.conversation import Conversation, Refiner
from seelevel.ladder import CRITERIA, Feedback, Ladder, Response, pictures_of, rating_levels, shared_criteria
from seelevel.models import load_generator
from seelevel.models.base import Generator, ModelRef, Prompt, Sampling
from seelevel.notes import FeedbackNote, RoundOf, Unrated
from seelevel.progress import say
from seelevel.store import StageFolder

__all__ = ["FeedbackSettings", "run"]

COMMON = 3
"""Reasons for unscored answers that are named."""
NOT_RATED = "its feedback has words and no rating"
NOT_COMPARED = "its answers share no rated criterion"


def run(
    source: Path,
    stage: StageFolder,
    settings: FeedbackSettings,
    judge: ModelRef,
    model: ModelRef | None,
    root: Path,
    seed: int,
) -> FeedbackFacts:
    """Write one shard of ladders with feedback for each of the source's; returns the counts for the manifest.

    With `rounds` above 1 the model's answer (its response in the ladder, or a new one) is the first of a conversation,
    in which it answers again on the judge's words; ladders whose responses have several rounds (dialogues), or that are
    a round of an interaction themselves (`round_of`), begin none. `ladders: rounds` rates every answer and gives
    the first ones as one ladder, in their order, and every later round, of a dialogue or of a conversation, as another
    of one response; `ratings` gives one ladder of all answers, ordered by their ratings, and leaves dialogues as they
    are, unrated. A shard that is there already was written whole and is kept.
    """

    def start() -> Transform:
        annotator = _annotator(settings, judge)
        answering = None if model is None or settings.rounds == 1 else load_generator(model, settings.batch_size)
        return lambda path, ladders: _judged(ladders, settings, annotator, answering, _sampling(settings, seed, path))

    change_shards(source, stage.path, root, "feedback", start)
    facts = _facts(ladder for _, ladders in iter_shards(stage.path, root) for ladder in ladders)
    if facts.ladders and settings.rounds > 1 and not facts.conversations:
        say("feedback: no conversation was begun: the records are dialogues or rounds of some, or nothing was answered")
    responses, unscored = facts.responses or 0, facts.unscored or 0
    if unscored:
        why = ", ".join(f"{count} × {reason}" for reason, count in (facts.unscored_reasons or {}).items())
        if not responses:
            raise InputError(
                f"feedback.judge: {settings.judge} rated none of {unscored} responses: {why}; take "
                "another judge, or mend its template"
            )
        say(f"feedback: {unscored} of {responses + unscored} responses unscored: {why}")
    if facts.not_compared:
        say(f"feedback: {facts.not_compared} of {facts.ladders} ladders are ties: their answers share no criterion")
    return facts


def _annotator(settings: FeedbackSettings, judge: ModelRef) -> Annotator:
    sampling, sees = settings.judge_sampling, settings.judge_sees_pictures
    return Annotator(load_generator(judge), settings.judge, settings.judge_template, sampling, sees)


def _judged(
    ladders: Sequence[Ladder],
    settings: FeedbackSettings,
    annotator: Annotator,
    model: Generator | None,
    sampling: Sampling,
) -> list[Ladder]:
    """The ladders with their feedback, each followed by those of its later rounds."""
    dialogues = {ladder.id for ladder in ladders if any(response.rounds > 1 for response in ladder.responses)}
    by_rounds = settings.ladders == "rounds"
    if by_rounds:
        asked = [pair for ladder in ladders for pair in apart(ladder)]
    else:
        asked = [(ladder, ladder) for ladder in ladders if ladder.id not in dialogues]
    found, talks = _rated(asked, annotator), list[Conversation]()
    if model is not None:
        origin: dict[str, object] = {"kind": "refined", "model": settings.model, "sampling": sampling.model_dump()}
        refiner = Refiner(model, annotator, settings.request, origin)
        alone = [ladder for ladder in found if ladder.id not in dialogues and ladder.round_of is None]
        talks = _started(alone, settings, model, annotator, sampling)
        for _ in range(settings.rounds - 1):
            refiner.refine(talks, sampling)
    by_id = {one.ladder.id: one for one in talks}
    if not by_rounds:
        rated = {ladder.id: _ordered(ladder, by_id.get(ladder.id)) for ladder in found}
        return [rated.get(ladder.id, ladder) for ladder in ladders]
    written = []
    for ladder in found:
        talk = by_id.get(ladder.id)
        written += [_first_round(ladder, talk), *_later_rounds(talk)]
    return written


def apart(ladder: Ladder) -> list[tuple[Ladder, Ladder]]:
    """A ladder's first answers, and each later answer of a dialogue with what was said before it as its prompt; each
    with the ladder that the judge is to see it in, which holds the standard answer of its round."""
    shown = pictures_of(ladder.prompt, ladder.images)
    first = replace(ladder, images=shown, responses=[_only(response, 0) for response in ladder.responses])
    standard = ladder.standard
    found = [(first, first)]
    for number, response in enumerate(ladder.responses):
        for round_ in range(1, response.rounds):
            prompt = [*ladder.prompt, *response.messages[: 2 * round_]]
            known = [_only(standard, round_)] if standard is not None and standard.rounds > round_ else []
            part = Ladder(
                f"{ladder.id}/{number}#{round_}",
                pictures_of(prompt, ladder.images),
                prompt,
                [replace(_only(response, round_), level=0)],
                ladder.annotations,
                round_of=RoundOf(f"{ladder.id}/{number}", round_),
            )
            found.append((part, replace(part, responses=known)))
    return found


def _only(response: Response, round_: int) -> Response:
    """One round's answer alone."""
    return replace(response, messages=[response.messages[2 * round_]])


def _rated(asked: Sequence[tuple[Ladder, Ladder]], annotator: Annotator) -> list[Ladder]:
    """Ladders whose responses all have feedback; what the judge could not rate is noted and left out. asked: each with
    the ladder that its responses are judged in."""
    unrated = [(seen, response) for ladder, seen in asked for response in ladder.responses if response.feedback is None]
    verdicts = iter(annotator.annotate(unrated))
    found = []
    for ladder, _ in asked:
        rated, unscored = list[Response](), list[Unrated]()
        for response in ladder.responses:
            verdict = response.feedback or next(verdicts)
            if isinstance(verdict, Unscored):
                unscored.append(Unrated(response.text, verdict.reason, verdict.reply))
            else:
                rated.append(replace(response, feedback=verdict))
        found.append(replace(ladder, responses=rated, feedback=FeedbackNote(tuple(unscored))))
    return found


def _started(
    ladders: Sequence[Ladder], settings: FeedbackSettings, model: Generator, annotator: Annotator, sampling: Sampling
) -> list[Conversation]:
    """Conversations on the model's first answers: those that stand in the ladders, and new ones where none does."""
    own: dict[str, Response] = {}
    unscored = list[Conversation]()  # they have no turn, only what the judge said of the first answer
    for ladder in ladders:
        for response in ladder.responses:
            if response.rounds == 1 and response.origin.get("model") == settings.model:
                own.setdefault(ladder.id, response)
    missing = [ladder for ladder in ladders if ladder.id not in own]
    if missing:
        prompts = [Prompt(ladder.prompt, [image.path for image in ladder.images]) for ladder in missing]
        origin = {"kind": "answer", "model": settings.model, "sampling": sampling.model_dump()}
        answers = [
            (ladder, Response([{"role": "assistant", "content": answer.text}], 0, origin))
            for ladder, answer in zip(missing, model.generate(prompts, sampling), strict=True)
            if answer.text.strip()
        ]
        for (ladder, response), verdict in zip(answers, annotator.annotate(answers), strict=True):
            if isinstance(verdict, Feedback):
                own[ladder.id] = replace(response, feedback=verdict)
            else:
                unscored.append(Conversation(ladder, [], [(response.text, verdict)], broken_off=True))
    return [*unscored, *(Conversation(one, [(one.prompt[-1], own[one.id])]) for one in ladders if one.id in own)]


def _first_round(ladder: Ladder, talk: Conversation | None) -> Ladder:
    """The ladder with its conversation's first answer too, where that is a new one. Nobody has ranked it: it ties with
    the last level, or stands below it where that is a standard response's."""
    new = [] if talk is None else [answer for _, answer in talk.turns[:1]]
    new = [answer for answer in new if all(answer.text != known.text for known in ladder.responses)]
    last = max((known.level + known.is_standard for known in ladder.responses), default=0)
    responses = [*ladder.responses, *(replace(answer, level=last) for answer in new)]
    return replace(ladder, responses=responses, feedback=_feedback_note(ladder, talk))


def _later_rounds(talk: Conversation | None) -> list[Ladder]:
    """A ladder a round after the first: history as the prompt, that round's answer, and what was before it."""
    if talk is None or not talk.turns:
        return []
    found = []
    for number, ladder in enumerate(talk.interaction().rounds()):
        if number:
            prompt = [*talk.ladder.prompt[:-1], *ladder.prompt]
            found.append(replace(ladder, prompt=prompt, images=talk.ladder.images))
    return found


def _ordered(ladder: Ladder, talk: Conversation | None) -> Ladder:
    """All rated answers to the prompt by their ratings (`rating_levels`), but for levels that people have set; those
    without ratings are noted as unscored and left out. Where the rest share no criterion they are a tie, noted too."""
    answers = list(ladder.responses)
    for _, response in talk.turns if talk is not None else []:
        if all(response.text != known.text for known in answers):
            answers.append(response)
    note = _feedback_note(ladder, talk)
    rated: list[tuple[Response, dict[str, int]]] = []
    unscored = list(note.unscored)
    for response in answers:
        if response.feedback is not None and response.feedback.ratings:
            rated.append((response, response.feedback.ratings))
        else:
            unscored.append(Unrated(response.text, NOT_RATED))
    ratings = [values for _, values in rated]
    reason = NOT_COMPARED if ratings and not shared_criteria(ratings) else ""
    levels = zip(rated, rating_levels(ratings), strict=True)
    noted = replace(ladder, feedback=replace(note, unscored=tuple(unscored), not_compared=reason))
    return noted.ordered(replace(response, level=level) for (response, _), level in levels)


def _feedback_note(ladder: Ladder, talk: Conversation | None) -> FeedbackNote:
    """The ladder's note, with its conversation's answers that could not be rated and the ratings of the others."""
    note = ladder.feedback or FeedbackNote()
    if talk is None:
        return FeedbackNote(note.unscored)
    more = [Unrated(text, verdict.reason, verdict.reply) for text, verdict in talk.unscored]
    unscored = (*note.unscored, *(one for one in more if one not in note.unscored))  # the ladder may hold the answer
    ratings = tuple(answer.feedback.ratings for _, answer in talk.turns if answer.feedback is not None)
    return FeedbackNote(unscored, len(talk.turns), ratings)


def _facts(ladders: Iterable[Ladder]) -> FeedbackFacts:
    """Counts, and mean ratings of all responses and by round of the conversations."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    everything: list[dict[str, int]] = []
    rounds: dict[int, list[dict[str, int]]] = {}
    for ladder in ladders:
        counts["ladders"] += 1
        note = ladder.feedback or FeedbackNote()
        counts["conversations"] += bool(note.answers)
        counts["unscored"] += len(note.unscored)
        if note.not_compared:
            counts["not_compared"] += 1
        reasons.update(entry.reason for entry in note.unscored)
        everything += [r.feedback.ratings for r in ladder.responses if r.feedback is not None and r.feedback.ratings]
        for number, ratings in enumerate(note.ratings):
            rounds.setdefault(number, []).append(dict(ratings))
    return FeedbackFacts(
        ladders=counts["ladders"],
        responses=len(everything),
        unscored=counts["unscored"],
        conversations=counts["conversations"],
        not_compared=counts["not_compared"] or None,
        unscored_reasons=dict(reasons.most_common(COMMON)),
        ratings=_means(everything),
        ratings_by_round={str(number): _means(rounds[number]) for number in sorted(rounds)},
    )


def _means(ratings: Iterable[dict[str, int]]) -> dict[str, dict[str, float]]:
    """Mean and number of ratings by criterion."""
    found: dict[str, list[int]] = {}
    for own in ratings:
        for criterion, rating in own.items():
            found.setdefault(criterion, []).append(rating)
    return {c: {"mean": sum(v) / len(v), "n": len(v)} for c in CRITERIA if (v := found.get(c))}


def _sampling(settings: FeedbackSettings, seed: int, shard: Path) -> Sampling:
    """The recipe's decoding with a seed of its own for each shard."""
    own = int(digest(settings.sampling.seed, seed, shard.name), 16) % 2**31
    return settings.sampling.model_copy(update={"seed": own})
