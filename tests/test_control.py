"""`align.control`: a plain SFT on the best of the same ladders is trained, evaluated and compared beside the aligned
model, and changes nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seelevel.models
from seelevel import align, evaluate
from seelevel.errors import InputError
from seelevel.facts import AlignFacts, EvaluateFacts
from seelevel.forecast import estimate
from seelevel.formats.parquet import write_shard
from seelevel.models.base import ModelRef
from seelevel.pipeline import Run
from seelevel.recipe import Recipe, load_recipe
from seelevel.scorers.settings import EvaluateSettings
from seelevel.stages import settings_digest
from seelevel.store import StageFolder, read_manifest, write_json
from seelevel.training.settings import AlignSettings
from seelevel.training.trainer import PreferenceTrainer
from seelevel.world.oracle import Oracle
from seelevel.world.texts.datasets import write_evaluation
from tests.export.made import world_ladders
from tests.test_evaluate import Talker

SMALL = [
    "align.model=world:xs",
    "align.cache=false",
    "align.epochs=4",
    "align.ladders_per_step=2",
    "align.save_steps=2",
    "evaluate.benchmarks=[capability]",
    "evaluate.judge=null",
    "evaluate.limit=2",
]
CONTROL = "align.control=true"


def recipe(*changes: str) -> Recipe:
    return load_recipe("world-quick", [*SMALL, *changes])


def with_ladders(out: Path, ladders: bool = False) -> Path:
    """A run folder whose stages before `align` are done."""
    for name in ("data", "generate", "check"):
        stage = StageFolder(out / name, name)
        stage.begin()
        if ladders and name == "check":
            write_shard(stage.shard(0), list(world_ladders(out)), out)
        stage.finish(settings=settings_digest(recipe(), "generate" if name == "data" else name))
    return out


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, AlignSettings, Path]]:
    """Trainings that were asked for: (stage, settings, ladders). None is done."""
    asked: list[tuple[str, AlignSettings, Path]] = []

    def train(source: Path, stage: StageFolder, settings: AlignSettings, *_: object) -> AlignFacts:
        asked.append((stage.path.name, settings, source))
        (stage.path / "model").mkdir(parents=True)
        return AlignFacts(steps=3)

    monkeypatch.setattr(align, "run", train)
    return asked


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, ModelRef]]:
    """Models that were to be evaluated. None is asked."""
    asked: list[dict[str, ModelRef]] = []

    def score(stage: StageFolder, settings: object, data: Path, models: dict[str, ModelRef], *rest: Any) -> Any:
        asked.append(models)
        write_json(rest[1] / "metrics.json", {})
        return EvaluateFacts(questions={})

    monkeypatch.setattr(evaluate, "run", score)
    return asked


@pytest.mark.unit
def test_a_control_of_sft_is_refused_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        recipe(CONTROL, "align.objective={name: sft}")
    assert str(caught.value).endswith(
        "align: control: true trains sft, which is the objective already; leave control out"
    )


@pytest.mark.unit
def test_the_control_differs_from_align_in_its_objective_alone(tmp_path: Path, trained: list[Any]) -> None:
    Run(recipe(CONTROL), with_ladders(tmp_path)).alone("align")
    [(first, aligned, source), (second, control, same)] = trained
    assert (first, second) == ("align", "control") and source == same == tmp_path / "check"
    assert aligned == recipe().align
    no_logs = "align.log_probs_after=0"  # nobody looks at a control's margins
    assert control == recipe("align.objective={name: sft}", no_logs).align


@pytest.mark.unit
def test_a_control_that_is_wanted_later_keeps_the_alignment(tmp_path: Path, trained: list[Any]) -> None:
    Run(recipe(), with_ladders(tmp_path)).alone("align")
    before = (tmp_path / "align" / "manifest.json").read_bytes()
    Run(recipe(CONTROL), tmp_path).alone("align")
    Run(recipe(), tmp_path).alone("align")
    assert [name for name, *_ in trained] == ["align", "control"]
    assert (tmp_path / "align" / "manifest.json").read_bytes() == before


@pytest.mark.unit
def test_another_alignment_trains_the_control_anew(tmp_path: Path, trained: list[Any]) -> None:
    Run(recipe(CONTROL), with_ladders(tmp_path)).alone("align")
    Run(recipe(CONTROL), tmp_path).alone("align")
    Run(recipe(CONTROL, "align.objective={name: mdpo, beta: 0.2}"), tmp_path).alone("align")
    assert [name for name, *_ in trained] == ["align", "control"] * 2
    assert read_manifest(tmp_path / "control")["source"] == read_manifest(tmp_path / "align")["fingerprint"]  # type: ignore[index]


@pytest.mark.unit
def test_only_the_settings_of_the_evaluation_know_the_control() -> None:
    plain, controlled = recipe(), recipe(CONTROL)
    for stage in ("generate", "check", "align"):
        assert settings_digest(plain, stage) == settings_digest(controlled, stage)
    assert settings_digest(plain, "evaluate") != settings_digest(controlled, "evaluate")


@pytest.mark.unit
def test_all_three_models_are_evaluated_and_two_without_a_control(
    tmp_path: Path, trained: list[Any], evaluated: list[dict[str, ModelRef]]
) -> None:
    with_ladders(tmp_path)
    for changes in ([], [CONTROL], []):
        job = Run(recipe(*changes), tmp_path)
        job.alone("align")
        job.alone("evaluate")
    assert [list(models) for models in evaluated] == [
        ["base", "aligned"],
        ["base", "aligned", "control"],
        ["base", "aligned"],
    ]
    assert Path(evaluated[1]["control"].path) == tmp_path / "control" / "model"
    assert EvaluateFacts.read(read_manifest(tmp_path / "evaluate")).control is None


@pytest.mark.unit
def test_an_evaluation_alone_wants_the_control_of_this_alignment(
    tmp_path: Path, trained: list[Any], evaluated: list[dict[str, ModelRef]]
) -> None:
    Run(recipe(), with_ladders(tmp_path)).alone("align")
    job = Run(recipe(CONTROL), tmp_path)
    with pytest.raises(InputError, match="control is not of this alignment; run `seelevel align`"):
        job.alone("evaluate")
    job.alone("align")
    job.alone("evaluate")
    write_json(tmp_path / "align" / "manifest.json", {**read_manifest(tmp_path / "align"), "fingerprint": "another"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="control is not of this alignment; run `seelevel align`"):
        job.alone("evaluate")


@pytest.mark.unit
def test_a_plan_and_a_forecast_know_the_control(tmp_path: Path) -> None:
    assert Run(recipe(CONTROL), tmp_path).plan()["control"] is True
    assert "control" not in Run(recipe(), tmp_path).plan()
    rows = {row.stage: row for row in estimate(Run(recipe(CONTROL), tmp_path)).rows}
    plain = {row.stage: row for row in estimate(Run(recipe(), tmp_path)).rows}
    assert list(rows) == ["data", "generate", "check", "align", "control", "evaluate"]
    assert "control" not in plain and rows["align"].tokens == plain["align"].tokens
    # three levels, of which it trains on one; two models are asked without it
    assert 0 < rows["control"].tokens < rows["align"].tokens
    assert rows["evaluate"].tokens == pytest.approx(1.5 * plain["evaluate"].tokens)


@pytest.mark.unit
def test_what_is_trained_has_the_control_last() -> None:
    assert [(key, settings.objective.name) for key, settings, _ in recipe(CONTROL).training] == [
        ("align", "mdpo"),
        ("align", "sft"),
    ]


@pytest.mark.unit
def test_other_processes_train_the_control_with_the_first(
    tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They follow a stage whose folder the first process has begun, and train if it is one that is shared."""
    Run(recipe(CONTROL), with_ladders(tmp_path)).alone("align")
    (tmp_path / "control" / "manifest.json").unlink()
    (tmp_path / "control" / "model").rmdir()
    monkeypatch.setenv("MASTER_ADDR", "here")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("seelevel.stages.FOLLOW_SECONDS", -1)  # sleeping so long raises: it must not wait
    trained.clear()
    Run(recipe(CONTROL), tmp_path).alone("align")
    assert [name for name, *_ in trained] == ["control"]


@pytest.mark.unit
def test_the_control_changes_no_figure_of_the_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_evaluation(tmp_path / "data", "dev", 6)
    talkers = {"base": Talker(eager=True), "aligned": Talker(eager=False), "control": Talker(eager=False)}
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: talkers[path])
    kept = []
    for sides in (("base", "aligned"), ("base", "aligned", "control")):
        root = tmp_path / str(len(sides))
        stage = StageFolder(root / "evaluate", "fingerprint")
        stage.begin()
        models = {side: ModelRef(side, side) for side in sides}
        evaluate.run(stage, EvaluateSettings(data="world:dev"), tmp_path / "data", models, Oracle(), root, seed=0)
        answers = {p.relative_to(root): p.read_bytes() for p in root.glob("evaluate/[ab]*/*.jsonl")}
        kept.append((answers, json.loads((root / "metrics.json").read_text())))
    (answers, plain), (same, controlled) = kept
    assert answers == same
    assert set(controlled) - set(plain) == {"control", "differences_from_control"}
    assert {key: controlled[key] for key in ("base", "aligned", "differences")} == {
        key: plain[key] for key in ("base", "aligned", "differences")
    }
    # the control answers as the aligned model does
    assert controlled["control"] == plain["aligned"]
    assert all(figure["value"] in (0, None) for figure in controlled["differences_from_control"].values())
    assert set(controlled["settings"]["unscored"]) == {"base", "aligned", "control"}
    assert controlled["settings"]["control"] == "control"


def weights(out: Path) -> dict[str, bytes]:
    return {name: (out / name / "model" / "model.safetensors").read_bytes() for name in ("align", "control")}


def stop_at(step: int, label: str) -> Callable[..., Any]:
    """A training step that fails once so many steps of the training `label` are done."""
    plain, taken = PreferenceTrainer.training_step, []

    def stopping(self: PreferenceTrainer, *arguments: Any) -> Any:
        if self.plan.label == label:
            taken.append(step)
            if len(taken) > step:
                raise KeyboardInterrupt
        return plain(self, *arguments)

    return stopping


def test_a_real_control_resumes_to_the_same_bytes_and_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = (Run(recipe(CONTROL), with_ladders(tmp_path / name, True)) for name in ("whole", "stopped"))
    whole.alone("align")
    with monkeypatch.context() as patch:
        patch.setattr(PreferenceTrainer, "training_step", stop_at(3, "control"))
        with pytest.raises(KeyboardInterrupt):
            stopped.alone("align")
    assert read_manifest(tmp_path / "stopped" / "control") is None
    capsys.readouterr()
    stopped.alone("align")
    said = capsys.readouterr().err
    assert "align: unchanged, kept" in said and "control: goes on from checkpoint-2" in said
    assert weights(tmp_path / "whole") == weights(tmp_path / "stopped")
    assert weights(tmp_path / "whole")["align"] != weights(tmp_path / "whole")["control"]
    log = [json.loads(line) for line in (tmp_path / "whole" / "control" / "log.jsonl").read_text().splitlines()]
    assert len(log) == 8
    stopped.alone("evaluate")
    metrics = json.loads((tmp_path / "stopped" / "metrics.json").read_text())
    assert set(metrics["control"]) == set(metrics["base"]) == set(metrics["differences_from_control"])
    assert (tmp_path / "stopped" / "evaluate" / "control" / "capability.jsonl").is_file()
    facts = EvaluateFacts.read(read_manifest(tmp_path / "stopped" / "evaluate"))
    assert facts.control == read_manifest(tmp_path / "stopped" / "control")["fingerprint"]  # type: ignore[index]
