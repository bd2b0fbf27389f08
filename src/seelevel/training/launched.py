"""Several processes of one training: are they the ones that were asked for, and does each of them still answer?

A launcher says what it has started in environment variables: torchrun its ranks, accelerate also FSDP or DeepSpeed.
Imports torch only to join the processes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

from seelevel.errors import InputError, RankLostError, reason_of
from seelevel.progress import say

Kind = Literal["ddp", "fsdp2", "zero2", "zero3"]
"""What `--launch` takes: all weights in each process, or parts of them."""
Sharding = Literal["FSDP", "DEEPSPEED"]
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables of torchrun and of MPI that give the number of processes."""
REFUSED = {
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "accelerate's tensor and context parallelism",
}
REMEDY = "start it with `--launch`, or with torchrun or accelerate as docs/training.md shows"
PEER_LOST = ("closed by peer", "reset by peer", "timed out", "timeout", "broken pipe", "connection refused")
"""What libraries write when another process has ended or does not answer."""
LOST = "has lost another rank"
LINGER_SECONDS = 5.0
"""A process that has lost another one ends so much later: the launcher should see the other one's death first."""
WATCH_SECONDS = 1.0


def is_true(name: str, environment: Mapping[str, str]) -> bool:
    return environment.get(name, "").lower() in ("1", "true", "yes", "on", "y", "t")


def world_size(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes the launcher has started."""
    sizes = {name: environment[name] for name in SIZES if environment.get(name)}
    for name, value in sizes.items():
        if not value.isdecimal():
            raise InputError(f"{name} is '{value}' and not a number; {REMEDY}")
    return max(map(int, sizes.values()), default=1)


def sharding(environment: Mapping[str, str] = os.environ) -> Sharding | None:
    """How the launcher wants the model divided over the processes; None: each has all of it."""
    if is_true("ACCELERATE_USE_DEEPSPEED", environment):
        return "DEEPSPEED"
    return "FSDP" if is_true("ACCELERATE_USE_FSDP", environment) else None


def check_launch(environment: Mapping[str, str] = os.environ) -> None:
    """Raise `InputError` if the launcher has started something else than it was asked for, or if that is not supported
    here."""
    for name, words in REFUSED.items():
        if is_true(name, environment):
            raise InputError(f"{words} is not supported ({name} is set); use ddp, fsdp2, zero2 or zero3: {REMEDY}")
    wanted = sharding(environment)
    if wanted == "FSDP" and environment.get("FSDP_VERSION", "2") != "2":
        raise InputError("FSDP1 is not supported; set fsdp_version: 2 (FSDP_VERSION=2), or use `--launch fsdp2`")
    started = any(name in environment for name in SIZES)
    processes = world_size(environment)
    if processes > 1 and "RANK" not in environment:
        raise InputError(f"processes of mpirun are not supported; {REMEDY}")
    if processes > 1 and "MASTER_ADDR" not in environment:
        raise InputError(f"WORLD_SIZE says {processes} processes, but not where they meet (MASTER_ADDR); {REMEDY}")
    if wanted is not None and processes < 2:
        raise InputError(f"{wanted} is asked for by the environment, but this is a single process; {REMEDY}")
    # `accelerate launch --cpu --num_processes 2` gives one process the address of a training of several.
    if "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment and not started:
        raise InputError(
            "accelerate launch was asked for several processes and has started one, as it does with --cpu; "
            "use `torchrun --nproc_per_node`, or `--launch ddp` with align.device: cpu"
        )


def join_processes(device: str, seconds: float) -> None:
    """Join the other processes of this training; nothing if there are none.

    seconds: how long a process waits for another one before it ends. Raises `InputError` if fewer processes join than
    were started.
    """
    processes = world_size()
    if processes == 1:
        return
    from accelerate import PartialState

    try:
        # Before `TrainingArguments`, which on CPUs gives the group no time-out of ours.
        state = PartialState(cpu=device == "cpu", timeout=timedelta(seconds=seconds))
    except RuntimeError as error:
        if not _is_peers(error):
            raise
        raise _lost(error) from error
    if state.num_processes != processes:
        raise InputError(
            f"{processes} processes were started, but this one trains with {state.num_processes} "
            f"(LOCAL_RANK {os.environ.get('LOCAL_RANK', 'is not set')}); {REMEDY}"
        )


def check_wrapped(model: Any, wanted: Sharding | None) -> None:
    """Raise `InputError` if a model that is about to be trained is not the kind that the launcher was asked for.

    model: as `Accelerator.prepare` returns it.
    """
    if world_size() == 1:
        return
    names = {kind.__name__ for kind in type(model).__mro__}
    expected = {"FSDP": "FSDPModule", "DEEPSPEED": "DeepSpeedEngine", None: "DistributedDataParallel"}[wanted]
    if expected not in names:
        raise InputError(
            f"{wanted or 'DDP'} is asked for, but the model became {type(model).__name__} on this device; nothing was "
            "trained. Use `--launch ddp`, or a machine with GPUs"
        )


@contextmanager
def naming_lost_ranks() -> Iterator[None]:
    """A training, in which the errors that another process's end causes here become `RankLostError`, after
    `LINGER_SECONDS`. Raises `InputError` as `check_launch` does."""
    check_launch()
    try:
        yield
    except (RuntimeError, OSError) as error:
        if world_size() == 1 or not _is_peers(error):
            raise
        time.sleep(LINGER_SECONDS)  # a launcher that has seen the other one's death ends this process meanwhile
        raise _lost(error) from error


def _is_peers(error: BaseException) -> bool:
    import torch.distributed as dist

    text = str(error).lower()
    about_others = isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text
    return about_others and any(words in text for words in PEER_LOST)


def _lost(error: BaseException) -> RankLostError:
    rank = os.environ.get("RANK", "0")
    return RankLostError(
        f"rank {rank} of {world_size()} {LOST}, which has ended or does not answer "
        f"({reason_of(error)}); the same command continues. If it was only slow, raise align.process_timeout"
    )


def end_with_launcher() -> None:
    """End this process when its launcher has ended: nobody would notice if one of its processes died."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(WATCH_SECONDS)
        say(f"seelevel: rank {os.environ.get('RANK', '0')}: the launcher has ended; the same command continues")
        os._exit(1)

    threading.Thread(target=watch, name="launcher", daemon=True).start()
