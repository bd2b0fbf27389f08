"""The stage as a whole on a small drawn data set, with two models made by hand."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import seelevel.models
from seelevel import evaluate, report
from seelevel.errors import InputError
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.report.settings import ReportSettings
from seelevel.scorers.files import Entry
from seelevel.scorers.questions import find_image
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder
from seelevel.world.oracle import Oracle
from seelevel.world.texts.datasets import write_evaluation

SCENES = 12


class Talker:
    """Answers by rule: `eager` says yes to every question and names a dog and a cat in every picture."""

    def __init__(self, eager: bool) -> None:
        self.name, self.eager, self.calls = "talker", eager, 0

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.calls += 1
        return [Completion(self.answer(p.messages[-1]["content"]), 3, True) for p in prompts]

    def answer(self, question: str) -> str:
        if re.search(r"\b(?:Is there|Can you see)\b", question):
            return "Yes." if self.eager else "No."
        if "Answer with" in question:
            return "Red." if self.eager else "Upper left."
        return "There is a dog and a cat." if self.eager else "I cannot tell."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "inputs" / "world-dev"
    write_evaluation(folder, "dev", SCENES)
    return folder


def run(root: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Talker], Path]:
    talkers = {"base": Talker(eager=True), "aligned": Talker(eager=False)}
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: talkers[path])
    stage = StageFolder(root / "evaluate", "fingerprint")
    stage.begin()
    settings = EvaluateSettings(data="world:dev")
    models = {side: ModelRef(side, side) for side in ("base", "aligned")}
    evaluate.run(stage, settings, data, models, Oracle(), root, seed=0)
    return talkers, stage.path


@pytest.mark.unit
def test_metrics_have_every_figure_of_both_models_and_the_difference(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, data, monkeypatch)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics) == ["aligned", "base", "differences", "settings"]
    wanted = (
        "chair_i chair_s chair_recall pope_f1 pope_accuracy pope_yes mrhal_score_c mrhal_score_m "
        "mrhal_hallucination_c mrhal_hallucination_m capability_accuracy"
    )
    for side in ("base", "aligned", "differences"):
        assert set(wanted.split()) <= set(metrics[side])
        assert all(set(figure) == {"value", "low", "high", "n"} for figure in metrics[side].values())
    # half of POPE's labels are yes: always yes has F1 2/3, never yes has 0
    assert metrics["base"]["pope_f1"]["value"] == pytest.approx(2 / 3)
    assert metrics["base"]["pope_yes"]["value"] == 1.0
    assert metrics["aligned"]["pope_f1"]["value"] == 0.0
    assert metrics["differences"]["pope_f1"]["value"] == pytest.approx(-2 / 3)
    assert metrics["base"]["chair_s"]["value"] > 0.5
    assert metrics["aligned"]["chair_i"]["value"] is None  # it names nothing
    assert metrics["settings"]["judge"] == "world:oracle"


@pytest.mark.unit
def test_every_answer_is_kept_with_question_reference_and_picture(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = run(tmp_path, data, monkeypatch)
    chair = [json.loads(line) for line in (folder / "base" / "chair.jsonl").read_text().splitlines()]
    assert len(chair) == SCENES
    assert chair[0]["answer"] == "There is a dog and a cat."
    assert Path(chair[0]["image"]).is_file()
    assert set(chair[0]["hallucinated"]) <= {"dog", "cat"}
    dialogues = [json.loads(line) for line in (folder / "base" / "mrhal.jsonl").read_text().splitlines()]
    assert all(len(d["question"]) == len(d["answer"]) == len(d["ratings"]) for d in dialogues)


@pytest.mark.unit
def test_pictures_inside_the_run_folder_are_named_relative_to_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data.parents[1]
    _, folder = run(root, data, monkeypatch)
    first = json.loads((folder / "base" / "chair.jsonl").read_text().splitlines()[0])
    assert first["image"] == "inputs/world-dev/images/dev-00000.png"


@pytest.mark.unit
def test_a_stopped_stage_asks_only_missing_questions_and_ends_equal(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = run(tmp_path, data, monkeypatch)
    whole = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for gone in ("aligned/pope.jsonl", "aligned/answers/pope-00000.jsonl", "base/mrhal.jsonl"):
        (folder / gone).unlink()
    shutil.rmtree(folder / "aligned" / "answers")
    talkers, _ = run(tmp_path, data, monkeypatch)
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == whole
    assert talkers["base"].calls == 0
    assert talkers["aligned"].calls > 0


@pytest.mark.unit
def test_a_picture_outside_the_folder_is_refused_but_a_link_is_not(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "images").symlink_to(data / "images")
    name = sorted(path.name for path in (data / "images").iterdir())[0]
    assert find_image(folder, Entry({"image": name}, "line 1")) == str(folder / "images" / name)
    (tmp_path / "outside.png").write_bytes(b"")
    for bad in ("../outside.png", str(tmp_path / "outside.png")):
        with pytest.raises(InputError, match="leaves"):
            find_image(folder, Entry({"image": bad}, "line 1"))
    with pytest.raises(InputError, match=r"line 1: no image none\.png"):
        find_image(folder, Entry({"image": "none.png"}, "line 1"))


@pytest.mark.unit
def test_without_a_judge_dialogues_are_unscored_not_graded(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: Talker(eager=True))
    stage = StageFolder(tmp_path / "evaluate", "fingerprint")
    stage.begin()
    settings = EvaluateSettings(data="world:dev", benchmarks=["mrhal"], limit=4)
    reference = ModelRef("base", "base")
    evaluate.run(stage, settings, data, {"base": reference, "aligned": reference}, None, tmp_path, seed=0)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["base"]["mrhal_score_c"] == {"value": None, "low": None, "high": None, "n": 0}
    assert metrics["settings"]["unscored"]["base"] == {"mrhal": 4}


class Shy(Talker):
    """Does not answer the first prompt of a call, as a model whose context the prompt overflows."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        return [Completion("", 0, False, "too long a prompt"), *super().generate(prompts, sampling)[1:]]


@pytest.mark.unit
@pytest.mark.parametrize("rule", ["published", "strict"])
def test_an_unanswered_question_is_unscored_in_every_benchmark(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    talkers = {"base": Shy(eager=True), "aligned": Talker(eager=True)}
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: talkers[path])
    settings = EvaluateSettings(data="world:dev", rule=rule)
    models = {side: ModelRef(side, side) for side in talkers}
    texts = []
    for _ in range(2):  # once asked, once read from the shards that were kept
        stage = StageFolder(tmp_path / "evaluate", "fingerprint")
        stage.begin()
        evaluate.run(stage, settings, data, models, Oracle(), tmp_path, seed=0)
        texts.append((tmp_path / "metrics.json").read_text())
    assert texts[0] == texts[1]
    metrics = json.loads(texts[0])
    unscored = metrics["settings"]["unscored"]
    for name, figure in (("pope", "f1"), ("pope", "yes"), ("chair", "s"), ("capability", "accuracy")):
        assert (unscored["base"][name], unscored["aligned"][name]) == (1, 0)
        key = f"{name}_{figure}"
        n = metrics["aligned"][key]["n"]
        assert (metrics["base"][key]["n"], metrics["differences"][key]["n"]) == (n - 1, n - 1)
        assert metrics["differences"][key]["value"] == 0.0  # of the questions that both answered
    noted = {}
    for name in settings.benchmarks:
        rows = [json.loads(line) for line in (stage.path / "base" / f"{name}.jsonl").read_text().splitlines()]
        [noted[name]] = [row for row in rows if "note" in row]
        assert noted[name]["note"] == "too long a prompt"
    assert [noted["pope"][key] for key in ("said", "strict", "cell", "right")] == [None] * 4
    assert (noted["mrhal"]["ratings"], noted["mrhal"]["judge_reply"], noted["mrhal"]["mean"]) == ([], "", None)


@pytest.mark.unit
def test_the_page_calls_a_base_that_always_says_yes_at_chance(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, data, monkeypatch)
    page = report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")
    header = page[page.index("<header>") : page.index("</header>")]
    assert "POPE" not in header and "CHAIR" in header
    assert 'class="verdict chance">base at chance<' in page
    accuracy = page[page.index("POPE accuracy<") :]
    assert "base at chance" in accuracy[: accuracy.index("</tr>")]
