"""The training benchmark: peers that compute the same are timed, others refused; the JSON has its form."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from benchmarks import arithmetic, measure, memory, peers, shapes, train_step

TINY = ["--shape", "tiny", "--device", "cpu", "--prefix", "40", "--response", "10", "--repeats", "1", "--threads", "1"]


needs_trl = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed (extra bench)")


def run(capsys, *arguments):
    train_step.main([*TINY, "--json", *arguments])
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_the_last_line_is_one_json_object_of_settings_and_results(capsys):
    report = run(capsys, "--peers", "rows", "shared", "rows-full", "shared-cached", "--k", "4", "--ladders", "2")
    assert set(report) == {"settings", "results"}
    assert [r["peer"] for r in report["results"]] == ["rows", "shared", "rows-full", "shared-cached"]
    assert max(report["settings"]["largest_differences"].values()) < 1e-5
    for result in report["results"]:
        assert {"peer", "seconds_per_ladder", "tokens_per_ladder", "peak_bytes"} <= set(result)
    tokens = {r["peer"]: r["tokens_per_ladder"] for r in report["results"]}
    assert tokens == {"shared": 40 + 4 * 9, "shared-cached": 40 + 4 * 9, "rows": 4 * 50, "rows-full": 4 * 50}
    peaks = {r["peer"]: r["peak_bytes"] for r in report["results"]}
    assert peaks["shared"] < peaks["rows"] < peaks["rows-full"]


def test_adapters_have_the_base_as_their_reference(capsys):
    report = run(capsys, "--shape", "tiny-lora", "--peers", "rows-full", "rows", "shared", "--checkpointing")
    assert max(report["settings"]["largest_differences"].values()) < 1e-5


def test_peers_agree_in_bfloat16_too_as_far_as_it_goes(capsys):
    arguments = ["--shape", "tiny-lora", "--dtype", "bfloat16", "--peers", "rows-full", "rows", "shared"]
    report = run(capsys, *arguments)
    assert report["settings"]["dtype"] == "bfloat16"
    assert 0 < max(report["settings"]["largest_differences"].values()) < 0.1


def test_answers_in_groups_are_the_same_step_in_less_memory(capsys):
    report = run(capsys, "--peers", "rows", "shared", "shared-4", "shared-1", "--k", "16")
    assert max(report["settings"]["largest_differences"].values()) < 1e-5
    tokens = {r["peer"]: r["tokens_per_ladder"] for r in report["results"]}
    assert tokens["shared"] == tokens["shared-4"] == tokens["shared-1"] == 40 + 16 * 9
    peaks = {r["peer"]: r["peak_bytes"] for r in report["results"]}
    assert peaks["shared-1"] < peaks["shared-4"] < peaks["shared"]


def test_a_peer_that_computes_something_else_is_refused(capsys, monkeypatch):
    monkeypatch.setitem(peers.OBJECTIVE, "beta", 0.2)
    with pytest.raises(measure.DisagreementError, match="rows-full: log-probs differ by"):
        run(capsys, "--peers", "shared", "rows-full")


def test_a_sweep_has_a_result_for_each_point(capsys, monkeypatch):
    assert train_step.SWEEPS["k"] == [2, 3, 4, 5, 6, 8, 12, 16]
    monkeypatch.setitem(train_step.SWEEPS, "k", [2, 8])
    report = run(capsys, "--peers", "shared", "--sweep", "k")
    assert [(r["k"], r["tokens_per_ladder"]) for r in report["results"]] == [(2, 40 + 2 * 9), (8, 40 + 8 * 9)]


@needs_trl
def test_trl_computes_the_same_step_on_all_pairs(capsys):
    report = run(capsys, "--peers", "shared", "trl", "trl-stored", "--k", "3", "--ladders", "2")
    assert max(report["settings"]["largest_differences"].values()) < 1e-5
    assert [r["tokens_per_ladder"] for r in report["results"]] == [40 + 3 * 9, 2 * 3 * 50, 2 * 3 * 50]


def test_trl_is_refused_in_one_line_where_it_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(train_step, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        train_step.main([*TINY, "--peers", "shared", "trl"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("TRL is not installed; pip install -e '.[bench]'")


@pytest.mark.unit
def test_the_peak_leaves_out_what_lives_on_as_a_gradient():
    events = [(1, 100), (2, 50), (1, -100), (3, 30), (2, -50), (1, 7)]
    assert memory._peak(events, {3}) == 150
    assert memory._peak(events, set()) == 150
    assert memory._peak([(1, 100), (2, 50)], {1}) == 50
    assert memory._peak([(1, 100), (1, -100), (1, 40)], {1}) == 100  # the address was used twice: the last one stays


@pytest.mark.unit
def test_a_prefix_too_short_for_the_picture_gets_a_smaller_one():
    assert shapes.SHAPES["44m"].fitted(616).image_tokens == 576
    assert shapes.SHAPES["44m"].fitted(200).image_tokens == 169


@pytest.mark.unit
def test_the_named_shapes_have_44_million_weights():
    for name in ("44m", "qwen25vl-44m"):
        model = shapes.make_model(shapes.SHAPES[name], torch.device("meta"))
        assert 43e6 < sum(p.numel() for p in model.parameters()) < 45e6
    assert arithmetic.linear_weights(shapes.SHAPES["7b"]) == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
