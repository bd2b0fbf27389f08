"""IG: nested parts, afresh from one model, apart from the prompts; a stopped stage ends as one that never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seelevel import generate
from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate.incremental import separate_records, split
from seelevel.generate.settings import IncrementalSettings
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import ModelRef
from seelevel.store import StageFolder
from tests.training.tiny import ANSWERS, make_picture, save_model

ASK: list[Message] = [{"role": "user", "content": "<image>\nDescribe the picture."}]


def record(name: str, picture: str, answer: str = "There is a red cup.", sha256: str = "") -> Ladder:
    message: Message = {"role": "assistant", "content": answer}
    return Ladder(name, [Image(picture, sha256)], ASK, [Response([message], 0, {"kind": "standard"})])


@pytest.mark.unit
class TestParts:
    def test_records_with_a_prompts_picture_or_id_are_omitted(self) -> None:
        prompts = [record("a", "a.png", sha256="1"), record("b", "b.png", sha256="2")]
        kept = separate_records(
            [
                record("a", "c.png", sha256="3"),  # the id
                record("d", "elsewhere/b.png", sha256="2"),  # the picture, by content
                record("e", "a.png", sha256="4"),  # another picture under the same name
            ],
            prompts,
        )
        assert [ladder.id for ladder in kept] == ["e"]

    def test_only_the_best_response_is_learnt(self) -> None:
        good = record("x", "x.png")
        bad = Response([{"role": "assistant", "content": "No."}], 1)
        ladder = Ladder(good.id, good.images, good.prompt, [*good.responses, bad])
        assert [r.text for r in separate_records([ladder], [])[0].responses] == ["There is a red cup."]

    def test_parts_are_equal_and_hold_every_record_once(self) -> None:
        ladders = [record(str(n), "x.png") for n in range(11)]
        parts = split(ladders, 3, seed=0)
        assert sorted(len(part) for part in parts) == [3, 4, 4]
        assert sorted(int(ladder.id) for part in parts for ladder in part) == list(range(11))
        assert parts == split(ladders, 3, seed=0) != split(ladders, 3, seed=1)


def settings(**finetune: Any) -> IncrementalSettings:
    training = {"learning_rate": 0.01, "epochs": 2, "ladders_per_step": 2, "save_steps": 1, "device": "cpu"}
    return IncrementalSettings.model_validate(
        {
            "method": "incremental",
            "model": "tiny",
            "levels": 4,
            "finetune": {"prompts": "records", **training, **finetune},
            "sampling": {"max_new_tokens": 6, "temperature": 1.0},
        }
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return ModelRef("tiny", str(save_model(tmp_path_factory.mktemp("base") / "model")))


def make_run(root: Path) -> Path:
    """Two shards of prompts; five records to fine-tune on, one of them with a prompt's picture."""
    root.mkdir()
    pictures = [make_picture(root, seed) for seed in range(7)]
    for number in range(2):
        prompts = [record(f"p{number}{n}", pictures[n], ANSWERS[n], sha256=f"{n}") for n in range(2)]
        write_shard(StageFolder(root / "data", "x").shard(number), prompts, root)
    records = [record(f"f{n}", pictures[n], ANSWERS[n % 6], sha256=f"{n}") for n in range(1, 6)]
    write_shard(StageFolder(root / "finetune", "x").shard(0), records, root)
    return root


def run(root: Path, base: ModelRef, used: IncrementalSettings | None = None) -> dict[str, Any]:
    stage = StageFolder(root / "generate", "print")
    stage.begin()
    return generate.run(
        root / "data", stage, (used or settings()).with_training_data(root / "finetune"), [base], root, 0
    )


def contents(root: Path) -> dict[str, bytes]:
    files = [*root.glob("generate/*.parquet"), *root.glob("generate/finetunes/*/model/*.safetensors")]
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base: ModelRef) -> tuple[Path, dict[str, Any]]:
    root = make_run(tmp_path_factory.mktemp("whole") / "run")
    return root, run(root, base)


def test_the_standard_comes_first_then_models_by_falling_data(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    root, facts = whole
    ladders = read_ladders(root / "generate", root)
    assert [ladder.id for ladder in ladders] == ["p00", "p01", "p10", "p11"]
    order = ["standard", "tiny on parts 1 to 2 of 2", "tiny on part 1 of 2", "tiny"]
    for ladder in ladders:
        made = [r.origin.get("model", r.origin["kind"]) for r in ladder.responses]
        dropped = {entry["model"] for entry in ladder.notes.get("dropped", [])}
        assert made == [name for name in order if name not in dropped]
    origins = {r.origin["model"]: r.origin for ladder in ladders for r in ladder.responses[1:]}
    assert {k: v for k, v in origins["tiny on parts 1 to 2 of 2"].items() if k != "sampling"} == {
        "kind": "fine-tuned",
        "model": "tiny on parts 1 to 2 of 2",
        "parts": 2,
        "records": 4,
        "epochs": 2,
        "seed": 0,
    }
    assert facts.finetune["overlap"] == 1
    assert facts.finetune["parts"] == [2, 2]
    assert [(m["ladders"], m["steps"]) for m in facts.finetune["models"]] == [(4, 4), (2, 2)]


def test_each_model_is_trained_afresh_on_nested_records(
    tmp_path: Path, base: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seelevel.training import fit as training

    real, calls = training.fit, []

    def watched(ladders: Any, model: str, used: Any, out: Path, seed: int, label: str) -> Any:
        calls.append(([ladder.id for ladder in ladders], model, used.objective.name, seed))
        return real(ladders, model, used, out, seed, label)

    monkeypatch.setattr(training, "fit", watched)
    run(make_run(tmp_path / "run"), base)
    (most, *rest), (less, *again) = calls
    assert rest == again == [base.path, "sft", 0]
    assert set(less) < set(most) == {"f2", "f3", "f4", "f5"}  # f1 has a prompt's picture
    assert most[: len(less)] == less


class Stopped(Exception):
    """Stands for a kill."""


def stopping(real: Callable[..., Any], after: int) -> Callable[..., Any]:
    done = []

    def stops(*arguments: Any, **options: Any) -> Any:
        if len(done) == after:
            raise Stopped
        done.append(1)
        return real(*arguments, **options)

    return stops


@pytest.mark.parametrize(("where", "after"), [("step", 2), ("step", 5), ("answer", 0), ("answer", 3), ("answer", 5)])
def test_a_stage_that_was_stopped_continues_to_the_same_bytes(
    tmp_path: Path,
    whole: tuple[Path, dict[str, Any]],
    base: ModelRef,
    where: str,
    after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from seelevel.generate import answering
    from seelevel.training.trainer import PreferenceTrainer

    root = make_run(tmp_path / "run")
    with monkeypatch.context() as patch:
        place, name = (PreferenceTrainer, "training_step") if where == "step" else (answering, "answer")
        patch.setattr(place, name, stopping(getattr(place, name), after))
        with pytest.raises(Stopped):
            run(root, base)
    facts = run(root, base)
    assert contents(root) == contents(whole[0])
    assert facts == whole[1]


def test_weights_that_are_not_kept_leave_their_facts(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], base: ModelRef
) -> None:
    root = make_run(tmp_path / "run")
    facts = run(root, base, settings(keep=False))
    assert facts == whole[1]
    assert not list(root.glob("generate/finetunes/*/model"))
    assert len(list(root.glob("generate/finetunes/*/log.jsonl"))) == 2
    assert run(root, base, settings(keep=False)) == facts  # nothing is trained again for ladders that are there


def test_adapters_are_fine_tunes_too(tmp_path: Path, base: ModelRef) -> None:
    root = make_run(tmp_path / "run")
    run(root, base, settings(lora={"r": 2}))
    assert len(list(root.glob("generate/finetunes/*/adapter"))) == 2


def test_too_few_records_apart_from_the_prompts_are_refused(tmp_path: Path, base: ModelRef) -> None:
    root = make_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"4 of 5 records are apart from data.prompts, 5 are needed for levels: 7"):
        run(root, base, settings().model_copy(update={"levels": 7}))
