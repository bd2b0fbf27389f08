"""Trackers see each step once, and the training does not notice them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from seelevel.errors import InputError
from seelevel.ladder import Ladder
from seelevel.pipeline import Run
from seelevel.preflight import model_findings
from seelevel.recipe import load_recipe
from seelevel.stages import settings_digest
from seelevel.training import fit as fitting
from seelevel.training import requirements, tracking
from seelevel.training.fit import fit
from seelevel.training.requirements import check_training
from seelevel.training.settings import TrainSettings
from seelevel.training.tracking import fixed_prompts
from tests.training.tiny import make_ladder

STEPS = 8


class Stopped(RuntimeError):
    pass


class Fake(TrainerCallback):
    """A tracker in memory. It draws random numbers, as those that make up a name do."""

    figures: list[tuple[int, dict[str, float]]]
    shown: list[tuple[int, list[tracking.Asked]]]
    names: list[str]
    stop_at = 0

    def __init__(self, place: tracking.Place) -> None:
        self.callback = self
        self.names.append(place.name)

    def _draw(self) -> None:
        random.random(), np.random.rand(), torch.rand(1)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._draw()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        self._draw()
        self.figures.append((state.global_step, dict(logs)))
        if state.global_step == self.stop_at:
            raise Stopped

    def show(self, rows: list[tracking.Asked], step: int) -> None:
        self.shown.append((step, rows))

    def close(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setitem(tracking.TRACKERS, "trackio", Fake)
    Fake.figures, Fake.shown, Fake.names, Fake.stop_at = [], [], [], 0
    return Fake


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    folder = tmp_path_factory.mktemp("pictures")
    return [make_ladder(folder, seed) for seed in range(8)]


def settings(**changes: Any) -> TrainSettings:
    fixed = {"ladders_per_step": 2, "epochs": 2, "save_steps": 3, "device": "cpu", "cache": False}
    return TrainSettings(**(fixed | {"report_to": "trackio", "report_every": 3, "lora": {"r": 2}} | changes))


def files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != tracking.RECORD:
            yield path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_weights_and_checkpoints_do_not_depend_on_tracking(
    base: Path,
    ladders: list[Ladder],
    tmp_path: Path,
    fake: type[Fake],
    monkeypatch: pytest.MonkeyPatch,
    lora: dict[str, int] | None,
) -> None:
    monkeypatch.setattr(fitting, "_remove_working_files", lambda job: None)
    fit(ladders, str(base), settings(report_to=None, lora=lora), tmp_path / "alone")
    assert not fake.figures
    fit(ladders, str(base), settings(lora=lora), tmp_path / "tracked")
    written = dict(files(tmp_path / "alone"))
    assert any(name.startswith("checkpoints/checkpoint-") for name in written)
    assert dict(files(tmp_path / "tracked")) == written
    assert [step for step, _ in fake.figures] == list(range(1, STEPS + 1))
    assert fake.figures[0][1].keys() >= {"loss", "preference", "margin", "accuracy", "learning_rate"}
    assert [step for step, _ in fake.shown] == [0, 3, 6, 8]


def test_answers_are_of_a_few_fixed_prompts_with_their_pictures(
    base: Path, ladders: list[Ladder], tmp_path: Path, fake: type[Fake]
) -> None:
    fit(ladders, str(base), settings(), tmp_path)
    questions = [[(row.question, row.pictures) for row in rows] for _, rows in fake.shown]
    assert all(asked == questions[0] for asked in questions)
    assert len(questions[0]) == tracking.PROMPTS
    assert all(question == "Describe the picture." and Path(picture).is_file() for question, [picture] in questions[0])
    assert all(row.answer for _, rows in fake.shown for row in rows)


def test_a_resumed_training_logs_no_step_twice(
    base: Path, ladders: list[Ladder], tmp_path: Path, fake: type[Fake]
) -> None:
    fake.stop_at = 5  # the last checkpoint is of step 3
    with pytest.raises(Stopped):
        fit(ladders, str(base), settings(), tmp_path)
    fake.stop_at = 0
    fit(ladders, str(base), settings(), tmp_path)
    assert [step for step, _ in fake.figures] == list(range(1, STEPS + 1))
    assert [step for step, _ in fake.shown] == [0, 3, 6, 8]
    assert len(fake.names) == 2 and len({*fake.names}) == 1
    assert not (tmp_path / "checkpoints").exists()


def test_a_training_with_other_settings_is_another_run(
    base: Path, ladders: list[Ladder], tmp_path: Path, fake: type[Fake]
) -> None:
    fake.stop_at = 5
    with pytest.raises(Stopped):
        fit(ladders, str(base), settings(), tmp_path)
    fake.stop_at = 0
    fit(ladders, str(base), settings(learning_rate=0.01), tmp_path)
    assert [step for step, _ in fake.figures] == [*range(1, 6), *range(1, STEPS + 1)]
    assert len({*fake.names}) == 2


@pytest.mark.unit
def test_trackers_that_are_missing_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        check_training("align", settings(report_to=["wandb", "trackio", "wandb"]), "nowhere/model")
    assert str(caught.value).startswith("align.report_to: wandb and trackio are not installed; ")
    assert "`pip install wandb trackio`" in str(caught.value)


@pytest.mark.unit
def test_a_tracker_that_lacks_a_part_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(place: tracking.Place) -> Any:
        raise ModuleNotFoundError("No module named 'gradio_client'")

    monkeypatch.setitem(tracking.TRACKERS, "trackio", broken)
    place = tracking.Place(tmp_path, tmp_path / "checkpoints", "run", "0")
    with pytest.raises(InputError, match=r"report_to: trackio cannot be imported .*gradio_client.*install it again"):
        tracking.Tracking(["trackio"], 1, place, [], lambda prompts: [])


@pytest.mark.unit
def test_a_dry_run_and_doctor_name_missing_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    job = Run(load_recipe("world-quick", ["align.report_to=trackio"]), tmp_path / "run")
    with pytest.raises(InputError, match="pip install trackio"):
        job.plan()
    assert any("pip install trackio" in line for line in model_findings(job.names))
    assert not (tmp_path / "run").exists()


@pytest.mark.unit
def test_tracking_is_no_other_recipe() -> None:
    """A run goes on, and a finished stage is kept, if only its tracking changes."""
    plain = load_recipe("world-quick")
    tracked = load_recipe("world-quick", ["align.report_to=[trackio, wandb]", "align.report_every=7"])
    assert tracked.align.trackers == ["trackio", "wandb"]
    assert settings_digest(tracked, "evaluate") == settings_digest(plain, "evaluate")


@pytest.mark.unit
def test_prompts_are_those_of_the_first_ladders_that_differ(ladders: list[Ladder]) -> None:
    prompts = fixed_prompts([ladders[0], ladders[0], *ladders], None)
    assert [prompt.images[0] for prompt in prompts] == [ladder.images[0].path for ladder in ladders[:4]]


def test_no_tracker_is_imported_unless_it_is_asked_for() -> None:
    names = "('tensorboard', 'trackio', 'wandb')"
    code = f"import seelevel.training.fit, sys; sys.exit(any(name in sys.modules for name in {names}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- the trackers themselves, if they are installed ---------------------------------------------------------------

REAL = """
import json, socket, sys
from pathlib import Path

def refuse(self, address):
    if not isinstance(address, str) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"network: {address}")
    return connect(self, address)

connect, socket.socket.connect = socket.socket.connect, refuse
from seelevel.training.fit import fit
from seelevel.training.settings import TrainSettings
from seelevel.training.trainer import PreferenceTrainer
from tests.training.tiny import make_ladder

task = json.loads(sys.argv[1])
out = Path(task["out"])
out.parent.mkdir(exist_ok=True)
if task["stop"]:
    log = PreferenceTrainer.log

    def stopped(self, logs, start_time=None):
        log(self, logs, start_time)
        if self.state.global_step == 5:  # the last checkpoint is of step 3
            raise SystemExit(9)

    PreferenceTrainer.log = stopped
ladders = [make_ladder(out.parent, seed) for seed in range(8)]
fit(ladders, task["base"], TrainSettings.model_validate(task["settings"]), out)
"""


def tracked_for_real(base: Path, out: Path, tracker: str, stop: bool, **environment: str) -> int:
    """One fit in a process that may not use the network; `stop`: it ends after step 5."""
    chosen = settings(report_to=tracker).model_dump(mode="json")
    task = {"base": str(base), "out": str(out), "settings": chosen, "stop": stop}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REAL, json.dumps(task)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 9), done.stderr
    return done.returncode


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_has_each_step_once_and_the_pictures(base: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tracked_for_real(base, tmp_path / "run" / "align", "tensorboard", stop=True) == 9
    assert tracked_for_real(base, tmp_path / "run" / "align", "tensorboard", stop=False) == 0
    events = EventAccumulator(
        str(tmp_path / "run" / "align" / "tensorboard"), {"images": 0, "tensors": 0, "scalars": 0}
    )
    events.Reload()
    assert [event.step for event in events.Scalars("train/margin")] == list(range(1, STEPS + 1))
    assert [event.step for event in events.Images("answers/1/picture 1")] == [0, 3, 6, 8]
    texts = events.Tensors("answers/1/text_summary")
    assert [event.step for event in texts] == [0, 3, 6, 8]
    assert b"Describe the picture." in texts[0].tensor_proto.string_val[0]


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_has_each_step_once_and_the_pictures(base: Path, tmp_path: Path) -> None:
    place = {"TRACKIO_DIR": str(tmp_path / "trackio")}
    assert tracked_for_real(base, tmp_path / "run" / "align", "trackio", stop=True, **place) == 9
    assert tracked_for_real(base, tmp_path / "run" / "align", "trackio", stop=False, **place) == 0
    [database] = (tmp_path / "trackio").glob("seelevel*.db")
    rows = sqlite3.connect(database).execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert len({name for name, _, _ in rows}) == 1
    logged = [(step, json.loads(metrics)) for _, step, metrics in rows]
    figures = [(step, m["train/global_step"]) for step, m in logged if "train/margin" in m]
    assert figures == [(step, step) for step in range(1, STEPS + 1)]
    tables = [(step, m["answers"]) for step, m in logged if "answers" in m]
    assert [step for step, _ in tables] == [0, 3, 6, 8]
    assert "Describe the picture." in json.dumps(tables[0][1])
    assert len(list((tmp_path / "trackio").rglob("*.png"))) >= tracking.PROMPTS
