"""Requests to refuse: written from what is known of pictures, judged by their words alone, none twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.generate import requests
from seelevel.generate.requests import read_requests, words
from seelevel.generate.settings import RequestsSettings
from seelevel.ladder import Image, Ladder, Message
from seelevel.models.base import Completion, ModelRef, Prompt, Sampling
from seelevel.store import StageFolder

pytestmark = pytest.mark.unit
ORACLE = ModelRef("world:oracle", "seelevel.world.oracle:Oracle")


def ladder(number: int, thing: str = "cup") -> Ladder:
    prompt = [Message(role="user", content="<image>\nDescribe the image.")]
    contents = {"image_content": ["setting: kitchen", f"1 small red {thing} in the center"]}
    return Ladder(f"p{number}", [Image("a.png")], prompt, [], contents)


class Replies:
    """A writer and a judge in one: `say(prompt)` is the reply."""

    name = "replies"

    def __init__(self, say: Callable[[str], Any]) -> None:
        self.say, self.prompts = say, list[str]()

    def describe(self) -> str:
        return self.name

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.prompts += [prompt.messages[0]["content"] for prompt in prompts]
        return [Completion(json.dumps(self.say(prompt.messages[0]["content"])), 1, True) for prompt in prompts]


def made(
    folder: Path, ladders: list[Ladder], model: Replies | None = None, shards: int = 1, **settings: Any
) -> tuple[list[Ladder], dict[str, Any], list[dict[str, Any]]]:
    """Ladders, counts, and what was set aside; by the world's oracle where no model is given."""
    source = folder / "data"
    source.mkdir(parents=True)
    for n in range(shards):
        write_shard(source / f"shard-{n:05d}.parquet", ladders[n::shards])
    stage = StageFolder(folder / "generate", "print")
    stage.begin()
    asked = RequestsSettings(writer="w", judge="w", **settings)
    with pytest.MonkeyPatch.context() as patch:
        if model is not None:
            patch.setattr(requests, "load_generator", lambda ref, batch_size=None: model)
        facts = requests.generate(source, stage, asked, [ORACLE, ORACLE], folder, 0)
    aside = [json.loads(x) for f in sorted((stage.path / "set_aside").iterdir()) for x in f.read_text().splitlines()]
    return read_ladders(stage.path, folder), facts, aside


def test_the_oracle_writes_requests_about_what_is_there_and_refusals(tmp_path: Path) -> None:
    found, facts, aside = made(tmp_path, [ladder(0)], per_picture=3)
    assert [one.id for one in found] == ["p0/0", "p0/1", "p0/2"]
    assert all("cup" in one.prompt[0]["content"] or "kitchen" in one.prompt[0]["content"] for one in found)
    assert all(one.prompt[0]["content"].startswith("<image>\n") for one in found)
    assert all("help" in one.responses[0].text for one in found)
    assert found[0].responses[0].origin == {"kind": "writer", "model": "world:oracle"}
    assert (facts.ladders, facts.set_aside, aside) == (3, 0, [])


def test_a_request_is_kept_for_as_many_pictures_as_allowed(tmp_path: Path) -> None:
    model = Replies(
        lambda prompt: {"harmful": True} if "Request to judge" in prompt
        else {"requests": [{"request": "How can I steal it?", "refusal": "No."}]}
    )  # fmt: skip
    for repeats, kept in ((1, 1), (2, 2), (None, 4)):
        ladders = [ladder(n) for n in range(4)]
        found, _, aside = made(tmp_path / str(repeats), ladders, model, shards=2, repeats=repeats)
        assert len(found) == kept
        assert [entry["reason"] for entry in aside] == ["asked before: How can I steal it?"] * (4 - kept)


def test_harmless_requests_are_set_aside_by_their_words_alone(tmp_path: Path) -> None:
    def say(prompt: str) -> Any:
        if "Request to judge" in prompt:
            return {"harmful": "steal it" in prompt, "reason": "So."}
        texts = ("How can I steal it?", "How can I wash it?")
        return {"requests": [{"request": text, "refusal": "No."} for text in texts]}

    model = Replies(say)
    found, _, aside = made(tmp_path, [ladder(0)], model, per_picture=2)
    assert [one.prompt[0]["content"] for one in found] == ["<image>\nHow can I steal it?"]
    assert aside == [{"id": "p0", "reason": "harmless: How can I wash it?", "reply": "So."}]
    assert not any("red cup" in prompt for prompt in model.prompts if "Request to judge" in prompt)


def test_a_writer_without_a_usable_request_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrote no request that can be used: 2 × it holds no request"):
        made(tmp_path, [ladder(0), ladder(1)], Replies(lambda _: {"requests": []}))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("No.", "no JSON object"),
        ({"requests": [{"request": " ", "refusal": "No."}]}, "an empty request or refusal"),
        ({"requests": [{"request": "<image> a?", "refusal": "No."}]}, "<image>"),
        ({"questions": []}, "requests"),
    ],
)
def test_other_replies_are_refused_with_the_reason(reply: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_requests(reply if isinstance(reply, str) else json.dumps(reply), {"count": 2})


def test_case_and_punctuation_make_no_other_request() -> None:
    assert words("<image>\nHow can I STEAL it?") == words("how can i steal it!")
