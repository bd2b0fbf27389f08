"""What `seelevel score` costs on full-size sets.

    python -m benchmarks.scoring --json

Each benchmark is scored several times from its files: the scoring itself (in one process, after a first time that loads
words and taggers) and the command as a whole process. Real public answers are used where `--data` has them, repeated up
to the set's size; the others are made: judgements with all ratings, yes-or-no answers of which some are wrong. The last
thing printed is one JSON object {"settings": ..., "results": [{"what", "items", "data", "seconds", "process"}, ...]}.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from seelevel.cli.safety import score_app
from seelevel.report.costs import machine
from seelevel.scorers.files import read_entries
from seelevel.scorers.mme import COGNITION, PERCEPTION

DATA = Path("../shared/data")
POPE_SETS = ("random", "popular", "adversarial")
PROGRAM = ("-c", "from seelevel.cli import main; main()")


@dataclass(frozen=True)
class Task:
    """Arguments of `seelevel score`, how many items are scored, and whether they are `real` or `made`."""

    arguments: list[str]
    items: int
    data: str


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Time every benchmark and print the report."""
    options = _options(arguments)
    results = []
    with tempfile.TemporaryDirectory(prefix="scoring-") as folder:
        for name in options.only:
            task = TASKS[name](options.data, Path(folder))
            results.append(_timed(name, task, options.repeats))
            print("{what:14}{items:8} {data:6}{seconds:8.3f} s, process {process:8.2f} s".format(**results[-1]))
    report = {"settings": {"machine": machine(), "repeats": options.repeats}, "results": results}
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def _timed(name: str, task: Task, repeats: int) -> dict[str, Any]:
    command = [sys.executable, *PROGRAM, "score", *task.arguments]
    inside = [_seconds(lambda: score_app(task.arguments, standalone_mode=False)) for _ in range(repeats + 1)][1:]
    whole = [_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(repeats)]
    medians = {"seconds": statistics.median(inside), "process": statistics.median(whole)}
    return {"what": name, "items": task.items, "data": task.data, **medians}


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        work()
    return time.perf_counter() - start


def _written(path: Path, records: Sequence[Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def _judge(rng: random.Random, *names: str) -> dict[str, int]:
    return {name: rng.randint(0, 100) for name in names}


def pope(data: Path, folder: Path) -> Task:
    """9,000 answers to the three sets: real questions if they are there."""
    rng, questions, answers = random.Random(0), folder / "pope", list[dict[str, Any]]()
    questions.mkdir()
    for name in POPE_SETS:
        file = data / "pope" / "questions" / f"coco_pope_{name}.json"
        made = ({"question_id": n, "text": f"Is there a cup in {n}?", "label": "yes"} for n in range(3000))
        records = [entry.record for entry in read_entries(file)] if file.is_file() else list(made)
        _written(questions / f"{name}.json", records)
        texts = ("Yes, there is one in the image.", "No, there is no such thing.", "It is not clear.")
        answers += [{**r, "label": None, "category": name, "response": rng.choice(texts)} for r in records]
    predictions = _written(folder / "pope-answers.json", answers)
    return Task(["pope", "--questions", str(questions), "--predictions", predictions], len(answers), "made")


def amber(data: Path, folder: Path) -> Task:
    """All 15,220 queries: LLaVA's 166 descriptions again and again, and answers of which a quarter are wrong."""
    rng, source = random.Random(0), data / "amber"
    told = cycle(e.record["response"] for e in read_entries(source / "llava-v1.5-7b_generative_166.json"))
    answers = []
    for entry in read_entries(source / "annotations.json"):
        truth = entry.record["truth"]
        other = {"yes": "No", "no": "Yes"}
        text = next(told) if isinstance(truth, list) else other[truth] if rng.random() < 0.25 else truth.title()
        answers.append({"id": entry.record["id"], "response": text})
    predictions = _written(folder / "amber.json", answers)
    return Task(["amber", "--data", str(source), "--predictions", predictions], len(answers), "real")


def chair(data: Path, folder: Path) -> Task:
    """5,000 real captions, the size of COCO's test split."""
    files = sorted((data / "captions_pope").glob("Instruction1_*.json"))
    records = [entry.record for file in files for entry in read_entries(file)]
    predictions = _written(folder / "chair.json", list(islice(records, 5000)))
    return Task(["chair", "--predictions", predictions, *_objects(data)], min(len(records), 5000), "real")


def objhal(data: Path, folder: Path) -> Task:
    """The 300 descriptions of a public answer file."""
    file = data / "objhal" / "kchaosun_beam_search_objhal_bench_answer.jsonl"
    return Task(["objhal", "--predictions", str(file), *_objects(data)], len(read_entries(file)), "real")


def _objects(data: Path) -> list[str]:
    objects, synonyms = (data / "chair" / name for name in (OBJECTS, "synonyms_lisaanne.txt"))
    return ["--objects", str(objects), "--synonyms", str(synonyms)]


OBJECTS = "coco2014_trainval_imid_to_objects.json"


def hallusion(data: Path, folder: Path) -> Task:
    """1,129 made answers, the size of HallusionBench: sets of two figures with two questions each."""
    rng, records = random.Random(0), list[dict[str, Any]]()
    for n in range(1129):
        group, figure, question = n // 4, n // 2 % 2, n % 2
        parts = {
            "category": "VD",
            "subcategory": "chart",
            "set_id": group,
            "figure_id": figure,
            "question_id": question,
        }
        text = rng.choice(("Yes, it is.", "No, it is not.", "That is hard to tell."))
        records.append({**parts, "gt_answer": str(n % 2), "model_prediction": text})
    return Task(["hallusion", "--predictions", _written(folder / "hallusion.json", records)], 1129, "made")


def vlsafe(data: Path, folder: Path) -> Task:
    """1,110 made replies of a judge, the size of VLSafe."""
    rng, records = random.Random(0), list[dict[str, Any]]()
    for n in range(1110):
        ratings = _judge(rng, "relevance", "safety", "persuasiveness").items()
        reply = "The answer refuses.\n" + "\n".join(f"{name.title()}: {rating}" for name, rating in ratings)
        records.append({"image_id": f"{n:012}", "query": f"How is thing {n} broken?", "judge_reply": reply})
    return Task(["vlsafe", "--judgements", _written(folder / "vlsafe.json", records)], 1110, "made")


def mrhal(data: Path, folder: Path) -> Task:
    """105 made replies of a judge, a dialogue of four rounds each."""
    rng, records = random.Random(0), list[dict[str, Any]]()
    for n in range(105):
        reply = f"The first answer is right.\nRatings: {[rng.randint(0, 6) for _ in range(4)]}"
        records.append({"id": n, "rounds": 4, "response": reply})
    return Task(["mrhal", "--judgements", _written(folder / "mrhal.json", records)], 105, "made")


def mmhal(data: Path, folder: Path) -> Task:
    """The 96 published judgements of BLIP-2."""
    return Task(["mmhal", "--judgements", str(data / "mmhal" / "gpt4o_eval_blip2.json")], 96, "real")


def llava_bench(data: Path, folder: Path) -> Task:
    """The three published review files of LLaVA-1.5-13B in the wild, 60 reviews each."""
    files = sorted((data / "llava_bench" / "wild").glob("reviews_*.jsonl"))
    arguments = [part for file in files for part in ("--judgements", str(file))]
    return Task(["llava-bench", *arguments], sum(len(read_entries(file)) for file in files), "real")


def mme(data: Path, folder: Path) -> Task:
    """2,374 made answers, the size of MME: two about each picture."""
    rng, records = random.Random(0), list[dict[str, Any]]()
    kinds = (*PERCEPTION, *COGNITION)
    for n in range(2374):
        about = {"category": kinds[n // 2 % len(kinds)], "image": f"{n // 2}.jpg", "question": f"Is it {n}?"}
        records.append({**about, "label": ("Yes", "No")[n % 2], "response": rng.choice(("Yes", "No, it is not."))})
    return Task(["mme", "--predictions", _written(folder / "mme.json", records)], len(records), "made")


def mmstar(data: Path, folder: Path) -> Task:
    """1,500 made questions of MMStar's size, and answers."""
    rng, letters = random.Random(0), "ABCD"
    questions = [
        {"index": n, "question": f"Which of {n}?", "answer": rng.choice(letters), "category": f"ability {n % 6}"}
        for n in range(1500)
    ]
    answers = [{"index": n, "response": f"{rng.choice(letters)}. Because."} for n in range(1500)]
    paths = _written(folder / "mmstar-q.json", questions), _written(folder / "mmstar-a.json", answers)
    return Task(["mmstar", "--questions", paths[0], "--predictions", paths[1]], 1500, "made")


def vlguard(data: Path, folder: Path) -> Task:
    """1,558 made answers to VLGuard's three parts."""
    rng, arguments = random.Random(0), list[str]()
    texts = ("I'm sorry, but I cannot help with that.", "It shows a table with two cups. " * 8)
    for part, count in (("unsafes", 442), ("safe-unsafes", 558), ("safe-safes", 558)):
        answers = [{"image": f"{n}.png", "response": rng.choice(texts)} for n in range(count)]
        arguments += [f"--{part}", _written(folder / f"{part}.json", answers)]
    return Task(["vlguard", *arguments], 1558, "made")


def siuo(data: Path, folder: Path) -> Task:
    """167 made replies of a judge, the size of SIUO."""
    rng, records = random.Random(0), list[dict[str, Any]]()
    for n in range(167):
        safe, effective = rng.choice(("True", "False")), rng.choice(("Very Effective", "Ineffective"))
        replies = {
            "safety_evaluation": [f"[Safety Judgement:] {safe}"],
            "effectiveness_evaluation": [f"[Effectiveness Judgement:] {effective}"],
        }
        records.append({"question_id": n, "category": f"kind {n % 9}", **replies})
    return Task(["siuo", "--judgements", _written(folder / "siuo.json", records)], 167, "made")


def mm_safetybench(data: Path, folder: Path) -> Task:
    """5,040 made verdicts, the size of MM-SafetyBench with three pictures for each request."""
    rng, pictures = random.Random(0), ("SD", "SD_TYPO", "TYPO")
    places = [{"scenario": f"{n % 13 + 1:02}-X", "picture": pictures[n // 13 % 3], "id": n // 39} for n in range(5040)]
    records = [{**place, "verdict": rng.choice(("safe", "unsafe"))} for place in places]
    return Task(["mm-safetybench", "--judgements", _written(folder / "mms.json", records)], 5040, "made")


TASKS: dict[str, Callable[[Path, Path], Task]] = {
    "pope": pope,
    "chair": chair,
    "amber": amber,
    "objhal": objhal,
    "hallusion": hallusion,
    "mmhal": mmhal,
    "llava-bench": llava_bench,
    "vlsafe": vlsafe,
    "mrhal": mrhal,
    "mme": mme,
    "mmstar": mmstar,
    "vlguard": vlguard,
    "siuo": siuo,
    "mm-safetybench": mm_safetybench,
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), help="benchmarks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of public answers")
    parser.add_argument("--json", action="store_true", help="the report in one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
