"""Tokens and cost are counted, and a budget stops the calls before it is passed."""

from __future__ import annotations

import pytest

from seelevel.errors import InputError, ServerError
from seelevel.models.base import ApiSettings, Sampling
from seelevel.models.server.spending import LEDGER, Account, Usage, most_used, priced
from tests.models.asking import GREEDY, ask, model
from tests.models.faulty_server import serving

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("kept")]
PRICES = {"m": (1.0, 1e6)}


def test_a_cost_is_tokens_times_the_price_of_a_million() -> None:
    found = priced(Usage(2, 500_000, 100_000), ApiSettings(prices={"m": (2.0, 10.0)}), "m")
    assert found.cost == pytest.approx(1.0 + 1.0)
    assert priced(Usage(1, 10, 10), ApiSettings(), "free").cost == 0


def test_what_a_call_may_use_is_never_less_than_what_it_does() -> None:
    found = most_used(ask("äöü", "a.png"), Sampling(max_new_tokens=7), ApiSettings(prices={"m": (0, 1e6)}), "m")
    assert found.tokens_in >= 6 + 4000
    assert (found.tokens_out, found.cost) == (7, 7)


def test_calls_and_tokens_are_counted_and_replies_from_the_cache_are_not() -> None:
    with serving() as server:
        asked = model(server, prices=PRICES)
        before = LEDGER.used()
        asked.generate([ask(f"q{n}") for n in range(3)], GREEDY)
        used = LEDGER.since(before)[asked.name]
        assert (used.calls, used.tokens_out) == (3, 15)
        assert used.cost == pytest.approx(15 + used.tokens_in / 1e6)
        before = LEDGER.used()
        model(server, prices=PRICES).generate([ask(f"q{n}") for n in range(3)], GREEDY)
        assert LEDGER.since(before) == {}


def test_a_failed_call_costs_nothing_and_its_reservation_is_given_back() -> None:
    with serving(share=1.0, faults=["500"]) as server:
        asked = model(server, prices=PRICES)
        before = LEDGER.used()
        asked.generate([ask("q")], GREEDY)
        assert LEDGER.since(before)[asked.name].calls == 1
        spent = sum(usage.cost for usage in LEDGER.used().values())
        LEDGER.reserve(0.0, spent + 1e-9)  # raises where anything is still set aside


def test_a_budget_is_never_passed_and_what_was_answered_is_kept() -> None:
    with serving() as server:
        spent = sum(usage.cost for usage in LEDGER.used().values())
        asked = model(server, prices=PRICES, budget=spent + 60.0, concurrency=2)
        prompts = [ask(f"q{n}") for n in range(20)]
        with pytest.raises(ServerError, match=r"the budget of .* .*api\.budget"):
            asked.generate(prompts, GREEDY)
        used = sum(usage.cost for usage in LEDGER.used().values()) - spent
        assert 30 < used <= 60
        answered = len(server.answered)
        model(server, prices=PRICES).generate(prompts, GREEDY)
        assert len(server.answered) == 20
        assert max(server.answered.values()) == 1
        assert answered == round(used / 5)


def test_a_budget_without_a_price_is_refused() -> None:
    with serving() as server, pytest.raises(InputError, match=r"add it to api\.prices"):
        model(server, budget=1.0)


def test_reservations_count_until_they_are_settled() -> None:
    account = Account()
    account.reserve("a", 6.0, 10.0)
    with pytest.raises(ServerError, match="0 spent, 6 in flight, 6 at most"):
        account.reserve("a", 6.0, 10.0)
    account.settle("a", "m", 6.0, Usage(1, 0, 0, 2.0))
    account.reserve("a", 6.0, 10.0)
