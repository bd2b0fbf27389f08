"""Training: the mean over a step, resuming, the reference cache, alarms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seelevel.errors import InputError, NonFiniteLossError
from seelevel.ladder import Ladder
from seelevel.training import checks, comparing, logprobs
from seelevel.training.agreement import checked_layout
from seelevel.training.fit import fit
from seelevel.training.logprobs import from_logits, token_logprobs
from seelevel.training.packing import Batch, collate
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.settings import TrainSettings
from seelevel.training.trainer import FALL_WINDOW, PreferenceTrainer, best_fallen
from tests.training.killing import Killed, contents
from tests.training.tiny import make_ladder, make_model, make_processor
from tests.training.weights import share_of_the_way


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> list[Ladder]:
    folder = tmp_path_factory.mktemp("pictures")
    return [make_ladder(folder, seed, k=2 + seed % 3, rounds=1 + seed % 2) for seed in range(10)]


def settings(**changes: Any) -> TrainSettings:
    plain = {"ladders_per_step": 4, "epochs": 4, "save_steps": 3, "learning_rate": 1e-3, "device": "cpu"}
    return TrainSettings(**{**plain, **changes})


@pytest.mark.parametrize("lora", [None, {"r": 4, "alpha": 8, "dropout": 0.1}], ids=["full", "lora"])
def test_a_resumed_training_ends_in_the_same_bytes_as_an_unbroken_one(
    base: Path, ladders: list[Ladder], tmp_path: Path, stop_at: Any, lora: Any
) -> None:
    asked = settings(lora=lora)
    facts = fit(ladders, str(base), asked, tmp_path / "whole", seed=3)
    assert facts["steps"] == 10
    for last in (1, 7):  # before the first checkpoint; one step after the second
        out = tmp_path / f"cut-{last}"
        stop_at(last)
        with pytest.raises(Killed):
            fit(ladders, str(base), asked, out, seed=3)
        (out / "checkpoints").mkdir(exist_ok=True)
        (out / "checkpoints" / "checkpoint-9").mkdir()
        (out / "checkpoints" / "checkpoint-9" / "model.safetensors").write_bytes(b"half")
        (out / "checkpoints" / "checkpoint-8").mkdir()
        stop_at(None)
        fit(ladders, str(base), asked, out, seed=3)
        assert contents(out) == contents(tmp_path / "whole")


def test_a_resumed_training_starts_from_the_checkpoint_and_not_from_the_beginning(
    base: Path, ladders: list[Ladder], tmp_path: Path, stop_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(8)
    with pytest.raises(Killed):
        fit(ladders, str(base), settings(), tmp_path, seed=0)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-6"]
    stop_at(2)  # a run from the beginning would pass here
    fit(ladders, str(base), settings(), tmp_path, seed=0)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [*range(1, 11)]


def test_the_log_follows_the_training_and_a_resumed_one_writes_no_step_twice(
    base: Path, ladders: list[Ladder], tmp_path: Path, stop_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[int]] = []
    whole = PreferenceTrainer.log

    def log(self: Any, *args: Any, **kwargs: Any) -> None:
        whole(self, *args, **kwargs)
        steps.append([json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()])

    monkeypatch.setattr(PreferenceTrainer, "log", log)
    stop_at(5)  # the last checkpoint is of step 3
    with pytest.raises(Killed):
        fit(ladders, str(base), settings(), tmp_path, seed=0)
    stop_at(None)
    fit(ladders, str(base), settings(), tmp_path, seed=0)
    wanted = [[*range(1, last + 1)] for last in (*range(1, 6), *range(4, 11))]
    assert [seen for n, seen in enumerate(steps) if seen not in steps[:n] or seen in wanted][: len(wanted)] == wanted


def test_a_log_that_cannot_be_written_yet_does_not_end_the_training(
    base: Path, ladders: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr("seelevel.training.step_log.write_atomically", full)
        fit(ladders, str(base), settings(epochs=1), tmp_path)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    assert capsys.readouterr().err.count("cannot be written yet") == 1


def test_fine_tuning_on_the_best_sends_no_other_response_through_the_model(
    base: Path, ladders: list[Ladder], tmp_path: Path
) -> None:
    tied = [replace(one, responses=[replace(r, level=r.level // 2) for r in one.responses]) for one in ladders]
    best = [replace(one, responses=[r for r in one.responses if r.level == 0]) for one in tied]
    asked = settings(objective={"name": "sft"}, epochs=1)
    whole, alone = (fit(given, str(base), asked, tmp_path / name) for given, name in ((tied, "whole"), (best, "alone")))
    assert whole == alone
    first, second = (contents(tmp_path / name) for name in ("whole", "alone"))
    assert {name for name in first if first[name] != second[name]} == {"training.json"}  # what was asked for differs


def test_a_finished_training_is_not_run_again(base: Path, ladders: list[Ladder], tmp_path: Path, stop_at: Any) -> None:
    facts = fit(ladders, str(base), settings(epochs=1), tmp_path)
    (tmp_path / "checkpoints").mkdir()  # as after a kill between the model and the end
    stop_at(0)
    assert fit(ladders, str(base), settings(epochs=1), tmp_path) == facts
    assert not (tmp_path / "checkpoints").exists()
    with pytest.raises(InputError, match="trained on other ladders or with other settings"):
        fit(ladders, str(base), settings(epochs=2), tmp_path)


@pytest.mark.parametrize("name", ["mdpo", "dpo", "kwise", "pro", "ddpo", "sft"])
def test_a_step_is_the_mean_over_its_ladders_however_they_are_split(
    base: Path, ladders: list[Ladder], tmp_path: Path, name: str
) -> None:
    found = []
    for number, change in enumerate(({"tokens_per_batch": 4096}, {"tokens_per_batch": 1}, {"layout": "rows"})):
        out = tmp_path / str(number)
        fit(ladders, str(base), settings(objective={"name": name}, epochs=1, dtype="float64", **change), out)
        found.append((out / "model", (out / "log.jsonl").read_text().splitlines()))
    (whole, first), *others = found
    for model, log in others:
        assert share_of_the_way(model, whole, base) <= 1e-4
        for one, other in zip(first, log, strict=True):
            assert json.loads(other) == pytest.approx(json.loads(one), rel=1e-4, abs=1e-6)


def test_sft_raises_the_best_answers_probability_and_mdpo_the_margin_too(base: Path, tmp_path: Path) -> None:
    alike = [make_ladder(tmp_path, 6 * number, k=3) for number in range(4)]  # the same answers to other pictures
    logs = {}
    for name in ("sft", "mdpo"):
        fit(alike, str(base), settings(objective={"name": name}, epochs=20, learning_rate=3e-3), tmp_path / name)
        logs[name] = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        assert logs[name][-1]["best_logprob"] > logs[name][0]["best_logprob"] + 1
    assert logs["mdpo"][-1]["margin"] > 1
    assert logs["mdpo"][-1]["accuracy"] == pytest.approx(1)
    assert logs["mdpo"][0]["preference"] == pytest.approx(0.6931, abs=1e-3)  # at the start every r is 0: log 2


def test_the_vision_tower_stays_as_it_is_unless_asked(base: Path, ladders: list[Ladder], tmp_path: Path) -> None:
    before = load_file(base / "model.safetensors")
    for frozen in (True, False):
        fit(ladders, str(base), settings(freeze_vision=frozen, epochs=1), tmp_path / str(frozen))
        after = load_file(tmp_path / str(frozen) / "model" / "model.safetensors")
        name = next(key for key in before if "vision_tower" in key and "fc1.weight" in key)
        assert torch.equal(before[name], after[name]) is frozen
        projector = next(key for key in before if "projector.linear_1.weight" in key)
        assert not torch.equal(before[projector], after[projector])


def test_a_trained_model_keeps_its_configuration(base: Path, ladders: list[Ladder], tmp_path: Path) -> None:
    fit(ladders, str(base), settings(epochs=1), tmp_path)
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (base, tmp_path / "model"))
    for config in (before, after):  # number formats are written in other places of the file after loading
        for part in (config, config["text_config"], config["vision_config"]):
            part.pop("dtype", None)
    assert after == before


def test_ladders_that_cannot_be_trained_on_are_left_out_with_reasons(
    base: Path, ladders: list[Ladder], tmp_path: Path
) -> None:
    tie = make_ladder(tmp_path, 50, k=1)
    long = make_ladder(tmp_path, 51, k=2, rounds=12)
    facts = fit([*ladders, tie, long], str(base), settings(epochs=1, max_length=150), tmp_path / "out")
    assert facts["left_out"] == {"does not fit": 1, "no pair": 1}
    entries = [json.loads(line) for line in (tmp_path / "out" / "left_out.jsonl").read_text().splitlines()]
    assert {entry["id"] for entry in entries} == {tie.id, long.id}
    assert "the context 150" in entries[1]["reason"]


def test_data_without_a_pair_is_refused_before_training(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"objective mdpo needs .* two levels"):
        fit([make_ladder(tmp_path, 1, k=1)], str(base), settings(), tmp_path / "out")


def test_a_nan_loss_stops_with_the_names_of_the_ladders(
    base: Path, ladders: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = PreferenceTrainer._loss

    def poisoned(self: Any, model: Any, chosen: list[int], batch: Batch) -> Any:
        if self.state.global_step == 1:
            with torch.no_grad():
                model.model.lm_head.weight[:] = float("nan")
        return whole(self, model, chosen, batch)

    monkeypatch.setattr(PreferenceTrainer, "_loss", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"NaN or infinite in step 2; ladders tiny-\d"):
        fit(ladders, str(base), settings(), tmp_path)
    saved = json.loads((tmp_path / "checkpoints" / "nonfinite.json").read_text())
    assert set(saved["log_probs"]) <= {ladder.id for ladder in ladders}


def test_the_shared_layout_is_kept_where_it_agrees_and_dropped_aloud_where_not(
    ladders: list[Ladder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processor = make_processor()
    model, images = make_model(processor), ImageReader(processor)
    tokens = [tokenise(ladder, processor, images) for ladder in ladders]
    assert checked_layout(model, tokens, images, "shared").layout == "shared"
    whole = comparing.collate

    def first_tokens_are_lost(*args: Any) -> Any:
        batch = whole(*args)
        if batch.layout == "shared":
            for segment in batch.segments:
                segment.input_ids[:, 0] = 0
        return batch

    monkeypatch.setattr(comparing, "collate", first_tokens_are_lost)
    assert checked_layout(model, tokens, images, "shared").layout == "rows"
    assert "layout: rows instead of shared, because log-probs differ by" in capsys.readouterr().err


def test_a_head_whose_chunks_are_wrong_is_left_aloud_for_the_models_own_logits(
    ladders: list[Ladder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processor = make_processor()
    images = ImageReader(processor)
    tokens = [tokenise(ladder, processor, images) for ladder in ladders]
    right, wrong = make_model(processor), make_model(processor)
    checks.check_head(right, tokens, images)
    assert capsys.readouterr().err == ""
    whole = logprobs.head_logprobs
    monkeypatch.setattr(logprobs, "head_logprobs", lambda *args: whole(*args) - 1e-3)
    checks.check_head(wrong, tokens, images)
    assert "gives log-probs that differ by 0.001 in chunks of its head; its own logits" in capsys.readouterr().err
    batch = collate(tokens, images, "rows")
    assert torch.equal(token_logprobs(wrong, batch).values, from_logits(wrong, batch))


@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_an_infinite_gradient_stops_with_the_log_probs_of_the_step(
    base: Path, ladders: list[Ladder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    whole = PreferenceTrainer._loss

    def steep(self: Any, model: Any, chosen: list[int], batch: Batch) -> Any:
        loss, logs = whole(self, model, chosen, batch)
        if self.state.global_step == 1:  # finite itself, its gradient is not
            weight = model.model.lm_head.weight[0, 0]
            loss = loss + torch.sqrt((weight - weight.detach()).abs())
        return loss, logs

    monkeypatch.setattr(PreferenceTrainer, "_loss", steep)
    with pytest.raises(NonFiniteLossError, match=r"the gradient is NaN or infinite in step 2; ladders tiny-\d"):
        fit(ladders, str(base), settings(max_grad_norm=clip), tmp_path)
    saved = json.loads((tmp_path / "checkpoints" / "nonfinite.json").read_text())
    assert len(saved["log_probs"]) == 4


def test_weights_that_the_last_step_ruined_are_not_saved(base: Path, ladders: list[Ladder], tmp_path: Path) -> None:
    asked = settings(epochs=0.1, learning_rate=1e39, scheduler="constant", objective={"name": "sft"})
    with pytest.raises(NonFiniteLossError, match=r"align: \d+ of \d+ tensors .* learning_rate"):
        fit(ladders, str(base), asked, tmp_path)
    assert not (tmp_path / "model").exists()


@pytest.mark.unit
def test_the_alarm_rings_when_best_answers_fall_over_a_full_window() -> None:
    falling = [{"best_change": -0.1 * n} for n in range(FALL_WINDOW)]
    assert best_fallen(falling) == pytest.approx(-0.1 * (FALL_WINDOW - 1) / 2)
    assert best_fallen(falling[:-1]) is None
    assert best_fallen([{"best_change": 0.1}] * FALL_WINDOW) is None


@pytest.mark.unit
def test_a_fall_within_rounding_rings_no_alarm() -> None:
    for fall, rounding, rings in (
        (1e-8, 2**-23, False),
        (1e-5, 2**-23, True),
        (1e-2, 2**-7, False),
        (0.1, 2**-7, True),
    ):
        assert (best_fallen([{"best_change": -fall}] * FALL_WINDOW, rounding) is not None) == rings
