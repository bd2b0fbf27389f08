"""`--launch`: start a command in several processes, with DDP, FSDP2 or DeepSpeed, as torchrun and accelerate do.

What the processes are told is in environment variables of accelerate, which `accelerate launch` sets from the files
that are written here. So both ways start the same training.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from seelevel.errors import InputError, RankLostError
from seelevel.progress import say
from seelevel.recipe import Recipe
from seelevel.store import write_atomically, write_json
from seelevel.training import zero
from seelevel.training.launched import LOST, Kind, world_size
from seelevel.training.requirements import check_splits, check_step_divides

FOLDER = "launch"
"""The folder in a run folder with the files for accelerate and DeepSpeed."""
FSDP2 = {
    "version": 2,
    "reshard_after_forward": True,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "state_dict_type": "FULL_STATE_DICT",
    "cpu_ram_efficient_loading": False,
    "offload_params": False,
    "activation_checkpointing": False,  # align.gradient_checkpointing does it
}
"""What accelerate's launcher wants, by its names after `fsdp_`. Only the version and `reshard_after_forward` have an
effect."""
ZERO_STAGE: dict[str, int] = {"zero2": 2, "zero3": 3}
KILLED = "often a lack of memory"


@dataclass(frozen=True)
class Launch:
    """Processes to start. `device`: cpu or cuda; `words`: the command of seelevel that each process runs."""

    kind: Kind
    processes: int
    device: str
    words: Sequence[str]
    out: Path

    @property
    def _deepspeed_file(self) -> Path:
        return (self.out / FOLDER / f"{self.kind}.json").resolve()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the processes need, besides those of this one."""
        threads = os.environ.get("OMP_NUM_THREADS") or str(max((os.cpu_count() or 1) // self.processes, 1))
        chosen = {"OMP_NUM_THREADS": threads}
        if self.kind == "fsdp2":
            chosen |= {"ACCELERATE_USE_FSDP": "true"}
            chosen |= {f"FSDP_{key.upper()}": _text(value) for key, value in FSDP2.items()}
        elif self.kind in ZERO_STAGE:
            chosen |= zero.environment(self._deepspeed_file)
        return chosen

    @property
    def torchrun(self) -> list[str]:
        """The arguments of `python -m torch.distributed.run`."""
        return ["--standalone", "--nproc_per_node", str(self.processes), "-m", "seelevel", *self.words]

    @property
    def accelerate(self) -> dict[str, Any]:
        """The content of a file for `accelerate launch --config_file`."""
        kind: dict[str, Any] = {"distributed_type": "MULTI_GPU"}  # starts processes on CPUs too; MULTI_CPU starts one
        if self.kind == "fsdp2":
            kind = {
                "distributed_type": "FSDP",
                "fsdp_config": {f"fsdp_{key}": value for key, value in FSDP2.items()},
            }
        elif self.kind in ZERO_STAGE:
            kind = {
                "distributed_type": "DEEPSPEED",
                "deepspeed_config": {"deepspeed_config_file": str(self._deepspeed_file)},
            }
        return {
            "compute_environment": "LOCAL_MACHINE",
            **kind,
            "num_machines": 1,
            "num_processes": self.processes,
            "machine_rank": 0,
            "main_process_port": 0,  # any free one
            "mixed_precision": "no",  # the recipe's dtype decides
            "use_cpu": False,
        }

    def write(self) -> Path:
        """Write the files for accelerate and DeepSpeed; returns accelerate's."""
        if self.kind in ZERO_STAGE:
            write_json(self._deepspeed_file, zero.configuration(ZERO_STAGE[self.kind]))
        file = self.out / FOLDER / f"{self.kind}.yaml"
        write_atomically(file, yaml.safe_dump(self.accelerate, sort_keys=False))
        return file

    def describe(self, file: Path) -> None:
        """Print the commands that do the same. file: accelerate's."""
        where = "the CPU" if self.device == "cpu" else "GPUs"
        variables = [f"{key}={shlex.quote(value)}" for key, value in self.environment.items()]
        command = [sys.executable, "-m", "torch.distributed.run", *self.torchrun]
        also = [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            str(file),
            "-m",
            "seelevel",
            *self.words,
        ]
        say(f"launch: {self.processes} processes on {where}, {self.kind}")
        say(f"launch: with torchrun: {' '.join(variables)} {shlex.join(command)}")
        say(f"launch: with accelerate: {shlex.join(also)}")

    def run(self) -> int:
        """Start the processes and wait for them; returns the exit code.

        Raises `RankLostError` with the rank of the process that failed first, or `InputError` with its line.
        """
        self.describe(self.write())
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.run import parse_args, run

        os.environ.update(self.environment)
        try:
            run(parse_args(self.torchrun))
        except ChildFailedError as error:
            raise failure(error.failures, self.processes) from error
        except SignalException as stop:
            return 128 + int(stop.sigval)
        return 0


def launch_of(kind: Kind, gpus: int | None, recipe: Recipe, words: Sequence[str], out: Path) -> Launch:
    """The processes that the user asks for. gpus: how many; None for all GPUs of this machine.

    Raises `InputError` for fewer than two, for more than there are GPUs, or for DeepSpeed if it is not installed.
    """
    if world_size() > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        raise InputError(f"--launch {kind} starts processes, and this is one of several already; leave it out")
    device, available = _device(kind, gpus, recipe.align.device)
    count = available if gpus is None else gpus
    if device == "cuda" and count > available:
        raise InputError(f"--gpus {count}: this machine has {available}; give at most that many")
    if count < 2:
        raise InputError(
            f"--launch {kind} needs two processes or more, not {count}; leave --launch out to train in one"
        )
    check_step_divides(recipe.align, count)
    check_splits(recipe.align, kind if kind != "ddp" else None)
    if kind in ZERO_STAGE and find_spec("deepspeed") is None:
        raise InputError(f"--launch {kind} needs one more package: pip install 'seelevel[deepspeed]'")
    return Launch(kind, count, device, words, out)


def _device(kind: Kind, gpus: int | None, wanted: str) -> tuple[str, int]:
    """Where the processes train, and how many GPUs there are."""
    if wanted == "cpu":
        if gpus is None:
            raise InputError(f"--launch {kind}: with align.device: cpu, --gpus gives the number of processes; set it")
        return "cpu", 0
    if wanted not in ("auto", "cuda"):
        raise InputError(f"align.device: {wanted} is one device for all processes; with --launch use auto or cpu")
    import torch

    if not (count := torch.cuda.device_count()):
        raise InputError(f"--launch {kind}: this machine has no GPU; to train on its CPU, set align.device=cpu")
    return "cuda", count


def failure(failures: Mapping[int, Any], processes: int) -> Exception:
    """What ended the run, in one line with the rank: torchrun's record of failures, by rank, read for the first cause.

    A process killed by a signal comes first: the others fail because it is gone.
    """
    killed = {rank: f for rank, f in failures.items() if f.exitcode < 0 and f.signal_name() != signal.SIGTERM.name}
    first = killed or failures
    rank = min(first, key=lambda number: (first[number].timestamp, number))
    cause = first[rank]
    message = cause.message if isinstance(cause.message, str) else str(cause.message.get("message", ""))
    line = message.removeprefix("seelevel: ")
    if rank in killed:
        if any(LOST in str(other.message) for other in failures.values()):
            # The others waited for it too long, and it did not end when torchrun told it to.
            return RankLostError(f"rank {rank} of {processes} stopped answering; the same command continues")
        hint = f", {KILLED}" if cause.signal_name() == signal.SIGKILL.name else ""
        return RankLostError(
            f"rank {rank} of {processes} was killed ({cause.signal_name()}{hint}); the same command continues"
        )
    if LOST in message:
        return RankLostError(line)
    if cause.exitcode == 2 and line != message:
        return InputError(f"rank {rank} of {processes}: {line}")
    if cause.error_file_data.get("message") == message:  # not one that torchrun has made up
        return RankLostError(f"rank {rank} of {processes}: {line}")
    return RankLostError(f"rank {rank} of {processes} ended with exit code {cause.exitcode}; its error is above")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
