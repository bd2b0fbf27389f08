"""Experts on servers: the same ladders, in the same order, as if the models were here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from seelevel import generate
from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate.settings import ExpertsSettings
from seelevel.ladder import Ladder, Message, Response
from seelevel.models.base import ApiSettings, ModelRef
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.stages import settings_digest
from seelevel.store import StageFolder
from tests.models.faulty_server import KEY, FaultyServer, answer_to, serving


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.unit
def test_a_served_experts_origin_holds_name_and_decoding(tmp_path: Path) -> None:
    ask: list[Message] = [{"role": "user", "content": "What is there?"}]
    standard = [Response([{"role": "assistant", "content": "A cup."}], 0, {"kind": "standard"})]
    write_shard(StageFolder(tmp_path / "data", "x").shard(0), [Ladder("a", [], ask, standard)], tmp_path)
    stage = StageFolder(tmp_path / "generate", "x")
    stage.begin()
    with serving(share=1.0, faults=["500"], models=["big", "small"]) as server:
        names = [f"{server.address}#{name}" for name in server.models]
        settings = ExpertsSettings.model_validate({"experts": names, "batch_size": 2})
        api = ApiSettings(timeout=5)
        generate.run(tmp_path / "data", stage, settings, [ModelRef(n, n, api) for n in names], tmp_path, 0)
    (ladder,) = read_ladders(stage.path, tmp_path)
    assert [r.text for r in ladder.responses] == ["A cup.", answer_to("user: What is there?")]  # both said the same
    assert ladder.responses[1].origin["model"] == names[0]
    assert ladder.responses[1].origin["sampling"]["max_new_tokens"] == 512
    assert ladder.notes["dropped"][0]["model"] == names[1]
    assert KEY not in "".join(p.read_text("latin-1") for p in tmp_path.rglob("*") if p.is_file())


def answered(tmp_path: Path, server: FaultyServer, *questions: str) -> list[Ladder]:
    """The ladders of a served expert's answers."""
    prompts: list[list[Message]] = [[{"role": "user", "content": question}] for question in questions]
    ladders = [Ladder(str(n), [], prompt) for n, prompt in enumerate(prompts)]
    write_shard(StageFolder(tmp_path / "data", "x").shard(0), ladders, tmp_path)
    stage, name = StageFolder(tmp_path / "generate", "x"), f"{server.address}#m"
    stage.begin()
    settings = ExpertsSettings.model_validate({"experts": [name]})
    generate.run(tmp_path / "data", stage, settings, [ModelRef(name, name, ApiSettings())], tmp_path, 0)
    return read_ladders(stage.path, tmp_path)


@pytest.mark.unit
def test_thoughts_are_kept_with_a_response_and_are_no_part_of_it(tmp_path: Path) -> None:
    with serving() as server:
        server.says = lambda question: "<think>Red or blue?</think>\n\nA cup." if "?" in question else "<think>Red"
        first, second = answered(tmp_path, server, "What is there?", "Go on.")
    (response,) = first.responses
    assert (response.text, response.reasoning) == ("A cup.", "Red or blue?")
    assert response.id == replace(response, reasoning="").id
    assert (second.responses, second.notes["dropped"][0]["reason"]) == ([], "not answered")
    assert "inside its thoughts" in second.notes["dropped"][0]["why"]


@pytest.mark.unit
def test_a_shard_without_thoughts_of_an_older_version_is_read(tmp_path: Path) -> None:
    with serving() as server:
        (ladder,) = answered(tmp_path, server, "What is there?")
    (path,) = (tmp_path / "generate").glob("*.parquet")
    rows = parquet.read_table(path).to_pylist()
    for response in rows[0]["responses"]:
        assert response.pop("reasoning") == ""
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert read_ladders(path, tmp_path) == [ladder]


@pytest.mark.unit
def test_a_filtered_answer_is_dropped_and_the_others_stay(tmp_path: Path) -> None:
    withheld = {"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT", "message": None}]}
    with serving() as server:
        server.replies = lambda question: withheld if "saw" in question else None
        first, second = answered(tmp_path, server, "What does the saw do?", "What is there?")
    assert first.responses == []
    assert first.notes["dropped"][0]["why"] == "ended by content_filter: PROHIBITED_CONTENT, empty"
    assert [response.text for response in second.responses] == [answer_to("user: What is there?")]


@pytest.mark.unit
class TestBeforeARunStarts:
    def recipe(self, expert: str, *more: str) -> Run:
        return Run(load_recipe("world-quick", [f"generate.experts=['{expert}']", *more]), Path("nowhere"))

    def test_an_unreachable_server_ends_the_run_before_any_work(self) -> None:
        with serving() as server:
            name = f"{server.address}#m"
        with pytest.raises(InputError, match="cannot be reached"):
            self.recipe(name).preflight()
        assert not Path("nowhere").exists()

    def test_a_model_that_the_server_lacks_ends_it_too(self) -> None:
        with serving() as server, pytest.raises(InputError, match="does not exist"):
            self.recipe(f"{server.address}#n").preflight()

    def test_a_judge_on_a_server_is_asked_for_as_well(self) -> None:
        with serving() as server:
            self.recipe(f"{server.address}#m", f"evaluate.judge={server.address}#m").preflight()
            with pytest.raises(InputError, match="does not exist"):
                self.recipe(f"{server.address}#m", f"evaluate.judge={server.address}#n").preflight()

    def test_a_server_cannot_be_the_model_to_align(self) -> None:
        with pytest.raises(InputError, match="its weights are needed here"):
            self.recipe("world:s", "align.model=http://127.0.0.1:1/v1#m").preflight()

    def test_a_key_instead_of_its_variable_is_refused_unprinted(self) -> None:
        with pytest.raises(InputError, match="environment variable that holds the key") as caught:
            self.recipe("world:s", "api.key=sk-hush-hush")
        assert "hush" not in str(caught.value)

    def test_beams_on_a_server_are_refused_with_the_recipe(self) -> None:
        with pytest.raises(InputError, match=r"sampling\.num_beams: 1"):
            self.recipe("http://127.0.0.1:1/v1#m", "generate.sampling.num_beams=4")

    def test_a_finished_stage_needs_no_server(self, tmp_path: Path) -> None:
        def preflight(*settings: str) -> None:
            run = self.recipe(*settings)
            run.names.out = tmp_path
            run.preflight()

        with serving() as server:
            gone = f"{server.address}#gone"
            for name in ("data", "generate"):
                folder = StageFolder(tmp_path / name, "x")
                folder.begin()
                folder.finish(settings=settings_digest(self.recipe(gone).recipe, "generate"))
            preflight(gone)
            preflight(gone, "align.learning_rate=0.001")
            for other in ((gone + "2",), (gone, "generate.sampling.max_new_tokens=9"), (gone, "seed=1")):
                with pytest.raises(InputError, match="does not exist"):
                    preflight(*other)
            (tmp_path / "data" / "manifest.json").unlink()
            with pytest.raises(InputError, match="does not exist"):
                preflight(gone)


def test_a_failing_server_ends_the_run_which_later_continues(tmp_path: Path) -> None:
    """The command line itself: exit code 1, then 0, and no reply asked for twice."""
    with serving() as server:
        expert = f"generate.experts=['{server.address}#m']"
        settings = ["--set", "data.limit=6", "--set", expert, "--set", "api={tries: 2, timeout: 20}"]
        command = [str(Path(sys.executable).with_name("seelevel")), "generate", "world-quick", *settings]
        command += ["--out", str(tmp_path / "run")]
        answer = server.fault
        server.fault = lambda question, times: "500" if len(server.answered) >= 3 else answer(question, times)  # type: ignore[method-assign]
        ended = subprocess.run(command, capture_output=True, text=True)
        last = ended.stderr.strip().splitlines()[-1]
        assert ended.returncode == 1, ended.stderr
        assert "failed after 2 tries (status 500: oops)" in last
        server.fault = answer  # type: ignore[method-assign]
        assert subprocess.run(command, capture_output=True).returncode == 0
        assert max(server.answered.values()) == 1
    assert KEY not in "".join(p.read_text("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    ladders = read_ladders(tmp_path / "run" / "generate", tmp_path / "run")
    assert [len(ladder.responses) for ladder in ladders] == [2] * 6
