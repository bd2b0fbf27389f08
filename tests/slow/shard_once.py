"""Log-probs and gradients of a policy whose layers FSDP2 shards over two processes: `torchrun … -m
tests.slow.shard_once FOLDER OUT`. The first process writes them, and those of a whole policy on all ladders."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import collate
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.structure import parts
from tests.training.tiny import in_float64, make_ladder, make_model, make_processor


def make_policy():
    return Policy(make_model(make_processor(), dtype=torch.float64).train())


def backward(policy, folder, seeds):
    """Log-probs of ladders; the gradient of their squares' sum is left in the policy."""
    processor = make_processor()
    images = ImageReader(processor)
    ladders = [tokenise(make_ladder(folder, n, 2 + n % 3), processor, images) for n in seeds]
    values = token_logprobs(policy, in_float64(collate(ladders, images, "shared"))).values
    values.square().sum().backward()
    return values.detach()


def main():
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo")
    rank, mesh = dist.get_rank(), init_device_mesh("cpu", (2,))
    policy = make_policy()
    for layer in parts(policy.model).layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(policy, mesh=mesh)
    mine = backward(policy, folder, range(2 * rank, 2 * rank + 2))
    sharded = {f"sharded {n}": p.grad.full_tensor() * 2 for n, p in policy.named_parameters() if p.grad is not None}
    values = [None, None]
    dist.all_gather_object(values, mine)
    if rank == 0:
        whole = make_policy()
        together = backward(whole, folder, range(4))
        expected = {f"whole {n}": p.grad for n, p in whole.named_parameters() if p.grad is not None}
        save_file({"values": torch.cat(values), "together": together, **sharded, **expected}, out)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
