"""Which question of a run each of lmms-eval's samples answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from seelevel.errors import InputError
from seelevel.harness.samples import Record, Sample, Samples
from seelevel.report.reading import RunFolder
from seelevel.scorers.files import Entry, image_names
from seelevel.scorers.joining import comparable, join


class OtherLabelError(InputError):
    """A sample whose question is the run's, but whose target is not its label."""


def benchmark_of(run: RunFolder, side: str, samples: Samples) -> tuple[str, list[Sample | None]]:
    """The benchmark of a run that the samples answer, and the sample of each of its records.

    Dialogues and what a judge rates are not tried. Raises InputError, with the reasons, if they answer none.
    """
    reasons = []
    for scorer in run.scorers:
        records = run.answers(side, scorer.name)
        if not records or isinstance(records[0]["question"], list) or "judge" in scorer.scored_by:
            continue
        try:
            return scorer.name, match(records, samples)
        except InputError as error:
            reasons.append(f"{scorer.name}: {str(error).removeprefix(f'{samples.path}, ')}")
    why = "; ".join(reasons) or "it has answers to none without a judge"
    raise InputError(f"{samples.path}: answers no benchmark of {run.root} ({why})")


def match(records: Sequence[Record], samples: Samples) -> list[Sample | None]:
    """The sample of each record of a run's answer file, or None.

    Samples are joined as answer files are (`scorers.joining.join`): by id, by picture and question, or by order with
    the questions compared. A set of POPE is tried alone too. Raises InputError if they answer other questions, if
    targets are not the labels, or if only the order tells apart questions that are all alike.
    """
    reasons: list[InputError] = []
    for places in _parts(records):
        part = [records[place] for place in places]
        for by_id in (True, False):
            if by_id and not all(sample.question_id for sample in samples.samples):
                continue
            try:
                joined = _joined(part, samples, by_id)
            except InputError as error:
                reasons.append(error)
                continue
            at = dict(zip(places, joined, strict=True))
            return [at.get(place) for place in range(len(records))]
    raise next((reason for reason in reasons if isinstance(reason, OtherLabelError)), reasons[0])


def _parts(records: Sequence[Record]) -> Iterator[list[int]]:
    """The places of all records, then those of each set (`set/id`), if there are several."""
    yield list(range(len(records)))
    sets = [str(record["id"]).rpartition("/")[0] for record in records]
    if len(set(sets)) > 1:
        for name in dict.fromkeys(sets):
            yield [place for place, of in enumerate(sets) if of == name]


def _joined(records: Sequence[Record], samples: Samples, by_id: bool) -> list[Sample | None]:
    questions, at = [_question(record) for record in records], {sample.where: sample for sample in samples.samples}
    entries = join(questions, [sample.entry(by_id) for sample in samples.samples])
    joined = [None if entry is None else at[entry.where] for entry in entries]
    for record, question, sample in zip(records, questions, joined, strict=True):
        if sample is not None:
            _check_label(record, question, sample)
    _refuse_bare_order(records, joined, by_id)
    return joined


def _question(record: Record) -> Entry:
    fields = {"question_id": str(record["id"]).rpartition("/")[2], "image": record.get("image")}
    return Entry({**fields, "question": record["question"]}, f"item {record['id']!s:.60} of the run")


def _check_label(record: Record, question: Entry, sample: Sample) -> None:
    label = (record.get("reference") or {}).get("label")
    if isinstance(label, str) and sample.target.strip().lower() != label.strip().lower():
        raise OtherLabelError(
            f"{sample.where}: target {sample.target!r:.60}, but {question.where} expects {label!r:.60}"
        )


def _refuse_bare_order(records: Sequence[Record], joined: Sequence[Sample | None], by_id: bool) -> None:
    """Raise InputError if neither ids, pictures nor questions tell the samples apart."""
    pairs = [(record, sample) for record, sample in zip(records, joined, strict=True) if sample is not None]
    asked = Counter(comparable(record["question"]) for record, _ in pairs)
    shown = all(set(image_names(sample.picture)) & set(image_names(record.get("image"))) for record, sample in pairs)
    if len(pairs) > 1 and len(asked) == 1 and not by_id and not shown:
        raise InputError(
            f"{pairs[0][1].where}: all questions are alike and nothing names the pictures, so samples and answers "
            "cannot be joined; log question_id or image_id in the task's metrics"
        )
