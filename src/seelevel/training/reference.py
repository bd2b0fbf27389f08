"""The reference's log-probabilities: computed once by the model as loaded, then kept for later epochs and runs.

Each ladder has a forward pass of its own, because sums of floating-point numbers depend on the rest of the batch. So
its log-probs depend only on the model, the ladder, the layout and the machine, and these are the key of the cache.
Order, limit, number of processes and interruptions change nothing: a value from the cache equals the computed one bit
for bit.

A folder belongs to one model, layout and machine. It holds safetensors files of up to 128 ladders. An entry is named by
its ladder's content, a file by the SHA-256 of its bytes. So a corrupt file is recognised by its name, two processes may
write at the same time, and no file is ever changed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seelevel.errors import DiskFullError, InputError, is_disk_full
from seelevel.fingerprints import digest, source_fingerprint
from seelevel.ladder import Ladder
from seelevel.opening import read_bytes
from seelevel.progress import Progress, say
from seelevel.store import batched, write_atomically
from seelevel.training.ahead import ahead
from seelevel.training.compiling import is_compiled
from seelevel.training.liger import has_liger
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import Batch, collate
from seelevel.training.packing.inputs import base
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, TokenisedLadder
from seelevel.training.settings import Layout
from seelevel.training.sharding import Lockstep, text_token


def weights_fingerprint(model: Any) -> str:
    """SHA-256 over names, types and bytes of every weight, adapters included."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def ladder_fingerprint(ladder: TokenisedLadder) -> str:
    """SHA-256 over a ladder's tokens, their scoring, and its pictures as the processor prepared them."""
    total = hashlib.sha256(ladder.digest)
    for tokens, rounds in zip(ladder.tokens, ladder.rounds, strict=True):
        total.update(f"{len(tokens)} ".encode() + tokens.tobytes() + rounds.tobytes())
    return total.hexdigest()


def data_fingerprint(ladders: Sequence[TokenisedLadder]) -> str:
    """A digest of all ladders in their order."""
    return digest(list(map(ladder_fingerprint, ladders)))


def reference_logprobs(
    model: Any,
    ladders: Sequence[TokenisedLadder],
    images: ImageReader,
    layout: Layout,
    folder: Path,
    weights: str = "",
    state: PartialState | None = None,
    lockstep: Lockstep | None = None,
) -> list[Tensor]:
    """Each ladder's log-probs under the current model, [N] on the CPU, in the order of `TokenLogprobs`.

    Entries in `folder` are reused; the others are computed and stored there. A corrupt file is deleted with a warning.
    With `state`, processes share the work; `lockstep`: for a split model. `weights`: `weights_fingerprint(model)`.
    Raises `InputError` if the folder cannot be written.
    """
    place = folder / _conditions(model, layout, weights or weights_fingerprint(model))
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(place, 4096) from error
        raise _unwritable(folder, error) from error
    keys = list(map(ladder_fingerprint, ladders))
    wanted = dict(zip(keys, ladders, strict=True))
    compute = partial(_compute, model, wanted, images, layout, place, lockstep)
    shared = state is not None and state.num_processes > 1
    if state is not None and shared:  # before any process writes, all must have read the same files
        state.wait_for_everyone()
    logprobs = _read(place, wanted)
    missing = [key for key in wanted if key not in logprobs]
    if state is not None and shared:
        state.wait_for_everyone()
        compute(missing[state.process_index :: state.num_processes])
        state.wait_for_everyone()
        logprobs = _read(place, wanted)  # without a shared disk, each process must compute the others' part itself
        missing = [key for key in wanted if key not in logprobs]
    logprobs |= compute(missing)
    if len(missing) < len(wanted):
        say(f"reference: {len(wanted) - len(missing)} of {len(wanted)} ladders read from {folder}")
    return [logprobs[key] for key in keys]


def by_level(
    ladders: Sequence[Ladder], tokenised: Sequence[TokenisedLadder], logprobs: Sequence[Tensor]
) -> dict[str, dict[str, float]]:
    """Per level the `mean` over its `n` responses of the mean log-prob per scored token: how far from the model the
    level is. `logprobs`: as `reference_logprobs` returns them."""
    levels: dict[int, list[float]] = defaultdict(list)
    for ladder, tokens, values in zip(ladders, tokenised, logprobs, strict=True):
        lengths = [int((rounds != NOT_SCORED).sum()) for rounds in tokens.rounds]
        for level, of_response in zip(ladder.levels, values.split(lengths), strict=True):
            levels[level].append(float(of_response.mean()))
    return {str(level): {"mean": fmean(levels[level]), "n": len(levels[level])} for level in sorted(levels)}


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cache {folder} cannot be written ({error.strerror}); set align.cache or SEELEVEL_CACHE to another folder"
    )


def _conditions(model: Any, layout: Layout, weights: str) -> str:
    """A digest of everything but the ladder that its log-probs depend on, to the last bit."""
    device = next(model.parameters()).device
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    libraries = [version(package) for package in ("torch", "transformers", "peft")]
    mixed = torch.is_autocast_enabled(device.type)
    numbers = [torch.get_num_threads(), torch.get_float32_matmul_precision(), str(model.dtype), mixed]
    numbers += ["compiled"] * is_compiled(model) + ["liger"] * has_liger(base(model))
    return digest(
        weights, _settings(model), layout, device.type, machine, libraries, numbers, source_fingerprint(__name__)
    )


def _settings(model: Any) -> list[Any]:
    """Configuration that changes what the same weights compute: rotary bases, selected layers, an adapter's alpha."""
    irrelevant = {"_name_or_path", "transformers_version", "base_model_name_or_path", "inference_mode"}
    adapters = getattr(model, "peft_config", {})
    return [
        {
            key: sorted(value) if isinstance(value, set) else value
            for key, value in config.to_dict().items()
            if key not in irrelevant
        }
        for config in (model.config, *(adapters[name] for name in sorted(adapters)))
    ]


def _read(place: Path, wanted: dict[str, TokenisedLadder]) -> dict[str, Tensor]:
    """The entries of `wanted` in a folder, from files whose bytes match their names."""
    logprobs: dict[str, Tensor] = {}
    for path in sorted(place.glob("[!.]*.safetensors")):
        try:
            raw = read_bytes(path)
            entries = load(raw) if _name(raw) == path.name else None
        except FileNotFoundError:  # another process has deleted it
            continue
        except SafetensorError:
            entries = None
        if entries is None:
            say(f"reference: {path} is corrupt; it is deleted and its log-probs are recomputed")
            path.unlink(missing_ok=True)
            continue
        for key, values in entries.items():
            if key in wanted and len(values) == _scored(wanted[key]):
                logprobs[key] = values
    return logprobs


def _write(place: Path, entries: dict[str, Tensor]) -> None:
    raw = save(entries)
    try:
        write_atomically(place / _name(raw), raw)
    except PermissionError as error:
        raise _unwritable(place, error) from error


def _name(raw: bytes) -> str:
    return f"{hashlib.sha256(raw).hexdigest()[:32]}.safetensors"


def _scored(ladder: TokenisedLadder) -> int:
    return sum(int((rounds != NOT_SCORED).sum()) for rounds in ladder.rounds)


@torch.no_grad()
def _compute(
    model: Any,
    ladders: dict[str, TokenisedLadder],
    images: ImageReader,
    layout: Layout,
    place: Path,
    lockstep: Lockstep | None,
    chosen: Sequence[str],
) -> dict[str, Tensor]:
    """Log-probs of the chosen ladders (keys), each in a batch of its own. Every file is written to `place` as soon as
    it is full."""
    logprobs: dict[str, Tensor] = {}
    if not (len(chosen) if lockstep is None else lockstep.maximum(len(chosen))):
        return logprobs
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    batches: Iterator[Batch] = ahead((collate([ladders[key]], images, layout) for key in chosen), device)
    if lockstep is not None:
        batches = lockstep.padded_batches(batches, len(chosen), text_token(next(iter(ladders.values()))))
    values = (token_logprobs(model, batch.to(device)).values.cpu() for batch in batches)
    with Progress("reference", total=len(chosen), unit="ladders") as bar:
        for part in batched(chosen):
            entries = {}
            for key in part:
                entries[key] = next(values)
                bar.advance()
            _write(place, entries)
            logprobs |= entries
    deque(values, maxlen=0)  # while other processes have more ladders
    model.train(training)
    return logprobs
