"""`seelevel chat`: what a person can do in it, and what they cannot break."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seelevel.chat import Chat
from seelevel.chat.terminal import Terminal, Wrapping
from seelevel.judge.annotate import Annotator
from seelevel.ladder import Feedback, Message
from seelevel.models import load_model
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import TEMPLATE, Conditions
from seelevel.naming import named_picture
from seelevel.world import model_path
from seelevel.world.oracle import Oracle
from tests.chats import talk, typed
from tests.judge.made import Critic, Speaker, counted, longer
from tests.test_cli import call, refused
from tests.world.kitchen import LINES

pytestmark = pytest.mark.unit


def test_a_conversation_goes_on_and_the_picture_is_in_its_first_turn(tmp_path: Path) -> None:
    speaker = Speaker(longer)
    screen, _ = talk(speaker, "What is there?", "And then?", folder=tmp_path)
    assert screen.startswith("word\nword word\n")
    assert [m["content"] for m in speaker.prompts[1].messages] == ["<image>\nWhat is there?", "word", "And then?"]
    assert speaker.prompts[1].images == ["a.png"]


def test_feedback_is_shown_and_refine_asks_on_it_or_on_the_users_words(tmp_path: Path) -> None:
    screen, chat = talk(Speaker(longer), "What?", "/feedback", "/refine", "/refine More.", folder=tmp_path)
    assert "helpfulness –, honesty 1, harmlessness –\ncritique: 1 words.\nrefinement: Say a word more.\n" in screen
    assert [user["content"] for user, _ in chat.turns[1:]] == [
        "Say a word more. Please answer again.",
        "More.",
    ]
    assert chat.turns[0][1].feedback == Feedback({"honesty": 1}, "1 words.", "Say a word more.", "critic")


def test_refine_has_the_answer_judged_where_that_was_not_asked_for(tmp_path: Path) -> None:
    _, chat = talk(Speaker(longer), "What?", "/refine", folder=tmp_path)
    assert len(chat.turns) == 2 and chat.turns[0][1].feedback is not None


def test_a_refined_answer_is_judged_as_one_to_the_question() -> None:
    """A setting alone is no description; to 'Leave out the chair. Please answer again.' it would be right."""
    said = iter(["There is a small red chair in the lower left.", "The image shows a kitchen."])
    chat = Chat(Speaker(lambda _: next(said)), "a.png", Sampling(), Annotator(Oracle(), "world:oracle"), LINES)
    list(chat.ask("Describe the image."))
    list(chat.refine(chat.request()))
    refined = chat.feedback()
    assert isinstance(refined, Feedback) and refined.critique.startswith("The answer leaves out the cups.")


def judged(*ask: str, answers: list[str]) -> str:
    """What the judge is shown of the conversation after these questions and, of the last, 'Look again.'."""
    said = iter(answers)
    chat = Chat(Speaker(lambda _: next(said)), "a.png", Sampling(), Annotator(critic := Critic(counted), "critic"))
    for pieces in (*map(chat.ask, ask), chat.refine("Look again.")):
        list(pieces)
    chat.feedback()
    return critic.prompts[0].messages[0]["content"].partition("### Conversation\n")[2]


def test_the_judge_is_told_what_was_said_before_the_question() -> None:
    shown = judged("What is there?", "Which colour?", answers=["A cup.", "Blue.", "Red."])
    assert [line for line in shown.splitlines() if ": " in line] == [
        'Said before by "user": "What is there?"',
        'Said before by "assistant": "A cup."',
        'Question: "Which colour?"',
        'Answer to judge: "Red."',
    ]


def test_a_question_that_got_no_answer_is_not_the_one_judged_by() -> None:
    shown = judged("What is there?", "And then?", answers=["A cup.", "", "A dog."])
    assert shown == '\nQuestion: "What is there?"\nAnswer to judge: "A dog."\n'


def test_a_condition_answers_the_last_request_again(tmp_path: Path) -> None:
    model = Conditioned(Speaker(lambda m: m[-1]["content"]), Conditions(TEMPLATE, ("honesty",), ""))
    screen, chat = talk(model, "What?", "/condition 2", "/condition none", folder=tmp_path, judged=False)
    assert "Feedback: Honesty: 4." in screen and "Feedback: Honesty: 2." in screen
    assert [response.text for _, response in chat.turns] == ["What?"]  # the mark that it repeats is no picture
    assert chat.turns[0][1].condition == ""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["/feedback"], "nothing has been said yet"),
        (["/refine"], "nothing has been said yet"),
        (["/condition top"], "was not trained on conditions"),
        (["/nonsense"], "unknown command /nonsense; /help lists them"),
        (["", "   "], ""),
        ([KeyboardInterrupt], "Ctrl-D or /quit leaves"),
        (["<image> this"], "<image> stands for a picture and cannot be typed"),
        (["caf\udce9"], "this line is not UTF-8"),
    ],
)
def test_a_mistake_gets_a_line_and_the_chat_goes_on(tmp_path: Path, lines: list[str], said: str) -> None:
    screen, chat = talk(Speaker(longer), *lines, "What?", "/quit", "Never.", folder=tmp_path)
    assert said in screen
    assert len(chat.turns) == 1


def test_without_a_judge_feedback_says_how_to_have_one(tmp_path: Path) -> None:
    screen, _ = talk(Speaker(longer), "What?", "/feedback", folder=tmp_path, judged=False)
    assert "start the chat with --judge MODEL" in screen


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(tmp_path: Path) -> None:
    class Slow(Speaker):
        def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
            yield "A cup"
            raise KeyboardInterrupt

    screen, chat = talk(Slow(longer), "What?", folder=tmp_path)
    assert "A cup …\n" in screen
    assert [response.text for _, response in chat.turns] == ["A cup"]


def test_pieces_of_a_local_model_are_its_answer_and_closing_stops_it(tmp_path: Path) -> None:
    path, _ = named_picture("world:dev/0")
    model = load_model(str(model_path("xs")), device="cpu")
    prompt = Prompt([Message(role="user", content="<image>\nDescribe the image in detail.")], [path])
    [whole] = model.generate([prompt], Sampling(max_new_tokens=40))
    assert "".join(model.stream(prompt, Sampling(max_new_tokens=40))).strip() == whole.text
    assert [ended(model.stream(prompt, Sampling(max_new_tokens=limit))) for limit in (5, 400)] == [False, True]
    pieces = model.stream(prompt, Sampling(max_new_tokens=400))
    next(pieces)
    assert any(thread.name == "answer" for thread in threading.enumerate())
    pieces.close()
    assert not any(thread.name == "answer" for thread in threading.enumerate())


def ended(pieces: Generator[str, None, bool]) -> bool:
    """What an answer's pieces return."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return bool(end.value)


def test_an_answer_that_the_limit_cuts_is_marked(tmp_path: Path) -> None:
    class Limited(Speaker):
        def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
            return [replace(one, finished=one.text != "word") for one in super().generate(prompts, sampling)]

    screen, _ = talk(Limited(longer), "What?", "And?", "/quit", folder=tmp_path)
    assert screen.startswith("word\n(cut short; --max-new-tokens is 512)\nword word\n")
    assert screen.count("cut short") == 1


def test_the_worlds_pictures_come_with_what_they_hold() -> None:
    path, lines = named_picture("world:test/3")
    assert Path(path).is_file()
    assert lines[0].startswith("setting: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image", "nowhere.png"], "picture nowhere.png does not exist"),
        (["--image", "README.md"], "picture README.md: not a picture"),
        (["--image", "world:test/9999"], "no such picture"),
        (["--image", "world:test/0", "--about", "nowhere.txt"], "nowhere.txt cannot be read as text"),
        (["--about", "README.md"], "--about tells of a picture; name it with --image"),
        (["--save", "README.md"], "--save README.md is there already; name a new file"),
        (["--save", "README.md/said.jsonl"], "--save README.md/said.jsonl: File exists (README.md)"),
        (["--judge", "nowhere/at/all"], "model folder nowhere/at/all does not exist"),
        (["--temperature", "0.001"], "--temperature 0.001"),
    ],
)
def test_what_cannot_be_had_is_refused_before_a_model_is_loaded(arguments: list[str], said: str) -> None:
    assert said in refused("chat", "world:xs", *arguments)


def test_the_command_reads_lines_from_a_pipe(tmp_path: Path) -> None:
    code, out, errors = call("chat", "world:xs", "--image", "world:dev/0", "--save", tmp_path / "c.jsonl",
                             input="What is in the image?\n/feedback\n/quit\n")  # fmt: skip
    assert code == 0, errors
    assert "critique:" in out
    assert (tmp_path / "c.jsonl").is_file()


def test_a_condition_whose_answer_fails_leaves_the_answer_there_was(tmp_path: Path) -> None:
    said = iter(["A cup.", ""])
    model = Conditioned(Speaker(lambda _: next(said)), Conditions(TEMPLATE, ("honesty",), ""))
    talk(model, "What?", "/condition 1", KeyboardInterrupt, folder=tmp_path)
    [record] = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert [turn["model"] for turn in record["interaction"]] == ["A cup."]


def test_a_condition_that_the_model_does_not_know_is_refused() -> None:
    assert "was not trained on conditions" in refused("chat", "world:xs", "--condition", "2/4/4")


def test_ctrl_c_while_the_judge_reads_stops_it_and_not_the_program(tmp_path: Path) -> None:
    class Slow(Critic):
        def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
            raise KeyboardInterrupt

    chat = Chat(Speaker(longer), "a.png", Sampling(), Annotator(Slow(counted), "critic"))
    Terminal(chat, typed("What?", "/feedback", "And?"), lambda _: None, tmp_path / "said.jsonl").run()
    assert len(chat.turns) == 2 and (tmp_path / "said.jsonl").is_file()


def test_what_a_judge_finds_right_or_cannot_read_is_not_refined_on_its_words(tmp_path: Path) -> None:
    screen, chat = talk(Speaker(lambda _: "one two three four"), "What?", "/refine", folder=tmp_path)
    assert "the judge finds nothing to mend" in screen and len(chat.turns) == 1
    screen, chat = talk(Speaker(lambda _: "odd"), "What?", "/feedback", "/refine", folder=tmp_path / "odd")
    assert 'the judge cannot judge this answer: it holds no JSON object; it says "?"' in screen
    assert "say in words what to change" in screen and len(chat.turns) == 1


@pytest.mark.parametrize(
    ("pieces", "width", "shown"),
    [
        ([" A red ", "cu", "p on a table."], 12, "A red cup on\na table."),
        (["one two"], 7, "one two"),
        (["one two"], 6, "one\ntwo"),
        (["incomprehensibilities are long"], 10, "incomprehensibilities\nare long"),
        (["a\n\nb  c\n"], 10, "a\n\nb  c\n"),
        (["one two"], 0, "one two"),
        (["日本 語"], 5, "日本\n語"),  # two columns each
        (["a \x1b[2J b\a\tc\r\n"], 0, "a \\x1b[2J b\\x07 c\n"),
        (["  \n "], 10, ""),
    ],
)
def test_answers_break_between_words_and_cannot_steer_the_terminal(pieces: list[str], width: int, shown: str) -> None:
    screen: list[str] = []
    page = Wrapping(screen.append, width)
    for piece in pieces:
        page.feed(piece)
    page.end()
    assert "".join(screen) == shown


def test_a_model_that_says_nothing_is_said_to(tmp_path: Path) -> None:
    screen, chat = talk(Speaker(lambda _: " "), "What?", folder=tmp_path)
    assert "(no answer)\n" in screen and chat.turns == []
