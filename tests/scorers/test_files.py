"""Question and answer files: what is no text is never scored as one, what is no JSON is named with its line."""

import json

import pytest

from seelevel.errors import InputError
from seelevel.language.mentions import read_synonyms
from seelevel.scorers.chair import read_objects
from seelevel.scorers.files import Entry, read_entries
from seelevel.scorers.mrhal import turns_of
from seelevel.scorers.questions import SHARD, find_image, keep_shards

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("value", [True, [], {}, ["yes"], {"text": "yes"}])
def test_a_value_that_is_no_text_is_refused(value):
    with pytest.raises(InputError, match=r"answers, line 1: the answer is .*, not a text"):
        Entry({"text": value}, "answers, line 1").text(("text",), "answer")


@pytest.mark.parametrize(("value", "text"), [("", ""), ("yes", "yes"), (0, "0"), (7, "7")])
def test_texts_and_numbers_are_texts(value, text):
    assert Entry({"text": value}, "").text(("text",), "answer") == text


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 100_000, '{"id": ' + "9" * 5000 + "}"])
def test_json_that_python_cannot_hold_is_one_line(tmp_path, line):
    path = tmp_path / "answers.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=r"answers\.jsonl, line 1: not usable JSON") as caught:
        read_entries(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", ["cat", None, [1], [["cat"]], [None]])
def test_an_object_set_is_a_list_of_names(tmp_path, names):
    path = tmp_path / "objects.json"
    path.write_text(json.dumps({"a.jpg": names}))
    with pytest.raises(InputError, match=r"object set of 'a\.jpg'"):
        read_objects(path)


def test_a_byte_order_mark_is_not_part_of_an_object(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text("\ufeffcat, kitten\ndog\n", encoding="utf-8")
    assert read_synonyms(path) == [["cat", "kitten"], ["dog"]]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_synonyms(path)


def test_a_picture_name_that_is_too_long_is_a_missing_picture(tmp_path):
    with pytest.raises(InputError, match=r"no image x+ in"):
        find_image(tmp_path, Entry({"image": "x" * 5000}, "q, line 1"))


def test_a_dialogue_is_a_list_of_turns():
    with pytest.raises(InputError, match="the dialogue is 5, not a list"):
        turns_of(Entry({"revised": 5}, "d, record 1"))


@pytest.mark.parametrize("damage", [b"", b"\0\0\0", b'["a"]\n', b'["a"]\n["b', b'\xff\xfe\n"b"\n'])
def test_only_an_incomplete_shard_is_made_again(tmp_path, damage):
    made = []

    def make(batch):
        made.append(list(batch))
        return [[f"{n}\u2028"] for n in batch]

    inputs = range(SHARD + 2)
    first = keep_shards(tmp_path, "pope", inputs, make, "pope")
    assert first == [[f"{n}\u2028"] for n in inputs]
    (tmp_path / "pope-00001.jsonl").write_bytes(damage)
    assert keep_shards(tmp_path, "pope", inputs, make, "pope") == first
    assert keep_shards(tmp_path, "pope", inputs, make, "pope") == first
    assert [batch[0] for batch in made] == [0, SHARD, SHARD]


@pytest.mark.parametrize(
    ("name", "raw", "remedy"),
    [
        ("a.csv", b"question_id,response\n1,yes\n", "is a table, not JSON; save it as JSON lines"),
        ("a.tsv", b"index\tprediction\n1\tyes\n", "is a table, not JSON; save it as JSON lines"),
        ("a.xlsx", b"PK\x03\x04rest", "is a zip or a spreadsheet; save it as JSON lines"),
        ("a.jsonl.gz", b"\x1f\x8brest", "is compressed by gzip; unpack it: gunzip"),
        ("a.parquet", b"PAR1rest", "is Parquet; save it as JSON lines"),
    ],
)
def test_a_file_that_is_not_json_is_named_with_the_remedy(tmp_path, name, raw, remedy):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(InputError, match=remedy):
        read_entries(tmp_path / name)
