"""What a step on one ladder with a long prefix keeps on the device, and what goes to the host.

    python -m benchmarks.long_prefix --prefix 1024 4096 8192 16384
    python -m benchmarks.long_prefix --prefix 16384 --fit        # the peak of a whole process that trains one step

A LLaVA of random weights with the proportions of a 7B model (8 heads of 32 in a width of 256, an MLP of 2.7 times
that), adapters on all layers, float32. A picture is 576 tokens; the prefix has as many as it holds, and text. The CPU
plays the GPU: the allocator's events are the device's, and the host's memory is not torch's (`benchmarks.host`).
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.host import playing_gpu
from benchmarks.memory import allocations
from benchmarks.shapes import Shape, make_ladder, make_model, make_processor
from benchmarks.towers import Clip
from seelevel.ladder import Ladder
from seelevel.training.fit import fit
from seelevel.training.loading import with_lora
from seelevel.training.logprobs import Policy, token_logprobs
from seelevel.training.packing import collate
from seelevel.training.packing.offload import offload_activations
from seelevel.training.packing.passes import recompute_layers
from seelevel.training.packing.tokens import ImageReader, tokenise
from seelevel.training.settings import LoraSettings, TrainSettings

SHAPE = Shape(4000, 256, 4, 8, 688, Clip(64, 2, 2, grid=24), context=40_000, lora=16)
MARKS = 2  # USER: and ASSISTANT: belong to the prefix
WORDS = 8  # of a question, at least
MODES = {
    "plain": (False, False, None),
    "checkpointing": (True, False, None),
    "checkpointing, answers one by one": (True, False, 1),
    "offload": (True, True, None),
    "offload, answers one by one": (True, True, 1),
}
"""For each: are layers computed again, is what they keep offloaded, answers of a segment."""


@dataclass(frozen=True)
class Measured:
    """Bytes. kept: on the device between the forward and the backward pass; peak: on it at the highest, without
    weights; host: in the host's memory at the highest; largest: of one tensor."""

    kept: int
    peak: int
    host: int
    largest: int


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.fit:
            for prefix in options.prefix:
                print(f"| {prefix:,} | {train(prefix, options, Path(folder)) / 1e9:.2f} GB |", flush=True)
            return
        print("| prefix | mode | kept | peak | host | largest tensor |\n| --- | --- | --- | --- | --- | --- |")
        for prefix in options.prefix:
            for mode in MODES:
                found = measure(prefix, mode, options, Path(folder))
                cells = [f"{value / 1e6:,.1f} MB" for value in vars(found).values()]
                print(f"| {prefix:,} | {mode} | {' | '.join(cells)} |", flush=True)


def measure(prefix: int, mode: str, options: argparse.Namespace, folder: Path) -> Measured:
    """One pass forward and back over a ladder in the shared layout."""
    again, offloaded, answers = MODES[mode]
    shape = replace(SHAPE, layers=options.layers)
    model = make_model(shape, torch.device("cpu"))
    if offloaded:
        offload_activations(model)
    model = with_lora(model, LoraSettings(r=shape.lora, alpha=16)).train()
    if again:
        recompute_layers(model)
    processor = make_processor(shape)
    images = ImageReader(processor)
    ladder = long_ladder(shape, folder, prefix, options)
    batch = collate([tokenise(ladder, processor, images)], images, "shared", answers)
    with playing_gpu() if offloaded else nullcontext() as host:
        with _recorded() as forward:
            values = token_logprobs(Policy(model), batch).values
        with _recorded() as backward:
            values.sum().backward()
        most = 0 if host is None else host.most
    kept = sum(size for _, size in forward)
    return Measured(
        kept, max(_peak(forward), kept + _peak(backward)), most, max(size for _, size in forward + backward)
    )


def long_ladder(shape: Shape, folder: Path, prefix: int, options: argparse.Namespace) -> Ladder:
    """A ladder whose prefix is `prefix` tokens: as many pictures as fit, then text."""
    count = min(max((prefix - MARKS - WORDS) // shape.image_tokens, 1), options.pictures)
    lengths = (options.response, options.response)
    one = make_ladder(shape, folder, options.k, prefix - (count - 1) * shape.image_tokens, lengths)
    [message] = one.prompt
    prompt: Any = [{**message, "content": "<image>\n" * (count - 1) + message["content"]}]
    return replace(one, images=one.images * count, prompt=prompt)


def train(prefix: int, options: argparse.Namespace, folder: Path) -> int:
    """Bytes: the highest resident memory of this process after a training of one step, reference and comparison of the
    layouts included."""
    shape = replace(SHAPE, layers=options.layers)
    base, processor = folder / "base", make_processor(shape)
    make_model(shape, torch.device("cpu")).save_pretrained(base)
    processor.save_pretrained(base)
    settings = TrainSettings(
        lora=LoraSettings(r=shape.lora), gradient_checkpointing=True, answers_per_pass=1, epochs=1, ladders_per_step=1,
        cache=False, device="cpu",
    )  # fmt: skip
    facts = fit([long_ladder(shape, folder, prefix, options)], str(base), settings, folder / str(prefix))
    print(f"{facts['steps']} step, layout {facts['layout']}", file=sys.stderr)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _recorded() -> Iterator[list[tuple[int, int]]]:
    events = list[tuple[int, int]]()
    gc.collect()  # or what was held before would be released, and counted, in here
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as recorded:
        yield events
    events += allocations(recorded)


def _peak(events: Sequence[tuple[int, int]]) -> int:
    live = most = 0
    for _, size in events:
        live += size
        most = max(most, live)
    return most


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_prefix", description=__doc__.split("\n")[0])
    parser.add_argument("--prefix", nargs="+", type=int, default=[1024, 4096, 8192, 16384])
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--response", type=int, default=128, help="tokens of each response")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=28, help="at most; the rest of the prefix is text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fit", action="store_true", help="the resident memory of a process that trains one step")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
