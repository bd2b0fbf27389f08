"""What may be tried again after a call has failed, and when."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from seelevel.models.server.refusals import BLIND, LASTING, is_flagged
from seelevel.models.server.wire import GarbledReplyError

AGAIN = (408, 409, 425, 429)
"""Statuses below 500 after which the same call may succeed."""
LONGEST_ASKED = 600.0
"""Seconds that a server may ask to wait, at most."""


class TooSlowError(Exception):
    """A call took longer than its limit."""


class UnusableReplyError(Exception):
    """A reply that is too large or cannot be decompressed."""


class RedirectedError(Exception):
    """The server redirects to another one. Nothing was sent there."""


def may_succeed(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        passing = error.status_code in AGAIN or (error.status_code >= 500 and not LASTING.search(str(error.body)))
        final = error.code == "insufficient_quota" or BLIND.search(str(error.body)) or is_flagged(error.body)
        return passing and not final
    if isinstance(error, GarbledReplyError):
        return not error.final
    return isinstance(error, openai.APIConnectionError) and not isinstance(cause_of(error), RedirectedError)


def asked_wait(outcome: Any) -> float:
    """Seconds that an attempt's reply asks to wait; 0 if it does not."""
    return asked_wait_of(outcome.exception() if outcome is not None else None)


def asked_wait_of(error: BaseException | None) -> float:
    """Seconds that a refusal asks to wait (Retry-After, in seconds or as a date); 0 if it does not."""
    response = getattr(error, "response", None)
    value = "" if response is None else response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, OSError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_ASKED) if seconds == seconds else 0.0


def cause_of(error: BaseException) -> BaseException:
    """The cause of a lost connection, below the errors of the `openai` package."""
    import openai

    while isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        error = error.__cause__
    return error
