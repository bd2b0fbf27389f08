"""Requests of lmms-eval as prompts and decoding options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from seelevel.errors import InputError
from seelevel.ladder import IMAGE_MARK, Message
from seelevel.models.base import Prompt, Sampling
from seelevel.registry import nearest

KEPT = ("num_beams", "max_new_tokens", "repetition_penalty", "temperature", "top_p", "min_p", "seed")
"""Generation arguments that are fields of `Sampling`."""
STOPS = ("until", "stop_sequences")
LEFT_TO_PROCESSOR = ("image_aspect_ratio",)
"""Arguments for LLaVA's first code. The model's own processor prepares pictures here."""
ARGUMENTS = (*KEPT, *STOPS, "do_sample", "top_k", *LEFT_TO_PROCESSOR)
EVERY_TOKEN = (None, 0, -1)
"""Values of `top_k` that leave out no token."""
ROLES = ("system", "user", "assistant")
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


def sampling_of(arguments: Mapping[str, Any], default: Sampling, place: str) -> tuple[Sampling, tuple[str, ...]]:
    """The decoding options in a task's `generation_kwargs`, named by `place`, and the texts that end an answer.

    As in transformers, `do_sample: false` is greedy at any temperature, and options that shape the draw then say
    nothing. Without `do_sample`, a temperature above 0 draws. `top_k: 1` is greedy. Raises `InputError` for an argument
    that cannot be honoured, with the place.
    """
    if unknown := [name for name in arguments if name not in ARGUMENTS]:
        raise InputError(f"{place}: {unknown[0]} cannot be honoured; {nearest(unknown[0], ARGUMENTS)}")
    values = {name: arguments[name] for name in KEPT if arguments.get(name) is not None}
    top_k, sample = arguments.get("top_k"), arguments.get("do_sample")
    if sample is None:
        sample = values.get("temperature", 0) > 0
    if not sample or top_k == 1:
        values = {**values, "temperature": 0.0}
        values = {name: value for name, value in values.items() if name not in ("top_p", "min_p")}
    elif top_k not in EVERY_TOKEN:
        raise InputError(f"{place}: top_k {top_k} cannot be honoured; leave it out, or use top_p or min_p")
    elif values.setdefault("temperature", 1.0) == 0:
        raise InputError(f"{place}: do_sample is true and temperature 0; set one of them")
    try:
        sampling = Sampling(**{**default.model_dump(), **values})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the sampling"
        raise InputError(f"{place}: {name} is {first['input']!r:.60}: {first['msg']}") from error
    return sampling, _stops(arguments, place)


def _stops(arguments: Mapping[str, Any], place: str) -> tuple[str, ...]:
    stops: list[str] = []
    for name in STOPS:
        value = arguments.get(name) or []
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple) or not all(isinstance(stop, str) for stop in listed):
            raise InputError(f"{place}: {name} is {value!r:.60}, not a text or a list of texts")
        stops += [stop for stop in listed if stop]
    return tuple(stops)


def before(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of the stops, or all of it."""
    return min((text.partition(stop)[0] for stop in stops), key=len, default=text)


def prompt_of(messages: Any, folder: Path, where: str) -> Prompt:
    """A conversation of lmms-eval's chat protocol. Its pictures are written into the folder, unless they are files.

    A text that holds as many `<image>` marks as there are pictures before it says where these belong. Raises
    `InputError` for videos, sounds, pictures in other turns than the user's, and marks that fit no pictures.
    """
    turns: list[Message] = []
    images: list[str] = []
    for message in messages:
        role, content = message["role"], message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if role not in ROLES:
            raise InputError(f"{where}: a turn of {role!r:.40}, not of {', '.join(ROLES)}")
        pictures = [part["url"] for part in parts if part["type"] == "image"]
        other = next((part["type"] for part in parts if part["type"] not in ("image", "text")), None)
        if other is not None:
            raise InputError(f"{where}: it shows a part of type {other}; only pictures and texts can be answered")
        if pictures and role != "user":
            raise InputError(f"{where}: a picture in a turn of the {role}; only the user shows pictures")
        turns.append(Message(role=role, content=_marked(parts, len(pictures), where)))
        images += [_file(picture, folder, len(images) + n, where) for n, picture in enumerate(pictures)]
    if not turns or turns[-1]["role"] != "user":
        raise InputError(f"{where}: its last turn is not the user's, so there is nothing to answer")
    return Prompt(turns, images)


def _marked(parts: Sequence[Mapping[str, Any]], pictures: int, where: str) -> str:
    """A turn's text with one mark per picture."""
    texts = [str(part["text"]) for part in parts if part["type"] == "text"]
    marks = sum(text.count(IMAGE_MARK) for text in texts)
    if marks == 0:
        return "\n".join(IMAGE_MARK if part["type"] == "image" else str(part["text"]) for part in parts)
    if marks != pictures or any(part["type"] == "image" for part in parts[pictures:]):
        raise InputError(f"{where}: its text has {marks} {IMAGE_MARK} marks for {pictures} pictures; drop the marks")
    return "\n".join(texts)


def _file(picture: Any, folder: Path, number: int, where: str) -> str:
    """A picture's file, written without loss if it is in memory."""
    if isinstance(picture, str):
        if not Path(picture).is_file():
            raise InputError(f"{where}: picture {picture:.120} is not a file here; download it first")
        return picture
    if not isinstance(picture, Image.Image):
        raise InputError(f"{where}: a picture is a {type(picture).__name__}, not a PIL image or a file")
    path = folder / (re.sub(r"[^\w-]+", "-", where) + f"-{number}.png")
    shown = picture if picture.mode in PNG_MODES else picture.convert("RGB")
    shown.save(path, compress_level=1)
    return str(path)
