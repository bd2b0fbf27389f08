"""`--show-batch`: what is shown as carrying loss is what carries loss, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.text import Text

from seelevel.ladder import Feedback, Image, Interaction, Ladder, Message, Response
from seelevel.models.hf import load_reader
from seelevel.training.objectives.settings import ConditionalSettings
from seelevel.training.settings import TrainSettings
from seelevel.training.show import PLAIN, first_step, pieces, shown
from seelevel.training.tokens import NOT_SCORED, ImageReader, tokenise
from seelevel.world import model_path
from tests.formats.made import picture

pytestmark = pytest.mark.unit


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


def test_of_a_later_round_only_its_own_answer_and_its_end_carry_loss(tmp_path: Path) -> None:
    _, processor = load_reader(str(model_path("xs")))
    end = processor.tokenizer.eos_token
    settings = ConditionalSettings(dropout=0.0)
    for ladder, answer in zip(interaction(tmp_path).rounds(), ("A red cup.", "A blue cup."), strict=True):
        seen = settings.seen(ladder)
        tokens = tokenise(seen, processor, ImageReader(processor))
        block = shown(seen, tokens, processor)
        assert styled(block).strip() == f"{answer}{end}"
        assert "Feedback: Helpfulness: 4. Honesty:" in block.plain
        assert block.plain.count("<image × 9>") == 1


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
    found = pieces(tokens.tokens[0], tokens.rounds[0], processor)
    assert [piece.text.strip() for piece in found if piece.round != NOT_SCORED] == [f"A red cup.{end}", f"One.{end}"]
    assert [piece.round for piece in found if piece.round != NOT_SCORED] == [0, 1]


def test_every_token_is_shown_once_and_as_it_is_scored(tmp_path: Path) -> None:
    _, processor = load_reader(str(model_path("xs")))
    for ladder in interaction(tmp_path).rounds():
        tokens = tokenise(ladder, processor, ImageReader(processor))
        [ids], [rounds] = tokens.tokens, tokens.rounds
        found = pieces(ids, rounds, processor)
        decode = processor.tokenizer.decode
        text = decode(ids[ids != processor.image_token_id].tolist(), skip_special_tokens=False)
        assert "".join(p.text for p in found if not p.text.startswith("<image ×")) == text
        own = decode(ids[rounds != NOT_SCORED].tolist(), skip_special_tokens=False)
        assert "".join(p.text for p in found if p.round != NOT_SCORED) == own
        assert int(np.sum(rounds != NOT_SCORED)) > 0


def test_the_first_step_is_the_one_that_training_takes(tmp_path: Path) -> None:
    ladders = interaction(tmp_path).rounds()
    settings = TrainSettings(objective=ConditionalSettings(), ladders_per_step=2)
    blocks = list(first_step(ladders, str(model_path("xs")), settings, seed=0))
    assert sorted(block.plain.split(":")[0] for block in blocks) == ["talk#0", "talk#1"]
    assert all("; with talk#" in block.plain and " in a row of " in block.plain for block in blocks)
    assert all(any(str(span.style) == PLAIN for span in block.spans) for block in blocks)
