"""The check as a stage: shards in, shards out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seelevel import check
from seelevel.check.settings import CheckSettings
from seelevel.errors import InputError
from seelevel.facts import CheckFacts
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.base import ModelRef
from seelevel.notes import CheckNote
from seelevel.store import StageFolder
from tests.language.tiny_clip import save_tiny_clip

ANSWERS = ["A dog is on a red bed.", "A cat is on a bed.", "A dog is on a red bed. A cat sleeps."]


def ladder(name: str, *texts: str) -> Ladder:
    responses = [Response([Message(role="assistant", content=text)], level) for level, text in enumerate(texts)]
    return Ladder(name, [Image("a.png")], [Message(role="user", content="<image> What is there?")], responses)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    words = ["A", "a", "dog", "cat", "is", "on", "red", "bed", "sleeps", ".", "the"]
    return ModelRef("tiny", str(save_tiny_clip(tmp_path_factory.mktemp("clip"), words, positions=16)))


def stage(root: Path, name: str) -> StageFolder:
    folder = StageFolder(root / name, "print")
    folder.begin()
    return folder


def source(root: Path) -> Path:
    folder = stage(root, "generate")
    write_shard(folder.shard(0), [ladder("a", *ANSWERS), ladder("b", "Yes.", "No.")], root)
    write_shard(folder.shard(1), [ladder("c", ANSWERS[1], ANSWERS[0], ANSWERS[1])], root)
    return folder.path


def test_every_shard_is_checked_and_counted(tmp_path: Path, encoder: ModelRef) -> None:
    settings = CheckSettings(encoder="tiny", threshold=0.9999)
    facts = check.run(source(tmp_path), stage(tmp_path, "check"), settings, encoder, tmp_path)
    assert facts == CheckFacts(ladders=3, reordered=2, unchecked=1, split_texts=0)
    a, b, c = read_ladders(tmp_path / "check", tmp_path)
    # The third answer holds the standard one whole, the second only the bed.
    assert [r.text for r in a.responses] == [ANSWERS[0], ANSWERS[2], ANSWERS[1]]
    assert b.check is not None and b.check.unchecked
    assert [r.text for r in c.responses] == [ANSWERS[1], ANSWERS[1], ANSWERS[0]]


def test_a_stopped_check_continues_to_the_same_bytes(tmp_path: Path, encoder: ModelRef) -> None:
    settings, folder, generated = CheckSettings(encoder="tiny"), stage(tmp_path, "check"), source(tmp_path)
    check.run(generated, folder, settings, encoder, tmp_path)
    whole = [folder.shard(n).read_bytes() for n in range(2)]
    folder.shard(1).unlink()
    check.run(generated, folder, settings, encoder, tmp_path)
    assert [folder.shard(n).read_bytes() for n in range(2)] == whole


@pytest.mark.unit
def test_an_unknown_checker_is_named_with_the_nearest(tmp_path: Path) -> None:
    generated, folder = source(tmp_path), stage(tmp_path, "check")
    settings = CheckSettings(checker="auto-check", encoder="tiny")
    with pytest.raises(InputError, match="did you mean 'autocheck'"):
        check.run(generated, folder, settings, ModelRef("tiny", "nowhere"), tmp_path)


class Faulty:
    """A checker that keeps the levels, but for `fault` on the ladders of each shard."""

    def __init__(self, fault: Callable[[list[Ladder]], list[Ladder]]) -> None:
        self.fault = fault

    def __call__(self, ladders: Iterable[Ladder]) -> Iterator[Ladder]:
        yield from self.fault([x.left_unchecked(CheckNote("faulty", tuple(x.levels), "as it was")) for x in ladders])


@pytest.mark.unit
@pytest.mark.parametrize(
    ("fault", "place"),
    [
        (lambda ladders: ladders[1:], "ladder a"),
        (lambda ladders: ladders[:-1], "ladder b"),
        (lambda ladders: ladders[::-1], "ladder a"),
        (lambda ladders: [*ladders, ladders[-1]], "the end"),
        (lambda ladders: [replace(x, responses=x.responses[:-1]) for x in ladders], "responses of ladder a"),
        (lambda ladders: [replace(x, check=None) for x in ladders], "no note on ladder a"),
    ],
)
def test_a_checker_that_loses_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[list[Ladder]], list[Ladder]], place: str
) -> None:
    monkeypatch.setattr(check, "make_checker", lambda *_: Faulty(fault))
    with pytest.raises(InputError, match=f"check.checker .*{place}"):
        check.run(source(tmp_path), stage(tmp_path, "check"), CheckSettings(encoder="tiny"), None, tmp_path)
    assert not (tmp_path / "check" / "shard-00000.parquet").exists()
