"""What calls of servers use: tokens counted, cost by the recipe's prices, and a budget that is never passed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from seelevel.errors import ServerError
from seelevel.models.base import ApiSettings, Prompt, Sampling

PICTURE_TOKENS = 4000
"""Reserved for a picture, whose tokens only the server knows: about what the finest tilings of servers take."""
MILLION = 1e6


@dataclass(frozen=True)
class Usage:
    """Calls made, tokens read and written, and what they cost; replies from the cache are in none of them."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(*(-value for value in vars(other).values()))


class Ledger:
    """What this process has used, a server's model each, whatever stage asked. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[str, Usage] = {}
        self._reserved = 0.0

    def used(self) -> dict[str, Usage]:
        with self._lock:
            return dict(self._used)

    def since(self, before: dict[str, Usage]) -> dict[str, Usage]:
        """What has been used since `used()` gave `before`."""
        changes = {name: usage - before.get(name, Usage()) for name, usage in self.used().items()}
        return {name: usage for name, usage in changes.items() if usage.calls}

    def reserve(self, most: float, budget: float | None) -> None:
        """Set aside what a call may cost at most. Raises `ServerError` where it might pass the budget."""
        with self._lock:
            spent = sum(usage.cost for usage in self._used.values())
            if budget is not None and spent + self._reserved + most > budget:
                raise ServerError(
                    f"the budget of {budget:g} does not hold for another call: {spent:.4g} spent, "
                    f"{self._reserved:.4g} in flight, {most:.4g} at most for the next; what was answered is kept: "
                    "raise api.budget and run the same command again"
                )
            self._reserved += most

    def settle(self, name: str, reserved: float, usage: Usage) -> None:
        """Give back what was set aside, and write down what was used."""
        with self._lock:
            self._reserved -= reserved
            self._used[name] = self._used.get(name, Usage()) + usage


LEDGER = Ledger()


def most_used(prompt: Prompt, sampling: Sampling, settings: ApiSettings, model: str) -> Usage:
    """What a call may use at most: a token is a byte at least, and the answer ends at the limit."""
    text = sum(len(message["content"].encode()) + 16 for message in prompt.messages)
    tokens = text + PICTURE_TOKENS * len(prompt.images)
    return priced(Usage(1, tokens, sampling.max_new_tokens), settings, model)


def priced(usage: Usage, settings: ApiSettings, model: str) -> Usage:
    """The same with its cost by the settings' prices; a model without a price costs nothing."""
    read, written = settings.prices.get(model, (0.0, 0.0))
    return replace(usage, cost=(usage.tokens_in * read + usage.tokens_out * written) / MILLION)
