"""Text encoders, which turn texts into unit vectors: CLIP's text half, or a sentence-transformers model.

Neither truncates. A text that is too long for the model is halved at a space until every piece fits, and its vector is
the mean of the pieces' vectors. Both give a text the same bits, whatever it is batched with: all texts of a batch have
one length in tokens, and every batch of that length has the same size. So vectors can be cached, and a stopped check
resumes to the same scores.
"""

from __future__ import annotations

import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seelevel.errors import InputError
from seelevel.json_text import loads
from seelevel.models.blame import blamed
from seelevel.models.folders import check_encoder_folder, check_hub_index
from seelevel.opening import read_text
from seelevel.store import batched

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Vectors = NDArray[np.float32]
# Tokens per batch. The size of a batch depends on the length of its texts alone, or a vector would depend on the other
# texts. It is small, because the last batch of each length is filled up.
BATCH_TOKENS = {"cpu": 192, "cuda": 16384}
# A model's folder may hold this file. It gives the cosine from which two texts match: {"threshold": 0.85}.
MODEL_SETTINGS = "seelevel.json"
# The file that makes a folder a sentence-transformers model; it lists the model's parts.
MODULES = "modules.json"
REMEDY = "give a CLIP's or a sentence-transformers folder"


class TextEncoder(Protocol):
    """Anything that turns texts into vectors.

    threshold: the cosine from which two texts match, None if it is unknown; split: the texts that were too long, whose
    vectors are means over pieces.
    """

    threshold: float | None

    @property
    def split(self) -> Container[str]: ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32, shape [len(texts), dimensions]."""
        ...


class PiecewiseEncoder(ABC):
    """The part that both encoders share: pieces of long texts, batches of one length, each distinct text once.

    limit: the most tokens that the model reads at once, special ones included; dimensions: the length of a vector.
    """

    def __init__(self, limit: float, dimensions: int, device: str, threshold: float | None) -> None:
        self.limit, self.dimensions, self.threshold = limit, dimensions, threshold
        self.split: set[str] = set()
        self._batch_tokens = BATCH_TOKENS.get(device, BATCH_TOKENS["cpu"])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32, shape [len(texts), dimensions]; each distinct text is encoded once."""
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        distinct = list(dict.fromkeys(texts))
        pieces = {text: self._pieces(text, n) for text, n in zip(distinct, self._lengths(distinct), strict=True)}
        self.split |= {text for text, parts in pieces.items() if len(parts) > 1}
        vectors = self._embed({piece: n for parts in pieces.values() for piece, n in parts})
        means = {text: np.mean([vectors[piece] for piece, _ in parts], axis=0) for text, parts in pieces.items()}
        rows = np.stack([means[text] for text in texts]).astype(np.float32)
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return unit

    def _pieces(self, text: str, length: int) -> list[tuple[str, int]]:
        """Pieces that fit, in order, with their lengths. The text is halved repeatedly, at a space if it has one."""
        if length <= self.limit or len(text) < 2:
            return [(text, length)]
        words = text.split()
        middle = len(words) // 2
        if middle:
            halves = [" ".join(words[:middle]), " ".join(words[middle:])]
        else:
            halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        return [piece for half, n in zip(halves, self._lengths(halves), strict=True) for piece in self._pieces(half, n)]

    def _embed(self, lengths: Mapping[str, int]) -> dict[str, Vectors]:
        alike: dict[int, list[str]] = {}
        for text in sorted(lengths):
            alike.setdefault(lengths[text], []).append(text)
        vectors: dict[str, Vectors] = {}
        for length in sorted(alike):
            size = max(2, self._batch_tokens // max(length, 1))
            for batch in batched(alike[length], size):
                full = batch + batch[:1] * (size - len(batch))
                vectors.update(zip(batch, self._vectors(full), strict=False))
        return vectors

    @abstractmethod
    def _lengths(self, texts: list[str]) -> list[int]:
        """The number of tokens of each text, special ones included."""

    @abstractmethod
    def _vectors(self, texts: list[str]) -> Vectors:
        """Vectors of length 1 of texts of one length in tokens, shape [len(texts), dimensions]."""


class ClipTextEncoder(PiecewiseEncoder):
    """The text half of a CLIP-like model of `transformers` (anything with `get_text_features`)."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, threshold: float | None = None
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        text = model.config.get_text_config()
        # SigLIP was trained on texts padded to its last position, and it attends to the padding.
        self._fill = model.config.model_type.startswith("siglip")
        dimensions = getattr(model.config, "projection_dim", None) or getattr(text, "projection_size", text.hidden_size)
        super().__init__(text.max_position_embeddings, dimensions, model.device.type, threshold)

    def _lengths(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]]

    def _vectors(self, texts: list[str]) -> Vectors:
        import torch

        filling: Any = {"padding": "max_length", "max_length": self.limit} if self._fill else {}
        inputs = self.tokenizer(
            texts, return_tensors="pt", return_attention_mask=not self._fill, return_token_type_ids=False, **filling
        )
        with torch.inference_mode():
            features = self.model.get_text_features(**inputs.to(self.model.device)).pooler_output
        unit: Vectors = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
        return unit


class SentenceEncoder(PiecewiseEncoder):
    """A sentence-transformers model, with its own pooling and its default prompt."""

    def __init__(self, model: SentenceTransformer, threshold: float | None = None) -> None:
        self.model = model.eval()
        limit, dimensions = model.max_seq_length, model.get_embedding_dimension()
        self._prompt = model.prompts.get(model.default_prompt_name, "") if model.default_prompt_name else ""
        super().__init__(limit or math.inf, dimensions or 0, model.device.type, threshold)

    def _lengths(self, texts: list[str]) -> list[int]:
        if math.isinf(self.limit):  # a static model: any length, no padding, another tokenizer
            return [len(text) for text in texts]
        prompted = [self._prompt + text for text in texts]
        return [len(ids) for ids in self.model.tokenizer(prompted, verbose=False)["input_ids"]]

    def _vectors(self, texts: list[str]) -> Vectors:
        unit: Vectors = self.model.encode(
            texts, batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return unit


@cache
def load_encoder(name_or_path: str) -> PiecewiseEncoder:
    """A text encoder from a folder or by hub name, loaded once, float32, on the GPU if there is one.

    A model with a `modules.json` is a sentence-transformers model; any other has to be CLIP-like. Only safetensors are
    read. Raises `InputError` if the folder has no model, or if the model has no text encoder.
    """
    path = Path(name_or_path)
    if path.is_dir() and not (path / MODULES).is_file() and not (path / "config.json").is_file():
        raise InputError(f"encoder {path} has no config.json; give the folder of a CLIP or sentence-transformers model")
    threshold = _model_threshold(name_or_path)
    if _model_file(name_or_path, MODULES) is not None:
        return SentenceEncoder(_sentence_transformer(name_or_path), threshold)
    return ClipTextEncoder(*_clip(name_or_path), threshold)


def _model_file(name_or_path: str, name: str) -> Path | None:
    """A small file of a model in a folder or on the hub; None if the model or the file does not exist."""
    from transformers.utils import cached_file

    if Path(name_or_path).is_dir():
        file = Path(name_or_path) / name
        return file if file.is_file() else None
    try:
        file = cached_file(name_or_path, name)
    except (OSError, ValueError):
        return None
    return None if file is None else Path(file)


def _model_threshold(name_or_path: str) -> float | None:
    file = _model_file(name_or_path, MODEL_SETTINGS)
    if file is None:
        return None
    try:
        threshold = loads(read_text(file)).get("threshold")
    except (ValueError, AttributeError) as error:
        raise InputError(f'{file}: not a JSON object like {{"threshold": 0.85}}; mend it') from error
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not -1 <= threshold <= 1:
        raise InputError(f"{file}: threshold {threshold!r:.60} is not a cosine from -1 to 1; mend it")
    return float(threshold)


def _check_files(name_or_path: str) -> None:
    if Path(name_or_path).is_dir():
        check_encoder_folder(Path(name_or_path))
    else:
        check_hub_index(name_or_path)


def _clip(name_or_path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    _check_files(name_or_path)
    with blamed(f"encoder '{name_or_path}' cannot be loaded", REMEDY):
        config = AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
        # Check before loading: a language model of many gigabytes would be read only to be refused.
        if not hasattr(MODEL_MAPPING.get(type(config), None), "get_text_features"):
            raise InputError(
                f"encoder '{name_or_path}' is a {config.model_type} model without a text encoder, and has no {MODULES} "
                "that says how its tokens become one vector; give a CLIP-like or a sentence-transformers model"
            )
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=False)
        model, found = AutoModel.from_pretrained(
            name_or_path, config=config, dtype="float32", use_safetensors=True, output_loading_info=True
        )
    if missing := sorted(found["missing_keys"]):  # transformers fills them with random numbers
        raise InputError(f"encoder '{name_or_path}' lacks {len(missing)} weights, first {missing[0]}; copy it again")
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _sentence_transformer(name_or_path: str) -> SentenceTransformer:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise InputError(
            f"encoder '{name_or_path}' is a sentence-transformers model; pip install 'seelevel[text]' to use it"
        )
    _check_files(name_or_path)
    from sentence_transformers import SentenceTransformer

    with blamed(f"encoder '{name_or_path}' cannot be loaded", REMEDY):
        return SentenceTransformer(name_or_path, model_kwargs={"use_safetensors": True, "dtype": "float32"})
