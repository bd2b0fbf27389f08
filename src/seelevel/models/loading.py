"""Load the weights of a model, all of them, or say what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.utils import logging as hf_logging

from seelevel.errors import InputError
from seelevel.models.blame import blamed
from seelevel.models.quantised import check_quantised, device_map, quantisation


def load_weights(
    base: str,
    config: Any,
    dtype: torch.dtype,
    place: torch.device,
    trust_remote_code: bool = False,
    quantized: Callable[[Any], Any] | None = None,
) -> Any:
    """A model with its weights on a device, quantised on the way if `quantized` is given.

    Raises `InputError` for weights that are missing, of another shape, corrupt, in another format, or quantised in a
    way that cannot be loaded here.
    """
    settings = config.to_dict()
    check_quantised(base, settings, str(place))
    placed: dict[str, Any] = {}
    if quantisation(settings) is not None or quantized is not None:
        placed["device_map"] = device_map(str(place))
    if quantized is not None:
        placed["quantization_config"] = quantized(config)
    verbosity = hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()  # what is wrong is said in one line below
    try:
        with blamed(f"model {base}: its weights cannot be loaded", "only *.safetensors are; copy the model again"):
            model, loading = AutoModelForImageTextToText.from_pretrained(
                base,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **placed,
            )
    finally:
        hf_logging.set_verbosity(verbosity)
    if missing := sorted(loading["missing_keys"]):  # transformers would fill them with random numbers
        raise InputError(f"model {base} lacks {len(missing)} of its weights, first {missing[0]}; copy it again")
    if mismatched := sorted(loading["mismatched_keys"]):
        name, stored, wanted = mismatched[0]
        raise InputError(
            f"model {base}: {name} is {tuple(stored)} in its weights and {tuple(wanted)} by config.json; "
            "copy both again"
        )
    return model if placed else model.to(place)
