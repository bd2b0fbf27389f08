"""Several processes of one training are those that were asked for; any other launch is refused."""

import pytest
import torch
from torch import nn

from seelevel.errors import InputError, RankLostError
from seelevel.training import launched
from seelevel.training.launched import check_launch, check_wrapped, naming_lost_ranks, world_size

pytestmark = pytest.mark.unit
RANK_0 = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "here"}
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
# what `accelerate launch --cpu --num_processes 2` tells the one process that it starts
ACCELERATE_CPU = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (ACCELERATE_CPU, "accelerate launch was asked for several processes and has started one"),
        (FSDP2, "FSDP is asked for by the environment, but this is a single process"),
        ({"ACCELERATE_USE_DEEPSPEED": "1"}, "DEEPSPEED is asked for by the environment, but this is a single"),
        ({**RANK_0, **FSDP2, "WORLD_SIZE": "1"}, "FSDP is asked for by the environment, but this is a single process"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE says 2 processes, but not where they meet"),
        ({"PMI_SIZE": "2"}, "processes of mpirun are not supported"),
        ({**RANK_0, "WORLD_SIZE": "two"}, "WORLD_SIZE is 'two' and not a number"),
        ({**RANK_0, **FSDP2, "FSDP_VERSION": "1"}, "FSDP1 is not supported; set fsdp_version: 2"),
        ({**RANK_0, "ACCELERATE_USE_MEGATRON_LM": "true"}, "Megatron-LM is not supported"),
        ({**RANK_0, "ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "context parallelism is not supported"),
    ],
)
def test_a_launch_that_would_not_do_what_was_asked_is_refused(environment, message):
    with pytest.raises(InputError) as error:
        check_launch(environment)
    assert message in str(error.value)


@pytest.mark.parametrize("environment", [{}, RANK_0, {**RANK_0, **FSDP2}, {"MASTER_ADDR": "here"}])
def test_ordinary_launches_are_accepted(environment):
    check_launch(environment)
    assert world_size(environment) == (1 if len(environment) < 2 else 2)


@pytest.mark.parametrize("kind", [None, "FSDP", "DEEPSPEED"])
def test_a_model_of_another_kind_than_asked_is_not_trained(kind, monkeypatch):
    classes = {None: "DistributedDataParallel", "FSDP": "FSDPModule", "DEEPSPEED": "DeepSpeedEngine"}
    monkeypatch.setenv("WORLD_SIZE", "2")
    for other, name in classes.items():
        model = type("Wrapped", (type(name, (nn.Module,), {}),), {})()
        if other == kind:
            check_wrapped(model, kind)
            continue
        with pytest.raises(InputError, match="is asked for, but the model became Wrapped on this device"):
            check_wrapped(model, kind)
    with pytest.raises(InputError):  # each process would train alone
        check_wrapped(nn.Linear(1, 1), kind)
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_wrapped(nn.Linear(1, 1), kind)


def test_a_connection_that_another_process_closed_is_one_line(monkeypatch):
    monkeypatch.setattr(launched, "LINGER_SECONDS", 0.0)
    for name, value in RANK_0.items():
        monkeypatch.setenv(name, value)
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4242")
    with pytest.raises(RankLostError, match="rank 0 of 2 has lost another rank"), naming_lost_ranks():
        raise lost
    for other in (RuntimeError("Connection closed by peer"), torch.OutOfMemoryError("gloo"), ValueError("timed out")):
        with pytest.raises(type(other)) as error, naming_lost_ranks():
            raise other
        assert error.value is other
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(RuntimeError) as error, naming_lost_ranks():
        raise lost
    assert error.value is lost
