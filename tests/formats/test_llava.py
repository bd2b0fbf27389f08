"""LLaVA's records become ladders; a bad one is set aside with its place and a reason, and never stops the reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from seelevel.errors import InputError
from seelevel.formats import Rejected, guess_format, read
from seelevel.formats.llava import write as write_llava
from seelevel.formats.sources import Source
from seelevel.ladder import Ladder
from tests.formats.made import gpt, human, picture, record, write

pytestmark = pytest.mark.unit


def read_one(folder: Path, entry: Any, **options: Any) -> Ladder | Rejected:
    picture(folder, "a.png")
    picture(folder, "b.png", 9)
    (found,) = read(write(folder / "prompts.json", [entry]), folder, form="llava", **options)
    return found


def test_the_answers_are_the_standard_response_at_level_0(tmp_path: Path) -> None:
    entry = record(7, "a.png", human("<image>\nWhat?"), gpt("A cup."), human("Which colour?"), gpt("Red."))
    ladder = read_one(tmp_path, entry)
    assert isinstance(ladder, Ladder)
    assert ladder.id == "7"
    assert ladder.prompt == [{"role": "user", "content": "<image>\nWhat?"}]
    (standard,) = ladder.responses
    assert (standard.level, standard.origin, standard.rounds) == (0, {"kind": "standard"}, 2)
    assert standard.messages[1] == {"role": "user", "content": "Which colour?"}
    assert ladder.images[0].path == str((tmp_path / "a.png").resolve())
    assert len(ladder.images[0].sha256) == 64


def test_a_conversation_ending_with_the_user_is_a_prompt(tmp_path: Path) -> None:
    ladder = read_one(tmp_path, record("1", "a.png", human("What?"), gpt("A cup."), human("Which colour?")))
    assert isinstance(ladder, Ladder)
    assert [m["role"] for m in ladder.prompt] == ["user", "assistant", "user"]
    assert ladder.responses == []


@pytest.mark.parametrize(
    ("image", "text", "prompt"),
    [
        ("a.png", "What?", "<image>\nWhat?"),
        ("a.png", "What is\n<image>", "What is\n<image>"),
        (["a.png", "b.png"], "Which?", "<image>\n<image>\nWhich?"),
        (["a.png"], "<image>\nWhat?", "<image>\nWhat?"),
        (None, "Hello?", "Hello?"),
        ([], "Hello?", "Hello?"),
    ],
)
def test_image_is_a_name_a_list_or_absent(tmp_path: Path, image: Any, text: str, prompt: str) -> None:
    ladder = read_one(tmp_path, record("1", image, human(text), gpt("A cup.")))
    assert isinstance(ladder, Ladder)
    assert ladder.prompt[0]["content"] == prompt


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (record(image="nope.png"), "image 'nope.png' is missing"),
        (record(image="../a.png"), "image '../a.png' leaves the image folder"),
        (record(image="/etc/hostname"), "image '/etc/hostname' leaves the image folder"),
        (record(image="cut.png"), "image cut.png: truncated"),
        (record(image="a\0.png"), "is not a file name"),
        (record(image="a" * 5000), "is not a file name"),
        (record(image=3), "image is a number, not a text"),
        (record("1", "a.png", gpt("A cup."), human("What?")), "conversation does not start with the user"),
        (record("1", "a.png", human("What?"), human("Why?")), "turns do not alternate"),
        (record("1", "a.png", human("What?"), gpt(" "), human("Why?"), gpt("So.")), "turn 2 is an empty answer"),
        (record("1", None, human(" "), gpt("A cup.")), "the question is empty"),
        (record("1", "a.png", human("<image><image>"), gpt("A cup.")), "2 <image> marks but 1 image"),
        (record("1", None, human("<image>"), gpt("A cup.")), "1 <image> marks but 0 images"),
        (record("1", ["a.png", "b.png"], human("<image>"), gpt("Hi.")), "2 images but only 1 <image> mark"),
        (record("1", "a.png", human("What?"), gpt("An <image>.")), "an answer with an <image> mark"),
        (record("1", "a.png", {"from": "bob", "value": "Hi"}), "is from 'bob', not human or gpt"),
        (record("1", "a.png", {"from": "human", "value": 3}), "is a number, not a text"),
        (record("1", "a.png", "Hi"), "conversations[0] is a text, not a turn"),  # type: ignore[arg-type]
        (record(conversations="Hi"), "conversations is a text, not a list of turns"),
        (record(conversations=[]), "conversation is empty"),
        ({"id": 1, "image": "a.png"}, "no question (prompt, question, query, instruction, messages); its keys"),
        (record(True), "id is true or false"),
        (record([1]), "id is a list"),
        (record("1", "a.png", human("\ud800"), gpt("A cup.")), "half of a surrogate pair"),
        (record(annotations=3), "annotations is a number, not a mapping"),
        (3, "not a mapping"),
        (None, "not a mapping"),
    ],
)
def test_a_bad_record_is_set_aside_with_its_reason(tmp_path: Path, entry: Any, reason: str) -> None:
    folder = tmp_path / "images"
    picture(tmp_path, "a.png")
    picture(folder, "b.png")
    picture(folder, "cut.png").write_bytes(picture(folder, "a.png").read_bytes()[:-20])
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([record("good"), entry]), encoding="utf-8")
    good, bad = read(path, folder)
    assert isinstance(good, Ladder)
    assert isinstance(bad, Rejected)
    assert bad.where == "prompts.json[1]"
    assert reason in bad.reason


def test_a_link_to_itself_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    found = read_one(tmp_path, record(image="loop.png"))
    assert isinstance(found, Rejected)
    assert "loop.png" in found.reason


def test_an_answer_is_asked_for_only_where_it_is_needed(tmp_path: Path) -> None:
    unanswered = record("1", "a.png", human("What?"), gpt(""))
    assert isinstance(read_one(tmp_path, unanswered), Ladder)
    bad = read_one(tmp_path, unanswered, need_answer=True)
    assert isinstance(bad, Rejected)
    assert bad.reason == "no answer"


def test_of_two_equal_records_the_first_stays(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    entries = [record(1, "nope.png"), record("1"), record(1), record(2)]
    found = list(read(write(tmp_path / "p.json", entries), tmp_path))
    assert [type(f).__name__ for f in found] == ["Rejected", "Ladder", "Rejected", "Ladder"]
    assert isinstance(found[2], Rejected)
    assert found[2].reason == "repeats an earlier record: the same id and content"


def test_a_record_without_an_id_is_known_by_its_place(tmp_path: Path) -> None:
    ladder = read_one(tmp_path, record(None))
    assert ladder.id == "prompts-0"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[\n{"id": 1},\n{"id": }\n]', "p.json line 3: not JSON"),
        ("", "p.json line 1"),
        ("7", "found a number"),
    ],
)
def test_invalid_json_is_named_by_file_and_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=line):
        list(read(tmp_path / "p.json", tmp_path, form="llava"))


def test_text_in_another_encoding_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b'[\n{"id": "\xff"}]')
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        list(read(tmp_path / "p.json", form="llava"))


@pytest.mark.parametrize("name", ["p.json", "p.jsonl"])
@pytest.mark.parametrize("begin", ["[", '{"a":'])
def test_deep_nesting_is_an_input_error_and_no_crash(begin: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(begin * 200_000)
    with pytest.raises(InputError, match=name):
        list(read(tmp_path / name, form="llava"))


def test_json_lines_are_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    lines = [json.dumps(record(n, "a.png", human("What\u2028?"), gpt("A cup.")), ensure_ascii=False) for n in range(3)]
    (tmp_path / "p.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert [ladder.id for ladder in read(tmp_path / "p.jsonl")] == ["0", "1", "2"]
    (tmp_path / "p.jsonl").write_text(lines[0] + "\n\n{oh}\n")
    with pytest.raises(InputError, match=r"p\.jsonl line 3: not JSON"):
        list(read(tmp_path / "p.jsonl"))


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p\.json does not exist"):
        list(read(tmp_path / "p.json"))
    write(tmp_path / "p.json", [record()])
    with pytest.raises(InputError, match=r"image folder .*pictures does not exist"):
        list(read(tmp_path / "p.json", tmp_path / "pictures"))


def test_without_an_image_folder_pictures_are_beside_the_file(tmp_path: Path) -> None:
    picture(tmp_path, "images/a.png")
    path = write(tmp_path / "p.json", [record(1, "a.png"), record(2, "images/a.png")])
    assert all(isinstance(found, Ladder) for found in read(path))


words = some.text(some.characters(codec="utf-8", exclude_characters="<>"), min_size=1).filter(str.strip)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some.lists(
        some.tuples(
            some.lists(words, min_size=2, max_size=7),
            some.sampled_from([[], ["a.png"], ["a.png", "b.png"]]),
            some.dictionaries(words, some.integers(), max_size=2),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_was_read_is_written_and_read_again_the_same(tmp_path: Path, entries: list[Any]) -> None:
    picture(tmp_path, "a.png")
    picture(tmp_path, "b.png", 9)
    records = [
        record(n, images, *(human(t) if i % 2 == 0 else gpt(t) for i, t in enumerate(texts)), annotations=notes)
        for n, (texts, images, notes) in enumerate(entries)
    ]
    first = list(read(write(tmp_path / "p.json", records)))
    assert all(isinstance(ladder, Ladder) for ladder in first)
    write_llava((ladder for ladder in first if isinstance(ladder, Ladder)), tmp_path / "q.json")
    assert list(read(tmp_path / "q.json")) == first


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=3)
    | some.dictionaries(some.sampled_from(["id", "image", "images", "from", "value", "levels"]), inner),
))  # fmt: skip
def test_no_json_value_stops_the_reading(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([value, record("good", None, human("Hi?"))]), encoding="utf-8")
    for form in ("llava", "amp", "trl"):
        found = list(read(path, form=form))
        assert len(found) == 2
        assert all(isinstance(entry, Ladder | Rejected) for entry in found)
    assert guess_format(Source(path)) == "llava"  # by the good record, whatever stands before it
