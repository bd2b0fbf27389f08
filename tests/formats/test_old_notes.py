"""Shards of the version before read into today's types. They kept everything in `notes`, per response in lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.ladder import Ladder
from seelevel.notes import (
    Checked,
    CheckNote,
    Compared,
    Coverage,
    FeedbackNote,
    LevelOverride,
    Match,
    RoundOf,
    Unrated,
)

pytestmark = pytest.mark.unit
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TEXTS = [("messages", MESSAGES), ("level", pa.int32())]
JSON = [(name, pa.string()) for name in ("origin", "condition", "scores", "feedback")]
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("images", pa.list_(pa.struct([("path", pa.string()), ("sha256", pa.string())]))),
        ("prompt", MESSAGES),
        ("responses", pa.list_(pa.struct([*TEXTS, *JSON]))),
        ("annotations", pa.string()),
        ("notes", pa.string()),
    ]
)
ORIGINS = ({"kind": "standard"}, {"kind": "expert", "model": "small"}, {"kind": "expert", "model": "big"})


def old_row(name: str, notes: dict[str, Any], *texts: str) -> dict[str, Any]:
    """A ladder as the version before wrote it; its first response is the standard one."""
    return {
        "id": name,
        "images": [],
        "prompt": [{"role": "user", "content": "What is there?"}],
        "responses": [
            {
                "messages": [{"role": "assistant", "content": text}],
                "level": level,
                "origin": json.dumps(ORIGINS[level]),
                "condition": "",
                "scores": "{}",
                "feedback": None,
            }
            for level, text in enumerate(texts)
        ],
        "annotations": "{}",
        "notes": json.dumps(notes),
    }


def old(folder: Path, notes: dict[str, Any], *texts: str) -> Ladder:
    """The ladder that is read today from such a row, and again after today's version has written it."""
    file = folder / "old.parquet"
    pq.write_table(pa.Table.from_pylist([old_row("a", notes, *texts)], schema=SCHEMA), file)
    (ladder,) = read_ladders(file)
    write_shard(folder / "new.parquet", [ladder])
    assert read_ladders(folder / "new.parquet") == [ladder]
    return ladder


def match(text: str, best: str, matched: bool, **place: int) -> dict[str, Any]:
    return {"text": text, "best": best, "similarity": 0.9 if matched else 0.4, "matched": matched, **place}


def reasons(acc: float) -> dict[str, Any]:
    parts = dict.fromkeys(("acc", "score", "acc_local", "acc_global", "score_local", "score_global"), acc)
    return {
        **parts,
        "chunks": [match("a cup", "a mug", True, start=0, end=5)],
        "standard_chunks": [match("a mug", "a cup", True, start=2, end=7), match("a dog", "", False, start=9, end=14)],
        "standard_sentences": [match("A mug.", "A cup.", False)],
    }


def test_reasons_of_the_auto_check_go_to_their_responses(tmp_path: Path) -> None:
    note = {
        "checker": "autocheck", "threshold": 0.85, "initial_levels": [0, 1, 2], "order": [0, 2, 1], "reordered": True,
        "split": 1, "responses": [reasons(1.0), reasons(0.5), reasons(0.25)],
    }  # fmt: skip
    ladder = old(tmp_path, {"check": note, "flags": ["odd"]}, "S", "good", "bad")
    assert ladder.check == CheckNote("autocheck", (0, 1, 2), threshold=0.85, split=1)
    assert [r.check.place_before for r in ladder.responses if r.check is not None] == [0, 2, 1]
    assert ladder.reordered
    assert ladder.notes == {"flags": ["odd"]}
    last = ladder.responses[2].check
    assert last is not None
    assert last.coverage == Coverage(
        *[0.25] * 6,
        chunks=(Match("a cup", "a mug", 0.9, True, 0, 5),),
        standard_chunks=(Match("a mug", "a cup", 0.9, True, 2, 7), Match("a dog", "", 0.4, False, 9, 14)),
        standard_sentences=(Match("A mug.", "A cup.", 0.4, False),),
    )


def test_ratings_and_comparisons_of_a_judge_are_read(tmp_path: Path) -> None:
    note = {
        "checker": "judge", "judge": "big", "mode": "pairwise", "initial_levels": [0, 1, 2], "replies": ["Better: 2"],
        "order": [0, 2, 1], "reordered": True, "ratings": [None, 1.0, -1.0],
        "comparisons": [{"of": [1, 2], "better": 2}], "triples": 0, "circles": 0,
    }  # fmt: skip
    ladder = old(tmp_path, {"check": note}, "S", "good", "bad")
    assert ladder.check == CheckNote(
        "judge", (0, 1, 2), judge="big", mode="pairwise", replies=("Better: 2",), comparisons=(Compared((1, 2), 2),)
    )
    assert [r.check for r in ladder.responses] == [Checked(0), Checked(2, rating=1.0), Checked(1, rating=-1.0)]


def test_an_unchecked_ladder_keeps_its_reason_and_places(tmp_path: Path) -> None:
    note = {"checker": "autocheck", "threshold": 0.85, "initial_levels": [0, 1], "unchecked": "no chunk"}
    ladder = old(tmp_path, {"check": note}, "Yes.", "No.")
    assert ladder.check == CheckNote("autocheck", (0, 1), unchecked="no chunk", threshold=0.85)
    assert [r.check for r in ladder.responses] == [Checked(0), Checked(1)]


def test_a_check_without_lists_leaves_responses_unchecked(tmp_path: Path) -> None:
    """The feedback stage dropped the lists once it had added an answer that no checker had seen."""
    note = {"checker": "autocheck", "threshold": 0.85, "initial_levels": [0, 1], "split": 0}
    ladder = old(tmp_path, {"check": note}, "Yes.", "No.")
    assert ladder.check == CheckNote("autocheck", (0, 1), threshold=0.85)
    assert [r.check for r in ladder.responses] == [None, None]


def test_a_round_of_an_interaction_keeps_its_place(tmp_path: Path) -> None:
    ladder = old(tmp_path, {"interaction": "talk", "round": 2, "before": {"honesty": 3}}, "A.")
    assert (ladder.round_of, ladder.notes) == (RoundOf("talk", 2, {"honesty": 3}), {})
    assert old(tmp_path, {"interaction": "talk", "round": 0}, "A.").round_of == RoundOf("talk", 0)


def test_feedback_that_was_noted_is_read(tmp_path: Path) -> None:
    unscored = [{"text": "odd", "reason": "no JSON", "reply": "?"}]
    note = {"unscored": unscored, "answers": 2, "ratings": [{"honesty": 1}, {"honesty": 4}], "not_compared": "why"}
    ladder = old(tmp_path, {"feedback": note}, "A.")
    answered = FeedbackNote((Unrated("odd", "no JSON", "?"),), 2, ({"honesty": 1}, {"honesty": 4}), "why")
    assert (ladder.feedback, ladder.notes) == (answered, {})
    assert old(tmp_path, {"feedback": {"unscored": []}}, "A.").feedback == FeedbackNote()


def test_overrides_by_text_become_overrides_by_id(tmp_path: Path) -> None:
    entry = {"text": "bad", "who": "Ada", "from": 2, "to": 1, "why": "it is"}
    gone = {"text": "of an earlier run", "who": "Bob", "to": 0}
    ladder = old(tmp_path, {"overrides": [entry, gone]}, "S", "bad")
    first, second = ladder.overrides
    assert first == LevelOverride(ladder.responses[1].id, "Ada", 1, 2, "it is")
    assert (second.who, second.to, second.replaces) == ("Bob", 0, None)
    assert second.response not in {response.id for response in ladder.responses}
    assert ladder.ordered(ladder.responses).levels == [0, 1]


def test_a_ladder_without_notes_has_no_types(tmp_path: Path) -> None:
    ladder = old(tmp_path, {}, "A.", "B.")
    assert (ladder.check, ladder.round_of, ladder.feedback, ladder.overrides) == (None, None, None, ())
