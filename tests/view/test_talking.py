"""Talk in the page: what a person can do there, what is kept, and what no page can ask for."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from PIL import Image as Pictures

import seelevel
from seelevel.errors import DiskFullError, InputError, ServerError
from seelevel.formats import read
from seelevel.ladder import Ladder, Message
from seelevel.models.base import ModelRef
from seelevel.models.conditioned import Conditioned
from seelevel.models.conditions import TEMPLATE, Conditions
from seelevel.store import cache_folder
from seelevel.view import sessions as keeping
from seelevel.view.door import LARGEST_PICTURE, Door
from seelevel.view.server import application
from seelevel.view.sessions import Sessions
from seelevel.view.voices import Voice, Voices
from seelevel.world.oracle import Oracle
from tests.formats.made import picture
from tests.judge.made import Critic, Speaker, longer
from tests.models.faulty_server import serving
from tests.test_cli import COMMAND, refused
from tests.view.shown import PORT, TOKEN, opened, run_folder
from tests.view.talkers import ORIGIN, SCRIPT, Page, Streamer, client, records, sessions, until
from tests.view.test_pages import EVIL

RECIPE = Path(seelevel.__file__).parent / "recipes" / "world-quick.yaml"


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(client(sessions(tmp_path, {"world:s": Speaker(longer), "world:m": Streamer("one ", "two")})))


def run_with_models(root: Path) -> Path:
    """A run whose alignment has a model's folder."""
    (root / "align" / "model").mkdir(parents=True)
    (run_folder(root) / "recipe.yaml").write_text(RECIPE.read_text())
    return root


def png(size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Pictures.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.unit
def test_every_chosen_model_answers_piece_by_piece(page: Page) -> None:
    events = page.say("What is there?", "m0", "m1")
    assert [e["piece"] for e in events if e.get("piece") and e["model"] == "m1"] == ["one ", "two"]
    columns = {e["model"]: e["column"]["turns"] for e in events if "column" in e}
    assert [(t["user"], t["answer"]) for t in columns["m0"]] == [("What is there?", "word")]
    assert [(t["user"], t["answer"]) for t in columns["m1"]] == [("What is there?", "one two")]
    assert [t["answer"] for t in page.column("And then?")["turns"]] == ["word", "word word"]
    html = page.html()  # the page is the same when it is loaded again
    assert html.count("What is there?") == 2 and "word word" in html and "one two" in html


@pytest.mark.unit
def test_feedback_refinement_and_a_new_conversation_work_as_in_the_terminal(page: Page) -> None:
    page.say("What?")
    [turn] = page.column("/feedback")["turns"]
    assert turn["judged"].splitlines()[1:] == ["critique: 1 words.", "refinement: Say a word more."]
    turns = page.column("/refine")["turns"]
    assert [t["user"] for t in turns] == ["What?", "Say a word more. Please answer again."]
    assert page.column("", command="/refine", column="1")["turns"][-1]["answer"] == "word word word"
    assert page.column("More.", command="/refine", column="1")["turns"][-1]["user"] == "More."
    assert page.column("/help")["notice"].startswith("/feedback")
    assert page.column("/new")["turns"] == []


@pytest.mark.unit
def test_new_in_the_field_forgets_all_conversations_and_in_a_column_that_one(page: Page) -> None:
    page.say("What?", "m0", "m1")
    assert {e["model"] for e in page.say("/new", "m1", column="1") if "column" in e} == {"m1"}
    assert "word" in page.html()
    assert {e["model"] for e in page.say("/new", "m1") if "column" in e} == {"m0", "m1"}
    assert '<p class="turn" data-text="answer">word' not in page.html()


@pytest.mark.unit
def test_a_condition_is_for_models_that_were_trained_on_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = Conditions(TEMPLATE, ("honesty",), "")
    speakers = {"world:s": Speaker(longer), "world:m": Conditioned(Speaker(longer), conditions)}
    monkeypatch.setattr(
        "seelevel.view.voices.read_conditions", lambda path: conditions if Path(path).name == "m" else None
    )
    page = Page(client(sessions(tmp_path, speakers)))
    assert page.html().count('value="/condition"') == 1
    assert "was not trained on conditions" in page.column("/condition 2", "m0")["notice"]
    page.say("What?", "m1")
    column = page.column("/condition 2", "m1")
    assert column["condition"].startswith("condition: 2 (Feedback: Honesty: 2") and len(column["turns"]) == 1
    assert "is unknown; use top, worst" in page.column("/condition 7", "m1")["notice"]


@pytest.mark.unit
def test_a_mistake_is_one_line_and_the_conversation_goes_on(tmp_path: Path) -> None:
    def say(messages: list[Message]) -> str:
        question = messages[-1]["content"]
        if "server" in question:
            raise ServerError("the server is gone; start it")
        if "break" in question:
            raise RuntimeError("out of memory")
        return "Yes."

    page = Page(client(sessions(tmp_path, {"world:s": Speaker(say)}, judge=None)))
    assert page.column("/feedback")["notice"] == "nothing has been said yet; ask something first"
    assert page.column("/nothing")["notice"] == "unknown command /nothing; /help lists them"
    assert page.column("server?")["notice"] == "the server is gone; start it"
    assert "out of memory" in page.column("break?")["notice"]
    assert page.column("<image>?")["notice"].startswith("<image> stands for a picture")
    column = page.column("Well?")
    assert (column["notice"], [t["answer"] for t in column["turns"]]) == ("", ["Yes."])
    assert "start the chat with --judge" in page.column("/feedback")["notice"]


@pytest.mark.unit
@pytest.mark.parametrize("models", [["/etc"], ["world:m"], ["m7"], [], ["m0", "../m0"], ["r0-aligned"]])
def test_only_models_that_are_offered_can_be_asked(tmp_path: Path, models: list[str]) -> None:
    talks = sessions(tmp_path, {"world:s": Speaker(longer)})
    answer = Page(client(talks)).post("say", data={"words": "Hi", "model": models})
    assert (answer.status_code, answer.text) == (400, "choose one to 4 of the models")
    assert talks.loaded == []  # type: ignore[attr-defined]


@pytest.mark.unit
def test_at_most_four_models_are_asked_at_once(tmp_path: Path) -> None:
    names = ["world:xs", "world:s", "world:m", "world:l", "world:oracle"]
    page = Page(client(sessions(tmp_path, {name: Speaker(longer) for name in names}, judge=None)))
    keys = re.findall(r'type="checkbox" name="model" value="(\w+)"', page.html())
    assert len(keys) == 5 and page.post("say", data={"words": "Hi", "model": keys}).status_code == 400
    assert len([e for e in page.say("Hi", *keys[:4]) if "column" in e]) == 4


@pytest.mark.unit
def test_a_run_offers_its_base_and_its_aligned_model_once_it_is_there(tmp_path: Path) -> None:
    root = run_folder(tmp_path / "run")
    (root / "recipe.yaml").write_text(RECIPE.read_text())
    voices = Voices([], [("mine", root)], None)
    assert [voice.label for voice in voices.choices().values()] == ["mine: base"]
    (root / "align" / "model").mkdir(parents=True)
    choices = voices.choices()
    assert list(choices) == ["r0-base", "r0-aligned"]
    assert choices["r0-aligned"].ref.path == str(root / "align" / "model")
    (root / "recipe.yaml").write_text(RECIPE.read_text() + "\nbackend: vllm\n")
    assert {voice.ref.backend.name for voice in Voices([], [("mine", root)], None).choices().values()} == {
        "transformers"
    }
    (root / "recipe.yaml").write_text("broken: [")
    assert Voices([], [("mine", root)], None).choices() == {}


@pytest.mark.unit
def test_a_name_that_means_no_model_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match="does not exist"):
        Voices(["nothing/here/now"], [], None)
    with pytest.raises(InputError, match="does not exist"):
        Voices([], [], "nothing")


@pytest.mark.unit
def test_a_model_is_loaded_when_it_is_first_asked_and_then_kept(tmp_path: Path) -> None:
    talks = sessions(tmp_path, {"world:s": Speaker(longer), "world:m": Speaker(longer)})
    page = Page(client(talks))
    assert talks.loaded == []  # type: ignore[attr-defined]
    page.say("What?", "m1")
    Page(page.browser).say("What?", "m1")
    assert talks.loaded == ["world:m"]  # type: ignore[attr-defined]


@pytest.mark.unit
def test_no_page_imports_torch_before_a_model_is_asked(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from tests.view.talkers import Page, client, sessions
from seelevel.world.oracle import Oracle
from tests.judge.made import Speaker, longer
page = Page(client(sessions(Path({str(tmp_path)!r}), {{"world:s": Speaker(longer)}})))
page.html()
assert page.post("picture", content=b"x").status_code == 400
sys.exit(any(name in sys.modules for name in ("torch", "transformers")))
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


@pytest.mark.unit
def test_a_picture_goes_with_the_question_and_a_new_one_begins_a_new_conversation(tmp_path: Path) -> None:
    speaker = Speaker(longer)
    page = Page(client(sessions(tmp_path, {"world:s": speaker})))
    page.say("Before?")
    shown = page.post("picture", content=png((2000, 100))).json()
    assert shown["columns"]["m0"]["turns"] == []
    raw = page.browser.get(shown["picture"])
    assert raw.headers["content-type"] == "image/webp"
    assert Pictures.open(io.BytesIO(raw.content)).size == (1600, 80)
    page.say("What?")
    assert speaker.prompts[-1].messages == [{"role": "user", "content": "<image>\nWhat?"}]
    assert Path(speaker.prompts[-1].images[0]).read_bytes() == png((2000, 100))
    assert shown["picture"] in page.html()
    other = Page(page.browser)
    assert page.browser.get(shown["picture"].replace(page.address, other.address)).status_code == 404
    assert page.browser.get(f"{page.address}/picture/..%2f..%2fstate.json").status_code == 404


@pytest.mark.unit
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"no picture", "not a picture that can be read"),
        (b"", "not a picture that can be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "not a picture that can be read"),
        (png()[:60], ""),
        (png((20_000, 10)), "aspect ratio"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_in_one_line(page: Page, raw: bytes, reason: str) -> None:
    answer = page.post("picture", content=raw)
    assert answer.status_code == 400 and "\n" not in answer.text
    assert answer.text.startswith("this picture cannot be used: ") and reason in answer.text
    assert 'id="picture" alt="" hidden' in page.html()


@pytest.mark.unit
def test_only_a_picture_may_be_large(page: Page) -> None:
    large = b"0" * (2 << 20)
    assert page.post("picture", content=large).status_code == 400
    for path in ("say", "scene", "stop", "picture/x", "picture/"):
        assert page.post(path, content=large).status_code == 413, path
    assert page.browser.post("/0/change", headers=ORIGIN, content=large).status_code == 413
    assert page.post("picture", content=b"0" * (LARGEST_PICTURE + 1)).status_code == 413


@pytest.mark.unit
def test_a_scene_of_the_world_has_contents_for_its_oracle(tmp_path: Path) -> None:
    speakers = {"world:s": Speaker(lambda _: "There is a zebra."), "world:oracle": Oracle()}
    page = Page(client(sessions(tmp_path, speakers, judge=None)))
    shown = page.post("scene", data={"scene": "world:test/3"}).json()
    assert page.browser.get(shown["picture"]).status_code == 200
    page.say("Describe the image.")
    [turn] = page.column("/feedback")["turns"]
    assert "There is no zebra in the image." in turn["judged"]
    assert page.post("scene", data={"scene": ""}).json()["picture"] == ""


@pytest.mark.unit
@pytest.mark.parametrize("name", ["/etc/passwd", "a.png", "world:nothing/3", "world:test/x", "world:" + "9" * 5000])
def test_no_path_is_taken_for_a_scene(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(picture(tmp_path, "a.png").parent)
    answer = page.post("scene", data={"scene": name})
    assert answer.status_code == 400 and "\n" not in answer.text and len(answer.text) < 300
    assert page.post("scene", data={"scene": "world:test/" + "9" * 20}).status_code == 400


@pytest.mark.unit
def test_a_ladders_page_leads_to_a_conversation_about_its_picture(tmp_path: Path) -> None:
    collection = opened(run_with_models(tmp_path / "run"), tmp_path / "kept")
    speaker = Speaker(longer)
    browser = client(sessions(tmp_path, {"world:s": speaker}), collection)
    link = re.search(r'href="(/talk\?[^"]+)"', browser.get("/0/ladder?id=plain").text)
    assert link is not None
    page = Page(browser, link[1].replace("&amp;", "&").removeprefix("/talk"))
    assert ">What is on the mat?</textarea>" in page.html() and 'alt="The picture: plain"' in page.html()
    page.say("What is on the mat?")
    assert speaker.prompts[0].images == [str(tmp_path / "run" / "images" / "a.png")]
    assert "/talk?" not in browser.get("/0/ladder?id=unchecked").text  # it has no picture
    assert Page(browser, "?collection=0&ladder=nothing").html().count("</textarea>") == 1
    assert Page(browser, "?collection=99&ladder=plain").html().count("</textarea>") == 1


@pytest.mark.unit
def test_without_a_run_talk_is_the_first_page(page: Page) -> None:
    assert page.browser.get("/").url.path.startswith("/talk/")
    assert 'aria-label="Parts"' not in page.html()


@pytest.mark.unit
def test_stop_keeps_the_pieces_so_far(tmp_path: Path) -> None:
    streamer = Streamer("one", " two")
    streamer.go.clear()
    page = Page(client(sessions(tmp_path, {"world:s": streamer})))
    columns: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: columns.append(page.column("Count.")))
    asking.start()
    assert streamer.begun.wait(10)
    busy = page.post("say", data={"words": "More.", "model": "m0"})
    assert (busy.status_code, busy.text) == (409, "answers are still coming; stop them, or wait")
    assert page.post("picture", content=png()).status_code == 409
    page.post("stop")
    asking.join(10)
    [column] = columns
    assert column["notice"] == "stopped; the words so far are kept"
    assert [t["answer"] for t in column["turns"]] == ["one"] and streamer.ended == 1


@pytest.mark.unit
def test_a_closed_tab_ends_its_answer_and_what_was_said_is_kept(tmp_path: Path) -> None:
    streamer = Streamer("one", " two")
    streamer.go.clear()
    talks = sessions(tmp_path, {"world:s": streamer}, save=tmp_path / "said.jsonl")
    page = Page(client(talks))
    body = urlencode({"words": "Count.", "model": "m0"}).encode()
    headers = {"host": f"127.0.0.1:{PORT}", "content-length": str(len(body)), "cookie": f"seelevel-view-{PORT}={TOKEN}"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": f"{page.address}/say",
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in (headers | SCRIPT).items()],
    }

    async def leave() -> None:
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            while not streamer.begun.is_set():
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        await Door(application([], talks), TOKEN, PORT)(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(leave())
    until(lambda: streamer.ended == 1 and (tmp_path / "said.jsonl").exists())
    until(lambda: "stopped" in page.html())
    [record] = records(tmp_path / "said.jsonl")
    assert record["interaction"] == [{"user": "Count.", "model": "one"}]


@pytest.mark.unit
def test_a_model_gives_one_answer_at_a_time_and_a_wait_can_be_stopped(tmp_path: Path) -> None:
    streamer = Streamer("one", " two")
    streamer.go.clear()
    talks = sessions(tmp_path, {"world:s": streamer})
    one, two = talks.new(), talks.new()
    first = one.start(["m0"], "Count.", lambda _: None)
    assert streamer.begun.wait(10)
    streamer.begun.clear()
    second = two.start(["m0"], "Count.", lambda _: None)
    second.join(0.3)
    assert not streamer.begun.is_set() and second.is_alive()
    two.stop()
    second.join(10)
    assert not second.is_alive() and two.column("m0")["turns"] == []
    streamer.go.set()
    first.join(10)
    assert one.column("m0")["turns"][0]["answer"] == "one two"


@pytest.mark.unit
def test_what_is_said_is_saved_after_every_turn_and_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "said" / "all.jsonl"
    page = Page(client(sessions(tmp_path, {"world:s": Speaker(longer), "world:m": Speaker(longer)}, save=file)))
    page.post("picture", content=png())
    for words in ("One?", "/feedback", "Two?", "/new", "Three?"):
        events = page.say(words, "m0", "m1")
        assert events[-1]["saved"] == f"saved: {file}" and f"saved: {file}" in page.html()
    talks = {r["id"].partition(" ")[2]: [] for r in records(file)}
    for record in records(file):
        talks[record["id"].partition(" ")[2]].append([turn["user"] for turn in record["interaction"]])
        assert (file.parent / record["image_id"]).read_bytes() == png()
    assert talks == {"world:s": [["One?", "Two?"], ["Three?"]], "world:m": [["One?", "Two?"], ["Three?"]]}
    assert next(records(file))["interaction"][0]["rating"] == {"honesty": 1}
    assert len([ladder for ladder in read(file) if isinstance(ladder, Ladder)]) == 6


@pytest.mark.unit
def test_conversations_have_files_of_their_own_and_no_file_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    file.write_text("mine")
    browser = client(sessions(tmp_path, {"world:s": Speaker(longer)}, save=file))
    for question in ("One?", "Two?"):
        Page(browser).say(question)
    assert file.read_text() == "mine"
    users = [next(records(tmp_path / f"said-{n}.jsonl"))["interaction"][0]["user"] for n in (2, 3)]
    assert users == ["One?", "Two?"]


@pytest.mark.unit
def test_without_a_file_what_is_said_goes_to_the_cache(page: Page) -> None:
    page.say("What?")
    [file] = (cache_folder() / "chats").glob("*.jsonl")
    assert re.fullmatch(r"chat-\d{8}-\d{6}", file.stem)


@pytest.mark.unit
def test_a_conversation_that_was_put_away_goes_on_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "KEPT", 1)
    thinking = Speaker(lambda messages: f"<think>hm</think>{longer(messages)}")
    file = tmp_path / "said.jsonl"
    talks = sessions(tmp_path, {"world:s": thinking, "world:m": Speaker(longer)}, save=file)
    page = Page(client(talks))
    page.post("picture", content=png())
    for words in ("One?", "/new", "Two?", "Three?", "/feedback"):
        page.say(words, "m0", "m1")
    before, name = page.html(), page.address.removeprefix("/talk/")
    Page(page.browser)  # another one, which takes the place in memory
    assert name not in talks._open
    assert page.html() == before and "hm" in before
    session = talks.get(name)
    assert session is not None and session.talks["m0"].chat.asked == 1
    turns = page.column("/refine")["turns"]
    assert turns[-1]["user"] == "Say a word more. Please answer again."
    assert len(list(records(file))) == 4 and not (tmp_path / "said-2.jsonl").exists()


@pytest.mark.unit
@pytest.mark.parametrize("name", ["x", "x" * 22, "..%2ftalk", "%2e%2e%2ftalk%2fstate.json"])
def test_an_unknown_conversation_is_not_there(page: Page, name: str) -> None:
    assert page.browser.get(f"/talk/{name}", follow_redirects=False).status_code == 404
    assert page.browser.post(f"/talk/{name}/say", headers=SCRIPT, data={"words": "x"}).status_code == 404


@pytest.mark.unit
def test_a_name_of_a_conversation_cannot_be_guessed(page: Page) -> None:
    names = {page.browser.get("/talk").url.path for _ in range(3)}
    assert len(names) == 3 and all(re.fullmatch(r"/talk/[\w-]{22}", name) for name in names)


@pytest.mark.unit
def test_words_of_models_and_judges_never_run(tmp_path: Path) -> None:
    judged = {"honesty": 1, "critique": EVIL, "refinement": EVIL}
    speaker = Speaker(lambda _: f"<think>{EVIL}</think>{EVIL}")
    page = Page(client(sessions(tmp_path, {"world:s": speaker, "world:l": Critic(lambda _: judged)})))
    events = page.say(EVIL)
    column = page.column("/feedback")
    html = page.html()
    assert "<script>alert" not in html and "<img src=x" not in html and "\u202e" not in html and "62615533" not in html
    assert html.count("&lt;script&gt;alert(1)") >= 4
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style", html)
    shown = "".join(e.get("piece", "") for e in events) + "".join(column["turns"][0].values())
    assert EVIL.replace("\u202e", "\\u202e") in shown and "\u202e" not in shown  # and scripts insert texts as texts:
    script = page.browser.get("/static/talk.js").text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


@pytest.mark.unit
def test_a_browser_without_scripts_gets_the_page_with_the_answers(page: Page) -> None:
    fields = {"words": "What?", "model": ["m0", "m1"]}
    answer = page.browser.post(f"{page.address}/say", headers=ORIGIN, data=fields)
    assert answer.url.path == page.address and "one two" in answer.text and ">word<" in answer.text
    answer = page.browser.post(f"{page.address}/say", headers=ORIGIN, data={"words": "What?"})
    assert answer.status_code == 400 and "choose one to 4 of the models" in answer.text
    page.browser.post(f"{page.address}/scene", headers=ORIGIN, data={"scene": "world:test/3"})
    assert 'alt="The picture: world:test/3"' in page.html()


@pytest.mark.unit
def test_a_model_on_a_server_answers_and_one_that_fails_is_one_line(tmp_path: Path) -> None:
    with serving() as server:
        voices = Voices([f"{server.address}#m"], [], None)
        page = Page(client(Sessions(voices, tmp_path / "talk", tmp_path / "said.jsonl")))
        assert len(page.column("What?")["turns"]) == 1
        server.refuses = lambda body: (400, {"error": {"message": "too long"}})
        column = page.column("And then?")
    assert "too long" in column["notice"] and len(column["turns"]) == 1


@pytest.mark.unit
def test_a_broken_file_of_conditions_breaks_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise InputError("conditions.json is not a valid conditions file")

    monkeypatch.setattr("seelevel.view.voices.read_conditions", broken)
    page = Page(client(sessions(tmp_path, {"world:s": Speaker(longer)})))
    assert 'value="/condition"' not in page.html()
    assert page.column("What?")["notice"] == "conditions.json is not a valid conditions file"


@pytest.mark.unit
def test_a_model_that_is_named_twice_is_offered_once() -> None:
    voices = Voices(["world:s", "world:m", "world:s"], [], "world:m")
    assert [voice.label for voice in voices.choices().values()] == ["world:s", "world:m"]
    assert voices.judging("world:m") is voices.choices()["m1"]  # loaded once, too


@pytest.mark.unit
def test_a_full_disk_keeps_conversations_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, ladders: object) -> None:
        raise DiskFullError(path, 7)

    monkeypatch.setattr(keeping, "KEPT", 1)
    monkeypatch.setattr(keeping, "write_shard", full)
    page = Page(client(sessions(tmp_path, {"world:s": Speaker(longer)})))
    page.say("What?")
    Page(page.browser)
    assert "What?" in page.html()


@pytest.mark.unit
def test_a_voice_is_asked_under_its_own_condition_and_loaded_without_one() -> None:
    conditions = Conditions(TEMPLATE, ("honesty",), "")
    speaker = Speaker(longer)
    voice = Voice(ModelRef("a", "a"), "a", lambda _: Conditioned(speaker, conditions))
    assert voice._ready() is speaker


def test_the_shipped_model_talks_about_a_scene_and_its_oracle_judges(tmp_path: Path) -> None:
    talks = Sessions(Voices(["world:xs"], [], None), tmp_path / "talk", tmp_path / "said.jsonl")
    page = Page(client(talks))
    page.post("scene", data={"scene": "world:test/3"})
    events = page.say("Describe the image.")
    pieces = "".join(e.get("piece", "") for e in events)
    [turn] = page.column("/feedback")["turns"]
    assert pieces.strip() == turn["answer"] and turn["judged"].startswith("ratings, 1 to 4: helpfulness ")
    [record] = records(tmp_path / "said.jsonl")
    assert record["caption"] and record["interaction"][0]["annotator"] == "world:oracle"


@pytest.mark.unit
def test_the_command_refuses_what_it_cannot_show_or_talk_with(tmp_path: Path) -> None:
    assert "name a run folder" in refused("view")
    assert "model folder nothing does not exist" in refused("view", "--model", "nothing", "--no-browser")
    assert "does not exist" in refused("view", "--model", "world:s", "--judge", "nothing", "--no-browser")
    (tmp_path / "said.jsonl").touch()
    taken = refused("view", "--model", "world:s", "--no-browser", "--save", tmp_path / "said.jsonl")
    assert "said.jsonl is there already; name a new file" in taken


def test_the_command_alone_with_a_model_talks_and_a_kill_keeps_what_was_said(tmp_path: Path) -> None:
    command = [COMMAND, "view", "--model", "world:xs", "--no-browser", "--save", str(tmp_path / "said.jsonl")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        with httpx.Client(follow_redirects=True, timeout=120) as browser:
            page = browser.get(address).url.copy_with(query=None)
            assert page.path.startswith("/talk/")
            headers = {"origin": f"{page.scheme}://{page.netloc.decode()}"}
            data = {"words": "Hello.", "model": "m0"}
            assert "Hello." in browser.post(f"{page}/say", data=data, headers=headers).text
        server.kill()
    finally:
        server.kill()
        server.wait()
    assert [turn["user"] for turn in next(records(tmp_path / "said.jsonl"))["interaction"]] == ["Hello."]
