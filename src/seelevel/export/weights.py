"""The weights of an export: an adapter merged into its base, or weights trained in full, as the base stores its own."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from seelevel.errors import InputError
from seelevel.models.config_file import read_json
from seelevel.models.quantised import method_of, quantisation
from seelevel.models.weights import MODEL, safetensors_header, weight_files
from seelevel.store import write_json

SHARD_BYTES = 5 << 30
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
MERGED = ".merged"
"""Where merged weights are kept until they have the base's names and number formats."""


@dataclass(frozen=True)
class Rounding:
    """How the weights were rounded. `dtype`: their number format, such as `BF16`; `lost`: the norm of the rounding as a
    share of the norm of the adapter's change, None if nothing was merged or rounded."""

    dtype: str
    lost: float | None = None


def merge(base: Path, adapter: Path, target: Path, dtype: str | None = None) -> Rounding:
    """Write the weights of a base with an adapter merged into them: `target/*.safetensors`.

    The change is computed and added in float32 (in float64 if the base is), and rounded once to the number format of
    `formats`. Raises `InputError` for a quantised base, and for an adapter that cannot be merged.
    """
    check_mergeable(base, adapter)
    kept = _floats(formats(base, dtype))
    kinds = {*_floats(formats(base)), *kept}
    loaded = kept[0] if len(kinds) == 1 else "F64" if "F64" in kinds else "F32"
    place = target / MERGED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PEFT and transformers about themselves
        model, lost = _merged(base, adapter, FLOATS[loaded], FLOATS[kept[0]] if len(kept) == 1 else None)
        model.save_pretrained(place)
    write_weights(place, base, target, dtype)
    shutil.rmtree(place)
    return Rounding("/".join(kept), lost)


def copy_full(trained: Path, base: Path, target: Path, dtype: str | None = None) -> Rounding:
    """Write weights that were trained in full, rounded to the number format of `formats`: `target/*.safetensors`."""
    write_weights(trained, base, target, dtype)
    return Rounding("/".join(_floats(formats(base, dtype))))


def formats(base: Path, dtype: str | None = None) -> dict[str, str]:
    """The number format to write each of a base's weights in: `dtype`, one of `FLOATS`; None: as the base stores it, or
    as its config.json says, if that is wider. Integers stay."""
    config = read_json(base / "config.json")
    declared = str(config.get("dtype") or config.get("torch_dtype") or "")
    wider = next((kept for kept, kind in FLOATS.items() if str(kind) == f"torch.{declared}"), None)
    kept = {}
    for file in weight_files(base, MODEL):
        for name, header in safetensors_header(file).items():
            stored = header["dtype"]
            widens = wider and stored in FLOATS and FLOATS[wider].itemsize > FLOATS[stored].itemsize
            widened = wider if wider and widens else stored
            kept[name] = dtype if dtype is not None and stored in FLOATS else widened
    return kept


def _floats(kept: Mapping[str, str]) -> list[str]:
    return sorted({*kept.values()} & FLOATS.keys())


def check_mergeable(base: Path, adapter: Path) -> None:
    """Raise `InputError` for a base with quantised weights; loads nothing."""
    settings = quantisation(read_json(base / "config.json"))
    if settings is not None:
        raise InputError(
            f"{base} is quantised ({method_of(settings)}), and {adapter} cannot be merged into quantised weights; "
            "export it alone with --adapter"
        )


def _merged(base: Path, adapter: Path, loaded: torch.dtype, kept: torch.dtype | None) -> tuple[Any, float | None]:
    """The model, loaded in a number format, with the adapter merged; and `Rounding.lost` if it is kept in another."""
    from seelevel.models.adapters import put_on
    from seelevel.models.loading import load_weights
    from seelevel.models.processor import load_config

    model = put_on(load_weights(str(base), load_config(str(base)), loaded, torch.device("cpu")), adapter)
    if shared := _adapts_shared(model):
        raise InputError(
            f"adapter {adapter} changes {shared}, whose weight another layer shares, so merging would change both; "
            "export it alone with --adapter"
        )
    try:
        with torch.no_grad():
            lost = _merge_layers(model, kept)
            merged = model.merge_and_unload()  # what is left: modules that the adapter holds whole
    except (NotImplementedError, ValueError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        kind = str(model.peft_config["default"].peft_type).rpartition(".")[2]
        raise InputError(
            f"adapter {adapter} ({kind}) cannot be merged into {base} ({reason}); export it alone with --adapter"
        ) from error
    if broken := next((name for name, weight in merged.named_parameters() if not weight.isfinite().all()), None):
        raise InputError(f"adapter {adapter}: {broken} is NaN or infinite once merged; train it again")
    return merged, lost


def _adapts_shared(model: Any) -> str:
    """A layer that the adapter changes although another one has the same weight, as a head tied to the embeddings."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    owners: dict[int, int] = {}
    for module in model.modules():
        weight = module._parameters.get("weight")
        owners[id(weight)] = owners.get(id(weight), 0) + (weight is not None)
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer | ModulesToSaveWrapper):
            adapted = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module.original_module
            if owners.get(id(adapted._parameters.get("weight")), 0) > 1:
                return str(name).removeprefix("base_model.model.")
    return ""


def _merge_layers(model: Any, kept: torch.dtype | None) -> float | None:
    """Merge each layer's adapter in float32 and round once; returns `Rounding.lost` if `kept` has 16 bits."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    change = error = 0.0
    for layer in [module for module in model.modules() if isinstance(module, BaseTunerLayer)]:
        weights = dict(layer.get_base_layer().named_parameters(recurse=False))
        before = {name: weight.data for name, weight in weights.items()}
        for name, weight in weights.items():  # a copy, because PEFT adds in place
            weight.data = before[name].to(torch.promote_types(before[name].dtype, torch.float32), copy=True)
        layer.merge()
        for name, weight in weights.items():
            exact = weight.data
            weight.data = exact.to(before[name].dtype)
            if kept is not None and kept.itemsize == 2:
                change += float((exact - before[name]).square().sum())
                error += float((exact.to(kept) - exact).square().sum())
    return (error / change) ** 0.5 if change else None


# --- files --------------------------------------------------------------------------------------------------------


class Weights:
    """The tensors in a folder's safetensors files, read one by one."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.headers: dict[str, dict[str, Any]] = {}
        self._files: dict[str, Any] = {}
        for file in weight_files(folder, MODEL):
            opened = stack.enter_context(safe_open(file, framework="pt"))
            header = safetensors_header(file)
            self.headers |= header
            self._files |= dict.fromkeys(header, opened)

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    def first_row(self, name: str) -> Tensor:
        row: Tensor = self._files[name].get_slice(name)[:1]
        return row


def write_weights(source: Path, base: Path, target: Path, dtype: str | None = None) -> None:
    """Write the weights in `source` with exactly the base's names and shapes, in the number formats of `formats`, in
    files of up to 5 GB.

    What the base stores and the model does not load stays as it is; a weight that the base stores twice is written
    twice. Raises `InputError` for weights that have other names than the base's.
    """
    with ExitStack() as stack:
        new, old = Weights(source, stack), Weights(base, stack)
        for name, header in new.headers.items():
            if name not in old.headers or old.headers[name]["shape"] != header["shape"]:
                raise InputError(
                    f"{base}: this version of transformers writes {name} under another name or shape than it has "
                    "there, so merged weights would not fit its other files; export the adapter alone with --adapter"
                )
        twins, kept = dict(_twins(new.headers, old)), formats(base, dtype)

        def tensor(name: str) -> Tensor:
            given = new[name] if name in new.headers else new[twins[name]].clone() if name in twins else old[name]
            return given.to(FLOATS.get(kept[name], given.dtype)).contiguous()

        _write({name: _bytes(header, kept[name]) for name, header in old.headers.items()}, tensor, target)


def _twins(new: Mapping[str, Any], old: Weights) -> Iterator[tuple[str, str]]:
    """(name, the same weight's other name) of weights that the base stores twice and the model once."""
    for name, header in old.headers.items():
        if name in new or len(header["shape"]) != 2:
            continue
        for other in new:
            same = old.headers[other]["shape"] == header["shape"] and old.headers[other]["dtype"] == header["dtype"]
            if same and torch.equal(old.first_row(other), old.first_row(name)) and torch.equal(old[other], old[name]):
                yield name, other
                break


def _bytes(header: Mapping[str, Any], kept: str) -> int:
    start, end = header["data_offsets"]
    return math.prod(header["shape"]) * FLOATS[kept].itemsize if kept in FLOATS else int(end - start)


def _write(sizes: Mapping[str, int], tensor: Callable[[str], Tensor], target: Path) -> None:
    parts = _parts(sizes)
    index: dict[str, str] = {}
    for number, names in enumerate(parts, 1):
        file = MODEL if len(parts) == 1 else f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save_file({name: tensor(name) for name in names}, target / file, {"format": "pt"})
        index |= dict.fromkeys(names, file)
    if len(parts) > 1:
        metadata = {"total_size": sum(sizes.values())}
        write_json(target / f"{MODEL}.index.json", {"metadata": metadata, "weight_map": index})


def _parts(sizes: Mapping[str, int]) -> list[list[str]]:
    """Names in their order, in parts of up to `SHARD_BYTES`."""
    parts: list[list[str]] = [[]]
    used = 0
    for name, size in sizes.items():
        if parts[-1] and used + size > SHARD_BYTES:
            parts.append([])
            used = 0
        parts[-1].append(name)
        used += size
    return parts
