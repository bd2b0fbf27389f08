"""Dialogues: a writer's questions and answers, other models' answers to the same questions; bad sets are set aside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seelevel import generate
from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate import dialogues
from seelevel.generate.dialogues import asking, read_turns
from seelevel.generate.settings import DialoguesSettings
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.store import StageFolder
from seelevel.world.oracle import Oracle, judge_round
from seelevel.world.oracle.claims import Facts
from seelevel.world.oracle.prompt import JudgedRound
from seelevel.world.pictures.scenes import draw_scenes
from tests.training.tiny import make_picture, save_model

ORACLE = ModelRef("world:oracle", "seelevel.world.oracle:Oracle")


def reply(*pairs: tuple[str, str]) -> str:
    return json.dumps({"dialogue": [{"question": question, "answer": answer} for question, answer in pairs]})


@pytest.mark.unit
class TestReading:
    def test_turns_beyond_the_requested_number_are_ignored(self) -> None:
        turns = read_turns(reply((" a? ", "b."), ("c?", "d."), ("e?", "f.")), {"rounds": 2}, 2)
        assert [(turn.question, turn.answer) for turn in turns] == [("a?", "b."), ("c?", "d.")]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("I cannot.", "no JSON object"),
            ('{"questions": []}', "dialogue"),
            (reply(("a?", "b.")), "too few questions: 1, but 3 were asked for"),
            (reply(("a?", "b."), ("c?", " ")), "an empty question or answer"),
            (reply(("a?", "b."), ("A?", "c.")), "asked twice"),
            (reply(("a?", "b."), ("<image> c?", "d.")), "<image>"),
        ],
    )
    def test_other_replies_are_refused_with_the_reason(self, text: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            read_turns(text, {"rounds": 3}, 2)

    def test_a_dialogue_replaces_the_prompt_with_answers_at_level_0(self) -> None:
        prompt: list[Message] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "<image><image>\nOld?"},
        ]
        old = Ladder("a", [Image("x"), Image("y")], prompt, [], {"objects": ["cup"]})
        new = asking(old, read_turns(reply(("a?", "b."), ("c?", "d.")), {"rounds": 2}, 2), "strong")
        assert [m["content"] for m in new.prompt] == ["Be brief.", "<image>\n<image>\na?"]
        assert [m["content"] for m in new.responses[0].messages] == ["b.", "c?", "d."]
        assert (new.responses[0].level, new.responses[0].origin) == (0, {"kind": "writer", "model": "strong"})
        assert new.annotations == {"objects": ["cup"]}


@pytest.mark.unit
def test_the_oracle_writes_true_dialogues_of_every_number_of_rounds() -> None:
    for scene in draw_scenes("prompts", 12):
        for rounds in (2, 5):
            record = {"pictures": 0, "image_content": scene.content_lines(), "reference": "", "rounds": rounds}
            writer = dialogues.StructuredPrompt(dialogues.TEMPLATE, lambda r, _: r, Oracle())
            prompt = writer.template.turn(record)["content"]
            (said,) = Oracle().generate([Prompt([{"role": "user", "content": prompt}])], Sampling())
            turns = read_turns(said.text, record, 2)
            assert len(turns) == rounds
            for turn in turns:
                found = judge_round(JudgedRound(turn.question, turn.answer), Facts(scene.setting, scene.groups))
                assert found.claims and all(claim.truth for claim in found.claims), (turn, scene.content_lines())


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> list[ModelRef]:
    folder = tmp_path_factory.mktemp("experts")
    return [ModelRef(f"e{seed}", str(save_model(folder / str(seed), seed))) for seed in (0, 1)]


def make_run(root: Path, unreadable: int = 0) -> Path:
    """Two shards of three prompts; the first `unreadable` of each are annotated with what the oracle cannot read."""
    root.mkdir()
    for shard in range(2):
        ladders = []
        for n, scene in enumerate(draw_scenes("prompts", 3, seed=shard)):
            contents = ["a drawing"] if n < unreadable else scene.content_lines()
            prompt: list[Message] = [{"role": "user", "content": "<image>\nDescribe the picture."}]
            standard = [Response([{"role": "assistant", "content": "A picture."}], 0, {"kind": "standard"})]
            image = Image(make_picture(root, n))
            ladders.append(Ladder(f"{shard}-{n}", [image], prompt, standard, {"image_content": contents}))
        write_shard(StageFolder(root / "data", "x").shard(shard), ladders, root)
    return root


def run(root: Path, experts: Sequence[ModelRef], writer: ModelRef = ORACLE, **settings: Any) -> dict[str, Any]:
    stage = StageFolder(root / "generate", "x")
    stage.begin()
    names = {"writer": writer.name, "experts": [e.name for e in experts], "sampling": {"max_new_tokens": 6}}
    made = DialoguesSettings.model_validate({**names, **settings})
    return generate.run(root / "data", stage, made, [writer, *experts], root, 0)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted((root / "generate").rglob("*")) if p.is_file()}


def test_every_model_answers_the_writers_questions_round_by_round(tmp_path: Path, experts: list[ModelRef]) -> None:
    root = make_run(tmp_path / "run")
    facts = run(root, experts)
    ladders = read_ladders(root / "generate", root)
    assert [ladder.id for ladder in ladders] == [f"{s}-{n}" for s in range(2) for n in range(3)]
    assert len({ladder.responses[0].rounds for ladder in ladders}) > 1
    for ladder in ladders:
        first, *others = ladder.responses
        assert first.origin == {"kind": "writer", "model": "world:oracle"}
        assert 2 <= first.rounds <= 5
        for other in others:
            assert [m for m in other.messages if m["role"] == "user"] == [
                m for m in first.messages if m["role"] == "user"
            ]
    assert facts.ladders == 6
    assert facts.set_aside == 0


def test_unreadable_question_sets_are_set_aside_with_reply_and_reason(tmp_path: Path, experts: list[ModelRef]) -> None:
    root = make_run(tmp_path / "run", unreadable=1)
    facts = run(root, experts[:1])
    assert [ladder.id for ladder in read_ladders(root / "generate", root)] == ["0-1", "0-2", "1-1", "1-2"]
    assert (facts.set_aside, facts.set_aside_reasons) == (2, {"it holds no JSON object": 2})
    (line,) = (root / "generate" / "set_aside" / "shard-00000.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "0-0"
    assert json.loads(line)["reply"].startswith("I cannot read")


def test_a_writer_of_nothing_but_bad_sets_ends_the_run(tmp_path: Path, experts: list[ModelRef]) -> None:
    root = make_run(tmp_path / "run", unreadable=3)
    with pytest.raises(InputError, match="wrote no question set that can be used: 6 × it holds no JSON object"):
        run(root, experts[:1])


def test_the_number_of_rounds_is_the_recipes(tmp_path: Path, experts: list[ModelRef]) -> None:
    root = make_run(tmp_path / "run")
    run(root, experts[:1], rounds=[3, 3])
    assert {r.rounds for ladder in read_ladders(root / "generate", root) for r in ladder.responses} == {3}
    with pytest.raises(ValueError, match=r"rounds: .*fewest"):
        run(root, experts[:1], rounds=[4, 3])


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_stage_that_was_stopped_continues_to_the_same_bytes(
    tmp_path: Path, experts: list[ModelRef], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, root = make_run(tmp_path / "whole", unreadable=1), make_run(tmp_path / "run", unreadable=1)
    run(whole, experts[:1])
    from seelevel.generate import answering

    done: list[int] = []

    def stops(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if len(done) == calls:
                raise Stopped
            done.append(1)
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(dialogues.StructuredPrompt, "ask", stops(dialogues.StructuredPrompt.ask))
        patch.setattr(answering, "answer", stops(answering.answer))
        with pytest.raises(Stopped):
            run(root, experts[:1])
    run(root, experts[:1])
    assert contents(root) == contents(whole)


class Painter:
    """A writer that keeps what it is shown."""

    name = "painter"

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.prompts += prompts
        return [Completion(reply(("What?", "A cup."), ("Where?", "On it.")), 1, True) for _ in prompts]


@pytest.mark.parametrize("shown", [True, False])
def test_the_writer_sees_pictures_and_annotations_in_any_template(
    tmp_path: Path, experts: list[ModelRef], monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    painter = Painter()
    monkeypatch.setattr(dialogues, "load_generator", lambda *_: painter)
    root = make_run(tmp_path / "run")
    run(root, experts[:1], ModelRef("painter", "painter"), writer_sees_pictures=shown)
    prompt = painter.prompts[0]
    assert len(prompt.images) == shown
    assert '"A picture."' in prompt.messages[0]["content"]
    assert '- "setting: street"' in prompt.messages[0]["content"]
    mine = tmp_path / "mine.txt"
    mine.write_text("Ask {{ rounds }} times.{% for _ in range(pictures) %}<image>{% endfor %}")
    again = make_run(tmp_path / "again")
    run(again, experts[:1], ModelRef("painter", "painter"), template=str(mine), rounds=[2, 2])
    assert painter.prompts[-1].messages[0]["content"] == "Ask 2 times.<image>"
