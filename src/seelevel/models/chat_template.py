"""Render messages with the model's chat template.

Templates differ in what they take: content as a list of parts or as one text, a system turn or none, two user turns in
a row or not. What a template takes is found out once, by rendering short conversations with it; messages are then
written in that form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from jinja2 import TemplateError

from seelevel.errors import InputError
from seelevel.ladder import IMAGE_MARK, Message
from seelevel.progress import say
from seelevel.sandbox import BoundedEnvironment, TooMuchError, limited
from seelevel.templates import RENDER_ERRORS

DAY = date(2024, 7, 26)
"""What a template that asks for today's date is told, so that the same conversation is the same text every day."""
TODAY = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
REFUSALS = (TemplateError, *RENDER_ERRORS, RuntimeError, SyntaxError)
"""What a template may raise, also when it is compiled: blocks nested too deep are a SyntaxError of Python."""
SYSTEM, USER, ANSWER, MORE = "\ue001", "\ue002", "\ue003", "\ue004"
"""Letters for private use, looked for in what a template writes."""
AROUND = (("<|vision_start|>", "<|vision_end|>"), ("<|begin_of_image|>", "<|end_of_image|>"))
"""Tokens that stand around a picture in some families (Qwen, GLM). Their templates write them, their processors do
not."""


class RefusedConversationError(InputError):
    """The chat template refuses this conversation; it may take others."""


@dataclass(frozen=True)
class Forms:
    """What a chat template takes.

    The content of a turn is a list of `parts`, a list of one text with the pictures' `marks` in it, or one `text`.
    system: `folded` if the template refuses a system turn or leaves it out; then its text begins the next user turn.
    joins: user turns in a row become one, because the template refuses them.
    """

    user: str
    answer: str
    system: str
    joins: bool


PARTS = Forms("parts", "parts", "parts", False)
"""What most templates of vision-language models take."""
REMEDY = "give its folder a template for pictures (chat_template.jinja)"
_KNOWN: dict[tuple[str, str], Forms] = {}
_SAID: set[str] = set()


def template_of(processor: Any) -> str:
    """The text of the chat template; '' if there is none. If it has several, it is the one called `default`."""
    template = processor.chat_template or processor.tokenizer.chat_template or ""
    text = str(template.get("default", "") if isinstance(template, dict) else template)
    return TODAY.sub(lambda call: repr(DAY.strftime(call[2])), text) if "strftime_now" in text else text


def forms_of(processor: Any) -> Forms:
    """What the model's chat template takes. Raises `InputError` if it shows no user text, answers or pictures."""
    key = template_of(processor), str(_mark(processor))
    if key not in _KNOWN:
        user = {"role": "user", "content": f"{IMAGE_MARK}\n{USER}"}
        asked = Forms(_user_form(processor), "parts", "parts", False)
        answer = _first(processor, asked, "answer", [user, {"role": "assistant", "content": ANSWER}], ANSWER)
        system = _first(processor, asked, "system", [{"role": "system", "content": SYSTEM}, user], SYSTEM)
        if answer is None:
            raise InputError(f"{_name(processor)}: its chat template shows no answers; {REMEDY}")
        joins = not _shows(processor, asked, [user, {"role": "user", "content": MORE}], USER, MORE)
        _KNOWN[key] = Forms(asked.user, answer, system or "folded", joins)
    return _KNOWN[key]


def _user_form(processor: Any) -> str:
    """How a user turn with a picture has to be written so that the template shows its text and the picture."""
    bare, reasons = [{"role": "user", "content": USER}], []
    asked = [{"role": "user", "content": f"{IMAGE_MARK}\n{USER}"}]
    mark = _mark(processor)
    for form in ("parts", "marks", "text") if mark else ("parts",):
        forms = Forms(form, "parts", "parts", False)
        try:
            text = _apply(chat_messages(asked, forms, mark), processor, True)
            plain = _apply(chat_messages(bare, forms, mark), processor, True)
        except REFUSALS as error:
            reasons.append(" ".join(str(error).split()))
            continue
        if _clean(text, [USER]) and (text != plain if form == "parts" else text.count(mark) == 1):
            return form
        reasons.append("it shows no pictures" if _clean(text, [USER]) else "it does not show the user's text")
    raise InputError(f"{_name(processor)}: its chat template cannot be used ({reasons[0]}); {REMEDY}")


def _first(processor: Any, forms: Forms, turn: str, messages: Sequence[Any], wanted: str) -> str | None:
    """The first form of a turn, `answer` or `system`, in which the template shows it."""
    for form in ("parts", "text"):
        changes: dict[str, Any] = {turn: form}
        if _shows(processor, replace(forms, **changes), messages, wanted, USER):
            return form
    return None


def _shows(processor: Any, forms: Forms, messages: Sequence[Any], *wanted: str) -> bool:
    try:
        return _clean(_apply(chat_messages(messages, forms, _mark(processor)), processor, False), wanted)
    except REFUSALS:
        return False


def _clean(text: str, wanted: Iterable[str]) -> bool:
    """Whether a text has what is wanted, and no list of parts printed as it is."""
    return all(letter in text for letter in wanted) and "'type'" not in text and '"type"' not in text


def _mark(processor: Any) -> str:
    """What stands for a picture in a text, with the tokens around it; '' if that is not known."""
    mark = getattr(processor, "image_token", None) or ""
    begin, end = next((pair for pair in AROUND if all(has_token(processor.tokenizer, t) for t in pair)), ("", ""))
    return f"{begin}{mark}{end}" if mark else ""


def has_token(tokenizer: Any, token: str) -> bool:
    """Whether a text is one token of the vocabulary."""
    number = tokenizer.convert_tokens_to_ids(token)
    return number is not None and tokenizer.convert_ids_to_tokens(number) == token


def _name(processor: Any) -> str:
    path = getattr(processor.tokenizer, "name_or_path", "")
    return f"model {path}" if path else type(processor).__name__


def chat_messages(messages: Sequence[Any], forms: Forms = PARTS, mark: str = "") -> list[dict[str, Any]]:
    """Messages in the form that the template takes. `mark`: what stands for a picture in a text.

    The line break between `<image>` and the text belongs to LLaVA's file format. It is removed from parts, because each
    template adds its own.
    """
    return [{"role": message["role"], "content": _content(message, forms, mark)} for message in messages]


def _content(message: Any, forms: Forms, mark: str) -> str | list[dict[str, str]]:
    role, text = message["role"], message["content"]
    form = {"user": forms.user, "assistant": forms.answer, "system": forms.system}[role]
    if role == "user" and form != "parts":
        text = text.replace(IMAGE_MARK, mark)
    if form == "text":
        return str(text)
    pieces = text.split(IMAGE_MARK) if role == "user" and form == "parts" else [text]
    content: list[dict[str, str]] = []
    for number, piece in enumerate(pieces):
        if number:
            content.append({"type": "image"})
        piece = piece.strip("\n") if len(pieces) > 1 else piece
        if piece:
            content.append({"type": "text", "text": piece})
    return content


def _folded(messages: Sequence[Message]) -> list[Message]:
    """System turns put into the user turns after them, behind the pictures that these begin with."""
    folded: list[Message] = []
    waiting = ""
    for message in messages:
        if message["role"] == "system":
            waiting += message["content"] + "\n\n"
        elif message["role"] == "user" and waiting:
            begin = re.match(rf"(?:{IMAGE_MARK}\s*)*", message["content"])
            end = begin.end() if begin else 0
            text = message["content"][:end] + waiting + message["content"][end:]
            folded.append({"role": "user", "content": text})
            waiting = ""
        else:
            folded.append(message)
    if waiting:
        raise RefusedConversationError("a system turn has no user turn after it; move it to the beginning")
    return folded


def _joined(messages: Sequence[Message]) -> list[Message]:
    """User turns in a row as one."""
    joined: list[Message] = []
    for message in messages:
        if joined and message["role"] == joined[-1]["role"] == "user":
            joined[-1] = {"role": "user", "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def render(messages: Sequence[Message], processor: Any, answer_next: bool = False) -> str:
    """The conversation as text, `<image>` unexpanded; with `answer_next`, up to the start of the next answer.

    A model that may think first is told not to, if its template lets it choose: an answer is what the user reads.
    Raises `InputError` for a template that cannot be used, `RefusedConversationError` for a conversation that it
    refuses.
    """
    forms = forms_of(processor)
    if forms.system == "folded" and any(message["role"] == "system" for message in messages):
        _say_once(f"{_name(processor)}: its chat template takes no system turn, so its text begins the user turn")
        messages = _folded(messages)
    if forms.joins:
        messages = _joined(messages)
    try:
        return _apply(chat_messages(messages, forms, _mark(processor)), processor, answer_next)
    except REFUSALS as error:
        reason = " ".join(str(error).split())
        raise RefusedConversationError(f"the chat template refuses this conversation ({reason})") from error


def _say_once(line: str) -> None:
    if line not in _SAID:
        _SAID.add(line)
        say(line)


def _apply(chat: list[dict[str, Any]], processor: Any, answer_next: bool) -> str:
    """Raises `InputError` for a template beyond the limits, and `REFUSALS` for one that refuses the conversation."""
    from transformers.utils import chat_template_utils

    template = template_of(processor)
    switch = {"enable_thinking": False} if "enable_thinking" in template else {}
    # Transformers compiles a template in Jinja's sandbox, which has no limits.
    chat_template_utils.ImmutableSandboxedEnvironment = BoundedEnvironment
    try:
        with limited():
            text = processor.apply_chat_template(
                chat, chat_template=template, tokenize=False, add_generation_prompt=answer_next, **switch
            )
    except TooMuchError as error:
        raise InputError(f"{_name(processor)}: its chat template {error}; {REMEDY}") from error
    return str(text)


def end_of_answer(processor: Any) -> str:
    """The special token that the template writes right after an answer; '' if it writes none."""
    text = render([{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}], processor)
    tail = text.rpartition(ANSWER)[2].lstrip()
    special = {token.content for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
    return max((token for token in special if token and tail.startswith(token)), key=len, default="")
