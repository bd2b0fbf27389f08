"""A tracker's view of a training: the figures of each step, and now and then the answers to a few fixed prompts.

The figures go through the integrations of transformers. Nothing here changes the training: random states are put back,
and the model is asked without gradients. A resumed training logs only steps that it has not logged before.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments

from seelevel.errors import InputError
from seelevel.images import model_picture
from seelevel.ladder import IMAGE_MARK, Ladder
from seelevel.models.base import Completion, Prompt
from seelevel.models.conditions import Conditions, with_condition
from seelevel.store import read_mapping, write_json

PROMPTS = 4
ANSWER_TOKENS = 128
PROJECT = "seelevel"
RECORD = "tracked.json"
"""The last step that has been logged, beside the checkpoints. It is written first: a kill may lose a step, but none is
logged twice."""


@dataclass(frozen=True)
class Place:
    """Where a training is tracked. `folder`: the training's own; `checkpoints`: inside it; `name`: the run's, the same
    when it is resumed; `fingerprint`: of what the training computes."""

    folder: Path
    checkpoints: Path
    name: str
    fingerprint: str


@dataclass(frozen=True)
class Asked:
    """A fixed prompt and its answer. `pictures` are image files."""

    question: str
    pictures: tuple[str, ...]
    answer: str


def fixed_prompts(ladders: Sequence[Ladder], conditions: Conditions | None) -> list[Prompt]:
    """The prompts of the first ladders that ask different things, under the best condition if there are conditions."""
    prompts: dict[str, Prompt] = {}
    for ladder in ladders:
        messages = ladder.prompt if conditions is None else with_condition(ladder.prompt, conditions.text("top"))
        images = [image.path for image in ladder.images]
        prompts.setdefault(str((messages, images)), Prompt(list(messages), images))
        if len(prompts) == PROMPTS:
            break
    return list(prompts.values())


class Tracking(TrainerCallback):
    """Hands a training's events to its trackers.

    `ask` answers the fixed prompts, if there are any: before the first step, every `every` steps, and after the last.
    Raises `InputError` if a tracker cannot be imported (`requirements.check_trackers` finds most of these in time).
    """

    def __init__(
        self,
        trackers: Sequence[str],
        every: int,
        place: Place,
        prompts: Sequence[Prompt],
        ask: Callable[[Sequence[Prompt]], list[Completion]],
    ) -> None:
        self._every, self._place, self._prompts, self._ask = every, place, prompts, ask
        with undisturbed():
            self._trackers = [_tracker(name, place) for name in trackers]
        record = read_mapping(place.checkpoints / RECORD) or {}
        self._logged = int(record["step"]) if record.get("fingerprint") == place.fingerprint else -1

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **more: Any) -> None:
        if not state.is_world_process_zero:
            return
        args.run_name, args.project = self._place.name, PROJECT
        with undisturbed():
            for tracker in self._trackers:
                tracker.callback.on_train_begin(args, state, control, **more)
            if self._logged < 0:
                self._note(0)
                self._show(0)

    def on_log(self, args: TrainingArguments, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if not state.is_world_process_zero or state.global_step <= self._logged:
            return
        self._note(state.global_step)
        with undisturbed():
            for tracker in self._trackers:
                tracker.callback.on_log(args, state, control, logs=logs, **more)
            if state.global_step % self._every == 0 or state.global_step == state.max_steps:
                self._show(state.global_step)

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **more: Any) -> None:
        if state.is_world_process_zero:
            with undisturbed():
                for tracker in self._trackers:
                    tracker.callback.on_train_end(args, state, control, **more)
                    tracker.close()

    def _note(self, step: int) -> None:
        self._logged = step
        write_json(self._place.checkpoints / RECORD, {"fingerprint": self._place.fingerprint, "step": step})

    def _show(self, step: int) -> None:
        if not self._prompts:
            return
        answers = self._ask(self._prompts)
        rows = [
            Asked(_question(prompt), tuple(prompt.images), completion.text or completion.note)
            for prompt, completion in zip(self._prompts, answers, strict=True)
        ]
        for tracker in self._trackers:
            tracker.show(rows, step)


def _question(prompt: Prompt) -> str:
    return " ".join(prompt.messages[-1]["content"].replace(IMAGE_MARK, "").split())


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back all random states afterwards: a tracker draws names, and a checkpoint keeps the states."""
    python, arrays = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


# --- one class per tracker: its callback of transformers, and how it shows a table with pictures ------------------


class TensorBoard:
    """Event files in `tensorboard/` of the training's folder, or in `$TENSORBOARD_LOGGING_DIR`."""

    def __init__(self, place: Place) -> None:
        from transformers.integrations import TensorBoardCallback

        self.callback: Any = TensorBoardCallback()
        self.callback.logging_dir = self.callback.logging_dir or str(place.folder / "tensorboard")

    def show(self, rows: Sequence[Asked], step: int) -> None:
        writer = self.callback.tb_writer
        for number, row in enumerate(rows, 1):
            writer.add_text(f"answers/{number}", f"**{row.question}**\n\n{row.answer}", step)
            for count, picture in enumerate(row.pictures, 1):
                pixels = np.asarray(model_picture(picture).convert("RGB"))
                writer.add_image(f"answers/{number}/picture {count}", pixels, step, dataformats="HWC")
        writer.flush()

    def close(self) -> None:
        """The callback has closed its writer."""


class Trackio:
    """The user's local trackio project `seelevel`; `trackio show` opens it."""

    def __init__(self, place: Place) -> None:
        from transformers.integrations import TrackioCallback

        self.callback: Any = TrackioCallback()

    def show(self, rows: Sequence[Asked], step: int) -> None:
        import trackio

        data = [
            [[trackio.Image(model_picture(picture)) for picture in row.pictures], row.question, row.answer]
            for row in rows
        ]
        trackio.log({"answers": trackio.Table(columns=["pictures", "prompt", "answer"], data=data)}, step=step)

    def close(self) -> None:
        """The callback has finished its run."""


class Wandb:
    """The user's project `seelevel` on Weights & Biases, or `$WANDB_PROJECT`."""

    def __init__(self, place: Place) -> None:
        from transformers.integrations import WandbCallback

        defaults = {"WANDB_PROJECT": PROJECT, "WANDB_RUN_ID": place.name, "WANDB_RESUME": "allow"}
        self._set = [name for name in defaults if name not in os.environ]
        os.environ.update({name: defaults[name] for name in self._set})
        self.callback: Any = WandbCallback()

    def show(self, rows: Sequence[Asked], step: int) -> None:
        import wandb

        most = max(len(row.pictures) for row in rows)
        table = wandb.Table(columns=[*(f"picture {n + 1}" for n in range(most)), "prompt", "answer"])
        for row in rows:
            pictures = [wandb.Image(model_picture(picture)) for picture in row.pictures]
            table.add_data(*pictures, *[None] * (most - len(pictures)), row.question, row.answer)
        wandb.log({"answers": table, "train/global_step": step})

    def close(self) -> None:
        """End the run: the callback leaves it open, and the next training would go on in it."""
        import wandb

        wandb.finish()
        for name in self._set:
            os.environ.pop(name, None)


def _tracker(name: str, place: Place) -> TensorBoard | Trackio | Wandb:
    try:
        return TRACKERS[name](place)
    except ImportError as error:  # a part of it: `check_trackers` has found the package
        raise InputError(
            f"report_to: {name} cannot be imported ({error}); install it again, or leave it out"
        ) from error


TRACKERS: dict[str, Callable[[Place], TensorBoard | Trackio | Wandb]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
}
