"""What people say about a response stands, whoever checks it afterwards, with who said it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seelevel import check
from seelevel.check.overrides import read_overrides
from seelevel.check.settings import CheckSettings
from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import ModelRef
from seelevel.notes import Checked, CheckNote, LevelOverride
from seelevel.store import StageFolder

pytestmark = pytest.mark.unit
ORIGINS = ({"kind": "standard"}, {"kind": "expert", "model": "big"}, {"kind": "expert", "model": "small"})


def ladder(id: str = "a") -> Ladder:
    texts = ("A red cup is in the center.", "A cup is in the center.", "A blue dog is in the center.")
    responses = [
        Response([Message(role="assistant", content=text)], level, origin)
        for level, (text, origin) in enumerate(zip(texts, ORIGINS, strict=True))
    ]
    prompt = [Message(role="user", content="<image>\nWhat is there?")]
    return Ladder(id, [Image("a.png")], prompt, responses, {"image_content": ["1 small red cup in the center"]})


def reversing(ladders: Any) -> list[Ladder]:
    """A checker that turns the experts round and notes it as checkers do."""
    found = []
    for one in ladders:
        order = [0, *range(len(one.responses) - 1, 0, -1)]
        moved = [
            replace(one.responses[n], level=level, check=Checked(n, rating=len(one.responses[n].text)))
            for level, n in enumerate(order)
        ]
        found.append(one.ordered(moved, CheckNote("x", tuple(one.levels))))
    return found


def origins(one: Ladder) -> list[tuple[str, int]]:
    return [(r.origin.get("model", "standard"), r.level) for r in one.responses]


class TestByHand:
    def test_a_level_changes_the_order_and_notes_its_author(self) -> None:
        found = ladder().overridden(2, 0, "Ada", why="there is a dog", when="2026-11-20")
        assert origins(found) == [("standard", 0), ("small", 0), ("big", 1)]
        assert found.overrides == (LevelOverride(found.responses[1].id, "Ada", 0, 2, "there is a dog", "2026-11-20"),)

    def test_it_replaces_a_later_checkers_level_and_notes_it(self) -> None:
        by_hand = ladder().overridden(2, 5, "Ada")
        (found,) = reversing([by_hand])
        assert origins(found) == [("standard", 0), ("big", 2), ("small", 5)]
        assert found.overrides[0].replaces == 1
        assert [r.check for r in found.responses] == [
            Checked(n, rating=len(r.text)) for n, r in enumerate(found.responses)
        ]
        assert not found.reordered  # the checker had turned them round

    def test_a_second_word_on_a_response_takes_the_firsts_place(self) -> None:
        found = ladder().overridden(2, 0, "Ada").overridden(1, 4, "Bob")
        assert [(one.who, one.replaces, one.to) for one in found.overrides] == [("Bob", 2, 4)]
        assert origins(found) == [("standard", 0), ("big", 1), ("small", 4)]

    def test_what_is_not_there_and_nobody_are_refused(self) -> None:
        with pytest.raises(ValueError, match="has no response 3"):
            ladder().overridden(3, 0, "Ada")
        with pytest.raises(ValueError, match="author"):
            ladder().overridden(1, 0, "")

    def test_a_word_on_a_response_that_is_gone_waits(self) -> None:
        gone = replace(ladder(), overrides=(LevelOverride("of an earlier run", "Ada", 0, 2),))
        found = gone.ordered(gone.responses)
        assert origins(found) == origins(ladder())
        assert found.overrides == gone.overrides


def write(path: Path, *entries: dict[str, Any] | str) -> Path:
    path.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in entries))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = StageFolder(tmp_path / "generate", "x")
    write_shard(folder.shard(0), [ladder("a"), ladder("b")], tmp_path)
    write_shard(folder.shard(1), [ladder("c")], tmp_path)
    return folder.path


ADA = {"ladder": "b", "response": "small", "level": 1, "who": "Ada", "why": "it is a dog"}


class TestFromAFile:
    def run(self, root: Path, source: Path, file: Path) -> tuple[dict[str, Any], list[Ladder]]:
        stage = StageFolder(root / "check", "x")
        stage.begin()
        settings = CheckSettings(checker="judge", judge="world:oracle", overrides=str(file))
        judge = ModelRef("world:oracle", "seelevel.world.oracle:Oracle")
        facts = check.run(source, stage, settings, None, root, judge)
        return facts, read_ladders(stage.path, root)

    def test_a_response_is_named_by_model_kind_or_text(self, tmp_path: Path, source: Path) -> None:
        file = write(
            tmp_path / "mine.jsonl", ADA, {**ADA, "ladder": "c", "response": "A cup is in the center.", "level": 3}
        )
        facts, (a, b, c) = self.run(tmp_path, source, file)
        assert origins(a) == [("standard", 0), ("big", 1), ("small", 2)]
        assert origins(b) == [("standard", 0), ("big", 1), ("small", 1)]
        assert origins(c) == [("standard", 0), ("small", 2), ("big", 3)]
        assert b.overrides == (LevelOverride(ladder("b").responses[2].id, "Ada", 1, 2, "it is a dog"),)
        assert a.overrides == ()
        assert facts.overridden == 2

    def test_answers_are_dropped_edited_and_criticised_before_the_check(self, tmp_path: Path, source: Path) -> None:
        who = {"who": "Ada", "when": "today"}
        file = write(
            tmp_path / "mine.jsonl",
            {"ladder": "a", "response": "small", "drop": True, **who},
            {"ladder": "b", "response": "standard", "text": "A green cup.", "critique": "short", **who},
            {"ladder": "c", "response": ladder("c").responses[1].id, "critique": "no colour", "level": 0, **who},
        )
        facts, (a, b, c) = self.run(tmp_path, source, file)
        assert origins(a) == [("standard", 0), ("big", 1)]
        assert a.notes["by hand"] == [
            {"what": "drop", "response": ladder().responses[2].id, "who": "Ada", "why": "", "when": "today"}
        ]
        assert b.standard is not None and b.standard.text == "A green cup."
        assert b.reference == ["A green cup."]
        assert [note["what"] for note in b.notes["by hand"]] == ["text", "critique"]
        assert b.standard.feedback is not None
        assert (b.standard.feedback.critique, b.standard.feedback.annotator) == ("short", "Ada")
        assert origins(c)[:2] == [("standard", 0), ("big", 0)]
        assert [r.feedback.critique for r in c.responses if r.feedback] == ["no colour"]
        assert facts.overridden == 3

    @pytest.mark.parametrize(
        ("entries", "said"),
        [
            ([{**ADA, "text": "Another one."}], "ladder 'b': only a standard response"),
            (
                [{"ladder": "b", "response": r, "drop": True, "who": "Ada"} for r in ("standard", "big", "small")],
                "ladder 'b': overrides drop every answer",
            ),
        ],
    )
    def test_a_models_words_and_the_last_answer_stay(
        self, tmp_path: Path, source: Path, entries: list[Any], said: str
    ) -> None:
        with pytest.raises(InputError, match=said):
            self.run(tmp_path, source, write(tmp_path / "mine.jsonl", *entries))

    def test_it_survives_another_run_of_the_check(self, tmp_path: Path, source: Path) -> None:
        file = write(tmp_path / "mine.jsonl", ADA)
        _, first = self.run(tmp_path, source, file)
        for shard in (tmp_path / "check").glob("*.parquet"):
            shard.unlink()
        assert self.run(tmp_path, source, file)[1] == first

    @pytest.mark.parametrize(
        ("entry", "said"),
        [
            ({**ADA, "ladder": "bb"}, "line 2: there is no ladder 'bb'; did you mean 'b'"),
            (
                {**ADA, "response": "tiny"},
                "line 2: ladder 'b' has no response 'tiny'; .*: big, expert, small, standard",
            ),
            ({**ADA, "response": "expert"}, "line 2: 2 responses of ladder 'b' are from 'expert'"),
            ({**ADA, "level": -1}, "line 2: level: .*greater than or equal to 0"),
            ({**ADA, "who": ""}, "line 2: who: "),
            ({**ADA, "colour": "red"}, "line 2: colour: "),
            ({**ADA, "level": 2**31}, "line 2: level: .*less than 1000"),
            ({**ADA, "level": 10**30}, "line 2: level: .*less than 1000"),
            ({**ADA, "level": True}, "line 2: level: .*valid integer"),
            ({**ADA, "who": "\ud800"}, "line 2: who: "),
            ("{", "line 2: not JSON"),
            ('{"level": ' + "1" * 5000 + "}", "line 2: not readable JSON .*digits"),
            ("[" * 100_000, "line 2: not readable JSON .*recursion"),
            ({"ladder": "b", "response": "small", "who": "Ada"}, "line 2: .*nothing to change"),
            ({**ADA, "drop": 1}, "line 2: drop: "),
            ({**ADA, "text": ""}, "line 2: text: "),
            ("[1]", "line 2: .*an override needs ladder, response, who, and level"),
        ],
    )
    def test_a_wrong_line_is_named_in_one(self, tmp_path: Path, source: Path, entry: Any, said: str) -> None:
        file = write(tmp_path / "mine.jsonl", "", entry)
        with pytest.raises(InputError, match=said) as caught:
            read_overrides(file, source, tmp_path)
        assert "\n" not in str(caught.value)

    def test_two_overrides_of_one_response_are_both_named(self, tmp_path: Path, source: Path) -> None:
        by_text = {**ADA, "response": "A blue dog is in the center.", "level": 2, "who": "Bob"}
        elsewhere = {**ADA, "ladder": "c"}
        file = write(tmp_path / "mine.jsonl", ADA, elsewhere, by_text)
        with pytest.raises(InputError, match=r"mine\.jsonl, line 3: .*mine\.jsonl, line 1 is about the same response"):
            read_overrides(file, source, tmp_path)
        assert set(read_overrides(write(file, ADA, elsewhere), source, tmp_path)) == {"b", "c"}

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path, source: Path) -> None:
        with pytest.raises(InputError, match=r"check\.overrides: .*cannot be read"):
            read_overrides(tmp_path / "none.jsonl", source, tmp_path)
