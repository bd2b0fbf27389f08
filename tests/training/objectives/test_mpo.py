"""Weighted sums of objectives, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

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

from .made import ladder, logprobs

pytestmark = pytest.mark.unit


def minus_log_sigmoid(x: float) -> float:
    return math.log(1 + math.exp(-x))


def test_mpo_is_the_number_worked_out_by_hand() -> None:
    # Sums moved by 2 and −1; the best response has 3 nats over two tokens. β = 0.1.
    policy, reference = logprobs([[-1.0, -2.0], [-4.0]]), logprobs([[-3.0, -2.0], [-3.0]])
    loss, logs = mpo(policy, reference, [ladder(0, 1)], MpoSettings())
    terms = [minus_log_sigmoid(0.3), minus_log_sigmoid(0.2) + minus_log_sigmoid(0.1), 1.5]
    assert loss.item() == pytest.approx(0.8 * terms[0] + 0.2 * terms[1] + terms[2], rel=0, abs=1e-12)
    assert [logs[f"term_{number}"] for number in range(3)] == pytest.approx(terms)
    assert (logs["preference"], logs["nll"], logs["margin"]) == pytest.approx((terms[0], 1.5, 3.0))
    assert logs["best_change"] == pytest.approx(1.0)


def test_a_ladder_goes_without_the_terms_it_has_no_signal_for() -> None:
    # Two ladders: a pair, for both terms, and one response, for SFT alone.
    policy, reference = logprobs([[-1.0], [-2.0]], [[-5.0]]), logprobs([[-1.0], [-2.0]], [[-5.0]])
    settings = MpoSettings(terms=[DpoSettings(), SftSettings()], weights=[2.0, 3.0])
    loss, logs = mpo(policy, reference, [ladder(0, 1), ladder(0)], settings)
    assert loss.item() == pytest.approx((2 * math.log(2) + 3 * 1.0 + 3 * 5.0) / 2)
    assert (logs.ladders, logs["term_0"], logs["term_1"]) == (2, pytest.approx(math.log(2)), pytest.approx(3.0))


def test_every_objective_but_two_can_be_a_term() -> None:
    assert set(OBJECTIVES) - set(TERMS) == {"mpo", "conditional"}


def test_a_sum_needs_what_its_terms_need() -> None:
    without = MpoSettings(terms=[ProSettings(), SftSettings()], weights=[1, 1])
    assert MpoSettings().needs_reference and not without.needs_reference
    best = MpoSettings(terms=[SftSettings(), SftSettings(per_token=True)], weights=[1, 1])
    assert best.best_only and not MpoSettings().best_only
    loss, _ = mpo(logprobs([[-1.0], [-2.0]]), None, [ladder(0, 1)], without)
    assert loss.item() > 0


def test_data_without_a_signal_for_one_term_are_refused() -> None:
    message = str(MpoSettings().why_unusable([ladder(0), ladder(1, 1)]))
    assert [part for part in ("mpo", "dpo", "two levels") if part not in message] == []
    assert MpoSettings().why_unusable([ladder(0), ladder(0, 1)]) is None


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ({"weights": [1, 2]}, ["2 numbers", "3 terms"]),
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


def test_a_sum_survives_json_and_has_words() -> None:
    asked = {"name": "mpo", "terms": [{"name": "dpo", "loss": "hinge"}, {"name": "kwise"}], "weights": [0.5, 2]}
    settings = TrainSettings.model_validate({"objective": asked})
    assert TrainSettings.model_validate(settings.model_dump(mode="json")) == settings
    expected = MpoSettings(terms=[DpoSettings(loss="hinge"), KwiseSettings()], weights=[0.5, 2])
    assert settings.objective == expected
    assert [part for part in ("mpo (0.5 × dpo (", "hinge", " + 2 × kwise (") if part not in expected.words] == []


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
