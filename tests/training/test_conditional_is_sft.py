"""Conditional training without conditions is fine-tuning, through the trainer and both packings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seelevel.ladder import Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.training.fit import fit
from seelevel.training.settings import TrainSettings
from seelevel.training.trainer import PreferenceTrainer
from tests.training.tiny import make_ladder, make_picture, save_model


class Stopped(Exception):
    """After the first step."""


def first_step(
    ladders: list[Ladder], model: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **asked: Any
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the first step of a real training in float64."""
    found: list[tuple[float, dict[str, Tensor]]] = []
    whole = PreferenceTrainer.training_step

    def step(self: Any, model: Any, *arguments: Any) -> None:
        loss = whole(self, model, *arguments)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((float(loss), gradients))
        raise Stopped

    settings = TrainSettings(
        ladders_per_step=len(ladders), epochs=1, dtype="float64", device="cpu", tokens_per_batch=200, **asked
    )
    with monkeypatch.context() as patch:
        patch.setattr(PreferenceTrainer, "training_step", step)
        with pytest.raises(Stopped):
            fit(ladders, str(model), settings, out, seed=2)
    return found[0]


def single(folder: Path) -> list[Ladder]:
    """K = 1: dialogues of one to three rounds, and an interaction, a ladder a round, all of them rated."""
    image = [Image(make_picture(folder, 99))]
    turns = [
        (
            Message(role="user", content=asked),
            Response([Message(role="assistant", content=said)], 0, feedback=Feedback({"honesty": n}, "So it is.")),
        )
        for asked, said, n in (("<image>\nWhat?", "A cup.", 1), ("Again.", "A red cup.", 2), ("Again.", "Two.", 4))
    ]
    return [*(make_ladder(folder, n, k=1, rounds=n) for n in (1, 2, 3)), *Interaction("talk", image, turns).rounds()]


@pytest.mark.parametrize("layout", ["shared", "rows"])
@pytest.mark.parametrize("round_weight", [0.0, 0.05])
def test_on_single_responses_without_conditions_it_is_sft_in_loss_and_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, round_weight: float
) -> None:
    model, ladders = save_model(tmp_path / "model"), single(tmp_path)

    def taken(name: str, **more: Any) -> tuple[float, dict[str, Tensor]]:
        objective = {"name": name, "round_weight": round_weight, **more}
        return first_step(ladders, model, tmp_path / name, monkeypatch, layout=layout, objective=objective)

    fine_tuned, wanted = taken("sft")
    loss, gradients = taken("conditional", dropout=1.0)
    assert loss == pytest.approx(fine_tuned, abs=1e-9)
    assert gradients.keys() == wanted.keys() and len(wanted) > 20
    for name, gradient in wanted.items():
        assert gradient.dtype == torch.float64
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=1e-9, msg=name)
    assert abs(taken("conditional", dropout=0.0)[0] - fine_tuned) > 1e-3  # the conditions are there to be dropped
