"""A ladder as tokens: every response's whole conversation, which tokens are scored, and the pictures.

Conversations are rendered by the processor's own chat template and tokenised once a response. Nothing here knows a
model family: the scored tokens are found by rendering the beginnings of a conversation and comparing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seelevel.errors import InputError
from seelevel.images import Picture, model_picture
from seelevel.ladder import Ladder, Message
from seelevel.models.chat_template import RefusedConversationError, render
from seelevel.models.conditions import with_condition

Ints = npt.NDArray[np.int64]
Paths = tuple[Picture, ...]
NOT_SCORED = -1
OTHER = "\ue000"
"""A letter for private use: no answer begins or ends with it."""


class UnusableLadderError(InputError):
    """This ladder cannot be trained on, others can."""


@dataclass(frozen=True)
class TokenisedLadder:
    """K conversations as tokens. `rounds[k][t]` is the answer round (from 0) token t belongs to, or -1 where it is not
    scored; `branch` is where the conversations part: their longest common prefix, never past the first scored token.
    `interaction`: of which the ladder is a round, else its own id. `digest`: SHA-256 of the pictures' inputs."""

    id: str
    tokens: list[Ints]
    rounds: list[Ints]
    images: Paths
    image_spans: list[list[tuple[int, int]]]
    branch: int
    interaction: str
    digest: bytes = b""

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


@dataclass(frozen=True)
class Expansion:
    """What a picture becomes in a text. ids: its tokens, from the first special one, named `first`, to the last.
    before, after: plain text around them, such as Gemma 3's line breaks, which the tokenizer may join with the text
    beside the picture."""

    before: str
    first: str
    after: str
    ids: Ints


class ImageReader:
    """Pictures through the processor, each distinct list of files once, kept while they are small.

    `read`: the model's image inputs; `expansion`: what each `<image>` becomes; `digest`: SHA-256 of the inputs."""

    def __init__(self, processor: Any, budget: int = 1 << 30) -> None:
        self._processor, self._budget, self._bytes = processor, budget, 0
        self._kept: dict[Paths, dict[str, Tensor]] = {}
        self._expansions: dict[Paths, list[Expansion]] = {}
        self._digests: dict[Paths, bytes] = {}

    def read(self, paths: Paths) -> dict[str, Tensor]:
        """Image inputs, first dimension over pictures or their patches; empty without pictures."""
        if not paths:
            return {}
        if paths not in self._kept:
            inputs, self._expansions[paths] = self._process(paths)
            if self._digests.setdefault(paths, digest := _digest(inputs)) != digest:
                raise InputError(
                    f"picture {', '.join(map(str, paths))}: changed while training; run the same command again"
                )
            size = sum(t.numel() * t.element_size() for t in inputs.values())
            if self._bytes + size > self._budget:
                return inputs
            self._bytes += size
            self._kept[paths] = inputs
        return self._kept[paths]

    def expansion(self, paths: Paths) -> list[Expansion]:
        if paths and paths not in self._expansions:
            self.read(paths)
        return self._expansions.get(paths, [])

    def digest(self, paths: Paths) -> bytes:
        if paths and paths not in self._digests:
            self.read(paths)
        return self._digests.get(paths, b"")

    def _process(self, paths: Paths) -> tuple[dict[str, Tensor], list[Expansion]]:
        tokenizer, mark = self._processor.tokenizer, self._processor.image_token
        text = tokenizer.eos_token.join(["", *[mark] * len(paths), ""])
        out = self._processor(
            images=[[model_picture(path) for path in paths]],  # of one text: some families look closer at a single one
            text=[text],
            add_special_tokens=False,
            return_tensors="pt",
        )
        if "cross_attention_mask" in out:
            raise InputError(
                f"{type(self._processor).__name__} makes a mask for each token of its cross-attention, which training "
                "does not; this family of models cannot be trained yet"
            )
        ids = out["input_ids"][0].numpy()
        first, *parts = np.split(ids, np.flatnonzero(ids == tokenizer.eos_token_id))
        if len(first) or len(parts) != len(paths) + 1 or len(parts[-1]) > 1:  # text that belongs to no picture
            raise self._no_run()
        expansions = [self._expansion(part[1:]) for part in parts[:-1]]
        if not np.array_equal(_tokens(text, [], self._processor, expansions, add_special_tokens=False)[0], ids):
            raise self._no_run()
        text_keys = {"input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"}
        return {key: value for key, value in out.items() if key not in text_keys}, expansions

    def _expansion(self, ids: Ints) -> Expansion:
        tokenizer = self._processor.tokenizer
        special = {n: token.content for n, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
        inside = np.flatnonzero(np.isin(ids, list(special)))
        if not len(inside):
            raise self._no_run()
        begin, end = int(inside[0]), int(inside[-1]) + 1
        before, after = tokenizer.decode(ids[:begin]), tokenizer.decode(ids[end:])
        return Expansion(before, special[int(ids[begin])], after, ids[begin:end])

    def _no_run(self) -> InputError:
        return InputError(
            f"{type(self._processor).__name__} does not turn a picture into a run of special tokens; "
            "this family of models cannot be trained yet"
        )


def _digest(inputs: dict[str, Tensor]) -> bytes:
    total = hashlib.sha256()
    for name, value in sorted(inputs.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.digest()


Render = Callable[..., str]


def rendering(processor: Any) -> Render:
    """`render` with this processor and a cache: the responses of a ladder share the text around them."""
    texts: dict[tuple[tuple[tuple[str, str], ...], bool], str] = {}

    def rendered(messages: Sequence[Message], answer_next: bool = False) -> str:
        key = (tuple((message["role"], message["content"]) for message in messages), answer_next)
        if key not in texts:
            texts[key] = render(messages, processor, answer_next)
        return texts[key]

    return rendered


def scored_spans(
    messages: Sequence[Message], first: int, processor: Any, rendered: Render
) -> tuple[str, list[tuple[int, int]]]:
    """The rendered conversation and, for each assistant turn from message `first` on, the characters it scores: the
    answer with its end-of-turn token.

    A template that writes no end of turn after the last answer gets the tokenizer's end-of-sequence token there: a
    model has to learn where to stop. A template may leave the thoughts of earlier turns out, as Qwen3.5's does. Raises
    `InputError` if it writes an earlier answer or its end differently, because then no token can be attributed.
    """
    text = rendered(messages)
    ends = [t.content for t in processor.tokenizer.added_tokens_decoder.values() if t.special]
    spans = []
    for index in range(first, len(messages)):
        if messages[index]["role"] != "assistant":
            continue
        start, close = _answer_in(text, messages, index, rendered)
        last = index == len(messages) - 1
        alone = text if last else rendered(messages[: index + 1])
        tail = alone[close if last else _answer_in(alone, messages[: index + 1], index, rendered)[1] :]
        if start < 0 or not text.startswith(tail, close):
            raise InputError(
                f"the chat template of {type(processor).__name__} rewrites earlier turns, so the answer's tokens "
                "cannot be told apart; give the model folder a template that only appends (chat_template.jinja)"
            )
        head = rendered(messages[:index], answer_next=True)
        # Otherwise the model writes what stands before the answer itself: a space, or the role's name if the template
        # ignores add_generation_prompt.
        if text.startswith(head) and not text[len(head) : start].strip():
            start = len(head)
        stops = [tail.index(mark) + len(mark) for mark in ends if mark in tail]
        if stops:
            spans.append((start, close + min(stops)))
        elif last and not tail.strip():
            text = text[:close] + processor.tokenizer.eos_token
            spans.append((start, len(text)))
        else:
            spans.append((start, close + len(tail.rstrip())))
    return text, spans


def _answer_in(text: str, messages: Sequence[Message], index: int, rendered: Render) -> tuple[int, int]:
    """Where the answer of message `index` stands in the rendered conversation: what another one in its place changes.
    (-1, -1) if nothing changes."""
    other = rendered([*messages[:index], {"role": "assistant", "content": OTHER}, *messages[index + 1 :]])
    if other == text:
        return -1, -1
    start = _alike(text, other)
    return start, len(text) - _alike(text[start:][::-1], other[start:][::-1])


def _alike(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    alike, most = 0, min(len(first), len(second))
    while alike < most:
        middle = (alike + most + 1) // 2
        if first[alike:middle] == second[alike:middle]:
            alike = middle
        else:
            most = middle - 1
    return alike


def tokenise_conversation(
    messages: Sequence[Message], first: int, processor: Any, rendered: Render, expansions: Sequence[Expansion]
) -> tuple[Ints, Ints, list[tuple[int, int]]]:
    """One conversation: tokens, the round of each (-1 where not scored), and where each picture's tokens are."""
    text, spans = scored_spans(messages, first, processor, rendered)
    bos = processor.tokenizer.bos_token
    return _tokens(text, spans, processor, expansions, add_special_tokens=not (bos and text.startswith(bos)))


def _tokens(
    text: str, spans: list[tuple[int, int]], processor: Any, expansions: Sequence[Expansion], add_special_tokens: bool
) -> tuple[Ints, Ints, list[tuple[int, int]]]:
    """A text as `tokenise_conversation` returns it. spans: the characters that each round scores."""
    text, spans, pictures = _surrounded(text, spans, processor.image_token, expansions)
    encoded = processor.tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True)
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
    pieces, marks, where, cursor, length = [], [], [], 0, 0
    for place, expansion in zip(np.searchsorted(ends, pictures, side="right"), expansions, strict=True):
        pieces += [ids[cursor:place], expansion.ids]
        marks += [rounds[cursor:place], np.full(len(expansion.ids), NOT_SCORED, dtype=np.int64)]
        length += int(place) - cursor
        where.append((length, length + len(expansion.ids)))
        length += len(expansion.ids)
        cursor = int(place) + 1
    return np.concatenate([*pieces, ids[cursor:]]), np.concatenate([*marks, rounds[cursor:]]), where


def _surrounded(
    text: str, spans: list[tuple[int, int]], mark: str, expansions: Sequence[Expansion]
) -> tuple[str, list[tuple[int, int]], list[int]]:
    """The text with each picture's first token and its own text instead of its mark, the spans in it, and the place of
    each first token. The mark itself need not be a token, as in Aya Vision."""
    if not expansions:
        return text, spans, []
    head, *pieces = text.split(mark)
    if len(pieces) != len(expansions):
        raise InputError(f"{len(expansions)} pictures but {len(pieces)} picture marks in the rendered conversation")
    whole, old, pictures, moves = head, len(head), list[int](), list[tuple[int, int]]()
    for piece, expansion in zip(pieces, expansions, strict=True):
        pictures.append(len(whole) + len(expansion.before))
        whole += expansion.before + expansion.first + expansion.after
        old += len(mark)
        moves.append((old, len(whole) - old))
        whole, old = whole + piece, old + len(piece)

    def moved(place: int) -> int:
        return place + next((by for start, by in reversed(moves) if start <= place), 0)

    return whole, [(moved(start), moved(end)) for start, end in spans], pictures


def tokenise(ladder: Ladder, processor: Any, images: ImageReader, pictures: Paths = ()) -> TokenisedLadder:
    """All responses of a ladder, given `pictures` if not its own. Raises `InputError` naming the ladder when its text
    cannot be tokenised as it is; an `UnusableLadderError` when that is the ladder's own fault."""
    if not ladder.responses:
        raise InputError(f"ladder {ladder.id} has no response to train on")
    paths = pictures or tuple(image.path for image in ladder.images)
    tokens, rounds, spans, rendered = [], [], [], rendering(processor)
    for response in ladder.responses:
        if any(processor.image_token in m["content"] for m in response.messages if m["role"] == "assistant"):
            raise UnusableLadderError(
                f"ladder {ladder.id}: an answer contains the picture token {processor.image_token}"
            )
        messages = [*with_condition(ladder.prompt, response.condition), *response.messages]
        try:
            ids, scored, where = tokenise_conversation(
                messages, len(ladder.prompt), processor, rendered, images.expansion(paths)
            )
        except RefusedConversationError as error:
            raise UnusableLadderError(f"ladder {ladder.id}: {error}") from error
        except InputError as error:
            raise type(error)(f"ladder {ladder.id}: {error}") from error
        tokens.append(ids)
        rounds.append(scored)
        spans.append(where)
    branch = branch_point(tokens, rounds)
    return TokenisedLadder(ladder.id, tokens, rounds, paths, spans, branch, ladder.interaction, images.digest(paths))


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
