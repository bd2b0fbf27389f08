"""lmms-eval itself asks a model of the world, and agrees with `evaluate` item by item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from seelevel.compare.figures import compare
from seelevel.compare.sides import open_run
from seelevel.errors import InputError
from seelevel.evaluate import chosen_benchmarks, score_model
from seelevel.export.answers import export_answers
from seelevel.harness.samples import Samples, read_samples
from seelevel.models import load_generator
from seelevel.models.base import Prompt, Sampling
from seelevel.naming import named_model
from seelevel.scorers import chair, pope
from seelevel.scorers.intervals import figures
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder, write_json
from seelevel.world.texts.datasets import write_evaluation
from tests.harness.tasks import write_tasks

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed; see docs/harness.md")
pytestmark = pytest.mark.slow
MODEL = "world:s"
Records = dict[str, dict[str, Any]]


class Both(NamedTuple):
    """One model's evaluation by this package, and what lmms-eval has logged of it."""

    root: Path
    tasks: Path
    logs: Path

    def samples(self, task: str) -> Samples:
        [file] = self.logs.glob(f"*/*_samples_{task}.jsonl")
        return read_samples(file)

    def figures_of(self, task: str) -> dict[str, float]:
        [file] = self.logs.glob("*/*_results.json")
        found = json.loads(file.read_text())["results"][task]
        return {name.partition(",")[0]: value for name, value in found.items() if name.endswith(",none")}

    def records(self, benchmark: str, group: str = "") -> Records:
        rows = map(json.loads, (self.root / "evaluate" / "aligned" / f"{benchmark}.jsonl").read_text().splitlines())
        return {row["id"].removeprefix(group): row for row in rows if row["id"].startswith(group)}


def lmms_eval(tasks: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lmms_eval", "--include_path", str(tasks), "--verbosity", "ERROR", *arguments]
    place = {"HF_HOME": str(tasks / "hub"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **place}, timeout=900)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("run")
    data = write_evaluation(root / "evaluation", "test", 50)
    settings = EvaluateSettings(benchmarks=["chair", "pope"], data=str(data), limit=100)
    stage = StageFolder(root / "evaluate", "0" * 16)
    stage.begin()
    benchmarks = chosen_benchmarks(settings, data)
    score_model(stage.path / "aligned", "aligned", named_model(MODEL), benchmarks, settings, None, root)
    write_json(root / "metrics.json", {"settings": {**settings.model_dump(mode="json"), "seed": 0}})
    stage.finish(questions={}, seconds=1.0, peak_bytes=0)
    both = Both(root, write_tasks(root / "tasks", data), root / "logs")
    model = ("--model", "seelevel", "--model_args", f"pretrained={MODEL}", "--batch_size", "auto")
    logged = ("--log_samples", "--output_path", str(both.logs))
    ended = lmms_eval(both.tasks, "--tasks", "world_pope,world_captions", *model, *logged)
    assert ended.returncode == 0, ended.stderr
    return both


def test_pope_agrees_item_by_item(both: Both) -> None:
    ours, theirs = both.records("pope", "adversarial/"), both.samples("world_pope").samples
    assert len(theirs) == len(ours) == 100
    for sample in theirs:
        record = ours[sample.question_id]
        assert sample.texts == [record["answer"].partition(",")[0]]  # the task ends answers at the comma
        assert bool(sample.metrics["pope_accuracy"]["score"]) == record["right"]


def test_the_harness_s_figures_of_pope_are_those_of_evaluate(both: Both) -> None:
    items = [{**record, "cluster": record["image"]} for record in both.records("pope", "adversarial/").values()]
    ours = figures(pope.measures(["adversarial"]), items)
    theirs = both.figures_of("world_pope")
    for name, other in (("f1", "pope_f1_score"), ("accuracy", "pope_accuracy"), ("recall", "pope_recall")):
        assert ours[f"pope_{name}"]["value"] == pytest.approx(theirs[other]), name


def test_captions_and_their_chair_agree(both: Both) -> None:
    ours, theirs = both.records("chair"), both.samples("world_captions")
    answers = {Path(sample.picture).stem: sample.texts[0] for sample in theirs.samples}
    assert answers == {name: record["answer"] for name, record in ours.items()}
    folder = both.root / "evaluation" / "chair"
    scored = chair.score_files(theirs.path, folder / "objects.json", folder / "synonyms.txt")
    totals = chair.totals(list(ours.values()))
    assert {name: scored[name] for name in totals} == totals


def test_samples_beside_the_run_do_not_differ_from_it(both: Both) -> None:
    [logs] = both.logs.iterdir()
    found = compare([str(both.root), str(logs)]).record()["benchmarks"]
    assert found["chair"]["items"] == 50
    assert found["pope"]["items"] == 100
    for name in ("pope_f1", "pope_accuracy", "pope_yes"):
        assert found["pope"]["differences"][name]["B"]["value"] == 0
    for name, difference in found["chair"]["differences"].items():
        assert difference["B"]["value"] == 0, name


def test_answers_of_a_run_are_scored_by_the_harness_without_a_model(both: Both) -> None:
    side = open_run("A", str(both.root))
    like = [both.samples(task).path for task in ("world_pope", "world_captions")]
    export_answers(side.run, side.side, like, both.root / "answers")
    chosen = ("--tasks", "world_captions", "--log_samples", "--output_path", str(both.root / "scored"))
    ended = lmms_eval(both.tasks, "--model", "from_log", "--model_args", f"logs={both.root / 'answers'}", *chosen)
    assert ended.returncode == 0, ended.stderr
    [file] = (both.root / "scored").rglob("*_samples_world_captions.jsonl")
    ours = both.records("chair")
    for sample in read_samples(file).samples:
        assert sample.texts == [ours[Path(sample.picture).stem]["answer"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pretrained=nowhere",), "model folder nowhere does not exist"),
        ((f"pretrained={MODEL}", "--gen_kwargs", "do_sample=true,top_k=5"), "top_k 5 cannot be honoured"),
    ],
)
def test_what_is_wrong_ends_the_harness_in_one_line(both: Both, arguments: tuple[str, ...], words: str) -> None:
    ended = lmms_eval(both.tasks, "--model", "seelevel", "--tasks", "world_pope", "--model_args", *arguments)
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 2
    assert last.startswith("seelevel: ")
    assert words in last
    assert "Traceback" not in ended.stderr


# -- in this process --------------------------------------------------------------------------------------------------


def ask(messages: list[list[dict[str, Any]]], repeats: int = 1, **options: Any) -> list[str]:
    """The answers of `--model seelevel` to conversations."""
    from lmms_eval.api.instance import Instance

    from seelevel.harness.model import Seelevel

    model = Seelevel(pretrained=MODEL, batch_size=2)
    model.task_dict = {"made": {"test": messages}}
    requests = [
        Instance(
            request_type="generate_until",
            arguments=("", lambda doc: doc, dict(options), number, "made", "test"),
            idx=0,
            metadata={"task": "made", "doc_id": number, "repeats": repeats},
        )
        for number in range(len(messages))
        for _ in range(repeats)
    ]
    return [answer.text for answer in model.generate_until(requests)]


def asked(text: str, *pictures: Any) -> list[dict[str, Any]]:
    shown = [{"type": "image", "url": picture} for picture in pictures]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def test_several_pictures_or_none_are_asked_as_the_model_is_asked_here(both: Both) -> None:
    files = sorted((both.root / "evaluation" / "images").glob("*.png"))[:2]
    text = "Describe the image in detail."
    pictures = [Image.open(file) for file in files]
    answers = ask([asked(text, *pictures), asked(text), asked(text, pictures[0])], max_new_tokens=20)
    generator = load_generator(named_model(MODEL))
    for answer, shown in zip(answers, (files, [], files[:1]), strict=True):
        marks = "".join("<image>\n" for _ in shown)
        prompt = Prompt([{"role": "user", "content": marks + text}], [str(file) for file in shown])
        [expected] = generator.generate([prompt], Sampling(max_new_tokens=20))
        assert answer == expected.text


def test_repeats_are_drawn_apart_and_the_same_each_time(both: Both) -> None:
    file = next((both.root / "evaluation" / "images").glob("*.png"))
    options = {"max_new_tokens": 24, "do_sample": True, "temperature": 1.5}
    first = ask([asked("Describe the image in detail.", str(file))], repeats=4, **options)
    assert len(set(first)) > 1
    assert ask([asked("Describe the image in detail.", str(file))], repeats=4, **options) == first


def test_log_likelihoods_are_refused_with_the_task() -> None:
    from lmms_eval.api.instance import Instance

    from seelevel.harness.model import Seelevel

    metadata = {"task": "made", "doc_id": 0, "repeats": 1}
    request = Instance(request_type="loglikelihood", arguments=(), idx=0, metadata=metadata)
    with pytest.raises(InputError) as error:
        Seelevel(pretrained=MODEL).loglikelihood([request])
    assert "task made: log-likelihoods of given texts cannot be had" in str(error.value)
