"""The run on a GPU, tried out on the processor: nothing of it is lost, and what did not run is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu, peers, train_step
from benchmarks.measure import Plan
from seelevel.training.compiling import compile_layers

TRY = ["--device", "cpu", "--shape", "tiny-lora", "qwen25vl-tiny-lora", "--ladders", "2", "--response", "10"]


def run(out: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = gpu.main([*TRY, "--repeats", "1", "--out", str(out), *arguments])
    return code, [json.loads(text) for text in (out / "gpu.jsonl").read_text().splitlines()]


def test_each_peer_of_each_step_is_a_line_and_a_row_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, lines = run(tmp_path, "--steps", "qwen-together", "qwen-one", "groups-2")
    assert code == 0
    assert [(line["step"], line["peer"], line["ladders"], line["k"]) for line in lines] == [
        *(("qwen-together", peer, 2, 5) for peer in ("shared", "rows")),
        *(("qwen-one", peer, 1, 5) for peer in ("shared", "rows")),
        *(("groups-2", peer, 1, 2) for peer in ("shared", "shared-4", "shared-1")),
    ]
    assert all(line["agrees"] for line in lines)
    attention = [(call["query"], call["key"]) for call in lines[2]["attention"]]
    assert ([1, 2, 65, 16], [1, 1, 65, 16]) in attention  # the prefix pass: grouped heads, and no mask
    said, shown = capsys.readouterr().err, ["--show", "--out", str(tmp_path)]
    assert "query [1, 2, 65, 16] key [1, 1, 65, 16]: 4 calls" in said
    assert gpu.main(shown) == 0
    table = capsys.readouterr().out
    assert table.count("| qwen25vl-tiny-lora | 5 | 65 |") == 4
    assert table.count("| tiny-lora | 2 | 56 | 1 | prefix once") == 3


@pytest.mark.slow
def test_compiled_layers_compute_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "compile_layers", lambda model: compile_layers(model, "eager"))
    code, lines = run(tmp_path, "--steps", "llava-compiled")
    assert code == 0
    assert [(line["peer"], line["together"]) for line in lines] == [("shared", 2), ("shared-compiled", 2)]
    assert all(max(line["differences"].values()) < 1e-5 for line in lines)


def test_a_step_that_does_not_fit_is_skipped_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, lines = run(tmp_path, "--steps", "llava-together", "groups-2", "--minutes", "1")
    assert code == 0
    assert [line.get("peer", "none") for line in lines] == ["none", "shared", "shared-4", "shared-1"]
    assert lines[0]["skipped"] == "it may take 100 s, 60 s are left"
    assert "- llava-together: it may take 100 s, 60 s are left" in capsys.readouterr().out


def test_a_pass_too_large_for_memory_gets_half_as_many_ladders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    compute = peers.RowsPeer.backward

    def backward(peer: peers.RowsPeer) -> float:
        if peer.task.together > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return compute(peer)

    monkeypatch.setattr(peers.RowsPeer, "backward", backward)
    code, lines = run(tmp_path, "--steps", "llava-together")
    assert code == 0
    assert [(line["peer"], line["together"]) for line in lines] == [("shared", 2), ("rows", 1), ("rows-full", 2)]
    assert all(line["agrees"] for line in lines)


def test_a_peer_that_fails_costs_no_other_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def backward(peer: peers.RowsPeer) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr(peers.RowsPeer, "backward", backward)
    monkeypatch.setitem(peers.OBJECTIVE, "beta", 0.2)  # rows-full keeps the former one
    code, lines = run(tmp_path, "--steps", "llava-together", "groups-2")
    assert code == 1
    assert [line["peer"] for line in lines] == ["shared", "rows", "rows-full", "shared", "shared-4", "shared-1"]
    assert lines[1]["failed"] == "out of memory with one ladder in a pass"
    assert [line.get("agrees") for line in lines] == [True, None, False, True, True, True]


def test_a_step_that_breaks_costs_no_other_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def tokens(peer: peers.Peer) -> int:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(peers.RowsPeer, "tokens", tokens)
    code, lines = run(tmp_path, "--steps", "qwen-together", "groups-2")
    assert code == 1
    assert [line.get("peer") for line in lines] == ["shared", None, "shared", "shared-4", "shared-1"]
    assert lines[1]["failed"] == "RuntimeError: CUDA error: an illegal memory access was encountered"


def test_no_step_begins_after_its_time():
    options = train_step.parse([*TRY[:2], "--shape", "tiny", "--prefix", "40", "--response", "10", "--one-by-one"])
    plan = Plan(repeats=1, until=0.0, forgiving=True)
    results = list(train_step.measure(options, torch.device("cpu"), 1e9, plan))
    assert [result["failed"] for result in results] == ["its time was up before a step was timed"] * 3


@pytest.mark.unit
def test_without_a_gpu_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device is available; --device cpu tries the script out"):
        gpu.main(["--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
def test_all_steps_fit_into_a_quarter_of_an_hour():
    assert sum(step.seconds for step in gpu.STEPS) < 15 * 60
