"""`--launch`: the commands, what is refused before anything starts, and the line that names the rank that ended."""

from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from seelevel.errors import InputError, RankLostError
from seelevel.json_text import dumps, loads
from seelevel.launch import FSDP2, Launch, failure, launch_of
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.training.launched import LOST
from tests.test_cli import refused

pytestmark = pytest.mark.unit
CPU = "align.device=cpu"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def asked(kind, count=None, *changes):
    return launch_of(kind, count, load_recipe("world-quick", list(changes)), ["align", "world-quick"], Path("runs/x"))


def accelerate_environment(file):
    """What `accelerate launch` would tell each process, as accelerate itself reads the file."""
    words = ["--config_file", str(file), "-m", "seelevel", "align", "world-quick"]
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert args.num_processes == 4 and args.module and args.training_script == "seelevel"
    args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    if args.use_deepspeed:
        return prepare_deepspeed_cmd_env(args)[1]
    assert args.multi_gpu or args.use_fsdp
    return prepare_multi_gpu_env(args)


@pytest.mark.parametrize("kind", ["ddp", "fsdp2", "zero2", "zero3"])
def test_the_commands_start_the_same_training(kind, tmp_path):
    launch = Launch(kind, 4, "cuda", ["align", "world-quick"], tmp_path)
    told = accelerate_environment(launch.write())
    ours = {key: value for key, value in launch.environment.items() if key != "OMP_NUM_THREADS"}
    assert {key: told[key] for key in ours} == ours
    asked = {key for key in told if key.startswith("ACCELERATE_USE") and told[key].lower() == "true"}
    assert asked == {key for key in ours if key.startswith("ACCELERATE_USE")}
    assert launch.torchrun == ["--standalone", "--nproc_per_node", "4", "-m", "seelevel", "align", "world-quick"]


def test_accelerate_reads_fsdp2_out_of_the_environment(tmp_path, monkeypatch):
    from accelerate.utils import FullyShardedDataParallelPlugin

    for key, value in Launch("fsdp2", 2, "cuda", [], tmp_path).environment.items():
        monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.state_dict_type.name == FSDP2["state_dict_type"]


@pytest.mark.parametrize(("kind", "stage"), [("zero2", 2), ("zero3", 3)])
def test_the_deepspeed_file_has_the_stage(kind, stage, tmp_path):
    launch = Launch(kind, 2, "cuda", [], tmp_path)
    config = yaml.safe_load(launch.write().read_text())["deepspeed_config"]["deepspeed_config_file"]
    assert loads(Path(config).read_text())["zero_optimization"]["stage"] == stage
    assert launch.environment["ACCELERATE_DEEPSPEED_CONFIG_FILE"] == config


def test_all_gpus_train_if_no_number_is_given(monkeypatch):
    gpus(monkeypatch, 8)
    assert asked("ddp").processes == 8
    assert asked("fsdp2", 4).processes == 4


def test_the_cpu_trains_if_the_recipe_says_so(monkeypatch):
    gpus(monkeypatch, 0)
    launch = asked("ddp", 2, CPU)
    assert (launch.device, launch.processes) == ("cpu", 2)


@pytest.mark.parametrize(
    ("available", "arguments", "message"),
    [
        (2, ("ddp", 4), "--gpus 4: this machine has 2; give at most that many"),
        (0, ("ddp", 2), "this machine has no GPU; to train on its CPU, set align.device=cpu"),
        (0, ("ddp", None, CPU), "--gpus gives the number of processes; set it"),
        (1, ("fsdp2",), "needs two processes or more, not 1"),
        (2, ("ddp", None, "align.device=cuda:1"), "cuda:1 is one device for all processes"),
        (2, ("fsdp2", None, "align.compile=true"), "align.compile: not supported with fsdp2, which splits the model"),
        (3, ("ddp",), "16 ladders do not divide over 3 processes"),
        (2, ("zero3",), "needs one more package: pip install 'seelevel[deepspeed]'"),
    ],
)
def test_what_cannot_be_started_is_one_line(available, arguments, message, monkeypatch):
    gpus(monkeypatch, available)
    monkeypatch.setattr("seelevel.launch.find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        asked(*arguments)
    assert message in str(error.value)


def test_processes_of_a_launcher_start_no_others(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="this is one of several already; leave it out"):
        asked("ddp", 2, CPU)


def test_gpus_without_launch_would_be_one_process():
    assert "--gpus goes with --launch" in refused("align", "world-quick", "--gpus", "2")


@pytest.mark.parametrize("command", [("run", "--dry-run"), ("align", "--show-batch")])
def test_what_trains_nothing_starts_no_processes(command, tmp_path):
    name, option = command
    line = refused(name, "world-quick", option, "--launch", "ddp", "--out", str(tmp_path / "run"))
    assert f"--launch and --gpus start a training; leave them out with {option}" in line


def test_what_needs_one_process_is_refused_before_any_starts(tmp_path):
    recipe = ["run", "world-amp-ig", "--out", tmp_path, "--set", CPU, "--launch", "ddp", "--gpus", "2"]
    assert "fine-tunes in one process" in refused(*recipe)
    assert "data is not finished" not in refused(*recipe)
    line = refused("align", "world-quick", "--out", tmp_path, "--set", CPU, "--launch", "ddp", "--gpus", "2")
    assert "generate is not finished; run `seelevel generate` on this recipe first" in line


@pytest.mark.parametrize(
    ("command", "changes", "line"),
    [
        ("run", [], "run: 2 processes share align; the first one does generate, check, evaluate, report alone"),
        ("evaluate", [], "evaluate: 2 processes share align; the first one does evaluate alone (`engine: ray`"),
        ("generate", ["engine=ray"], "the first one does generate with the workers of its engine"),
        ("align", [], ""),
    ],
)
def test_several_processes_say_what_one_does_alone(command, changes, line, tmp_path, monkeypatch, capsys):
    run = Run(load_recipe("world-quick", changes), tmp_path)
    with run._lock(command):
        assert capsys.readouterr().err == ""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with run._lock(command):
        printed = capsys.readouterr().err
    assert line in printed and printed.count("\n") == bool(line)


def failed(rank, code, message=None, folder=None, timestamp=5):
    file = "" if message is None else folder / f"{rank}.json"
    if message is not None:
        file.write_text(dumps({"message": message, "timestamp": timestamp}))
    return ProcessFailure(rank, 100 + rank, code, str(file))


def test_the_last_line_names_the_rank_that_was_killed(tmp_path):
    # the others fail because it is gone, and may be quicker to say so
    failures = {0: failed(0, 1, "RuntimeError Connection closed by peer", tmp_path), 1: failed(1, -9)}
    error = failure(failures, 2)
    assert isinstance(error, RankLostError)
    assert str(error).startswith("rank 1 of 2 was killed (SIGKILL, often a lack of memory)")


def test_the_last_line_names_the_rank_that_the_others_waited_for(tmp_path):
    lost = f"rank 0 of 2 {LOST}, which has ended or does not answer"
    waited = failed(0, 1, f"seelevel: {lost}", tmp_path)
    assert str(failure({0: waited, 1: failed(1, -9)}, 2)).startswith("rank 1 of 2 stopped answering")
    assert str(failure({0: waited}, 2)) == lost


def test_the_last_line_has_what_the_rank_has_said(tmp_path):
    late, early = (failed(rank, 2, f"seelevel: said by {rank}", tmp_path, 9 - rank) for rank in (0, 1))
    error = failure({0: late, 1: early}, 2)
    assert isinstance(error, InputError) and str(error) == "rank 1 of 2: said by 1"
    error = failure({3: failed(3, 1, "OutOfMemoryError CUDA out of memory", tmp_path)}, 4)
    assert isinstance(error, RankLostError) and str(error) == "rank 3 of 4: OutOfMemoryError CUDA out of memory"
    assert str(failure({2: failed(2, 7)}, 4)) == "rank 2 of 4 ended with exit code 7; its error is above"
