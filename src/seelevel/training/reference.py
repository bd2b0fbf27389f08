"""The reference's log-probabilities: computed once by the model as loaded, kept for other epochs, runs, objectives.

A ladder's log-probs are computed in a forward pass of its own. Sums of floating-point numbers depend on what shares a
batch; so computed, a ladder's depend on nothing but the model, the ladder, the layout and the machine, which is what
they are kept under. Whatever the order, the limit, the number of processes or the moment a run was stopped, what is
read equals bit for bit what would be computed.

A folder holds the entries of one model, layout and machine: safetensors files of up to 128 ladders, an entry named by
its ladder's content, a file by the SHA-256 of its bytes. So a broken file is known by its name, files that two
processes write at a time are the same or do not meet, and nothing is ever changed in place.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seelevel.errors import DiskFullError, InputError, free_bytes, is_disk_full
from seelevel.fingerprints import digest, source_fingerprint
from seelevel.progress import Progress, say
from seelevel.store import TEMPORARY, batched
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import collate
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, TokenisedLadder
from seelevel.training.settings import Layout


def weights_fingerprint(model: Any) -> str:
    """SHA-256 over names, types and bytes of every weight, adapters among them."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def ladder_fingerprint(ladder: TokenisedLadder, images: ImageReader) -> str:
    """SHA-256 over a ladder's tokens, which of them are scored, and its pictures as the processor made them."""
    total = hashlib.sha256(images.digest(ladder.images))
    for tokens, rounds in zip(ladder.tokens, ladder.rounds, strict=True):
        total.update(f"{len(tokens)} ".encode() + tokens.tobytes() + rounds.tobytes())
    return total.hexdigest()


def data_fingerprint(ladders: Sequence[TokenisedLadder], images: ImageReader) -> str:
    """A digest of all ladders in their order."""
    return digest([ladder_fingerprint(ladder, images) for ladder in ladders])


def reference_logprobs(
    model: Any,
    ladders: Sequence[TokenisedLadder],
    images: ImageReader,
    layout: Layout,
    folder: Path,
    weights: str = "",
    state: PartialState | None = None,
) -> list[Tensor]:
    """Each ladder's log-probs under the model as it is now, [N] on the CPU, in the order of `TokenLogprobs`.

    What `folder` holds for these weights, ladders and layout is read, the rest computed and kept there. A broken file
    is removed, aloud. With `state`, processes share the work. `weights`: `weights_fingerprint(model)`.
    Raises `InputError` where the folder cannot be written.
    """
    place = folder / _conditions(model, layout, weights or weights_fingerprint(model))
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(place, 4096) from error
        raise _unwritable(folder, error) from error
    keys = [ladder_fingerprint(ladder, images) for ladder in ladders]
    wanted = dict(zip(keys, ladders, strict=True))
    shared = state is not None and state.num_processes > 1
    if state is not None and shared:  # all see the same files, before any writes more
        state.wait_for_everyone()
    found = _read(place, wanted)
    missing = [key for key in wanted if key not in found]
    if state is not None and shared:
        state.wait_for_everyone()
        share = missing[state.process_index :: state.num_processes]
        _compute(model, {key: wanted[key] for key in share}, images, layout, place)
        state.wait_for_everyone()
        found = _read(place, wanted)  # a disk that processes do not share leaves some to be computed by each
        missing = [key for key in wanted if key not in found]
    found |= _compute(model, {key: wanted[key] for key in missing}, images, layout, place)
    if len(missing) < len(wanted):
        say(f"reference: {len(wanted) - len(missing)} of {len(wanted)} ladders known from {folder}")
    return [found[key] for key in keys]


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cache {folder} cannot be written ({error.strerror}); set align.cache or SEELEVEL_CACHE to another folder"
    )


def _conditions(model: Any, layout: Layout, weights: str) -> str:
    """What a ladder's log-probs depend on, beside the ladder, to the last bit."""
    device = next(model.parameters()).device
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    libraries = [version(package) for package in ("torch", "transformers", "peft")]
    mixed = torch.is_autocast_enabled(device.type)
    numbers = [torch.get_num_threads(), torch.get_float32_matmul_precision(), str(model.dtype), mixed]
    return digest(
        weights, _settings(model), layout, device.type, machine, libraries, numbers, source_fingerprint(__name__)
    )


def _settings(model: Any) -> list[Any]:
    """What makes the same weights compute something else: rotary bases, layers that are read, an adapter's alpha."""
    unlike = {"_name_or_path", "transformers_version", "base_model_name_or_path", "inference_mode"}
    adapters = getattr(model, "peft_config", {})
    return [
        {
            key: sorted(value) if isinstance(value, set) else value
            for key, value in config.to_dict().items()
            if key not in unlike
        }
        for config in (model.config, *(adapters[name] for name in sorted(adapters)))
    ]


def _read(place: Path, wanted: dict[str, TokenisedLadder]) -> dict[str, Tensor]:
    """The entries of `wanted` that a folder holds, from files that are what their names say."""
    found: dict[str, Tensor] = {}
    for path in sorted(place.glob("*.safetensors")):
        try:
            raw = path.read_bytes()
            entries = load(raw) if _name(raw) == path.name else None
        except FileNotFoundError:  # another process found it broken
            continue
        except SafetensorError:
            entries = None
        if entries is None:
            say(f"reference: {path} is broken; its log-probs are computed again")
            path.unlink(missing_ok=True)
            continue
        for key, values in entries.items():
            if key in wanted and len(values) == _scored(wanted[key]):
                found[key] = values
    return found


def _write(place: Path, entries: dict[str, Tensor]) -> None:
    raw = save(entries)
    path = place / _name(raw)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=place)
    except PermissionError as error:  # a folder that was there, and is not ours
        raise _unwritable(place, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        if is_disk_full(error):
            raise DiskFullError(path, max(len(raw) - free_bytes(place), 1)) from error
        raise


def _name(raw: bytes) -> str:
    return f"{hashlib.sha256(raw).hexdigest()[:32]}.safetensors"


def _scored(ladder: TokenisedLadder) -> int:
    return sum(int((rounds != NOT_SCORED).sum()) for rounds in ladder.rounds)


@torch.no_grad()
def _compute(
    model: Any, ladders: dict[str, TokenisedLadder], images: ImageReader, layout: Layout, place: Path
) -> dict[str, Tensor]:
    """Log-probs of ladders, each in a batch of its own; kept in `place` a file at a time."""
    found: dict[str, Tensor] = {}
    if not ladders:
        return found
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with Progress("reference", total=len(ladders), unit="ladders") as bar:
        for part in batched(ladders.items()):
            entries = {}
            for key, ladder in part:
                entries[key] = token_logprobs(model, collate([ladder], images, layout).to(device)).values.cpu()
                bar.advance()
            _write(place, entries)
            found |= entries
    model.train(training)
    return found
