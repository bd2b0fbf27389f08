"""A model on a server answers as it does here: the world's model, and a throwaway one as judge, behind `transformers
serve`, pictures and turns."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from seelevel import load_ladders
from seelevel.errors import InputError
from seelevel.feedback import split_rounds
from seelevel.judge.annotate import Annotator
from seelevel.models import load_generator
from seelevel.models.base import ApiSettings, Prompt, Sampling
from seelevel.models.server.client import ApiModel
from seelevel.models.server.spending import LEDGER
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.world import model_path
from seelevel.world.texts.datasets import write_prompts
from tests.training.tiny import save_model

pytest.importorskip("fastapi", reason="transformers[serving] is not installed")
pytest.importorskip("uvicorn", reason="transformers[serving] is not installed")
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def serving(model, folder):
    """`transformers serve` with a model on a free port of the loopback; gives the address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    options = ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, *options], stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-2000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving(model_path("s"), tmp_path_factory.mktemp("serve")) as (found, _):
        yield found


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A model with random weights, on a server of its own: (its name there, its folder)."""
    folder = save_model(tmp_path_factory.mktemp("judge") / "model")
    with serving(folder, folder.parent) as (found, _):
        yield f"{found}#{folder}", folder


def prompts(folder, count=12):
    """So many of the world's prompts with their pictures; every third goes on after its standard answer."""
    found = []
    for n, record in enumerate(json.loads(write_prompts(folder, limit=count).read_text())):
        roles = {"human": "user", "gpt": "assistant"}
        turns = [{"role": roles[t["from"]], "content": t["value"]} for t in record["conversations"]]
        messages = (
            [*turns[:2], {"role": "user", "content": "Is there a dog in the image?"}] if n % 3 == 0 else turns[:1]
        )
        found.append(Prompt(messages, [str(folder / "images" / record["image"])]))
    return found


def test_a_served_model_says_what_it_says_here(address, tmp_path):
    asked, greedy = prompts(tmp_path), Sampling(max_new_tokens=48)
    name = f"{address}#{model_path('s')}"
    served = ApiModel(name, ApiSettings(concurrency=2, cache=str(tmp_path / "cache")))
    served.check_reachable()
    there = served.generate(asked, greedy)
    here = load_generator(str(model_path("s"))).generate(asked, greedy)
    assert [c.text for c in there] == [c.text for c in here]
    assert [c.finished for c in there] == [c.finished for c in here]
    assert len({c.text for c in there}) >= 8
    assert ApiModel(name, ApiSettings(cache=str(tmp_path / "cache"))).generate(asked, greedy) == there


def test_a_served_model_answers_word_by_word(address, tmp_path):
    name = f"{address}#{model_path('s')}"
    served, asked = ApiModel(name, ApiSettings(cache=str(tmp_path / "cache"))), prompts(tmp_path, 2)
    for prompt in asked:
        pieces = [piece for piece in served.stream(prompt, Sampling(max_new_tokens=48)) if piece]
        here = "".join(load_generator(str(model_path("s"))).stream(prompt, Sampling(max_new_tokens=48)))
        assert "".join(pieces).strip() == here.strip() and len(pieces) > 3
        assert served.generate([prompt], Sampling(max_new_tokens=48))[0].text == here.strip()


def test_of_three_servers_one_is_killed_and_no_answer_is_lost_or_asked_for_twice(tmp_path):
    asked, greedy = prompts(tmp_path, 48), Sampling(max_new_tokens=48)
    with contextlib.ExitStack() as stack:
        folders = [tmp_path / str(n) for n in range(3)]
        for folder in folders:
            folder.mkdir()
        servers = [stack.enter_context(serving(model_path("s"), folder)) for folder in folders]
        first, *others = [address for address, _ in servers]
        settings = ApiSettings(concurrency=2, replicas={first: others}, cache=str(tmp_path / "cache"))
        model = ApiModel(f"{first}#{model_path('s')}", settings)
        model.check_reachable()
        killer = threading.Thread(target=killed_after, args=(servers[1][1], tmp_path / "cache", 8))
        before = LEDGER.used()
        killer.start()
        there = model.generate(asked, greedy)
        killer.join()
        assert servers[1][1].poll() is not None
    here = load_generator(str(model_path("s"))).generate(asked, greedy)
    assert [c.text for c in there] == [c.text for c in here]
    assert LEDGER.since(before)[model.name].calls == len(there)


def killed_after(process, replies, count):
    while len(list(replies.rglob("*.json"))) < count:
        time.sleep(0.01)
    process.kill()


def test_a_model_that_is_not_served_is_the_users_to_mend(address):
    with pytest.raises(InputError, match="name a model that it serves"):
        ApiModel(f"{address}#nobody/nothing").check_reachable()


def feedback(out, **settings):
    """The feedback stage of a recipe on twelve of the world's records; (its ladders, its manifest)."""
    given = ["data.limit=12", "generate={method: given}", "check=null", "align.objective={name: conditional}"]
    run = Run(load_recipe("world-quick", [*given, f"feedback={json.dumps(settings)}", "api.concurrency=2"]), out)
    run.alone("generate")
    folder = run.alone("feedback")
    return load_ladders(folder), json.loads((folder / "manifest.json").read_text())


def said(ladders):
    """All but who said it."""
    return [
        (one.id, one.prompt, [(r.messages, r.feedback) for r in one.responses], one.round_of, one.feedback)
        for one in ladders
    ]


def test_a_served_model_answers_again_on_the_judges_words_as_it_does_here(address, tmp_path, monkeypatch):
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    name = f"{address}#{model_path('s')}"
    asked = {"judge": "world:oracle", "rounds": 3, "sampling": {"max_new_tokens": 48}}
    there, facts = feedback(tmp_path / "there", model=name, **asked)
    here, _ = feedback(tmp_path / "here", model="world:s", **asked)
    assert said(there) == said(here)
    refined = [ladder for ladder in there if ladder.responses and ladder.responses[0].origin.get("kind") == "refined"]
    assert {ladder.round_of.number for ladder in refined} == {1, 2}
    assert all(ladder.responses[0].origin["model"] == name and len(ladder.images) == 1 for ladder in refined)
    for ladder in refined:  # the judge's words are the user's next turn
        before = ladder.prompt[-2]["content"]
        assert ladder.prompt[-1]["content"].endswith("Please answer again.") and before
    answered = [r for ladder in load_ladders(tmp_path / "there" / "generate") for r in ladder.responses]
    given = {message["content"] for r in answered for message in r.messages}
    noted = [ladder.feedback for ladder in there if ladder.feedback is not None]
    unscored = [one for note in noted for one in note.unscored if one.text not in given]
    assert facts["api"][name]["calls"] == sum(note.answers for note in noted) + len(unscored)
    before = LEDGER.used()
    again, _ = feedback(tmp_path / "again", model=name, **asked)
    assert said(again) == said(there)
    assert LEDGER.since(before) == {}


def test_a_served_judge_that_writes_no_verdict_rates_nothing_and_its_replies_are_kept(judge, tmp_path, monkeypatch):
    """It sees the pictures; with random weights what it says is noise."""
    monkeypatch.setenv("SEELEVEL_CACHE", str(tmp_path / "cache"))
    name, folder = judge
    short = Sampling(max_new_tokens=16)
    asked = {"judge_sees_pictures": True, "judge_sampling": short.model_dump()}
    before = LEDGER.used()
    with pytest.raises(InputError, match="rated none of"):  # and so nothing can be learnt
        feedback(tmp_path / "run", judge=name, **asked)
    found = load_ladders(tmp_path / "run" / "feedback")
    given = load_ladders(tmp_path / "run" / "generate")
    parts = [pair for ladder in given for pair in split_rounds(ladder)]
    answers = [(seen, response) for part, seen in parts for response in part.responses]
    kept = [one for ladder in found for one in ladder.feedback.unscored]
    assert [one.text for one in kept] == [response.text for _, response in answers]
    assert {one.reason for one in kept} == {"it holds no JSON object"}
    assert all(one.reply for one in kept)
    here = Annotator(load_generator(str(folder)), name, None, short, sees=True).annotate(answers)
    assert [one.reply for one in kept] == [verdict.reply for verdict in here]
    assert LEDGER.since(before)[name].calls == 2 * len(answers)  # each was asked to say it once more
