"""The stage `feedback`: a judge rates responses in numbers and words; a model may refine its answers with that."""

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
from seelevel.ladder import Feedback, Ladder, Response, pictures_of
from seelevel.levels import CRITERIA, rating_levels, shared_criteria
from seelevel.models import load_generator
from seelevel.models.base import Generator, ModelRef, Prompt, Sampling
from seelevel.models.thinking import complete
from seelevel.notes import FeedbackNote, RoundOf, Unrated
from seelevel.progress import say
from seelevel.store import StageFolder

__all__ = ["FeedbackSettings", "run"]

COMMON = 3
"""How many reasons for unscored answers are named, the most frequent first."""
NOT_RATED = "its feedback has words but no rating"
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
    """Write one shard of ladders with feedback for each shard of `source`; return the counts for the manifest.

    With `rounds` above 1, the model's answer opens a conversation in which the model refines it after the judge's
    feedback. The answer is the model's response in the ladder, or a new one. No conversation starts from dialogues
    (responses of several rounds) or from ladders that are a round of an interaction (`round_of`).

    `ladders: rounds` rates every answer. The first answers make one ladder in their order; each later round, of a
    dialogue or of a conversation, makes a ladder with one response. `ladders: ratings` makes one ladder of all answers,
    ordered by their ratings, and leaves dialogues unrated.
    """

    def start() -> Transform:
        annotator = _annotator(settings, judge)
        answering = None if model is None or settings.rounds == 1 else load_generator(model, settings.batch_size)
        return lambda path, ladders: _judged(ladders, settings, annotator, answering, _sampling(settings, seed, path))

    change_shards(source, stage.path, root, "feedback", start)
    facts = _facts(ladder for _, ladders in iter_shards(stage.path, root) for ladder in ladders)
    if facts.ladders and settings.rounds > 1 and not facts.conversations:
        say("feedback: no conversation started: all records are dialogues or rounds, or the model's answers were empty")
    responses, unscored = facts.responses or 0, facts.unscored or 0
    if unscored:
        why = ", ".join(f"{count} × {reason}" for reason, count in (facts.unscored_reasons or {}).items())
        if not responses:
            raise InputError(
                f"feedback.judge: {settings.judge} rated none of {unscored} responses: {why}; use "
                "another judge, or fix its template"
            )
        say(f"feedback: {unscored} of {responses + unscored} responses unscored: {why}")
    if facts.not_compared:
        say(f"feedback: {facts.not_compared} of {facts.ladders} ladders are ties: their answers share no criterion")
    return facts


def _annotator(settings: FeedbackSettings, judge: ModelRef) -> Annotator:
    return Annotator(
        load_generator(judge),
        settings.judge,
        settings.judge_template,
        settings.judge_sampling,
        settings.judge_sees_pictures,
    )


def _judged(
    ladders: Sequence[Ladder],
    settings: FeedbackSettings,
    annotator: Annotator,
    model: Generator | None,
    sampling: Sampling,
) -> list[Ladder]:
    """The ladders with their feedback, each followed by the ladders of its later rounds."""
    dialogues = {ladder.id for ladder in ladders if any(response.rounds > 1 for response in ladder.responses)}
    by_rounds = settings.ladders == "rounds"
    if by_rounds:
        pairs = [pair for ladder in ladders for pair in split_rounds(ladder)]
    else:
        pairs = [(ladder, ladder) for ladder in ladders if ladder.id not in dialogues]
    rated, conversations = _rated(pairs, annotator), list[Conversation]()
    if model is not None:
        origin: dict[str, object] = {"kind": "refined", "model": settings.model, "sampling": sampling.model_dump()}
        refiner = Refiner(model, annotator, settings.request, origin)
        openings = [ladder for ladder in rated if ladder.id not in dialogues and ladder.round_of is None]
        conversations = _first_answers(openings, settings, model, annotator, sampling)
        for _ in range(settings.rounds - 1):
            refiner.refine(conversations, sampling)
    by_id = {conversation.ladder.id: conversation for conversation in conversations}
    if not by_rounds:
        ordered = {ladder.id: _ordered(ladder, by_id.get(ladder.id)) for ladder in rated}
        return [ordered.get(ladder.id, ladder) for ladder in ladders]
    written = []
    for ladder in rated:
        conversation = by_id.get(ladder.id)
        written += [_first_round(ladder, conversation), *_later_rounds(conversation)]
    return written


def split_rounds(ladder: Ladder) -> list[tuple[Ladder, Ladder]]:
    """The ladder's first answers as one ladder, and each later answer of a dialogue as a ladder of its own.

    The prompt of a later answer is the conversation before it. Each ladder comes with the ladder that the judge sees,
    which holds the standard answer of the same round.
    """
    shown = pictures_of(ladder.prompt, ladder.images)
    first = replace(ladder, images=shown, responses=[_one_round(response, 0) for response in ladder.responses])
    standard = ladder.standard
    pairs = [(first, first)]
    for number, response in enumerate(ladder.responses):
        for round_ in range(1, response.rounds):
            prompt = [*ladder.prompt, *response.messages[: 2 * round_]]
            reference = [_one_round(standard, round_)] if standard is not None and standard.rounds > round_ else []
            part = Ladder(
                f"{ladder.id}/{number}#{round_}",
                pictures_of(prompt, ladder.images),
                prompt,
                [replace(_one_round(response, round_), level=0)],
                ladder.annotations,
                round_of=RoundOf(f"{ladder.id}/{number}", round_),
            )
            pairs.append((part, replace(part, responses=reference)))
    return pairs


def _one_round(response: Response, round_: int) -> Response:
    """One round's answer alone."""
    return replace(response, messages=[response.messages[2 * round_]])


def _rated(pairs: Sequence[tuple[Ladder, Ladder]], annotator: Annotator) -> list[Ladder]:
    """The ladders with feedback on every response; responses that the judge could not rate are noted and left out.

    `pairs`: each ladder with the ladder that the judge sees.
    """
    unrated = [(shown, response) for ladder, shown in pairs for response in ladder.responses if not response.feedback]
    verdicts = iter(annotator.annotate(unrated))
    ladders = []
    for ladder, _ in pairs:
        rated, unscored = list[Response](), list[Unrated]()
        for response in ladder.responses:
            verdict = response.feedback or next(verdicts)
            if isinstance(verdict, Unscored):
                unscored.append(Unrated(response.text, verdict.reason, verdict.reply))
            else:
                rated.append(replace(response, feedback=verdict))
        ladders.append(replace(ladder, responses=rated, feedback=FeedbackNote(tuple(unscored))))
    return ladders


def _first_answers(
    ladders: Sequence[Ladder], settings: FeedbackSettings, model: Generator, annotator: Annotator, sampling: Sampling
) -> list[Conversation]:
    """A conversation for each ladder, opened by the model's response in it or, if it has none, by a new answer."""
    first: dict[str, Response] = {}
    unscored = list[Conversation]()  # without a turn: the judge could not rate the first answer
    for ladder in ladders:
        for response in ladder.responses:
            if response.rounds == 1 and response.origin.get("model") == settings.model:
                first.setdefault(ladder.id, response)
    missing = [ladder for ladder in ladders if ladder.id not in first]
    if missing:
        prompts = [Prompt(ladder.prompt, [image.path for image in ladder.images]) for ladder in missing]
        origin = {"kind": "answer", "model": settings.model, "sampling": sampling.model_dump()}
        answers = [
            (ladder, Response([{"role": "assistant", "content": answer.text}], 0, origin, reasoning=answer.reasoning))
            for ladder, answer in zip(missing, complete(model, prompts, sampling), strict=True)
            if answer.text.strip()
        ]
        for (ladder, response), verdict in zip(answers, annotator.annotate(answers), strict=True):
            if isinstance(verdict, Feedback):
                first[ladder.id] = replace(response, feedback=verdict)
            else:
                unscored.append(Conversation(ladder, [], [(response.text, verdict)], broken_off=True))
    return [*unscored, *(Conversation(x, [(x.prompt[-1], first[x.id])]) for x in ladders if x.id in first)]


def _first_round(ladder: Ladder, conversation: Conversation | None) -> Ladder:
    """The ladder, with its conversation's first answer added if that is new.

    Nobody has ranked the new answer: it ties with the last level, or is one below it if that level is the standard
    response's.
    """
    first = [] if conversation is None else [answer for _, answer in conversation.turns[:1]]
    new = [answer for answer in first if all(answer.text != response.text for response in ladder.responses)]
    last = max((response.level + response.is_standard for response in ladder.responses), default=0)
    responses = [*ladder.responses, *(replace(answer, level=last) for answer in new)]
    return replace(ladder, responses=responses, feedback=_feedback_note(ladder, conversation))


def _later_rounds(conversation: Conversation | None) -> list[Ladder]:
    """One ladder per round after the first: the conversation so far as the prompt, the answer as its response."""
    if conversation is None or not conversation.turns:
        return []
    opening = conversation.ladder
    rounds = conversation.interaction().rounds()[1:]
    return [replace(x, prompt=[*opening.prompt[:-1], *x.prompt], images=opening.images) for x in rounds]


def _ordered(ladder: Ladder, conversation: Conversation | None) -> Ladder:
    """All rated answers to the prompt, ordered by their ratings (`rating_levels`); levels set by people stay in force.

    Answers without ratings are noted as unscored and left out. Answers that share no rated criterion are a tie, and
    this is noted.
    """
    answers = list(ladder.responses)
    for _, answer in conversation.turns if conversation is not None else []:
        if all(answer.text != response.text for response in answers):
            answers.append(answer)
    note = _feedback_note(ladder, conversation)
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


def _feedback_note(ladder: Ladder, conversation: Conversation | None) -> FeedbackNote:
    """The ladder's note, with its conversation's answers that could not be rated and the ratings of the others."""
    note = ladder.feedback or FeedbackNote()
    if conversation is None:
        return FeedbackNote(note.unscored)
    more = [Unrated(text, verdict.reason, verdict.reply) for text, verdict in conversation.unscored]
    new = (entry for entry in more if entry not in note.unscored)  # the ladder itself may hold the same answer
    ratings = tuple(answer.feedback.ratings for _, answer in conversation.turns if answer.feedback is not None)
    return FeedbackNote((*note.unscored, *new), len(conversation.turns), ratings)


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
    by_criterion: dict[str, list[int]] = {}
    for rating in ratings:
        for criterion, value in rating.items():
            by_criterion.setdefault(criterion, []).append(value)
    return {c: {"mean": sum(v) / len(v), "n": len(v)} for c in CRITERIA if (v := by_criterion.get(c))}


def _sampling(settings: FeedbackSettings, seed: int, shard: Path) -> Sampling:
    """The recipe's decoding, with a seed for each shard."""
    shard_seed = int(digest(settings.sampling.seed, seed, shard.name), 16) % 2**31
    return settings.sampling.model_copy(update={"seed": shard_seed})
