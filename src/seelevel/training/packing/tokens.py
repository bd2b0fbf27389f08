"""A ladder as tokens: every response's whole conversation, which tokens are scored, and the pictures.

Conversations are rendered by the processor's own chat template and tokenised once a response. Nothing here knows a
model family: the scored tokens are found by rendering the beginnings of a conversation and comparing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seelevel.errors import InputError
from seelevel.images import model_picture
from seelevel.ladder import Ladder, Message
from seelevel.models.chat_template import render
from seelevel.models.conditions import with_condition

Ints = npt.NDArray[np.int64]
NOT_SCORED = -1


class UnusableLadderError(InputError):
    """This ladder cannot be trained on, others can."""


@dataclass(frozen=True)
class TokenisedLadder:
    """K conversations as tokens. `rounds[k][t]` is the answer round (from 0) token t belongs to, or -1 where it is not
    scored; `branch` is where the conversations part: their longest common prefix, never past the first scored token.
    `interaction`: of which the ladder is a round, else its own id."""

    id: str
    tokens: list[Ints]
    rounds: list[Ints]
    images: tuple[str, ...]
    image_spans: list[list[tuple[int, int]]]
    branch: int
    interaction: str

    @property
    def longest(self) -> int:
        """Tokens of the longest conversation: what has to fit into the model's context."""
        return max(len(t) for t in self.tokens)

    @property
    def apart(self) -> bool:
        """Whether each response needs a row of its own: they share no beginning, or show pictures of their own."""
        return self.branch == 0 or any(end > self.branch for spans in self.image_spans for _, end in spans)

    def row_length(self, layout: str) -> int:
        """Tokens of the ladder's row (shared), or of its longest row (rows)."""
        if layout == "rows":
            return self.longest
        return self.branch + sum(len(t) - self.branch for t in self.tokens)

    @property
    def best_rounds(self) -> int:
        return int(max(r.max() for r in self.rounds)) + 1


class ImageReader:
    """Pictures through the processor, each distinct list of files once, kept while they are small.

    `read(paths)` gives the model's image inputs; `expansion(paths)` the tokens each `<image>` becomes; `digest(paths)`
    a SHA-256 of the inputs.
    """

    def __init__(self, processor: Any, budget: int = 1 << 30) -> None:
        self._processor, self._budget, self._bytes = processor, budget, 0
        self._kept: dict[tuple[str, ...], dict[str, Tensor]] = {}
        self._expansions: dict[tuple[str, ...], list[Ints]] = {}
        self._digests: dict[tuple[str, ...], bytes] = {}

    def read(self, paths: tuple[str, ...]) -> dict[str, Tensor]:
        """Image inputs, first dimension over pictures or their patches; empty without pictures."""
        if not paths:
            return {}
        if paths not in self._kept:
            inputs, self._expansions[paths] = self._process(paths)
            self._digests[paths] = _digest(inputs)
            size = sum(t.numel() * t.element_size() for t in inputs.values())
            if self._bytes + size > self._budget:
                return inputs
            self._bytes += size
            self._kept[paths] = inputs
        return self._kept[paths]

    def expansion(self, paths: tuple[str, ...]) -> list[Ints]:
        if paths and paths not in self._expansions:
            self.read(paths)
        return self._expansions.get(paths, [])

    def digest(self, paths: tuple[str, ...]) -> bytes:
        if paths and paths not in self._digests:
            self.read(paths)
        return self._digests.get(paths, b"")

    def _process(self, paths: tuple[str, ...]) -> tuple[dict[str, Tensor], list[Ints]]:
        tokenizer, mark = self._processor.tokenizer, self._processor.image_token
        apart = tokenizer.eos_token
        out = self._processor(
            images=[model_picture(path) for path in paths],
            text=[apart.join([mark] * len(paths))],
            add_special_tokens=False,
            return_tensors="pt",
        )
        if "cross_attention_mask" in out:
            raise InputError(
                f"{type(self._processor).__name__} makes a mask for each token of its cross-attention, which training "
                "does not; this family of models cannot be trained yet"
            )
        ids = out["input_ids"][0].numpy()
        cuts = np.flatnonzero(ids == tokenizer.eos_token_id)
        expansions = np.split(ids, cuts)
        expansions = [expansions[0], *(part[1:] for part in expansions[1:])]
        special = set(tokenizer.added_tokens_decoder)
        if len(expansions) != len(paths) or any({int(e[0]), int(e[-1])} - special for e in expansions):
            raise InputError(
                f"{type(self._processor).__name__} does not turn a picture into a run of special tokens; "
                "this family of models cannot be trained yet"
            )
        text_keys = {"input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"}
        return {key: value for key, value in out.items() if key not in text_keys}, expansions


def _digest(inputs: dict[str, Tensor]) -> bytes:
    total = hashlib.sha256()
    for name, value in sorted(inputs.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.digest()


def scored_spans(messages: Sequence[Message], first: int, processor: Any) -> tuple[str, list[tuple[int, int]]]:
    """The rendered conversation and, for each assistant turn from message `first` on, the characters it scores: the
    answer with its end-of-turn token.

    A template that writes no end of turn after the last answer gets the tokenizer's end-of-sequence token there: a
    model has to learn where to stop. Raises `InputError` when the template writes a turn differently once others
    follow, because then no token of it can be attributed.
    """
    text = render(messages, processor)
    ends = [t.content for t in processor.tokenizer.added_tokens_decoder.values() if t.special]
    spans = []
    for index in range(first, len(messages)):
        if messages[index]["role"] != "assistant":
            continue
        head = render(messages[:index], processor, answer_next=True)
        last = index == len(messages) - 1
        turn = text if last else render(messages[: index + 1], processor)
        if not (text.startswith(head) and text.startswith(turn)):
            raise InputError(
                f"the chat template of {type(processor).__name__} rewrites earlier turns, so the answer's tokens "
                "cannot be told apart; give the model folder a template that only appends (chat_template.jinja)"
            )
        answer = messages[index]["content"].strip()
        found = text.find(answer, len(head), len(turn))
        if found < 0:
            spans.append((len(head), len(turn)))
            continue
        # A template may ignore add_generation_prompt: then the role's name stands between head and answer.
        start = found if text[len(head) : found].strip() else len(head)
        close = found + len(answer)
        tail = text[close : len(turn)]
        stops = [tail.index(mark) + len(mark) for mark in ends if mark in tail]
        if stops:
            spans.append((start, close + min(stops)))
        elif last and not tail.strip():
            text = text[:close] + processor.tokenizer.eos_token
            spans.append((start, len(text)))
        else:
            spans.append((start, close + len(tail.rstrip())))
    return text, spans


def tokenise_conversation(
    messages: Sequence[Message], first: int, processor: Any, expansions: Sequence[Ints]
) -> tuple[Ints, Ints, list[tuple[int, int]]]:
    """One conversation: tokens, the round of each (-1 where not scored), and where each picture's tokens are."""
    text, spans = scored_spans(messages, first, processor)
    tokenizer = processor.tokenizer
    starts = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    encoded = tokenizer(text, add_special_tokens=not starts, return_offsets_mapping=True)
    ids = np.asarray(encoded["input_ids"], dtype=np.int64)
    offsets = np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    # Offsets may leave out the space before a word, so a token covers what lies since the one before it; tokens that
    # are bytes of one letter all cover that letter; tokens that the tokenizer adds around the text cover nothing.
    ends = np.maximum.accumulate(offsets[:, 1])
    begins = np.minimum(offsets[:, 0], np.concatenate([[0], ends[:-1]]))
    begins = np.where(offsets[:, 1] == 0, ends, begins)
    rounds = np.full(len(ids), NOT_SCORED, dtype=np.int64)
    for number, (start, end) in enumerate(spans):
        rounds[np.maximum(begins, start) < np.minimum(ends, end)] = number
    places = np.flatnonzero(ids == processor.image_token_id) if expansions else np.empty(0, dtype=np.int64)
    if len(places) != len(expansions):
        raise InputError(f"{len(expansions)} pictures but {len(places)} picture tokens in the rendered conversation")
    pieces, marks, where, cursor, length = [], [], [], 0, 0
    for place, expansion in zip(places, expansions, strict=True):
        pieces += [ids[cursor:place], expansion]
        marks += [rounds[cursor:place], np.full(len(expansion), NOT_SCORED, dtype=np.int64)]
        length += int(place) - cursor
        where.append((length, length + len(expansion)))
        length += len(expansion)
        cursor = int(place) + 1
    return np.concatenate([*pieces, ids[cursor:]]), np.concatenate([*marks, rounds[cursor:]]), where


def tokenise(ladder: Ladder, processor: Any, images: ImageReader) -> TokenisedLadder:
    """All responses of a ladder. Raises `InputError` naming the ladder when its text cannot be tokenised as it is; a
    `UnusableLadderError` when that is the ladder's own fault."""
    if not ladder.responses:
        raise InputError(f"ladder {ladder.id} has no response to train on")
    paths = tuple(image.path for image in ladder.images)
    tokens, rounds, spans = [], [], []
    for response in ladder.responses:
        if any(processor.image_token in m["content"] for m in response.messages if m["role"] == "assistant"):
            raise UnusableLadderError(
                f"ladder {ladder.id}: an answer contains the picture token {processor.image_token}"
            )
        messages = [*with_condition(ladder.prompt, response.condition), *response.messages]
        try:
            ids, scored, where = tokenise_conversation(messages, len(ladder.prompt), processor, images.expansion(paths))
        except InputError as error:
            raise type(error)(f"ladder {ladder.id}: {error}") from error
        tokens.append(ids)
        rounds.append(scored)
        spans.append(where)
    branch = branch_point(tokens, rounds)
    return TokenisedLadder(ladder.id, tokens, rounds, paths, spans, branch, ladder.interaction)


def branch_point(tokens: Sequence[Ints], rounds: Sequence[Ints]) -> int:
    """Length of the longest prefix that all conversations share, never past the first scored token of any."""
    limit = min(int(np.argmax(r != NOT_SCORED)) if (r != NOT_SCORED).any() else len(r) for r in rounds)
    limit = min(limit, *(len(t) for t in tokens))
    for other in tokens[1:]:
        limit = common_prefix(tokens[0], other, limit)
    return limit


def common_prefix(first: Ints, second: Ints, limit: int) -> int:
    """Length of the longest prefix that two conversations share, `limit` at most; both are as long as that."""
    differ = np.flatnonzero(first[:limit] != second[:limit])
    return int(differ[0]) if len(differ) else limit
