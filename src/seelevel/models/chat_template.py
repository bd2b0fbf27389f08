"""Messages as the model's chat template renders them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seelevel.ladder import IMAGE_MARK, Message


def chat_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the form chat templates read: a list of text and image parts a turn.

    The line break between `<image>` and the text is LLaVA's file format, not content: each template sets its own.
    """
    chat = []
    for message in messages:
        pieces = message["content"].split(IMAGE_MARK) if message["role"] == "user" else [message["content"]]
        content: list[dict[str, str]] = []
        for number, piece in enumerate(pieces):
            if number:
                content.append({"type": "image"})
            text = piece.strip("\n") if len(pieces) > 1 else piece
            if text:
                content.append({"type": "text", "text": text})
        chat.append({"role": message["role"], "content": content})
    return chat


def render(messages: Sequence[Message], processor: Any, answer_next: bool = False) -> str:
    """The conversation as the model's text, `<image>` unexpanded; with `answer_next`, up to where the answer starts."""
    return str(
        processor.apply_chat_template(chat_messages(messages), tokenize=False, add_generation_prompt=answer_next)
    )
