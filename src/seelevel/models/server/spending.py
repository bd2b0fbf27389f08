"""The use of servers: tokens, cost by the recipe's prices, and a budget that is never exceeded."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

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


class Ledger:
    """The use of this process per server's model, over all stages. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[str, Usage] = {}
        self._reserved = 0.0

    def used(self) -> dict[str, Usage]:
        with self._lock:
            return dict(self._used)

    def since(self, before: dict[str, Usage]) -> dict[str, Usage]:
        """The use since `used()` returned `before`."""
        changes = {name: usage - before.get(name, Usage()) for name, usage in self.used().items()}
        return {name: usage for name, usage in changes.items() if usage.calls}

    def reserve(self, most: float, budget: float | None) -> None:
        """Reserve the most that a call may cost. Raises `ServerError` if that might exceed the budget."""
        with self._lock:
            spent = sum(usage.cost for usage in self._used.values())
            if budget is not None and spent + self._reserved + most > budget:
                raise ServerError(
                    f"the budget of {budget:g} is too small for another call: {spent:.4g} spent, "
                    f"{self._reserved:.4g} in flight, {most:.4g} at most for the next; replies are kept: "
                    "raise api.budget and run the same command again"
                )
            self._reserved += most

    def settle(self, name: str, reserved: float, usage: Usage) -> None:
        """Release a reservation and record the real use."""
        with self._lock:
            self._reserved -= reserved
            self._used[name] = self._used.get(name, Usage()) + usage


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
