"""The command line: fast help, one line a mistake, the documented exit codes."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from seelevel.cli import main
from seelevel.cli.run import _print_metrics, run
from seelevel.errors import FAILURES, DiskFullError
from seelevel.formats.parquet import save_ladders
from seelevel.ladder import Ladder, Message
from seelevel.store import STAGES
from tests.cli_reference import reference

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[1]
COMMAND = str(Path(sys.executable).with_name("seelevel"))


def call(*arguments, cwd=ROOT, input=None, environment=os.environ):
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        input=input,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**environment, "HF_HUB_OFFLINE": "1", "COLUMNS": "100"},
    )
    return done.returncode, done.stdout, done.stderr


def refused(*arguments, cwd=ROOT):
    """The one line that a mistake gets."""
    code, _, errors = call(*arguments, cwd=cwd)
    assert code == 2, errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1, errors
    return errors


def test_help_costs_less_than_half_a_second(tmp_path):
    """Processor time, so that other work does not count, of modules that are compiled, as installed ones are."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    costs = []
    for _ in range(4):
        before = os.times()
        assert call("--help", environment={**environment, "PYTHONPYCACHEPREFIX": str(tmp_path)})[0] == 0
        after = os.times()
        costs.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(costs) < 0.5


def test_help_imports_nothing_that_only_work_needs():
    code, _, imports = call("--help", environment={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert code == 0
    names = {line.rpartition("|")[2].strip() for line in imports.splitlines()}
    assert "seelevel.cli" in names
    assert not names & {"torch", "transformers", "numpy", "PIL", "pyarrow", "pydantic", "ray", "seelevel.ladder"}


def test_the_reference_page_is_what_the_program_prints():
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "run make docs"


def test_the_help_of_run_names_every_stage_in_order():
    assert ", ".join(STAGES) in " ".join(run.__doc__.split())


def test_an_unknown_recipe_key_names_the_nearest(tmp_path):
    assert "did you mean 'align'" in refused("run", "world-quick", "--set", "aling.epochs=1", "--out", tmp_path)


def test_an_unknown_recipe_names_the_nearest():
    assert "did you mean 'world-quick'" in refused("run", "world-quik")


def test_json_that_is_not_json_names_file_and_line(tmp_path):
    (tmp_path / "p.json").write_text('[{"id": 1},\n {"id": 2,}\n]')
    (tmp_path / "images").mkdir()
    line = refused(
        "run", "world-quick", "--out", tmp_path / "run",
        "--set", f"data.prompts={tmp_path / 'p.json'}", "--set", f"data.images={tmp_path / 'images'}",
    )  # fmt: skip
    assert "p.json" in line and "line 2" in line


@pytest.mark.parametrize("key", ["data.prompts", "data.images"])
def test_a_missing_file_or_folder_is_named(tmp_path, key):
    (tmp_path / "p.json").write_text("[]")
    sets = {"data.prompts": tmp_path / "p.json", "data.images": tmp_path, key: tmp_path / "nowhere"}
    arguments = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
    line = refused("run", "world-quick", "--out", tmp_path / "run", *arguments)
    assert f"{tmp_path / 'nowhere'} does not exist" in line


@pytest.mark.parametrize("key", ["align.model", "generate.experts", "check.encoder"])
def test_a_model_folder_without_weights_is_refused_before_anything_runs(tmp_path, key):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    value = tmp_path / "model" if key != "generate.experts" else f"[{tmp_path / 'model'}]"
    line = refused("run", "world-quick", "--out", tmp_path / "run", "--set", f"{key}={value}")
    assert str(tmp_path / "model") in line and "safetensors" in line
    assert not (tmp_path / "run" / "data" / "manifest.json").exists()


def test_an_unknown_part_of_the_world_is_refused(tmp_path):
    assert "world:" in refused("run", "world-quick", "--out", tmp_path, "--set", "align.model=world:huge")
    assert "world:" in refused("run", "world-quick", "--out", tmp_path, "--set", "evaluate.data=world:exam")


def test_a_stage_alone_wants_its_predecessor(tmp_path):
    assert "seelevel generate" in refused("check", "world-quick", "--out", tmp_path)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another run is at work" in refused("run", "world-quick", "--out", tmp_path)


def test_dry_run_says_what_would_run_and_writes_nothing(tmp_path):
    code, output, errors = call("run", "world-quick", "--out", tmp_path / "run", "--dry-run")
    assert code == 0, errors
    assert "world:s" in output and "160 records" in output
    for stage in ("generate", "check", "align", "evaluate"):
        assert stage in output
    assert not (tmp_path / "run").exists()


def test_a_figure_that_is_undefined_is_a_dash(tmp_path, capsys):
    none = {"value": None, "low": None, "high": None, "n": 0}
    half, less = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}, {"value": -0.25, "low": -0.3, "high": -0.2, "n": 9}
    alone = {"value": 0.125, "low": None, "high": None, "n": 1}  # one picture: no interval
    metrics = {
        "base": {"chair_i": half, "mrhal_score_c": none, "chair_s": alone},
        "aligned": {"chair_i": {**half, "value": 0.25}, "mrhal_score_c": none, "chair_s": alone},
        "differences": {"chair_i": less, "mrhal_score_c": none, "chair_s": alone},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    _print_metrics(tmp_path)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows[0] == ["chair_i", "0.5000", "0.2500", "-0.2500", "[-0.3000,", "-0.2000]"]
    assert rows[1] == ["mrhal_score_c", "–", "–", "–"]
    assert rows[2] == ["chair_s", "0.1250", "0.1250", "+0.1250", "[–]"]


def test_figures_of_a_control_stand_beside_the_others(tmp_path, capsys):
    values = {"base": 0.5, "aligned": 0.25, "control": 0.375, "differences": -0.25, "differences_from_control": -0.125}
    metrics = {key: {"chair_i": {"value": x, "low": x, "high": x, "n": 9}} for key, x in values.items()}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    _print_metrics(tmp_path)
    head, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head[:4] == ["base", "aligned", "control", "difference"] and "from the control" in " ".join(head)
    assert row[:5] == ["chair_i", "0.5000", "0.2500", "0.3750", "-0.2500"] and row[7] == "-0.1250"


def test_dry_run_names_a_missing_file_in_one_line(tmp_path):
    missing = f"data.prompts={tmp_path / 'nowhere.json'}"
    assert "nowhere.json does not exist" in refused("run", "world-quick", "--dry-run", "--set", missing)


def test_score_pope_prints_one_json_object(tmp_path):
    labels, answers = ["yes", "yes", "no", "no"], ["Yes.", "No.", "Yes, there is.", "No"]
    questions = [
        {"question_id": n, "image": "a.png", "text": f"Is there a {n}?", "label": x} for n, x in enumerate(labels)
    ]
    (tmp_path / "q.json").write_text("".join(json.dumps(q) + "\n" for q in questions))
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"question_id": n, "text": a}) + "\n" for n, a in enumerate(answers))
    )
    code, output, errors = call(
        "score", "pope", "--questions", tmp_path / "q.json", "--predictions", tmp_path / "a.jsonl", "--json"
    )
    assert code == 0, errors
    scores = json.loads(output)
    assert [scores[k] for k in ("tp", "fp", "tn", "fn")] == [1, 1, 1, 1]
    assert scores["f1"] == scores["accuracy"] == 0.5


def test_out_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "choose another --out" in refused("run", "world-quick", "--out", out)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_evaluation_file_that_is_missing_is_named_before_anything_runs(tmp_path):
    (tmp_path / "evaluation").mkdir()
    line = refused("run", "world-quick", "--out", tmp_path / "run", "--set", f"evaluate.data={tmp_path / 'evaluation'}")
    assert "synonyms.txt does not exist" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "world-quick", "--ot", "x"], "--out"),
        (["run", "world-quick", "more"], "unexpected extra argument"),
        (["score", "pope", "--rule", "none"], "--rule"),
        (["world", "sample", "--count", "0"], "--count"),
    ],
)
def test_a_wrong_option_or_argument_is_one_line_that_names_the_help(arguments, message):
    line = refused(*arguments)
    assert message in line and "--help" in line


def test_an_interrupt_is_one_line_and_no_traceback():
    """The interrupt strikes while the recipe is read. A shell that starts the tests in the background has interrupts
    ignored, and children inherit that."""
    code = (
        "import sys, signal, os, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import seelevel.cli as cli, seelevel.cli.run as run\n"
        "run._recipe = lambda *_: (os.kill(os.getpid(), signal.SIGINT), time.sleep(30))\n"
        "sys.argv = ['seelevel', 'run', 'world-quick']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "seelevel: stopped; the same command continues\n"


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_of_a_run_is_one_line(kind, monkeypatch, capsys):
    failure = kind("folder", 3) if kind is DiskFullError else kind("it failed")

    def failing(**_):
        raise pickle.loads(pickle.dumps(failure))  # also one that a worker has sent

    monkeypatch.setattr("seelevel.cli.app", failing)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1 and capsys.readouterr().err == f"seelevel: {failure}\n"


def test_torchrun_is_told_the_line_too(tmp_path, monkeypatch):
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    line = refused("run", "nonsense")
    assert ProcessFailure(0, 1, 2, str(tmp_path / "error.json")).message == line.strip()


def test_torchrun_is_told_of_an_error_that_nobody_expected(tmp_path, monkeypatch):
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))

    def failing(**_):
        raise KeyError("nobody expected it")

    monkeypatch.setattr("seelevel.cli.app", failing)
    with pytest.raises(KeyError):
        main()
    assert ProcessFailure(0, 1, 1, str(tmp_path / "error.json")).message == "KeyError 'nobody expected it'"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert str(taken) in refused("world", "sample", str(taken / "sheet.png"), "--count", "1")
    assert taken.read_text() == "mine"


def test_home_and_variables_in_arguments_are_replaced(tmp_path, monkeypatch):
    (tmp_path / "p.jsonl").write_text('{"prompt": "Q?", "good": "a", "bad": "b"}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OUT_FOLDER", str(tmp_path / "out"))
    code, output, _ = call("convert", "~/p.jsonl", "$OUT_FOLDER/l.parquet", "--columns=chosen=good,rejected=bad")
    assert (code, output) == (0, "read: 1, written: 1, rejected: 0\n")
    assert (tmp_path / "out" / "l.parquet").is_file()
    assert refused("inspect", "$NO_SUCH_FOLDER/x").startswith("seelevel: argument: $NO_SUCH_FOLDER/x: the variable")


def test_a_column_that_is_not_there_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"frage": "Q?", "good": "a", "bad": "b"}\n')
    recipe = ["run", "world-quick", "--out", tmp_path / "run", "--set", f"data.prompts={tmp_path / 'p.jsonl'}"]
    line = refused(*recipe, "--set", "data.columns={chosen: best}")
    assert "data: columns: chosen: " in line
    assert line.endswith("has no column best; it has frage, good, bad\n")
    save_ladders([Ladder("x", [], [Message(role="user", content="Q?")], [])], tmp_path / "l.parquet")
    line = refused(*recipe, "--set", f"data.prompts={tmp_path / 'l.parquet'}", "--set", "data.columns={prompt: id}")
    assert line.startswith("seelevel: data: columns: format ladders reads ")
    line = refused(*recipe, "--dry-run")
    assert "data: " in line
    assert "no known form; the records have frage, good, bad; forms need" in line
    assert not (tmp_path / "run").exists()
