"""A run's answers as logs for lmms-eval's model `from_log`, so that its tasks score them without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seelevel.errors import InputError
from seelevel.export import new_folder
from seelevel.harness.matching import benchmark_of
from seelevel.harness.samples import Samples, read_samples
from seelevel.progress import say
from seelevel.report.reading import RunFolder
from seelevel.store import write_folder, write_json


def export_answers(run: RunFolder, side: str, like: Sequence[Path], out: Path) -> dict[str, int]:
    """Write `<task>.json` for each samples file into a new folder, whole or not at all; returns documents by task.

    like: samples files of any model, such as `--model dummy`. They say which document asks which question. Raises
    InputError for a document that the run has no answer for, and for samples that answer none of its benchmarks.
    """
    target = new_folder(out)
    logs: dict[str, dict[str, Any]] = {}
    for path in like:
        samples = read_samples(path)
        if samples.task in logs:
            raise InputError(f"{path}: a second file of task {samples.task}; name one of them")
        logs[samples.task] = _log(run, side, samples)

    def write(folder: Path) -> None:
        for task, log in logs.items():
            write_json(folder / f"{task}.json", log)

    write_folder(target, write, sum(path.stat().st_size for path in like))
    return {task: len(log["logs"]) for task, log in logs.items()}


def _log(run: RunFolder, side: str, samples: Samples) -> dict[str, Any]:
    """What `from_log` reads: the task, and the first response of each document. The limit is null: it is complete."""
    benchmark, joined = benchmark_of(run, side, samples)
    pairs = zip(joined, run.answers(side, benchmark), strict=True)
    answers = {sample.doc_id: record for sample, record in pairs if sample is not None}
    for sample in samples.samples:
        if sample.doc_id not in answers:
            raise InputError(f"{sample.where}: doc {sample.doc_id} has no answer in {run.root}:{side}")
    if silent := sum(bool(record.get("note")) for record in answers.values()):
        say(f"{samples.task}: {silent} questions were not answered; lmms-eval will score them as empty answers")
    return {
        "args": {"model": "seelevel", "model_args": f"run={run.root},side={side}", "limit": None},
        "model_configs": {"task": samples.task},
        "logs": [{"doc_id": number, "resps": [[answers[number]["answer"]]]} for number in sorted(answers)],
    }
