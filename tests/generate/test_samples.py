"""Samples of one model: a tie until something ranks them, no two alike, and the same after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seelevel import generate
from seelevel.errors import InputError
from seelevel.facts import GenerateFacts
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate.samples import ALIKE, difference, sampled
from seelevel.generate.settings import SamplesSettings
from seelevel.ladder import UNORDERED, Image, Ladder, Message, Response
from seelevel.models.base import ApiSettings, ModelRef
from seelevel.models.rollout import Talk
from seelevel.notes import CheckNote
from seelevel.recipe import load_recipe
from seelevel.store import StageFolder
from seelevel.training.objectives.settings import SftSettings
from seelevel.training.prepare import NO_ORDER, LeftOut, _passed_over
from seelevel.training.settings import TrainSettings
from tests.models.faulty_server import KEY, FaultyServer, question_of, sample_of, serving
from tests.training.tiny import make_picture, save_model

ASK: list[Message] = [{"role": "user", "content": "What is there?"}]


def said(*texts: str) -> list[Message]:
    return [{"role": "user" if n % 2 else "assistant", "content": text} for n, text in enumerate(texts)]


def settings(**changes: Any) -> SamplesSettings:
    return SamplesSettings.model_validate({"model": "m", **changes})


def made(*texts: str, standard: str = "A red cup.", **changes: Any) -> Ladder:
    """A ladder of samples with a standard response, unless it is empty."""
    responses = [Response(said(standard), 0, {"kind": "standard"})] if standard else []
    talks = [Talk(said(text), logprob=-1.0 - n) for n, text in enumerate(texts)]
    origins = [{"kind": "sample", "model": "m", "sample": n} for n in range(len(texts))]
    return sampled(Ladder("x", [], ASK, responses), talks, origins, settings(**changes))


@pytest.mark.unit
class TestDifference:
    @pytest.mark.parametrize(
        ("text", "other", "expected"),
        [
            ("A red cup.", "a red CUP", 0.0),
            ("a red cup", "a blue cup", 1 / 3),  # of six words, red and blue are apart
            ("a red cup and a blue bowl", "a blue cup and a red bowl", 1 - 2 * 5 / 14),  # the order counts
            ("a cup", "there is a cup here", 3 / 7),
            ("one two", "three four", 1.0),
            ("one", "", 1.0),
            ("", "!", 0.0),
            ("一只红猫", "一只蓝猫", 1 / 4),
        ],
    )
    def test_it_is_the_share_of_words_apart(self, text: str, other: str, expected: float) -> None:
        assert difference(text, other) == pytest.approx(expected)
        assert difference(other, text) == pytest.approx(expected)

    def test_a_common_subsequence_is_the_longest_one(self) -> None:
        """Against the textbook's table."""
        import random

        rng = random.Random(0)
        for _ in range(200):
            a, b = (rng.choices("abcd", k=rng.randrange(1, 80)) for _ in range(2))
            row = [0] * (len(b) + 1)
            for x in a:
                before = row
                row = [0]
                for n, y in enumerate(b):
                    row.append(before[n] + 1 if x == y else max(before[n + 1], row[n]))
            assert difference(" ".join(a), " ".join(b)) == pytest.approx(1 - 2 * row[-1] / (len(a) + len(b)))


@pytest.mark.unit
class TestLadders:
    def test_samples_tie_below_the_standard(self) -> None:
        ladder = made("a cat", "a dog", "a boat")
        assert ladder.levels == [0, 1, 1, 1]
        assert ladder.pairs() == [(0, 1), (0, 2), (0, 3)]
        assert ladder.notes == {"flags": [UNORDERED]}
        assert [response.scores for response in ladder.responses] == [{}, *({"logprob": -1.0 - n} for n in range(3))]

    def test_without_a_standard_they_make_no_pair(self) -> None:
        for ladder in (made("a cat", "a dog", standard=""), made("a cat", "a dog", standard="")):
            assert (ladder.levels, ladder.pairs()) == ([0, 0], [])

    def test_a_standard_that_is_no_level_stays_as_the_reference(self) -> None:
        talks = [Talk(said(text)) for text in ("a cat", "a dog")]
        responses = [Response(said("A cup.", "Sure?", "Yes."), 0, {"kind": "standard"})]
        ladder = sampled(Ladder("x", [], ASK, responses), talks, [{}, {}], settings(standard=False))
        assert (ladder.levels, ladder.reference) == ([0, 0], ["A cup.", "Yes."])
        assert ladder.flags == [UNORDERED]

    def test_samples_alike_are_dropped_and_counted(self) -> None:
        texts = ["A red cup.", "There is a cat", "there is a cat!", "There is a dog"]
        exact, near = made(*texts), made(*texts, min_difference=0.3)
        assert [r.text for r in exact.responses] == texts
        assert [r.text for r in near.responses] == texts[:2]
        assert [entry["reason"] for entry in near.notes["dropped"]] == [ALIKE] * 3
        assert [r.text for r in made(*texts, min_difference=0.2).responses] == [*texts[:2], texts[3]]

    def test_a_single_sample_needs_no_order(self) -> None:
        assert not made("a cat", "a cat").notes.get("flags")
        assert not made("a cat", standard="").unordered


def trained(ladder: Ladder) -> LeftOut | None:
    """Why fine-tuning on the best level passes over a ladder."""
    chosen = TrainSettings.model_validate({"objective": SftSettings()})
    return _passed_over(ladder, chosen.objective.select_responses(ladder), chosen)


@pytest.mark.unit
class TestOrder:
    def test_unranked_samples_are_never_trained_on(self) -> None:
        ladder = made("a cat", "a dog", standard="")
        left_out = trained(ladder)
        assert left_out is not None and left_out.kind == NO_ORDER
        assert left_out.reason == "its 2 samples have no order until `check` or a judge gives one"

    def test_the_standard_alone_may_be_trained_on(self) -> None:
        assert trained(made("a cat", "a dog")) is None

    def test_a_check_gives_an_order_and_takes_the_flag(self) -> None:
        ladder = made("a cat", "a dog", standard="")
        ranked = [replace(response, level=level) for response, level in zip(ladder.responses, (1, 0), strict=True)]
        checked = ladder.ordered(ranked, CheckNote("judge", (0, 0)))
        assert checked.notes["flags"] == ["no standard response"]
        assert trained(checked) is None
        tie = ladder.ordered(ladder.responses, CheckNote("judge", (0, 0)))
        assert trained(tie) is None  # the judge says so

    def test_an_unchecked_ladder_has_no_order_still(self) -> None:
        ladder = made("a cat", "a dog", standard="").left_unchecked(CheckNote("judge", (0, 0), unchecked="no reply"))
        assert trained(ladder) is not None

    def test_a_recipe_without_any_order_is_refused(self) -> None:
        samples = "generate={method: samples, model: 'world:s', standard: false}"
        with pytest.raises(InputError, match="samples have no order until `check` or a judge gives one") as caught:
            load_recipe("world-quick", [samples, "check=null"])
        assert "\n" not in str(caught.value)
        load_recipe("world-quick", [samples])
        load_recipe("world-quick", [samples, "check=null", "generate.standard=true"])
        load_recipe("world-quick", [samples, "check=null", "feedback={judge: 'world:oracle', ladders: ratings}"])

    def test_given_ladders_of_samples_are_refused_too(self, tmp_path: Path) -> None:
        """The flag is kept in the file, whichever recipe trains on it."""
        write_shard(tmp_path / "shard-00000.parquet", [made("a cat", "a dog", standard="")])
        (ladder,) = read_ladders(tmp_path / "shard-00000.parquet")
        assert trained(ladder) is not None


@pytest.mark.unit
class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"sampling": {"temperature": 0}}, "without a temperature all samples are the same; set sampling.temp"),
            ({"model": {"a": 2}, "n": 3}, "says how many samples of each model; leave out n"),
            ({"model": {}}, "at least 1 item"),
            ({"n": 0}, "greater than or equal to 1"),
            ({"sampling": {"num_beams": 2}}, "beams search and do not sample"),
        ],
    )
    def test_what_gives_no_samples_is_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            settings(**changes)

    def test_a_temperature_is_set_unless_the_recipe_has_one(self) -> None:
        assert settings(sampling={"max_new_tokens": 9}).sampling.temperature == 1.0
        assert settings(sampling={"temperature": 0.7}).sampling.temperature == 0.7

    def test_a_run_s_own_recipe_is_read_again(self) -> None:
        """It holds every default, so also an `n` that several models do not use."""
        several = settings(model={"a": 2, "b": 1})
        assert SamplesSettings.model_validate(several.model_dump()) == several

    def test_levels_and_answers_are_counted(self) -> None:
        assert (settings(n=4).max_levels, settings(n=4, standard=False, greedy=True).max_levels) == (5, 5)
        several = settings(model={"a": 2, "b": 1}, greedy=True)
        assert (several.models, several.answering) == (["a", "b"], ["a", "a", "a", "b", "b"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return ModelRef("tiny", str(save_model(tmp_path_factory.mktemp("model") / "tiny")))


def make_run(root: Path) -> Path:
    """Two shards of three prompts: with no, one and two rounds."""
    root.mkdir()
    picture = Image(make_picture(root, 0))
    prompt: list[Message] = [{"role": "user", "content": "<image>\nDescribe the picture."}]
    answers = [[], said("A cup."), said("A cup.", "Is there a boat?", "No.")]
    for number in range(2):
        ladders = [
            Ladder(f"{number}-{n}", [picture], prompt, [Response(a, 0, {"kind": "standard"})] if a else [])
            for n, a in enumerate(answers)
        ]
        write_shard(StageFolder(root / "data", "x").shard(number), ladders, root)
    return root


def run(root: Path, models: Sequence[ModelRef], **changes: Any) -> GenerateFacts:
    stage = StageFolder(root / "generate", "print")
    stage.begin()
    named = {"model": {model.name: 3 for model in models}, "sampling": {"max_new_tokens": 8}}
    return generate.run(root / "data", stage, settings(**named, **changes), models, root, 0)


def contents(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((root / "generate").glob("*.parquet"))}


def test_a_local_model_gives_samples_and_a_greedy_answer(tmp_path: Path, model: ModelRef) -> None:
    root = make_run(tmp_path / "run")
    facts = run(root, [model], greedy=True)
    ladders = read_ladders(root / "generate", root)
    assert [len(ladder.responses) for ladder in ladders] == [4, 5, 5] * 2
    assert facts.responses_by_model == {"standard": 4, "tiny": 24}
    for ladder in ladders:
        drawn = [r for r in ladder.responses if not r.is_standard]
        assert [r.origin["kind"] for r in drawn] == ["greedy", "sample", "sample", "sample"]
        assert [r.origin["sampling"]["temperature"] for r in drawn] == [0.0, 1.0, 1.0, 1.0]
        assert [r.origin.get("sample") for r in drawn] == [None, 0, 1, 2]
        assert all(-20 < r.scores["logprob"] < 0 for r in drawn)
        assert drawn[0].scores["logprob"] > max(r.scores["logprob"] for r in drawn[1:])
        assert len({r.level for r in drawn}) == 1 and UNORDERED in ladder.notes["flags"]
    assert ladders[0].responses[0].messages == ladders[3].responses[0].messages  # greedy, in two shards
    assert ladders[0].responses[1].messages != ladders[3].responses[1].messages  # of another seed
    assert [m["content"] for m in ladders[2].responses[2].messages if m["role"] == "user"] == ["Is there a boat?"]


def test_several_models_give_samples_each(tmp_path: Path, model: ModelRef) -> None:
    root = make_run(tmp_path / "run")
    run(root, [model, replace(model, name="other")])
    for ladder in read_ladders(root / "generate", root):
        names = [r.origin["model"] for r in ladder.responses if not r.is_standard]
        assert names == ["tiny"] * 3 + ["other"] * 3


class Stopped(Exception):
    """Stands for a kill."""


def test_a_stage_that_was_stopped_ends_in_the_same_bytes(
    tmp_path: Path, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seelevel.generate import answering

    whole, root = make_run(tmp_path / "whole"), make_run(tmp_path / "run")
    run(whole, [model])
    real, done = answering.answer, list[int]()

    def stops(*arguments: Any) -> Any:
        if done:
            raise Stopped
        done.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(answering, "answer", stops)
        with pytest.raises(Stopped):
            run(root, [model])
    run(root, [model])
    assert contents(root) == contents(whole)


def served(root: Path, server: FaultyServer, prompts: int, **changes: Any) -> list[Ladder]:
    """The ladders of a served model's samples."""
    ladders = [Ladder(str(n), [], [Message(role="user", content=f"question {n}")]) for n in range(prompts)]
    write_shard(StageFolder(root / "data", "x").shard(0), ladders, root)
    stage, name = StageFolder(root / "generate", "x"), f"{server.address}#m"
    stage.begin()
    generate.run(root / "data", stage, settings(model=name, **changes), [ModelRef(name, name, ApiSettings())], root, 0)
    return read_ladders(stage.path, root)


@pytest.mark.unit
def test_a_servers_samples_come_with_their_log_probs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        (ladder,) = served(tmp_path, server, 1, n=3)
        (body,) = server.bodies
        assert [r.text for r in ladder.responses] == [sample_of("user: question 0", body["seed"] + n) for n in range(3)]
        assert [r.scores["logprob"] for r in ladder.responses] == [-1.0] * 3


@pytest.mark.parametrize("most_choices", [1, 2, 4])
def test_a_killed_run_asks_for_no_sample_twice(tmp_path: Path, most_choices: int) -> None:
    """A server that gives so many of the four choices asked for, and a kill in the middle of the prompts."""
    calls, killed = 2, threading.Event()

    def waits(question: str, times: int) -> None:
        if len(given(server)) > 20:
            killed.wait(60)

    with serving() as server:
        server.most_choices, server.fault = most_choices, waits  # type: ignore[method-assign]
        samples = f"{{method: samples, model: '{server.address}#m', n: 4, sampling: {{max_new_tokens: 16}}}}"
        command = [str(Path(sys.executable).with_name("seelevel")), "generate", "world-samples", "--out"]
        command += [str(tmp_path / "run"), "--set", f"generate={samples}", "--set", "data.limit=12"]
        command += ["--set", f"api={{concurrency: {calls}}}", "--set", "rounds=1"]
        environment = {**os.environ, "SEELEVEL_CACHE": str(tmp_path / "cache"), "OPENAI_API_KEY": KEY}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        while len(given(server)) <= 20:
            time.sleep(0.01)
            assert process.poll() is None, process.communicate()[1].decode()
        process.kill()
        process.communicate()
        before = set(given(server))
        killed.set()
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        asked = given(server)
        assert len(before) < len(set(asked))
        assert len(asked) - len(set(asked)) <= calls * most_choices  # but for the calls in flight
    ladders = read_ladders(tmp_path / "run" / "generate", tmp_path / "run")
    assert [len(ladder.responses) for ladder in ladders] == [5] * 12


def given(server: FaultyServer) -> list[tuple[str, int]]:
    """Question and seed of each sample that a server has given."""
    return [
        (question_of(body), body["seed"] + n)
        for body in list(server.bodies)
        for n in range(min(body.get("n", 1), server.most_choices))
    ]
