"""The reference's log-probabilities: computed once by the frozen base, kept under a fingerprint of their inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from seelevel.progress import Progress
from seelevel.store import SHARD_SIZE, digest
from seelevel.training.checkpoints import write_file
from seelevel.training.logprobs import token_logprobs
from seelevel.training.packing import buckets, collate
from seelevel.training.settings import Layout
from seelevel.training.tokens import NOT_SCORED, ImageReader, TokenisedLadder


def weights_fingerprint(model: Any) -> str:
    """SHA-256 over names, types and bytes of every weight; adapters do not count."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if "lora_" in name:
            continue
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def data_fingerprint(ladders: Sequence[TokenisedLadder], images: ImageReader) -> str:
    """A digest of tokens, scored tokens and processed pictures."""
    total = hashlib.sha256()
    seen: dict[tuple[str, ...], bytes] = {}
    for ladder in ladders:
        if ladder.images not in seen:
            pictures = hashlib.sha256()
            for value in images.read(ladder.images).values():
                pictures.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
            seen[ladder.images] = pictures.digest()
        total.update(seen[ladder.images])
        for tokens, rounds in zip(ladder.tokens, ladder.rounds, strict=True):
            total.update(tokens.tobytes() + rounds.tobytes())
    return total.hexdigest()


def reference_logprobs(
    model: Any,
    ladders: Sequence[TokenisedLadder],
    images: ImageReader,
    layout: Layout,
    tokens_per_batch: int,
    folder: Path,
    weights: str = "",
) -> list[Tensor]:
    """Each ladder's log-probs under the frozen model, [N] on the CPU, in the order of `TokenLogprobs`.

    The model is the base as loaded, before it gets adapters.
    What `folder` holds for the same weights, data and layout is read, the rest computed and
    kept there, 128 ladders a file; files of other fingerprints are removed. `weights`: `weights_fingerprint(model)`.
    """
    weights = weights or weights_fingerprint(model)
    starts = range(0, len(ladders), SHARD_SIZE)
    shards = [ladders[start : start + SHARD_SIZE] for start in starts]
    paths = [
        folder / f"{digest(weights, data_fingerprint(shard, images), layout, tokens_per_batch)}.safetensors"
        for shard in shards
    ]
    if folder.is_dir():
        for stale in set(folder.glob("*.safetensors")) - set(paths):
            stale.unlink()
    found: list[Tensor] = []
    with Progress("reference", total=len(ladders), unit="ladders") as bar:
        for shard, path in zip(shards, paths, strict=True):
            if not path.exists():
                values = _compute(model, shard, images, layout, tokens_per_batch)
                size = sum(v.numel() * v.element_size() for v in values)
                named = {f"{number:05d}": value for number, value in enumerate(values)}
                write_file(path, lambda place, named=named: save_file(named, place), size + 4096)  # type: ignore[misc]
            kept = load_file(path)
            found += [kept[name] for name in sorted(kept)]
            bar.advance(len(shard))
    for ladder, logprobs in zip(ladders, found, strict=True):
        if len(logprobs) != sum(int((r != NOT_SCORED).sum()) for r in ladder.rounds):
            raise ValueError(f"reference log-probs of ladder {ladder.id} are not of its tokens; remove {folder}")
    return found


@torch.no_grad()
def _compute(
    model: Any, ladders: Sequence[TokenisedLadder], images: ImageReader, layout: Layout, budget: int
) -> list[Tensor]:
    found: list[Tensor | None] = [None] * len(ladders)
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    rows = max(len(ladder.tokens) for ladder in ladders) if layout == "rows" else 1
    for group in buckets([ladder.row_length(layout) for ladder in ladders], max(budget // rows, 1)):
        batch = collate([ladders[i] for i in group], images, layout).to(device)
        logprobs = token_logprobs(model, batch)
        sizes = torch.bincount(logprobs.ladder, minlength=len(group)).tolist()
        for index, part in zip(group, logprobs.values.cpu().split(sizes), strict=True):
            found[index] = part.clone()
    model.train(training)
    return [values for values in found if values is not None]
