"""`seelevel align --show-batch`: the ladders of the first step as the model reads them, scored tokens in colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.text import Text

from seelevel.ladder import Ladder
from seelevel.models.processor import load_reader
from seelevel.progress import escape_controls
from seelevel.training.packing import row_length, rows_of
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, Ints, TokenisedLadder
from seelevel.training.prepare import prepare
from seelevel.training.schedule import schedule
from seelevel.training.settings import TrainSettings

PLAIN, SCORED = "dim", ("bold green", "bold cyan")
"""Styles of tokens without a loss, and of tokens with one; the latter alternate by answer round."""
OPEN, CLOSE = "⟦", "⟧"
"""Marks around tokens with a loss on a console without colour."""


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens with the same scoring, as text. `round`: the answer round that scores them, or -1."""

    text: str
    round: int


def first_step(ladders: Sequence[Ladder], model: str, settings: TrainSettings, seed: int) -> Iterator[Text]:
    """One block per ladder of the first optimiser step, and per second view of one: the common prefix, then each
    response's own tokens.

    Weights are not loaded. Rounds of an interaction that share a row are marked, whatever the budget of a forward pass.
    """
    config, processor = load_reader(model)
    data = prepare(ladders, processor, ImageReader(processor), settings, config, seed)
    order = schedule(data.interactions, settings.epochs, settings.ladders_per_step, seed)[: settings.ladders_per_step]
    places, _ = data.with_views(order)
    chosen = [data.tokenised[place] for place in places]
    rows = rows_of(chosen) if settings.layout == "shared" else [[n] for n in range(len(chosen))]
    for row in rows:
        length = row_length([chosen[n] for n in row])
        for n in row:
            others = ", ".join(chosen[other].id for other in row if other != n)
            shares = f"; with {others} in a row of {length}" if others else ""
            levels = (
                [f"level {response.level}" for response in data.ladders[places[n]].responses] if n < len(order) else []
            )
            yield shown(chosen[n], levels, processor, shares)


def write(blocks: Iterable[Text], console: Console) -> None:
    """Print blocks: in colour if the console has colours, else with marks around the tokens with a loss."""
    coloured = console.color_system is not None and not console.no_color
    legend = "in colour" if coloured else f"between {OPEN} and {CLOSE}"
    console.print(f"tokens with a loss are {legend}", soft_wrap=True)
    for block in blocks:
        console.print(block if coloured else marked(block), soft_wrap=True)


def marked(block: Text) -> Text:
    """A block with marks instead of styles."""
    plain, end = "", 0
    for span in sorted(block.spans):
        if span.style in SCORED:
            plain += f"{block.plain[end : span.start]}{OPEN}{block.plain[span.start : span.end]}{CLOSE}"
            end = span.end
    return Text(plain + block.plain[end:])


def shown(tokens: TokenisedLadder, levels: Sequence[str], processor: Any, more: str = "") -> Text:
    """One ladder: its id, the common prefix, and one line per response with its level, or `answer`, and its own
    tokens."""
    prefix_rounds = tokens.rounds[0][: tokens.branch]
    count = len(tokens.tokens)
    name, length = escape_controls(tokens.id), tokens.row_length("shared")
    head = f"{name}: {count} response{'s' * (count != 1)}, {length} tokens{more}"
    text = Text()
    text.append(f"{head}\n", style="bold")
    text.append("  prefix   ")
    _append(text, pieces(tokens.tokens[0][: tokens.branch], prefix_rounds, tokens.image_spans[0], processor))
    for k, (ids, rounds) in enumerate(zip(tokens.tokens, tokens.rounds, strict=True)):
        scored = int((rounds != NOT_SCORED).sum())
        text.append(f"  {levels[k] if levels else 'answer':8} ")
        pictures = [(start - tokens.branch, end - tokens.branch) for start, end in tokens.image_spans[k]]
        answer = pieces(ids[tokens.branch :], rounds[tokens.branch :], pictures, processor)
        _append(text, answer, f" [{scored} scored]")
    return text


def pieces(ids: Ints, rounds: Ints, pictures: Sequence[tuple[int, int]], processor: Any) -> list[Piece]:
    """The tokens as text, cut at each change of scoring; the tokens of a picture become '<image × n>'."""
    inside = {place: number for number, span in enumerate(pictures) for place in range(*span)}
    kinds = [(int(number), inside.get(place)) for place, number in enumerate(rounds)]
    cuts = [0, *(n for n in range(1, len(kinds)) if kinds[n] != kinds[n - 1]), len(kinds)]
    parts = []
    for start, end in pairwise(cuts):
        if start < end:
            number, picture = kinds[start]
            text = _decoded(ids[start:end], processor) if picture is None else f"<image × {end - start}>"
            parts.append(Piece(text, number))
    return parts


def _decoded(ids: Ints, processor: Any) -> str:
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    return str(processor.tokenizer.decode(ids.tolist(), **options))


def _append(text: Text, parts: Sequence[Piece], more: str = "") -> None:
    for piece in parts:
        style = PLAIN if piece.round == NOT_SCORED else SCORED[piece.round % len(SCORED)]
        text.append(escape_controls(piece.text), style=style)
    text.append(f"{more}\n")
