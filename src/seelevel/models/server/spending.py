"""The use of servers: tokens, cost by the recipe's prices, and a budget that is never exceeded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from seelevel.engine.shared import shared
from seelevel.errors import ServerError
from seelevel.models.base import ApiSettings, Prompt, Sampling

PICTURE_TOKENS = 4000
"""Reserved per picture, because only the server knows its tokens: about the most that servers use per picture."""
MILLION = 1e6


@dataclass(frozen=True)
class Usage:
    """Calls, tokens read and written, and their cost. Replies from the cache do not count."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*(a - b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


class Account:
    """The use of servers so far, and what calls in flight may cost, by caller (`seelevel.engine.shared`)."""

    def __init__(self) -> None:
        self.uses: dict[str, Usage] = {}
        self.reserved: dict[str, float] = {}

    def used(self, caller: str) -> dict[str, Usage]:
        return dict(self.uses)

    def reserve(self, caller: str, most: float, budget: float | None) -> None:
        spent, in_flight = sum(usage.cost for usage in self.uses.values()), sum(self.reserved.values())
        if budget is not None and spent + in_flight + most > budget:
            raise ServerError(
                f"the budget of {budget:g} is too small for another call: {spent:.4g} spent, "
                f"{in_flight:.4g} in flight, {most:.4g} at most for the next; replies are kept: "
                "raise api.budget and run the same command again"
            )
        self.reserved[caller] = self.reserved.get(caller, 0.0) + most

    def settle(self, caller: str, name: str, reserved: float, usage: Usage) -> None:
        self.reserved[caller] = max(self.reserved.get(caller, 0.0) - reserved, 0.0)
        self.uses[name] = self.uses.get(name, Usage()) + usage

    def forget(self, caller: str) -> None:
        """The calls of a worker that has died may have been paid for: they count as used."""
        lost = self.reserved.pop(caller, 0.0)
        if lost:
            self.uses[LOST] = self.uses.get(LOST, Usage()) + Usage(cost=lost)


LOST = "calls of workers that died"
"""The name under which their cost is recorded."""


class Ledger:
    """The use per server's model, over all stages and all workers. Threads may share it."""

    def used(self) -> dict[str, Usage]:
        return cast(dict[str, Usage], self._call("used"))

    def since(self, before: dict[str, Usage]) -> dict[str, Usage]:
        """The use since `used()` returned `before`."""
        changes = {name: usage - before.get(name, Usage()) for name, usage in self.used().items()}
        return {name: usage for name, usage in changes.items() if usage.calls or usage.cost}

    def reserve(self, most: float, budget: float | None) -> None:
        """Reserve the most that a call may cost. Raises `ServerError` if that might exceed the budget."""
        self._call("reserve", most, budget)

    def settle(self, name: str, reserved: float, usage: Usage) -> None:
        """Release a reservation and record the real use."""
        self._call("settle", name, reserved, usage)

    def _call(self, method: str, *values: Any) -> Any:
        return shared("account", Account, method, *values)


LEDGER = Ledger()


def most_used(prompt: Prompt, sampling: Sampling, settings: ApiSettings, model: str, answers: int = 1) -> Usage:
    """The most that a call may use: a token has at least one byte, and each of its answers ends at the limit."""
    text = sum(len(message["content"].encode()) + 16 for message in prompt.messages)
    tokens = text + PICTURE_TOKENS * len(prompt.images)
    return priced(Usage(1, tokens, sampling.max_new_tokens * answers), settings, model)


def priced(usage: Usage, settings: ApiSettings, model: str) -> Usage:
    """The same use with its cost at the settings' prices; a model without a price is free."""
    read, written = settings.prices.get(model, (0.0, 0.0))
    return replace(usage, cost=(usage.tokens_in * read + usage.tokens_out * written) / MILLION)
