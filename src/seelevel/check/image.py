"""Order a ladder's responses by how well they fit the picture: cosines of a CLIP-like model.

Hessel et al. 2021 (CLIPScore, arXiv 2104.08718) score a caption by the cosine of its vector and the picture's. Their
factor of 2.5 and their zero for negative cosines change no order, and are left out.

- The measure is the picture, so no standard response is needed. It stays best unless `standard_first` is off.
- A response longer than the model reads (CLIP: 77 tokens) is encoded in pieces and averaged, never cut.
- If a ladder has several pictures, the score is the mean of the cosines.
- A response of several rounds is one text. The question is not read: the check is for descriptions.
- Cosines are rounded to five digits. Responses at most `tolerance` below the best of a level share that level.
- A ladder without a picture keeps its order, with a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from seelevel.check.rules import DIGITS, close_levels
from seelevel.check.settings import CheckSettings
from seelevel.errors import InputError
from seelevel.images import model_picture
from seelevel.ladder import Ladder
from seelevel.language.encoders import ClipTextEncoder, Vectors, load_encoder
from seelevel.models.base import ModelRef
from seelevel.models.blame import blamed
from seelevel.notes import Checked, CheckNote
from seelevel.store import batched

BLOCK = 256
"""Ladders whose responses are encoded at once."""
MEMORY = 1 << 28
"""Size of the cache of the pictures' vectors in bytes. The oldest are dropped first."""


class PictureEncoder:
    """Both halves of a CLIP-like model: `texts`, and pictures as vectors of the same space.

    Pictures are encoded one at a time, so that a vector does not depend on the others of a batch. Raises `InputError`
    for an encoder that reads texts alone.
    """

    def __init__(self, name_or_path: str) -> None:
        from transformers import AutoImageProcessor

        self.name, texts = name_or_path, load_encoder(name_or_path)
        if not isinstance(texts, ClipTextEncoder) or not hasattr(texts.model, "get_image_features"):
            raise InputError(f"encoder '{name_or_path}' reads no pictures; name a CLIP or a SigLIP as check.encoder")
        self.texts = texts
        with blamed(f"encoder '{name_or_path}': its image processor cannot be loaded", "copy the model's files again"):
            self._processor = AutoImageProcessor.from_pretrained(name_or_path, trust_remote_code=False)
        self._vectors: dict[str, Vectors] = {}

    def picture(self, path: str) -> Vectors:
        """The vector of a picture, length 1, float32, shape [dimensions]; cached."""
        if path not in self._vectors:
            import torch

            picture, model = model_picture(path), self.texts.model
            with blamed(f"encoder '{self.name}' cannot encode {path}", "copy the model's files again"):
                inputs = self._processor(images=[picture], return_tensors="pt").to(model.device)
                with torch.inference_mode():
                    features = model.get_image_features(**inputs).pooler_output
            self._vectors[path] = torch.nn.functional.normalize(features[0].float(), dim=-1).cpu().numpy()
            while len(self._vectors) > 1 and len(self._vectors) * self._vectors[path].nbytes > MEMORY:
                del self._vectors[next(iter(self._vectors))]
        return self._vectors[path]


class ImageOrder:
    """Ladders in, ladders ordered by the fit of responses and pictures out.

    Responses get the score `similarity`, the mean of their cosines with the pictures. Those are in
    `Response.check.similarities`.
    """

    def __init__(self, encoder: PictureEncoder, tolerance: float = 0.0, standard_first: bool = True) -> None:
        self.encoder, self.tolerance, self.standard_first = encoder, tolerance, standard_first

    @classmethod
    def from_settings(cls, settings: CheckSettings, judge: ModelRef | None = None, seed: int = 0) -> ImageOrder:
        """From the recipe's settings. `judge` and `seed` are not used."""
        assert settings.encoder is not None  # CheckSettings requires it
        return cls(PictureEncoder(settings.encoder), settings.tolerance, settings.standard_first)

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        for block in batched(ladders, BLOCK):
            checked = [ladder for ladder in block if not self._why_unchecked(ladder)]
            texts = list(dict.fromkeys(response.text for ladder in checked for response in ladder.responses))
            vectors = dict(zip(texts, self.encoder.texts.encode(texts), strict=True))
            for ladder in block:
                yield self._check(ladder, vectors)

    def _check(self, ladder: Ladder, vectors: dict[str, Vectors]) -> Ladder:
        note = CheckNote("image", tuple(ladder.levels))
        if reason := self._why_unchecked(ladder):
            return ladder.left_unchecked(replace(note, unchecked=reason))
        pictures = [self.encoder.picture(image.path) for image in ladder.images]
        cosines = [
            tuple(round(float(vectors[response.text] @ picture), DIGITS) for picture in pictures)
            for response in ladder.responses
        ]
        figures = [round(sum(of_response) / len(of_response), DIGITS) for of_response in cosines]
        first = 1 if self.standard_first and ladder.standard is not None else 0
        levels = [0] * first + [first + level for level in close_levels(figures[first:], self.tolerance)]
        responses = [
            replace(
                response,
                level=levels[place],
                scores={**response.scores, "similarity": figures[place]},
                check=Checked(place, similarities=cosines[place]),
            )
            for place, response in enumerate(ladder.responses)
        ]
        split = sum(response.text in self.encoder.texts.split for response in ladder.responses)
        return ladder.ordered(responses, replace(note, split=split))

    def _why_unchecked(self, ladder: Ladder) -> str:
        """Why a ladder cannot be checked; empty if it can."""
        if len(ladder.responses) < 2:
            return "fewer than 2 responses"
        if self.standard_first and ladder.standard_displaced:
            return "the standard response is not first"
        return "" if ladder.images else "there is no picture"
