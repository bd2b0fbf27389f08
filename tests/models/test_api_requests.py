"""What a call to a server carries, pictures and keys, and what of it is kept."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures
from pydantic import ValidationError

from seelevel.errors import InputError
from seelevel.models import load_generator
from seelevel.models.base import ApiSettings, ModelRef, Prompt
from seelevel.models.server.client import ApiModel
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import KEY, answer_to, serving

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("kept")]


class TestPictures:
    def test_marks_become_the_pictures_in_their_places(self, tmp_path: Path) -> None:
        for name, colour in (("a", "red"), ("b", "blue")):
            Pictures.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
        messages: Any = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "<image>\nAnd this <image> here?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Sure?"},
        ]
        with serving() as server:
            model(server).generate([Prompt(messages, [str(tmp_path / "a.png"), str(tmp_path / "b.png")])], GREEDY)
            sent = server.bodies[0]["messages"]
        assert sent[0] == {"role": "system", "content": "Be brief."}
        assert [part["type"] for part in sent[1]["content"]] == ["image_url", "text", "image_url", "text"]
        assert [p["text"] for p in sent[1]["content"] if p["type"] == "text"] == ["And this ", " here?"]
        assert sent[1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
        assert sent[2:] == [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Sure?"}]

    def test_a_plain_picture_is_sent_as_it_is_and_another_as_a_model_would_see_it(self, tmp_path: Path) -> None:
        Pictures.new("RGB", (8, 8), "red").save(tmp_path / "plain.jpg")
        Pictures.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
        turned = Pictures.Exif()
        turned[0x0112] = 6
        Pictures.new("RGB", (8, 16), "red").save(tmp_path / "turned.jpg", exif=turned)
        with serving() as server:
            for name in ("plain.jpg", "clear.png", "turned.jpg"):
                model(server).generate([ask("?", str(tmp_path / name))], GREEDY)
            urls = [b["messages"][0]["content"][0]["image_url"]["url"] for b in server.bodies]
        raws = [base64.b64decode(url.partition(",")[2]) for url in urls]
        assert raws[0] == (tmp_path / "plain.jpg").read_bytes()
        assert Pictures.open(io.BytesIO(raws[1])).getpixel((0, 0)) == (255, 255, 255)
        assert Pictures.open(io.BytesIO(raws[2])).size == (16, 8)

    def test_replies_are_kept_by_the_pictures_content_not_by_its_path(self, tmp_path: Path) -> None:
        for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
            Pictures.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
        with serving() as server:
            a, b, c = (model(server).generate([ask("?", str(tmp_path / f"{n}.png"))], GREEDY)[0] for n in "abc")
            assert a.text == c.text != b.text
            assert sum(server.asked.values()) == 2

    def test_a_picture_that_is_gone_is_named(self) -> None:
        with serving() as server, pytest.raises(InputError, match=r"gone\.png"):
            model(server).generate([ask("?", "gone.png")], GREEDY)


class TestKeys:
    def test_the_key_comes_from_the_variable_that_the_recipe_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_KEY", "mine")
        with serving() as server:
            model(server, key="MY_KEY").generate([ask("a")], GREEDY)
            model(server, key={server.address + "/": "MY_KEY"}).generate([ask("b")], GREEDY)
            model(server, key={"https://elsewhere/v1": "MY_KEY"}).generate([ask("c")], GREEDY)
            assert [h["authorization"] for h in server.headers] == ["Bearer mine", "Bearer mine", "Bearer none"]

    def test_no_file_holds_the_key_or_the_question(self, kept: Path) -> None:
        with serving() as server:
            model(server).generate([ask("a question")], GREEDY)
            assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        (file,) = kept.rglob("*.json")
        assert json.loads(file.read_text()) == {
            "text": answer_to("user: a question"), "tokens": 5, "finished": True, "note": "", "read": 0,
            "reasoning": "", "logprob": None,
        }  # fmt: skip

    def test_one_loader_gives_a_servers_model_and_an_object_of_the_package(self) -> None:
        assert isinstance(load_generator(ModelRef("x", "http://127.0.0.1:1/v1#m")), ApiModel)
        assert load_generator("seelevel.world.oracle:Oracle").name == "world:oracle"

    @pytest.mark.parametrize("key", ["hf_abcDEF", "gsk_abcDEF123", "sk-abc", "hf_abcDEF\n", ""])
    def test_a_key_in_the_place_of_its_variable_is_refused(self, key: str) -> None:
        for given in (key, {"https://host/v1": key}):
            with pytest.raises(ValidationError, match="the environment variable"):
                ApiSettings(key=given)
