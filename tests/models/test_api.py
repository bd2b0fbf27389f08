"""A server's model: nothing is lost, nothing that was received is asked for again, order is kept, no key is shown."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from seelevel.errors import InputError, ServerError
from seelevel.models.base import Sampling
from seelevel.models.server.client import ApiModel
from seelevel.models.server.names import split_name
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import FAULTS, KEY, MANY, answer_to, serving

pytestmark = pytest.mark.usefixtures("kept")


def check_campaign(calls: int, timeout: float, concurrency: int) -> None:
    """`calls` questions of which 30% fail at first, some of them twice, in all of the server's ways."""
    with serving(share=0.3, faults=MANY) as server:
        server.slow_seconds = timeout * 1.5
        prompts = [ask(f"question {n}") for n in range(calls)]
        found = model(server, timeout=timeout, concurrency=concurrency).generate(prompts, GREEDY)
        assert [c.text for c in found] == [answer_to(f"user: question {n}") for n in range(calls)]
        assert all(c.finished and c.tokens == 5 and not c.note for c in found)
        assert set(server.faulted) == set(FAULTS)
        failed = sum(count > 1 for count in server.asked.values())
        assert 0.2 < failed / calls < 0.4
        assert max(server.answered.values()) == 1  # no reply that came was asked for again
        assert len(server.answered) == calls
        before = sum(server.asked.values())
        again = model(server, timeout=timeout).generate(prompts[::-1], GREEDY)
        assert [c.text for c in again] == [c.text for c in found[::-1]]
        assert sum(server.asked.values()) == before


def test_of_300_calls_with_three_in_ten_faulty_none_is_lost_or_made_again() -> None:
    check_campaign(300, timeout=2.0, concurrency=16)


@pytest.mark.slow
def test_of_2000_calls_with_three_in_ten_faulty_none_is_lost_or_made_again() -> None:
    check_campaign(2000, timeout=3.0, concurrency=24)


KILLED = """
import sys
from seelevel.models.server.client import ApiModel
from seelevel.models.base import ApiSettings, Prompt, Sampling
prompts = [Prompt([{"role": "user", "content": f"question {n}"}]) for n in range(200)]
ApiModel(sys.argv[1], ApiSettings(concurrency=4), first_wait=0.01).generate(prompts, Sampling(max_new_tokens=16))
"""


def test_a_killed_run_loses_no_more_than_the_calls_in_flight() -> None:
    with serving() as server:
        server.slow_seconds = 0.02
        server.fault = lambda question, times: time.sleep(0.02)  # type: ignore[method-assign,func-returns-value]
        process = subprocess.Popen([sys.executable, "-c", KILLED, f"{server.address}#m"])
        while len(server.answered) < 40:
            time.sleep(0.01)
            assert process.poll() is None
        process.kill()
        process.wait()
        time.sleep(0.2)
        done = len(server.answered)
        assert done < 200
        prompts = [ask(f"question {n}") for n in range(200)]
        found = model(server, concurrency=4).generate(prompts, GREEDY)
        assert [c.text for c in found] == [answer_to(f"user: question {n}") for n in range(200)]
        assert sum(server.answered.values()) <= 200 + 4


@pytest.mark.unit
class TestCalls:
    def test_equal_prompts_of_one_call_are_asked_once(self) -> None:
        with serving() as server:
            found = model(server).generate([ask("a"), ask("b"), ask("a")], GREEDY)
            assert found[0] == found[2] != found[1]
            assert sum(server.asked.values()) == 2

    def test_no_more_calls_are_in_flight_than_the_recipe_allows(self) -> None:
        with serving() as server:
            server.fault = lambda question, times: time.sleep(0.01)  # type: ignore[method-assign,func-returns-value]
            made = model(server)
            made.batch_size = 3
            made.generate([ask(str(n)) for n in range(30)], GREEDY)
            assert 2 <= server.busiest <= 3

    def test_replies_are_kept_by_sampling_and_a_seed_counts_only_where_draws_are_made(self) -> None:
        with serving() as server:
            for sampling in (
                GREEDY,
                Sampling(max_new_tokens=16, seed=1),
                Sampling(max_new_tokens=17),
                Sampling(max_new_tokens=16, temperature=1.0, seed=1),
                Sampling(max_new_tokens=16, temperature=1.0, seed=2),
            ):
                model(server).generate([ask("a")], sampling)
            assert [(b["max_tokens"], b["temperature"], b.get("seed")) for b in server.bodies] == [
                (16, 0.0, None),
                (17, 0.0, None),
                (16, 1.0, 1),
                (16, 1.0, 2),
            ]

    def test_a_repetition_penalty_is_sent_only_where_there_is_one(self) -> None:
        with serving() as server:
            model(server).generate([ask("a")], GREEDY)
            model(server).generate([ask("a")], Sampling(max_new_tokens=16, repetition_penalty=1.1))
            assert [b.get("repetition_penalty") for b in server.bodies] == [None, 1.1]

    def test_a_server_that_names_the_limit_otherwise_and_takes_no_temperature_is_asked_its_way(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with serving() as server:
            server.unsupported = {"max_tokens", "temperature"}
            found = model(server).generate([ask(str(n)) for n in range(20)], GREEDY)
            assert [c.text for c in found] == [answer_to(f"user: {n}") for n in range(20)]
            assert {frozenset(body) for body in server.bodies} == {
                frozenset({"model", "messages", "max_completion_tokens"})
            }
        assert "temperature" in capsys.readouterr().err

    def test_beams_are_refused(self) -> None:
        with serving() as server, pytest.raises(InputError, match="num_beams: 1"):
            model(server).generate([ask("a")], Sampling(num_beams=4))

    def test_a_half_written_reply_is_asked_for_again(self, kept: Path) -> None:
        with serving() as server:
            model(server).generate([ask("a")], GREEDY)
            (file,) = kept.rglob("*.json")
            file.write_bytes(file.read_bytes()[:9])
            assert model(server).generate([ask("a")], GREEDY)[0].text == answer_to("user: a")
            assert sum(server.asked.values()) == 2

    def test_without_a_cache_nothing_is_kept(self, kept: Path) -> None:
        with serving() as server:
            model(server, cache=False).generate([ask("a")], GREEDY)
            model(server, cache=False).generate([ask("a")], GREEDY)
            assert sum(server.asked.values()) == 2
            assert not kept.exists()

    def test_a_folder_that_cannot_be_written_is_said_before_anything_is_asked(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with serving() as server:
            with pytest.raises(InputError, match=r"cannot be kept in .*; set SEELEVEL_CACHE or api\.cache"):
                model(server, cache=str(tmp_path / "file" / "api")).generate([ask("a")], GREEDY)
            assert not server.asked

    def test_two_runs_may_keep_the_same_reply_at_once(self, kept: Path) -> None:
        with serving() as server:
            runs = [model(server) for _ in range(4)]
            threads = [threading.Thread(target=run.generate, args=([ask("a")], GREEDY)) for run in runs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(list(kept.rglob("*.json"))) == 1
            assert not [p for p in kept.rglob("*") if p.is_file() and p.suffix != ".json"]


@pytest.mark.unit
class TestWhatEndsARun:
    def test_a_server_that_does_not_come_back_ends_the_run_in_one_line_and_what_came_is_kept(self) -> None:
        with serving() as server:
            model(server).generate([ask("a")], GREEDY)
            server.always = 503
            with pytest.raises(ServerError, match=r"failed after 3 tries \(status 503: never today\)") as caught:
                model(server, tries=3).generate([ask("a"), ask("b")], GREEDY)
            assert "\n" not in str(caught.value)
            assert sum(server.asked.values()) == 1

    def test_a_quota_that_is_used_up_is_not_tried_again(self) -> None:
        with serving() as server:
            server.always, server.always_code = 429, "insufficient_quota"
            with pytest.raises(ServerError, match=r"failed after 1 try \(status 429: never today\)"):
                model(server, tries=9).generate([ask("a")], GREEDY)

    @pytest.mark.parametrize("status", [402, 403])
    def test_an_account_that_is_empty_or_barred_in_mid_run_ends_it_and_what_came_is_kept(self, status: int) -> None:
        with serving() as server:
            made = model(server, tries=9)
            made.generate([ask("a")], GREEDY)
            server.always = status
            with pytest.raises(ServerError, match=rf"failed after 1 try \(status {status}: never today\).* kept"):
                made.generate([ask("a"), ask("b")], GREEDY)
            server.always = None
            assert made.generate([ask("b")], GREEDY)[0].text == answer_to("user: b")
            assert sum(server.asked.values()) == 2

    def test_a_prompt_that_moderation_holds_back_ends_no_run(self) -> None:
        with serving() as server:
            server.always, server.always_more = 403, {"metadata": {"reasons": ["?"], "flagged_input": "b"}}
            (found,) = model(server).generate([ask("b")], GREEDY)
            assert (found.text, found.note) == ("", "refused with status 403: never today")

    def test_an_error_under_status_200_is_no_answer_and_shows_no_key(self, kept: Path) -> None:
        with serving() as server:
            server.always, server.always_more = 200, {"message": f"{KEY} has no credit left"}
            with pytest.raises(ServerError, match=r"\(no chat completion .*… has no credit left") as caught:
                model(server, tries=2).generate([ask("a")], GREEDY)
            assert KEY not in str(caught.value) and "\n" not in str(caught.value)
            assert not list(kept.rglob("*.json"))
            server.always = None
            assert model(server).generate([ask("a")], GREEDY)[0].text == answer_to("user: a")

    def test_a_pause_that_the_server_asks_for_is_kept(self) -> None:
        with serving(share=1.0, faults=["429"]) as server:
            start = time.monotonic()
            model(server).generate([ask("a")], GREEDY)
            assert time.monotonic() - start >= 0.05

    def test_prompts_that_a_server_refuses_are_empty_with_the_reason_while_others_are_answered(self) -> None:
        with serving() as server:
            made = model(server)
            made.generate([ask("a")], GREEDY)
            server.always = 400
            (found,) = made.generate([ask("b")], GREEDY)
            assert (found.text, found.note) == ("", "refused with status 400: never today")

    def test_a_server_that_refuses_every_prompt_is_the_users_to_mend(self) -> None:
        with serving() as server:
            server.always = 400
            with pytest.raises(InputError, match="answers nothing: 8 × refused with status 400: never today"):
                model(server).generate([ask(str(n)) for n in range(8)], GREEDY)

    def test_a_server_whose_answers_are_all_cut_while_empty_is_too_and_is_not_paid_again(self) -> None:
        with serving() as server:
            server.ending = "length"
            for _ in range(2):
                with pytest.raises(InputError, match="answers nothing: 8 × ended by length, empty"):
                    model(server).generate([ask(str(n)) for n in range(8)], GREEDY)
            assert sum(server.asked.values()) == 8
            server.ending = None
            more = Sampling(max_new_tokens=32)  # what the message tells to do
            assert all(c.text for c in model(server).generate([ask(str(n)) for n in range(8)], more))

    def test_a_run_that_goes_on_with_nothing_but_refused_prompts_is_not_ended_by_them(self) -> None:
        with serving() as server:
            model(server).generate([ask("a")], GREEDY)
            server.always = 400
            prompts = [ask("a"), *(ask(str(n)) for n in range(8))]
            assert [bool(c.text) for c in model(server).generate(prompts, GREEDY)] == [True] + [False] * 8

    def test_a_long_pause_is_said(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("seelevel.models.server.client.SAID_FROM", 0.01)
        with serving(share=1.0, faults=["429"]) as server:
            model(server).generate([ask("a")], GREEDY)
        assert "status 429; a call is repeated in 0 s" in capsys.readouterr().err

    def test_a_wrong_key_is_named_by_its_variable_and_never_shown(self) -> None:
        with serving() as server:
            server.key = "another"
            for call in (lambda: model(server).generate([ask("a")], GREEDY), model(server).check_reachable):
                with pytest.raises(InputError, match=r"refuses the key in \$OPENAI_API_KEY") as caught:
                    call()
                assert KEY not in str(caught.value)

    def test_a_key_that_is_missing_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OPENAI_API_KEY")
        with serving() as server:
            server.key = KEY
            with pytest.raises(InputError, match=r"asks for a key: set \$OPENAI_API_KEY"):
                model(server).check_reachable()

    def test_a_model_that_the_server_does_not_have_is_named_with_the_nearest(self) -> None:
        with serving(models=["llava-7b", "qwen-3b"]) as server:
            with pytest.raises(InputError, match=r"llava-8b does not exist.*did you mean 'llava-7b'"):
                model(server, "llava-8b").check_reachable()
            with pytest.raises(InputError, match="llava-8b does not exist"):
                model(server, "llava-8b").generate([ask("a")], GREEDY)
            model(server, "llava-7b").check_reachable()

    def test_a_server_that_is_slow_to_list_its_models_is_asked_for_a_token(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("seelevel.models.server.client.EXAMINE_SECONDS", 0.1)
        with serving() as server:
            server.slow_list = 0.5
            model(server).check_reachable()
            assert server.bodies[0]["max_tokens"] == 1
            with pytest.raises(InputError, match="n does not exist"):
                model(server, "n").check_reachable()

    def test_a_server_that_is_not_there_is_said_at_once(self) -> None:
        with serving() as server:
            gone = model(server)
        with pytest.raises(InputError, match="cannot be reached"):
            gone.check_reachable()

    @pytest.mark.parametrize("name", ["http://#m", "http://127.0.0.1:8000/v1", "http://127.0.0.1:99999/v1#m"])
    def test_a_name_without_server_or_model_is_refused(self, name: str) -> None:
        with pytest.raises(InputError, match="http://host:port/v1#model"):
            split_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            "https://me:hush@host/v1#m",
            "https://me:hush@host/v1",
            "https://me:hush@host:99999/v1#m",
            "https://me:hu/sh@host/v1#m",
            "https://me:hu#sh@host/v1#m",
            "https://me:hush@[host/v1#m",
            "https://hush@host/v1#m",
            "https://host/v1?key=hush#m",
            "https://host/v1?key=hush",
        ],
    )
    def test_a_secret_in_a_name_is_refused_and_not_repeated(self, name: str) -> None:
        with pytest.raises(InputError) as caught:
            ApiModel(name)
        assert "hu" not in str(caught.value)


@pytest.mark.unit
def test_models_on_servers_need_no_torch() -> None:
    code = "import seelevel.models.server.client, seelevel.models, openai, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
