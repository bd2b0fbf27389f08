"""The thoughts of reasoning models, told from their answers.

A model may think before it answers, between marks that depend on its family. The answer is what follows the last mark
that ends a thought; all before it is *reasoning*. A text that ends inside a thought has no answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAGS = r"(?:(?:seed:|longcat_)?think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
_OPENS = re.compile(
    rf"<{_TAGS}(?:\s[^<>]*)?>"  # <think> of Qwen, DeepSeek, GLM, Kimi, MiniMax, InternVL; <seed:think>, <thought>
    r"|<\|(?:begin_of_thought|start_thinking|think_start)\|>"  # Sky-T1, Cohere
    r"|\[THINK\]|◁think▷"  # Magistral, Kimi-VL
    r"|<\|?channel\|?>\s*(?:analysis|thought|thinking|commentary)[^\n<]*(?:<\|message\|>)?",  # gpt-oss, Gemma 4
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"</{_TAGS}\s*>"
    r"|<\|(?:end_of_thought|end_thinking|think_end)\|>"
    r"|\[/THINK\]|◁/think▷"
    r"|<channel\|>|<\|channel\|>\s*final[^\n<]*(?:<\|message\|>)?"
    r"|\[BEGIN FINAL RESPONSE\]",  # Apriel, which thinks without an opening mark
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"<(final|final_answer|response|conclusion|solution|output)>(.*?)(?:</\1>)?", re.I | re.S)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_FRAME = re.compile(
    r"<\|(?:begin|end)_of_(?:solution|box)\|>|<\|(?:start|end)_(?:response|text)\|>|\[END FINAL RESPONSE\]"
    r"|(?:<\|(?:return|end|im_end|eot_id)\|>|<turn\|>)\s*\Z",
    re.IGNORECASE,
)
CUT, UNSPOKEN = "it ends inside its thoughts", "it has thoughts but no answer"


@dataclass(frozen=True)
class Split:
    """A text in two parts. `reasoning` is empty if no thought is marked; `why` says why there is no answer."""

    answer: str
    reasoning: str = ""
    marked: bool = False
    why: str = ""


def split_thought(text: str) -> Split:
    """Tell the thoughts of a text from its answer. A text without marks is all answer, unchanged."""
    if not may_think(text):
        return Split(text)
    closes = list(_CLOSES.finditer(text))
    end = closes[-1].end() if closes else 0
    opened = _OPENS.search(text, end)
    if opened:
        return Split("", _unmarked(text), True, CUT)
    thought, rest = text[:end], _FRAME.sub("", text[end:])
    answers = _ANSWER.findall(rest)
    if len(answers) == 1:
        outside = _ANSWER.sub("", rest)
        thought, rest = f"{thought}\n{outside}" if outside.strip() else thought, answers[0]
    elif whole := _WRAPPED.fullmatch(rest.strip()):
        rest = whole[2]
    if not closes and rest == text:
        return Split(text)
    reasoning, answer = _unmarked(thought), rest.strip()
    return Split(answer, reasoning, bool(closes), UNSPOKEN if closes and not answer else "")


def may_think(text: str) -> bool:
    """Whether a text has a character that some mark begins with."""
    return "<" in text or "[" in text or "◁" in text


def spoken(text: str) -> str:
    """The answer of a text. Raises ValueError if the text is only thoughts."""
    split = split_thought(text)
    if split.why:
        raise ValueError(split.why)
    return split.answer


def opening(prompt: str) -> str:
    """The mark at the end of a rendered prompt that lets the answer begin inside a thought; '' if there is none."""
    marks = list(_OPENS.finditer(prompt))
    return marks[-1][0] if marks and not prompt[marks[-1].end() :].strip() else ""


def _unmarked(text: str) -> str:
    return _FRAME.sub("", _CLOSES.sub("\n", _OPENS.sub("\n", text))).strip()
