"""`doctor --try` finds in small what would stop the run, and names all of it in one line each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seelevel.forecast.trial import Tried, _is_cut, try_recipe
from seelevel.models.base import Completion
from seelevel.naming import Names
from seelevel.preflight import model_findings
from seelevel.recipe import load_recipe
from seelevel.world import model_path
from tests.test_cli import call, refused

pytestmark = pytest.mark.unit


def names(tmp_path: Path, *changes: str) -> Names:
    plain = ["check=null", "generate.experts=[world:xs]", "align.model=world:xs", "data.limit=4"]
    return Names(load_recipe("world-quick", [*plain, *changes]), tmp_path / "run")


def tried(tmp_path: Path, *changes: str) -> dict[str, Tried]:
    return {one.what: one for one in try_recipe(names(tmp_path, *changes))}


def copy(tmp_path: Path, name: str = "m") -> Path:
    return Path(shutil.copytree(model_path("xs"), tmp_path / name))


def edited(path: Path, **values: Any) -> None:
    settings = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


def test_a_recipe_that_works_answers_and_takes_a_step(tmp_path: Path) -> None:
    found = tried(tmp_path, "align.lora={r: 2}")
    assert not any(one.fault for one in found.values())
    assert "answered in 4 tokens" in found["world:xs"].did
    assert "adapters on down_proj, gate_proj, k_proj" in found["align"].did
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_tried_too(tmp_path: Path) -> None:
    found = tried(tmp_path, "check={checker: autocheck, encoder: 'world:clip'}")
    assert "encoded two texts" in found["world:clip"].did


def test_a_weight_that_is_missing_or_of_another_shape_is_found(tmp_path: Path) -> None:
    lacking, other = copy(tmp_path, "lacking"), copy(tmp_path, "other")
    weights = load_file(lacking / "model.safetensors")
    lost = next(name for name in weights if "q_proj" in name)
    save_file({n: w for n, w in weights.items() if n != lost}, lacking / "model.safetensors", {"format": "pt"})
    save_file(weights | {lost: torch.zeros(3, 3)}, other / "model.safetensors", {"format": "pt"})
    found = tried(tmp_path, f"generate.experts=[{lacking}, {other}]")
    assert "lacks 1 of its weights" in found[str(lacking)].fault
    assert "(3, 3)" in found[str(other)].fault and "q_proj" in found[str(other)].fault
    assert not found["align"].fault


def test_a_model_that_cannot_answer_is_not_trained(tmp_path: Path) -> None:
    broken = copy(tmp_path)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-9])
    found = tried(tmp_path, f"align.model={broken}", f"generate.experts=[{broken}]")
    assert "align" not in found
    assert "cut off" in found[str(broken)].fault


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that has one model, and cannot see pictures. It answers "Yes.", or the fixture's parameter."""
    reply = getattr(request, "param", "Yes.")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def _send(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if "image_url" in body:
                self._send(400, {"error": {"message": "image input is not supported"}})
                return
            message = {"role": "assistant", "content": reply}
            self._send(200, {"id": "1", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_address[1]}/v1#m"
    served.shutdown()


def test_a_server_that_takes_no_pictures_is_found_and_as_a_judge_it_passes(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    found = tried(tmp_path, f"generate.experts=['{server}']")
    assert "image input is not supported" in found[server].fault
    found = tried(tmp_path, f"check={{checker: judge, judge: '{server}'}}")
    assert "answered" in found[server].did


@pytest.mark.parametrize("server", [None], indirect=True)
def test_an_empty_answer_is_called_empty(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    found = tried(tmp_path, f"check={{checker: judge, judge: '{server}'}}")
    assert found[server].did.startswith("answered 1 of 1 prompts with an empty text, in 0 tokens")


def test_every_model_that_cannot_be_used_gets_a_line(tmp_path: Path) -> None:
    first, second, third = copy(tmp_path, "first"), copy(tmp_path, "second"), copy(tmp_path, "third")
    (first / "chat_template.jinja").unlink()
    edited(second / "processor_config.json", patch_size=5)
    edited(third / "config.json", quantization_config={"quant_method": "of-next-year"})
    found = model_findings(names(tmp_path, f"generate.experts=[{first}, {second}]", f"align.model={third}"))
    assert [str(path) in line for path, line in zip((first, second, third), found, strict=False)] == [True] * 3
    assert "chat_template.jinja" in found[0] and "patch_size" in found[1] and "of-next-year" in found[2]
    assert all("\n" not in line for line in found)
    code, _, errors = call(
        "doctor", "world-quick", "--set", f"generate.experts=[{first}, {second}]", "--set", f"align.model={third}",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 2
    assert [line.partition(": ")[2] for line in errors.strip().splitlines()] == found


def test_trying_needs_a_recipe(tmp_path: Path) -> None:
    assert "name one" in refused("doctor", "--try", cwd=tmp_path)


def test_the_command_says_what_was_tried(tmp_path: Path) -> None:
    code, out, errors = call(
        "doctor", "world-quick", "--try", "--set", "generate.experts=[world:xs]", "--set", "align.model=world:xs",
        cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, errors
    assert "world:xs: answered in" in out and "align: one step: loss" in out


def test_no_weights_are_downloaded_to_be_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = tried(tmp_path, "align.model=somebody/on-the-hub")
    assert "weights are not on this disk" in found["somebody/on-the-hub"].did
    assert "align" not in found


def test_a_model_that_thinks_first_is_not_at_fault(tmp_path: Path) -> None:
    thinking = copy(tmp_path)
    template = thinking / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if add_generation_prompt %}<think>\n{% endif %}")
    found = tried(tmp_path, f"generate.experts=[{thinking}]")[str(thinking)]
    assert (found.fault, found.did.partition(" (")[0]) == ("", "began to think in 4 tokens")


def test_only_the_token_limit_excuses_an_empty_answer() -> None:
    for ending, cut in (("length", True), ("max_tokens", True), ("content_filter", False), ("tool_calls", False)):
        assert _is_cut(Completion("", 4, False, f"ended by {ending}, empty")) == cut
    assert not _is_cut(Completion("", 0, False, "refused with status 400: max_tokens is too large"))


def test_an_incomplete_model_is_named_with_the_remedy(tmp_path: Path) -> None:
    link, foreign = copy(tmp_path, "link"), copy(tmp_path, "foreign")
    (link / "model.safetensors").unlink()
    (link / "model.safetensors").symlink_to(tmp_path / "gone")
    edited(foreign / "config.json", model_type="my_vlm", auto_map={"AutoConfig": "x.y"})
    copy(tmp_path, "trainer/checkpoint-9")
    reasons = {
        link: "is a link to nothing; download",
        foreign: "No code of a model is run; name one whose model_type",
        tmp_path / "trainer": f"name one inside it, such as {tmp_path / 'trainer/checkpoint-9'}",
        foreign / "config.json": "is a file; name a folder",
    }
    for path, reason in reasons.items():
        (found,) = model_findings(names(tmp_path, f"align.model={path}"))
        assert reason in found
