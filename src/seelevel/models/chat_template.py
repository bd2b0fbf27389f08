"""Render messages with the model's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seelevel.ladder import IMAGE_MARK, Message


def chat_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages in the form that chat templates read: a list of text and image parts per turn.

    The line break between `<image>` and the text belongs to LLaVA's file format. It is removed, because each template
    adds its own.
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
    """The conversation as text, `<image>` unexpanded; with `answer_next`, up to the start of the next answer.

    A model that may think first is told not to, if its template lets it choose: an answer is what the user reads.
    """
    template = str(processor.chat_template or processor.tokenizer.chat_template)
    switch = {"enable_thinking": False} if "enable_thinking" in template else {}
    return str(
        processor.apply_chat_template(
            chat_messages(messages), tokenize=False, add_generation_prompt=answer_next, **switch
        )
    )
