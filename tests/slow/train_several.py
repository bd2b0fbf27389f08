"""Train the throwaway model several times in the processes of one launch: `torchrun … -m tests.slow.train_several
FOLDER`. `FOLDER/jobs.json` lists what to train:

`out`, `settings`: as of `fit`; `ladders`: a file; `base`: a folder; `sharded`: with FSDP2, as a launcher asks for it;
`stop`: die in the step after this one; `after`: begin with a copy of this folder.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from seelevel import load_ladders
from seelevel.training import agreement, prepare, reference
from seelevel.training.fit import fit
from seelevel.training.packing.tokens import tokenise
from seelevel.training.settings import AlignSettings
from seelevel.training.trainer import PreferenceTrainer
from tests.training.killing import Killed

SEED = 5
BEFORE = {(agreement, "_apart"): agreement._apart, (reference, "_compute"): reference._compute}
"""What is computed with the model before it trains."""
step = PreferenceTrainer.training_step


def train(folder, job):
    out = folder / job["out"]
    if job.get("after") and not rank():
        shutil.copytree(folder / job["after"], out)
    if dist.is_initialized():
        dist.barrier()
    PreferenceTrainer.training_step = watched(out, job.get("stop"))
    for module, name in BEFORE:
        setattr(module, name, noted(BEFORE[module, name], out))
    prepare.tokenise = counted(out)
    os.environ |= {"ACCELERATE_USE_FSDP": str(job.get("sharded", False)).lower(), "FSDP_VERSION": "2"}
    os.environ |= {"ACCELERATE_USE_DEEPSPEED": str("zero" in job).lower()}
    os.environ |= {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(folder / job.get("zero", ""))}
    settings = AlignSettings(model=str(folder / job["base"]), **job["settings"])
    try:
        fit(load_ladders(folder / job["ladders"]), settings.model, settings, out, seed=SEED)
    except Killed:
        pass
    finally:
        PreferenceTrainer.training_step = step
        prepare.tokenise = tokenise
        for (module, name), plain in BEFORE.items():
            setattr(module, name, plain)


def watched(out, stop):
    """A step that dies when it should, and writes how many bytes this process holds."""

    def call(self, *args, **options):
        if self.state.global_step == stop:
            raise Killed
        loss = step(self, *args, **options)
        weights = list(self.trained.parameters())
        moments = [value for state in self.optimizer.state.values() for value in state.values() if value.ndim]
        held = {"weights": weights, "gradients": [w.grad for w in weights if w.grad is not None], "moments": moments}
        place = out / f"bytes-{rank()}.json"
        place.write_text(json.dumps({name: sum(map(local_bytes, tensors)) for name, tensors in held.items()}))
        return loss

    return call


def noted(call, out):
    """`call`, which also writes the model's number format and how many bytes of its weights this process holds."""

    def noting(model, *args):
        if isinstance(model, FSDPModule):
            model.reshard()  # what is outside the layers stays gathered after a pass
        place = out / f"before-{rank()}.jsonl"
        weights = sum(map(local_bytes, model.parameters()))
        with place.open("a") as file:
            print(json.dumps({"dtype": str(model.dtype), "weights": weights}), file=file)
        return call(model, *args)

    return noting


def counted(out):
    """`tokenise`, which also writes the ids of the ladders that this process has tokenised."""

    def counting(ladder, *args):
        out.mkdir(exist_ok=True)  # the first process may come to it later
        with (out / f"tokenised-{rank()}.txt").open("a") as file:
            print(ladder.id, file=file)
        return tokenise(ladder, *args)

    return counting


def local_bytes(tensor):
    tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return tensor.numel() * tensor.element_size()


def rank():
    return int(os.environ.get("RANK", "0"))


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    for job in json.loads((folder / "jobs.json").read_text()):
        print(f"rank {rank()}: {job['out']}", file=sys.stderr)  # the last line tells which one hangs
        train(folder, job)


if __name__ == "__main__":
    main()
