"""Texts that are long or repeat themselves, which a search of small ones does not find: each is read in seconds."""

from __future__ import annotations

import json

import pytest

from seelevel.errors import InputError, ServerError
from seelevel.formats import Rejected, read
from seelevel.judge.annotate import parse
from seelevel.judge.replies import parse_ratings
from seelevel.ladder import LONGEST_TEXT
from seelevel.language.chunks import noun_chunks
from seelevel.models.base import Completion
from seelevel.models.server.refusals import refused_parameter, shortened
from seelevel.models.server.secret import Secret
from tests.hostile.search import in_time
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import KEY, serving

pytestmark = pytest.mark.unit
MEGABYTE = 1 << 20
PIECES = [
    "{", "}", "{}", '{"a":', '{"', '\\"', '"', ", ", "[", "(", "()", "*", " ", "\n", "\\", "1, ", "_", "and ",
    "<think>", "</think", "<answer>", "<|channel|>", "```json", '{"honesty": 3}', "Ratings: [1]\n", "ratings ",
    "&#65;", "%41", "=41", "41 ", "\\u0041", "QUJD", "\u200b", "parameter ", "1", "3/4 ",
]  # fmt: skip
HEADS = ["", "rating: ", "Ratings: [1]", 'Ratings: 1', '{"a": "', '{"honesty": 1']  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_reply_is_read_in_time(piece):
    for head in HEADS:
        reply = (head + piece * LONGEST_TEXT)[: LONGEST_TEXT - 1] + "x"
        for read_reply, more in ((parse, ({},)), (parse_ratings, (3,)), (parse_ratings, (None,))):
            with in_time():
                try:
                    read_reply(reply, *more)
                except ValueError as error:
                    assert str(error)


@pytest.mark.parametrize("piece", PIECES)
def test_a_key_is_looked_for_in_time(piece, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    text = (piece * LONGEST_TEXT)[:LONGEST_TEXT]
    with in_time():
        assert Secret("OPENAI_API_KEY").cleaned(Completion(text, 1, True)).text in (text, "")


@pytest.mark.parametrize("piece", PIECES)
def test_a_large_error_is_searched_in_time(piece):
    text = "not supported " + piece * (4 * MEGABYTE // len(piece))
    for body in ({"message": text}, text, {"detail": [{"msg": piece, "loc": [piece] * 9}] * 9999}):
        with in_time():
            assert refused_parameter(shortened(body), {"seed", "max_tokens"}) == ""


@pytest.mark.parametrize("piece", ["the dog of ", "dog and ", "word ", "a dog that saw ", "( dog ) ", "a"])
def test_a_text_that_repeats_itself_is_parsed_in_time(piece):
    with in_time():
        assert noun_chunks([(piece * 30_000)[:30_000]])[0]


def test_a_line_that_no_parser_takes_is_named():
    with pytest.raises(InputError, match=r"a line of 100,001 characters, over 100,000: 'aaa"):
        noun_chunks(["a" * (LONGEST_TEXT + 1)])


def test_a_record_with_an_endless_answer_is_set_aside(tmp_path):
    sizes = (LONGEST_TEXT, LONGEST_TEXT + 1)
    rows = [{"prompt": f"What {size}?", "chosen": "a" * size, "rejected": "b"} for size in sizes]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    good, bad = read(tmp_path / "rows.json")
    assert not isinstance(good, Rejected)
    assert isinstance(bad, Rejected) and bad.reason == "an answer of over 100,000 characters"


@pytest.mark.parametrize(
    ("field", "text", "note"), [("content", "", "over 100,000 characters"), ("reasoning", "A cup.", "")]
)
def test_an_endless_answer_of_a_server_is_none_but_long_thoughts_are_kept(field, text, note, tmp_path, monkeypatch):
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path))
    with serving() as server:
        server.says = lambda question: {"content": "A cup.", field: "a " * LONGEST_TEXT}
        for _ in range(2):
            (found,) = model(server).generate([ask("a")], GREEDY)
            assert (found.text, found.note) == (text, note)
        assert sum(server.asked.values()) == 1


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_large_error_of_a_server_is_one_line(status, tmp_path, monkeypatch):
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path))
    with serving() as server, in_time():
        server.refuses = lambda body: (status, {"error": {"message": "unsupported parameter " * 400_000}})
        try:
            said = model(server, tries=1).generate([ask("a")], GREEDY)[0].note
        except ServerError as error:
            said = str(error)
    assert f"status {status}: unsupported parameter" in said and len(said) < 500
