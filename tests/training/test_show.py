"""`--show-batch`: what is shown as carrying loss is what carries loss, token by token."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from seelevel.ladder import Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.models.processor import load_reader
from seelevel.notes import RoundOf
from seelevel.training import trainer
from seelevel.training.fit import fit
from seelevel.training.objectives.settings import ConditionalSettings
from seelevel.training.packing import Batch
from seelevel.training.packing.tokens import NOT_SCORED, ImageReader, tokenise
from seelevel.training.settings import TrainSettings
from seelevel.training.show import first_step, pieces, shown, write
from seelevel.training.trainer import PreferenceTrainer
from seelevel.world import model_path
from tests.formats.made import picture
from tests.training.tiny import conversations, make_picture, save_model


def interaction(folder: Path) -> Interaction:
    image = Image(str(picture(folder, "a.png")))
    user = [Message(role="user", content="<image>\nWhat is there?"), Message(role="user", content="Look again.")]
    said = [("A red cup.", {"honesty": 2}), ("A blue cup.", {"honesty": 4})]
    turns = [
        (asked, Response([Message(role="assistant", content=text)], 0, feedback=Feedback(ratings, "So.")))
        for asked, (text, ratings) in zip(user, said, strict=True)
    ]
    return Interaction("talk", [image], turns)


def styled(text: Text) -> str:
    """What stands in a style of scored tokens."""
    return "".join(text.plain[s.start : s.end] for s in text.spans if "green" in str(s.style) or "cyan" in str(s.style))


@pytest.mark.unit
def test_of_a_later_round_only_its_own_answer_and_its_end_carry_loss(tmp_path: Path) -> None:
    _, processor = load_reader(str(model_path("xs")))
    end = processor.tokenizer.eos_token
    settings = ConditionalSettings(dropout=0.0)
    for ladder, answer in zip(interaction(tmp_path).rounds(), ("A red cup.", "A blue cup."), strict=True):
        seen = settings.select_responses(ladder)
        tokens = tokenise(seen, processor, ImageReader(processor))
        block = shown(tokens, ["level 0"], processor)
        assert styled(block).strip() == f"{answer}{end}"
        assert "Feedback: Helpfulness: 4. Honesty:" in block.plain
        assert block.plain.count("<image × 9>") == 1


@pytest.mark.unit
def test_in_a_dialogue_every_answer_carries_loss_and_no_turn_of_the_user(tmp_path: Path) -> None:
    _, processor = load_reader(str(model_path("xs")))
    end = processor.tokenizer.eos_token
    talk = [
        Message(role="assistant", content="A red cup."),
        Message(role="user", content="How many?"),
        Message(role="assistant", content="One."),
    ]
    prompt = [Message(role="user", content="<image>\nWhat is there?")]
    ladder = Ladder("d", [Image(str(picture(tmp_path, "a.png")))], prompt, [Response(talk, 0)])
    tokens = tokenise(ladder, processor, ImageReader(processor))
    shown = pieces(tokens.tokens[0], tokens.rounds[0], tokens.image_spans[0], processor)
    assert [piece.text.strip() for piece in shown if piece.round != NOT_SCORED] == [f"A red cup.{end}", f"One.{end}"]
    assert [piece.round for piece in shown if piece.round != NOT_SCORED] == [0, 1]


def talks(folder: Path) -> list[Ladder]:
    """Three rounds, the last of which made the answer worse; a dialogue with an answer that fell behind; a plain ladder
    of tied responses. All rated, K from 1 to 3."""
    image = [Image(make_picture(folder, 1))]
    asked = [Message(role="user", content=text) for text in ("<image>\nWhat is there?", "Look again.", "And now?")]
    said = zip(("A red cup.", "A blue cup;\ntwo dogs.", "Nothing."), (2, 4, 1), strict=True)
    turns = [(user, rated(text, honesty=n)) for user, (text, n) in zip(asked, said, strict=True)]
    dialogues = [rated("A cup.", "How many?", "One.", honesty=4), rated("A dog.", "Where?", "There.", honesty=1)]
    dialogues.append(rated("A cup. I see.", "Which?", "The red one.", honesty=3))
    behind = Ladder("dialogue", image, [asked[0]], dialogues, round_of=RoundOf("talk of before", 1, {"honesty": 3}))
    plain = Ladder(
        "plain", image, [asked[0]], [rated(text, helpfulness=3) for text in ("Two dogs.", "Two small dogs.")]
    )
    return [*Interaction("talk", image, turns).rounds(), behind, plain]


def test_rounds_that_share_a_row_say_so(tmp_path: Path) -> None:
    ladders = interaction(tmp_path).rounds()
    settings = TrainSettings(objective=ConditionalSettings(), ladders_per_step=2)
    blocks = list(first_step(ladders, str(model_path("xs")), settings, seed=0))
    assert sorted(block.plain.split(":")[0] for block in blocks) == ["talk#0", "talk#1"]
    assert all("; with talk#" in block.plain and " in a row of " in block.plain for block in blocks)


def rated(*spoken: str, **ratings: int) -> Response:
    turns = [Message(role="user" if n % 2 else "assistant", content=text) for n, text in enumerate(spoken)]
    return Response(turns, 0, feedback=Feedback(ratings, "So it is."))


class Stopped(Exception):
    """After the first step."""


def step_of_training(
    ladders: list[Ladder], model: Path, settings: TrainSettings, out: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Batch]:
    """The batches of the first step of a real training."""
    batches: list[Batch] = []
    whole, packed = PreferenceTrainer.training_step, trainer.collate

    def collate(*arguments: Any) -> Batch:
        batches.append(packed(*arguments))
        return batches[-1]

    def step(*arguments: Any, **options: Any) -> None:
        whole(*arguments, **options)
        raise Stopped

    monkeypatch.setattr(trainer, "collate", collate)
    monkeypatch.setattr(PreferenceTrainer, "training_step", step)
    with pytest.raises(Stopped):
        fit(ladders, str(model), settings, out, seed=5)
    return batches


def coloured(ansi: str) -> list[list[tuple[str, bool]]]:
    """Lines of a terminal, each character with whether it is green or cyan."""
    lines, scored = [list[tuple[str, bool]]()], False
    for codes, character in re.findall(r"\x1b\[([\d;]*)m|(.)", ansi, re.DOTALL):
        if not character:
            scored = bool({"32", "36"} & set(codes.split(";")))
        elif character == "\n":
            lines.append([])
        else:
            lines[-1].append((character, scored))
    return lines


def bracketed(text: str) -> list[list[tuple[str, bool]]]:
    """Lines without colour, each character with whether it stands between the marks."""
    lines, scored = [list[tuple[str, bool]]()], False
    for character in text:
        if character in "⟦⟧":
            scored = character == "⟦"
        elif character == "\n":
            lines.append([])
        else:
            lines[-1].append((character, scored))
    return lines


CONSOLES = {
    "colour": ({"force_terminal": True, "color_system": "standard", "no_color": False}, coloured),
    "NO_COLOR": ({"force_terminal": True, "color_system": "standard", "no_color": True}, bracketed),
    "no terminal": ({"force_terminal": False}, bracketed),
}


@pytest.mark.parametrize("layout", ["shared", "rows"])
@pytest.mark.parametrize("console", CONSOLES)
def test_what_is_shown_is_what_the_first_step_of_training_scores_token_by_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: str, layout: Any
) -> None:
    model = save_model(tmp_path / "model")
    objective = ConditionalSettings(dropout=0.7)
    settings = TrainSettings(
        objective=objective, ladders_per_step=4, epochs=1, layout=layout, device="cpu", tokens_per_batch=400
    )
    ladders = talks(tmp_path)
    options, read = CONSOLES[console]
    page = io.StringIO()
    write(first_step(ladders, str(model), settings, seed=5), Console(file=page, highlight=False, **options))
    lines = read(page.getvalue())[1:]

    batches = step_of_training(ladders, model, settings, tmp_path / "out", monkeypatch)
    trained: dict[str, list[list[tuple[int, bool]]]] = {}
    for batch in batches:
        trained |= zip(batch.ids, conversations(batch), strict=True)
    assert set(trained) == {"talk#0", "talk#1", "dialogue", "plain"} and len(batches) > 1
    assert [len(trained[name]) for name in ("talk#1", "dialogue", "plain")] == [1, 2, 2]
    conditions = [r.condition for one in ladders for r in objective.select_responses(one).responses]
    assert any(conditions) and not all(conditions)

    tokenizer = (processor := load_reader(str(model))[1]).tokenizer
    blocks = iter(lines)
    seen = set()
    for header in blocks:
        if not header:
            continue
        name = "".join(character for character, _ in header).partition(": ")[0]
        seen.add(name)
        prefix = next(blocks)[len("  prefix   ") :]
        for conversation in trained[name]:
            rest = [*prefix, *next(blocks)[len("  level 0  ") :]]
            pictures = sum(token == processor.image_token_id for token, _ in conversation)
            for token, scored in conversation:
                if token == processor.image_token_id:
                    text, pictures = f"<image × {pictures}>" if pictures else "", 0
                else:
                    text = tokenizer.decode([token], skip_special_tokens=False).replace("\n", "⏎")
                assert rest[: len(text)] == [(character, scored) for character in text]
                rest = rest[len(text) :]
            count = sum(scored for _, scored in conversation)
            # The template writes a new line after an answer: no loss, and no need to compute it.
            assert "".join(character for character, _ in rest) in (f" [{count} scored]", f"⏎ [{count} scored]")
    assert seen == set(trained)
