"""Weighted sums of objectives, by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from seelevel.training.fit import fit
from seelevel.training.objectives import OBJECTIVES
from seelevel.training.objectives.mpo import TERMS, mpo
from seelevel.training.objectives.settings import (
    ConditionalSettings,
    DpoSettings,
    KwiseSettings,
    MpoSettings,
    ProSettings,
    SftSettings,
)
from seelevel.training.settings import TrainSettings
from tests.training.tiny import make_ladder, save_model

from .made import ladder, logprobs, minus_log_sigmoid


@pytest.mark.unit
def test_mpo_is_the_number_worked_out_by_hand() -> None:
    # Sums moved by 2 and −1; the best response has 3 nats over two tokens. β = 0.1.
    policy, reference = logprobs([[-1.0, -2.0], [-4.0]]), logprobs([[-3.0, -2.0], [-3.0]])
    loss, logs = mpo(policy, reference, [ladder(0, 1)], MpoSettings())
    terms = [minus_log_sigmoid(0.3), minus_log_sigmoid(0.2) + minus_log_sigmoid(0.1), 1.5]
    assert loss.item() == pytest.approx(0.8 * terms[0] + 0.2 * terms[1] + terms[2], rel=0, abs=1e-12)
    assert [logs[f"term_{number}"] for number in range(3)] == pytest.approx(terms)
    assert (logs["preference"], logs["nll"], logs["margin"]) == pytest.approx((terms[0], 1.5, 3.0))
    assert logs["best_change"] == pytest.approx(1.0)


@pytest.mark.unit
def test_a_ladder_goes_without_the_terms_it_has_no_signal_for() -> None:
    # Two ladders: a pair, for both terms, and one response, for SFT alone.
    policy, reference = logprobs([[-1.0], [-2.0]], [[-5.0]]), logprobs([[-1.0], [-2.0]], [[-5.0]])
    settings = MpoSettings(terms=[DpoSettings(), SftSettings()], weights=[2.0, 3.0])
    loss, logs = mpo(policy, reference, [ladder(0, 1), ladder(0)], settings)
    assert loss.item() == pytest.approx((2 * math.log(2) + 3 * 1.0 + 3 * 5.0) / 2)
    assert (logs.ladders, logs["term_0"], logs["term_1"]) == (2, pytest.approx(math.log(2)), pytest.approx(3.0))


@pytest.mark.unit
def test_every_objective_but_two_can_be_a_term() -> None:
    assert set(OBJECTIVES) - set(TERMS) == {"mpo", "conditional"}


@pytest.mark.unit
def test_a_sum_needs_what_its_terms_need() -> None:
    without = MpoSettings(terms=[ProSettings(), SftSettings()], weights=[1, 1])
    assert MpoSettings().needs_reference and not without.needs_reference
    best = MpoSettings(terms=[SftSettings(), SftSettings(per_token=True)], weights=[1, 1])
    assert best.best_only and not MpoSettings().best_only
    loss, _ = mpo(logprobs([[-1.0], [-2.0]]), None, [ladder(0, 1)], without)
    assert loss.item() > 0


@pytest.mark.unit
def test_data_without_a_signal_for_one_term_are_refused() -> None:
    message = str(MpoSettings().why_unusable([ladder(0), ladder(1, 1)]))
    assert [part for part in ("mpo", "dpo", "two levels") if part not in message] == []
    assert MpoSettings().why_unusable([ladder(0), ladder(0, 1)]) is None


@pytest.mark.unit
@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ({"weights": [1, 2]}, ["2 numbers", "3 terms"]),
        ({"terms": [{"name": "dpo"}, {"name": "kwise"}, {"name": "sft"}]}, ["terms needs weights", "one per term"]),
        ({"weights": [1, 2, 0]}, ["weights"]),
        ({"terms": [], "weights": []}, ["terms"]),
        ({"terms": [{"name": "mpo"}], "weights": [1]}, ["mpo"]),
        ({"terms": [MpoSettings()], "weights": [1]}, ["mpo has no place in mpo"]),
        ({"terms": [ConditionalSettings()], "weights": [1]}, ["conditional", "alone"]),
        ({"terms": [{"name": "dop"}], "weights": [1]}, ["'dop' is unknown", "did you mean"]),
        ({"terms": [{"name": "dpo", "betta": 1}], "weights": [1]}, ["betta"]),
        ({"round_weight": 0}, ["round_weight", "terms"]),
    ],
)
def test_sums_without_a_meaning_are_refused(wrong: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        MpoSettings.model_validate(wrong)
    assert [part for part in parts if part not in str(refused.value)] == []


@pytest.mark.unit
def test_a_sum_survives_json_and_has_words() -> None:
    asked = {"name": "mpo", "terms": [{"name": "dpo", "loss": "hinge"}, {"name": "kwise"}], "weights": [0.5, 2]}
    settings = TrainSettings.model_validate({"objective": asked})
    assert TrainSettings.model_validate(settings.model_dump(mode="json")) == settings
    expected = MpoSettings(terms=[DpoSettings(loss="hinge"), KwiseSettings()], weights=[0.5, 2])
    assert settings.objective == expected
    assert [part for part in ("mpo (0.5 × dpo (", "hinge", " + 2 × kwise (") if part not in expected.words] == []


@pytest.mark.unit
def test_a_term_from_outside_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"outside_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from typing import ClassVar\n\n"
        "from seelevel.training.objectives.settings import Objective, SftSettings\n"
        "from seelevel.training.objectives.sft import sft\n\n\n"
        "class Twice(Objective):\n"
        "    needs_reference: ClassVar[bool] = False\n    times: int = 2\n\n"
        "    def compute_loss(self, policy, reference, ladders):\n"
        "        assert reference is None\n"
        "        loss, logs = sft(policy, reference, ladders, SftSettings())\n"
        "        return self.times * loss, logs\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = {"terms": [{"name": f"{name}:Twice", "times": 3}, {"name": "sft"}], "weights": [10, 1]}
    settings = MpoSettings.model_validate(asked)
    loss, _ = mpo(logprobs([[-1.0]]), None, [ladder(0)], settings)
    assert loss.item() == pytest.approx(31.0)
    assert MpoSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_a_model_trains_on_a_sum_however_a_step_is_split(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    ladders = [make_ladder(tmp_path, seed) for seed in range(4)]
    terms = [{"name": "dpo", "pairs": "all"}, {"name": "grpo", "advantage": "rloo"}, {"name": "sft", "per_token": True}]
    asked = {
        "objective": {"name": "mpo", "terms": terms, "weights": [0.8, 0.5, 1.0]},
        "ladders_per_step": 4,
        "epochs": 2,
    }
    logs = []
    for number, budget in enumerate((1, 4096)):
        settings = TrainSettings.model_validate({**asked, "tokens_per_batch": budget, "device": "cpu", "cache": False})
        fit(ladders, str(base), settings, tmp_path / str(number))
        logs.append([json.loads(line) for line in (tmp_path / str(number) / "log.jsonl").read_text().splitlines()])
    assert len(logs[0]) == 2
    for one, other in zip(*logs, strict=True):
        assert {"term_0", "term_1", "term_2", "margin", "best_change", "clipped", "nll"} <= one.keys()
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
        assert one["loss"] == pytest.approx(0.8 * one["term_0"] + 0.5 * one["term_1"] + one["term_2"], rel=1e-4)
