"""Texts to unit vectors, for comparing what two texts say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seelevel.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Vectors = NDArray[np.float32]
BATCH_SIZE = 64
# A folder may carry this file to say which cosine means 'the same' in its space: {"threshold": 0.85}.
OWN_SETTINGS = "seelevel.json"


class TextEncoder(Protocol):
    """Anything that turns texts into vectors. `threshold` is the cosine that it calls a match, None if it has none."""

    threshold: float | None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32, shape [len(texts), dimensions]."""
        ...


class ClipTextEncoder:
    """The text half of a CLIP-like model of `transformers` (anything with `get_text_features`).

    A text longer than the model's positions is halved at a space until every piece fits; its vector is the mean of the
    pieces' vectors.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, threshold: float | None = None
    ) -> None:
        self.model, self.tokenizer, self.threshold = model.eval(), tokenizer, threshold
        self._limit: int = model.config.get_text_config().max_position_embeddings

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32, shape [len(texts), dimensions]; each distinct text is encoded once."""
        if not texts:
            return np.zeros((0, self.model.config.projection_dim), dtype=np.float32)
        distinct = list(dict.fromkeys(texts))
        lengths = dict(zip(distinct, self._lengths(distinct), strict=True))
        pieces = {text: [text] if lengths[text] <= self._limit else self._halves(text) for text in distinct}
        vectors = self._embed(list(dict.fromkeys(piece for text in distinct for piece in pieces[text])))
        means = {text: np.mean([vectors[piece] for piece in pieces[text]], axis=0) for text in distinct}
        rows = np.stack([means[text] for text in texts]).astype(np.float32)
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def _halves(self, text: str) -> list[str]:
        """Pieces that fit, in order: the text halved, and again, at a space where there is one."""
        words = text.split()
        middle = len(words) // 2
        if middle:
            halves = [" ".join(words[:middle]), " ".join(words[middle:])]
        else:
            halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        pieces: list[str] = []
        for half, length in zip(halves, self._lengths(halves), strict=True):
            pieces += [half] if length <= self._limit or len(half) < 2 else self._halves(half)
        return pieces

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, the special ones included."""
        return [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]

    def _embed(self, texts: list[str]) -> dict[str, Vectors]:
        import torch

        vectors: dict[str, Vectors] = {}
        # Texts of like length together: less padding.
        by_length = [text for _, text in sorted(zip(self._lengths(texts), texts, strict=True))]
        for start in range(0, len(by_length), BATCH_SIZE):
            batch = by_length[start : start + BATCH_SIZE]
            inputs: Any = self.tokenizer(batch, padding=True, return_tensors="pt").to(self.model.device)
            with torch.inference_mode():
                features = self.model.get_text_features(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
                ).pooler_output
            unit = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
            vectors.update(zip(batch, unit, strict=True))
        return vectors


@cache
def load_encoder(name_or_path: str) -> ClipTextEncoder:
    """A CLIP-like model's text encoder from a folder or by hub name, loaded once, float32. Only safetensors are read.

    Raises `InputError` where the folder has no model, or the model encodes no text.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    path = Path(name_or_path)
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(f"encoder {path} has no config.json; give the folder of a CLIP model")
    try:
        config = AutoConfig.from_pretrained(name_or_path)
        # Asked before loading: a language model of many gigabytes would be read only to be refused.
        if not hasattr(MODEL_MAPPING[type(config)], "get_text_features"):
            raise InputError(
                f"encoder '{name_or_path}' is a {config.model_type} model without a text encoder; give a CLIP-like one"
            )
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
        model, found = AutoModel.from_pretrained(
            name_or_path, config=config, dtype="float32", use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, SafetensorError) as error:  # nothing there; garbled files; a weight file cut off
        why = str(error).strip().splitlines()[0]
        raise InputError(
            f"encoder '{name_or_path}' cannot be loaded ({why}); give the folder of a CLIP model"
        ) from error
    if missing := sorted(found["missing_keys"]):  # transformers fills them with random numbers
        raise InputError(f"encoder '{name_or_path}' lacks {len(missing)} weights, first {missing[0]}; copy it again")
    own = path / OWN_SETTINGS
    threshold = json.loads(own.read_text(encoding="utf-8")).get("threshold") if own.is_file() else None
    return ClipTextEncoder(model, tokenizer, threshold)
