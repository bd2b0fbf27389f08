"""Several servers of one model: the work is shared, one that fails is passed over, and no reply is asked for twice."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from seelevel.engine.shared import shared
from seelevel.errors import InputError, ServerError
from seelevel.models.base import ApiSettings
from seelevel.models.server.client import ApiModel
from seelevel.models.server.replicas import FAILS, LOOK_AGAIN, Lanes, Replicas, StoppedError, Turn
from seelevel.naming import Names
from seelevel.preflight import _check_replicas
from seelevel.recipe import load_recipe
from tests.models.asking import GREEDY, ask
from tests.models.faulty_server import FAULTS, KEY, FaultyServer, answer_to, serving

pytestmark = [pytest.mark.usefixtures("kept"), pytest.mark.unit]


@pytest.fixture
def three() -> Any:
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(3)]


def pool(servers: list[FaultyServer], **settings: Any) -> ApiModel:
    first, *others = [server.address for server in servers]
    return ApiModel(f"{first}#m", ApiSettings(replicas={first: others}, **settings), first_wait=0.01)


def check_all_answered(model: ApiModel, count: int) -> None:
    answers = model.generate([ask(f"question {n}") for n in range(count)], GREEDY)
    assert [answer.text for answer in answers] == [answer_to(f"user: question {n}") for n in range(count)]


def test_calls_are_shared_and_no_server_gets_more_at_once_than_the_recipe_allows(three: list[FaultyServer]) -> None:
    for server in three:
        server.fault = lambda question, times: time.sleep(0.01)  # type: ignore[method-assign,func-returns-value]
    model = pool(three, concurrency=2)
    assert model.describe().startswith(f"{three[0].address}#m: 3 servers, 6 calls at once")
    check_all_answered(model, 60)
    assert all(len(server.answered) >= 10 and server.busiest <= 2 for server in three)
    assert sum(len(server.answered) for server in three) == 60


def test_a_slow_server_gets_fewer_calls(three: list[FaultyServer]) -> None:
    def slowly(seconds: float) -> Any:
        return lambda question, times: time.sleep(seconds)

    for server, seconds in zip(three, (0.2, 0.01, 0.01), strict=True):
        server.fault = slowly(seconds)  # type: ignore[method-assign]
    check_all_answered(pool(three, concurrency=2), 60)
    assert len(three[0].answered) < 15


def test_a_server_that_dies_in_mid_run_loses_nothing(three: list[FaultyServer], capsys: Any) -> None:
    def dies(question: str, times: int) -> str | None:
        return "drop" if len(three[1].answered) >= 5 else None

    three[1].fault = dies  # type: ignore[method-assign]
    begun = time.monotonic()
    check_all_answered(pool(three, concurrency=4, tries=3), 200)
    rests = math.log2(time.monotonic() - begun + 1)  # a second, then twice as long each time
    assert 5 <= len(three[1].answered) < 10
    assert sum(sum(server.answered.values()) for server in three) == 200  # nothing was asked for twice
    # After three failures it is asked only now and then.
    assert three[1].faulted["drop"] <= FAILS + 4 + rests + 1
    assert f"{three[1].address} fails; it is tried again" in capsys.readouterr().err


def test_a_server_that_comes_back_gets_calls_again() -> None:
    clock = [0.0]
    lanes = Lanes(2, 4, lambda: clock[0])
    a, b = lanes.lanes
    for _ in range(FAILS):
        b.busy["other"] = 1  # so that a is asked
        assert lanes.take("me").server == 0
        words = lanes.give_back("me", 0, True, 0.0)
        b.busy["other"] = 0
    assert words.startswith("fails") and a.failures == FAILS and a.awake > clock[0]
    assert lanes.take("me").server == 1
    clock[0] = a.awake
    assert [lanes.take("me").server, lanes.take("me").server] == [0, 1]  # one call at a time until it answers
    assert lanes.give_back("me", 0, False, 0.0) == "answers again"
    assert [lanes.take("me").server, lanes.take("me").server] == [0, 0]


def test_a_worker_that_dies_gives_its_calls_back() -> None:
    lanes = Lanes(1, 2)
    assert [lanes.take("a").server, lanes.take("b").server, lanes.take("b").server] == [0, 0, None]
    lanes.forget("a")
    assert lanes.take("b").server == 0


def test_the_more_workers_wait_the_longer_each_pauses() -> None:
    lanes = Lanes(1, 1)
    assert lanes.take("a") == Turn(0)
    pauses = [lanes.take(name).pause for name in ("b", "c", "c", "d")]
    assert pauses == pytest.approx([LOOK_AGAIN * number for number in (1, 2, 2, 3)])
    lanes.forget("c")
    lanes.give_back("a", 0, False, 0.0)
    assert lanes.take("b") == Turn(0)  # and waits no more
    assert lanes.take("d") == Turn(None, LOOK_AGAIN)


def test_one_thread_looks_for_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[str]()

    def counted(key: str, make: Any, method: str, *values: Any) -> Any:
        looks.append(method)
        return shared(key, make, method, *values)

    monkeypatch.setattr("seelevel.models.server.replicas.shared", counted)
    replicas, stop = Replicas(["http://e/v1", "http://f/v1"], ApiSettings(concurrency=1)), threading.Event()

    def call() -> None:
        with replicas.one(stop):
            time.sleep(0.2)

    threads = [threading.Thread(target=call) for _ in range(16)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    most = 16 + (time.monotonic() - begun) / LOOK_AGAIN + 1
    assert 16 <= looks.count("take") <= most
    assert looks.count("give_back") == 16


def test_a_server_that_asks_for_a_pause_gets_it_while_the_others_go_on() -> None:
    clock = [0.0]
    lanes = Lanes(2, 4, lambda: clock[0])
    assert lanes.take("me").server == 0
    lanes.give_back("me", 0, True, 30.0)
    clock[0] = 29.0
    assert [lanes.take("me").server for _ in range(4)] == [1, 1, 1, 1] and lanes.take("me").server is None
    clock[0] = 30.0
    assert lanes.take("me").server == 0


def test_the_pause_is_the_one_that_the_refusal_names() -> None:
    replicas, stop = Replicas(["http://c/v1", "http://d/v1"], ApiSettings(concurrency=1)), threading.Event()
    refusal = httpx.Response(429, headers={"retry-after": "60"}, request=httpx.Request("POST", "http://c/v1"))
    with pytest.raises(openai.RateLimitError), replicas.one(stop) as asked:
        raise openai.RateLimitError("busy", response=refusal, body=None)
    assert asked.address == "http://c/v1"
    with replicas.one(stop) as asked:
        assert asked.address == "http://d/v1"
        stop.set()
        with pytest.raises(StoppedError), replicas.one(stop):  # one is busy, the other one rests
            raise AssertionError


def test_faults_of_all_kinds_on_all_servers_lose_nothing() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(share=0.3, faults=FAULTS[:6])) for _ in range(3)]
        check_all_answered(pool(servers, concurrency=4), 150)
        assert sum(sum(server.answered.values()) for server in servers) == 150


def test_without_any_server_the_run_ends_with_one_line(three: list[FaultyServer]) -> None:
    for server in three:
        server.always = 500
    with pytest.raises(ServerError, match=r"failed after 4 tries \(status 500.*run the same command again"):
        pool(three, concurrency=2, tries=4).generate([ask(str(n)) for n in range(6)], GREEDY)


def test_replies_are_kept_under_the_named_server(three: list[FaultyServer]) -> None:
    check_all_answered(pool(three), 12)
    check_all_answered(pool(three[:1]), 12)  # with fewer servers, or others
    check_all_answered(pool([three[0], three[2]]), 12)
    assert sum(sum(server.asked.values()) for server in three) == 12


def test_a_call_that_waits_for_a_server_ends_with_the_run() -> None:
    replicas = Replicas(["http://a/v1", "http://b/v1"], ApiSettings(concurrency=1))
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    with replicas.one(stop), replicas.one(stop), pytest.raises(StoppedError), replicas.one(stop):
        raise AssertionError


def test_each_server_gets_its_key_and_no_answer_shows_any(
    three: list[FaultyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRST_KEY", KEY)
    monkeypatch.setenv("SECOND_KEY", KEY + "-2")
    three[0].key, three[1].key = KEY, KEY + "-2"
    for server in three:
        server.says = lambda question: f"my neighbour's key is {KEY}-2"
    keys = {three[0].address: "FIRST_KEY", three[1].address: "SECOND_KEY"}
    answers = pool(three, concurrency=2, key=keys).generate([ask(str(n)) for n in range(30)], GREEDY)
    assert all(server.answered for server in three)
    assert not any(KEY in answer.text for answer in answers)


class TestBeforeARun:
    def test_one_server_that_cannot_be_reached_is_told_and_none_is_refused(
        self, three: list[FaultyServer], capsys: Any
    ) -> None:
        first, gone = three[0].address, "http://127.0.0.1:9/v1"
        ApiModel(f"{first}#m", ApiSettings(replicas={first: [gone]})).check_reachable()
        assert f"{gone}#m: the server cannot be reached" in capsys.readouterr().err
        with pytest.raises(InputError, match="cannot be reached"):
            ApiModel(f"{gone}#m", ApiSettings(replicas={gone: ["http://127.0.0.1:19/v1"]})).check_reachable()

    def test_a_server_without_the_model_or_with_another_key_is_named(
        self, three: list[FaultyServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        three[2].models = ("n",)
        with pytest.raises(InputError, match=rf"{three[2].address}#m: .*name a model that it serves"):
            pool(three).check_reachable()
        three[2].models = ("m",)
        three[1].key = KEY
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with pytest.raises(InputError, match=rf"{three[1].address}#m asks for a key: set \$OPENAI_API_KEY"):
            pool(three).check_reachable()

    @pytest.mark.parametrize(
        "address", ["127.0.0.1:8000/v1", "http://a/v1#m", "http://me:word@a/v1", "http://a/v1?k=1"]
    )
    def test_an_address_of_another_form_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match="name servers as http://host:port/v1"):
            ApiSettings(replicas={"http://a/v1": [address]})

    def test_servers_beside_one_that_no_model_is_on_are_a_slip(self) -> None:
        given = ["generate.experts=['http://a:1/v1#m','world:s']", "api.replicas={'http://a:2/v1': ['http://b/v1']}"]
        recipe = load_recipe("world-quick", given)
        with pytest.raises(
            InputError, match=r"no model of this recipe is on http://a:2/v1; did you mean 'http://a:1/v1'"
        ):
            _check_replicas(Names(recipe, Path("nowhere")))
