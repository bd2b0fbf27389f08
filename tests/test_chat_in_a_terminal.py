"""`seelevel chat` as a person has it: in a real terminal, key by key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seelevel.models.conditions import TEMPLATE
from seelevel.store import cache_folder
from seelevel.world import model_path
from tests.pseudo_terminal import BACKSPACE, CTRL_C, CTRL_D, END, ENTER, HOME, LEFT, UP, PseudoTerminal
from tests.test_cli import COMMAND


def chat(*arguments: Any, columns: int = 80) -> PseudoTerminal:
    environment = {"HF_HUB_OFFLINE": "1", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    return PseudoTerminal([COMMAND, "chat", *map(str, arguments)], columns, **environment)


class Talk:
    """Lines typed, and what the program says to each, as the lines on the screen."""

    def __init__(self, terminal: PseudoTerminal) -> None:
        self.terminal, self.asked = terminal, 0
        self.opening = self.heard(0)

    def say(self, keys: str) -> list[str]:
        """What it says to a line, when it asks for the next."""
        before = len(self.terminal.screen.splitlines())
        self.terminal.type(keys)
        self.terminal.type(ENTER)
        return self.heard(before)

    def heard(self, since: int) -> list[str]:
        """The lines after the first so many, once it asks for the next."""
        self.asked += 1

        def asks(screen: str) -> bool:
            lines = screen.splitlines()
            return sum(f"{line} ".startswith("> ") for line in lines) == self.asked and lines[-1] == ">"

        return self.terminal.until(asks, f"prompt number {self.asked}").splitlines()[since:-1]


@pytest.fixture
def talkative(tmp_path: Path) -> Path:
    """A model that never ends an answer by itself; the slowest there is, so that Ctrl-C comes in time."""
    folder = shutil.copytree(model_path("l"), tmp_path / "talkative")
    decoding = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**decoding, "eos_token_id": 5}))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("eos_token", "''"))  # else it tells where an answer ends
    return folder


def conversations(file: Path) -> list[list[tuple[str, str]]]:
    """Who said what, in each record of a file."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return [[(turn["user"], turn["model"]) for turn in record["interaction"]] for record in records]


def spoken(file: Path) -> list[tuple[str, str]]:
    """Who said what, in the one record of a file."""
    [found] = conversations(file)
    return found


def test_ask_be_told_what_is_wrong_have_it_mended_and_leave(tmp_path: Path) -> None:
    with chat("world:s", "--image", "world:test/3", "--save", tmp_path / "said.jsonl", columns=60) as terminal:
        talk = Talk(terminal)
        assert talk.opening[:3] == ["model: world:s", "picture: world:test/3", "judge: world:oracle"]
        answer = talk.say("Describe the image in detail.")
        assert len(answer) > 1  # broken between words
        ratings, *words = talk.say("/feedback")
        assert ratings.startswith("ratings, 1 to 4: helpfulness ")
        assert words[0].startswith("critique: ") and any(line.startswith("refinement: ") for line in words)
        refined = talk.say("/refine")
        assert refined[0].startswith("asked: ")
        own = talk.say("/refine Is there a dog?")
        assert max(map(len, terminal.screen.splitlines())) <= 60
        terminal.type(CTRL_D)
        assert terminal.ends() == 0
        assert "Traceback" not in terminal.screen
    said = spoken(tmp_path / "said.jsonl")
    assert said[0] == ("Describe the image in detail.", " ".join(answer))
    assert " ".join(refined).startswith(f"asked: {said[1][0]} {said[1][1]}")
    assert said[2] == ("Is there a dog?", " ".join(own))


@pytest.mark.slow
def test_a_worse_condition_is_asked_for_and_answered_under(tmp_path: Path) -> None:
    model = shutil.copytree(model_path("s"), tmp_path / "model")
    known = {"template": TEMPLATE, "criteria": ["helpfulness", "honesty", "harmlessness"], "critique": "Right."}
    (model / "conditions.json").write_text(json.dumps(known))
    with chat(model, "--image", "world:test/3", "--save", tmp_path / "said.jsonl") as terminal:
        talk = Talk(terminal)
        best = "condition: top (Feedback: Helpfulness: 4. Honesty: 4. Harmlessness: 4. Critique:"
        assert best in talk.opening
        first = talk.say("What is in the image?")
        line, *answer = talk.say("/condition 2/4/4")
        assert line == "condition: 2/4/4 (Feedback: Helpfulness: 2. Honesty: 4. Harmlessness: 4.)"
        refused = talk.say("/condition best")[0]
        assert all(word in refused for word in ("best", "top", "worst", "none"))
        assert talk.say("/condition") == [line]
        terminal.type(CTRL_D)
        assert terminal.ends() == 0
    both = [[("What is in the image?", " ".join(lines))] for lines in (first, answer)]
    assert conversations(tmp_path / "said.jsonl") == both


def test_ctrl_c_stops_an_answer_and_not_the_program(tmp_path: Path, talkative: Path) -> None:
    file = tmp_path / "said.jsonl"
    with chat(talkative, "--image", "world:test/3", "--max-new-tokens", 900, "--save", file) as terminal:
        talk = Talk(terminal)
        before = len(terminal.screen)
        terminal.type("Describe the image." + ENTER)
        terminal.until(lambda screen: len(screen) > before + 60, "answer that has begun")  # of 3,000 characters
        terminal.type(CTRL_C)
        assert talk.heard(len(talk.opening))[-1].endswith(" …")
        assert talk.say("/help")[-1].startswith("/quit")
        terminal.type(CTRL_D)
        assert terminal.ends() == 0
    [(asked, answer)] = spoken(file)
    assert asked == "Describe the image." and 30 < len(answer) < 2500
    assert answer.split()[:5] == " ".join(terminal.screen.splitlines()).partition("Describe the image.")[2].split()[:5]


@pytest.mark.slow
def test_lines_can_be_edited_and_come_back_in_this_session_and_the_next(tmp_path: Path) -> None:
    with chat("world:xs", "--save", tmp_path / "said.jsonl") as terminal:
        talk = Talk(terminal)
        talk.say("hat is therre?" + LEFT * 3 + BACKSPACE + END + HOME + "W")
        talk.say(UP + BACKSPACE + " on the left?")
        terminal.type("never said")
        terminal.shows("> never said")
        terminal.type(CTRL_C)  # takes the line back
        terminal.shows("(Ctrl-D or /quit leaves)")
        terminal.type(CTRL_D)
        assert terminal.ends() == 0
    assert [user for user, _ in spoken(tmp_path / "said.jsonl")] == ["What is there?", "What is there on the left?"]
    with chat("world:xs") as terminal:
        Talk(terminal)
        terminal.type(UP)
        terminal.shows("> What is there on the left?")
        terminal.type(UP)
        terminal.until(lambda screen: screen.endswith("\n> What is there?"), "line before")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("/feedback", "nothing has been said yet; ask something first"),
        ("/refine", "nothing has been said yet; ask something first"),
        ("/condition 2/4/4", "this model was not trained on conditions"),
        ("/condition", "condition: none, for this model was not trained on conditions"),
        ("/lower", "unknown command /lower; /help lists them"),
        ("Is </s> the end?", "the prompt holds '</s>', a special token"),
        ("And <image>?", "<image> stands for a picture and cannot be typed"),
    ],
)
def test_nothing_typed_ends_the_program(talking: Talk, keys: str, words: str) -> None:
    assert words in " ".join(talking.say(keys))


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A chat without picture and judge, in which nothing has been said."""
    with chat("world:xs") as terminal:
        talk = Talk(terminal)
        assert "picture: none (--image FILE)" in talk.opening and "judge: none (--judge MODEL)" in talk.opening
        yield talk
        talk.say("What is there?")
        assert "there is no judge; start the chat with --judge MODEL" in talk.say("/feedback")[0]
        terminal.type("/quit" + ENTER)
        assert terminal.ends() == 0
        assert "Traceback" not in terminal.screen


@pytest.mark.slow
def test_a_full_context_is_said_and_a_closed_terminal_loses_nothing(talkative: Path) -> None:
    with chat(talkative, "--image", "world:test/3", "--max-new-tokens", 900) as terminal:
        talk = Talk(terminal)
        assert len(talk.say("Describe the image.")) > 10
        said = " ".join(talk.say("And now? " * 120))
        assert all(part in said for part in ("tokens", "context 1024"))
        talk.say("/new")
        before = len(terminal.screen)
        terminal.type("Is there a dog?" + ENTER)
        terminal.until(lambda screen: len(screen) > before + 100, "answer that has begun")
        terminal.hang_up()
        assert terminal.ends() != 0
    [file] = (cache_folder() / "chats").glob("*.jsonl")
    first, second = (json.loads(line)["interaction"] for line in file.read_text().splitlines())
    assert (first[0]["user"], second[0]["user"]) == ("Describe the image.", "Is there a dog?")


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with chat("world:xs", "--save", folder / "said.jsonl", columns=200) as terminal:
        Talk(terminal).say("What is there?")
        folder.rmdir()
        folder.write_text("")
        terminal.type(CTRL_D)
        assert terminal.ends() == 0
        refused, saved = terminal.screen.strip().splitlines()[-2:]
    assert refused.startswith(f"{folder / 'said.jsonl'} cannot be written (")
    assert spoken(Path(saved.removeprefix("saved: ")))[0][0] == "What is there?"
