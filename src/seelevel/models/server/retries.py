"""When a call to a server is repeated, and after how long."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from seelevel.models.server.refusals import BLIND, LASTING, is_flagged
from seelevel.models.server.wire import GarbledReplyError

LONGEST_ASKED = 600.0
"""The longest pause in seconds that a server may ask for."""
AGAIN = (408, 409, 425, 429)
"""Statuses below 500 after which the same call may succeed."""


def may_succeed(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    import openai

    if isinstance(error, openai.APIStatusError):
        passing = error.status_code in AGAIN or (error.status_code >= 500 and not LASTING.search(str(error.body)))
        final = error.code == "insufficient_quota" or BLIND.search(str(error.body)) or is_flagged(error.body)
        return passing and not final
    if isinstance(error, GarbledReplyError):
        return not error.final
    return isinstance(error, openai.APIConnectionError)


def asked_wait(outcome: Any) -> float:
    """Seconds that a reply asks to wait (Retry-After, in seconds or as a date); 0 if it does not."""
    error = outcome.exception() if outcome is not None else None
    response = getattr(error, "response", None)
    value = "" if response is None else response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_ASKED) if seconds == seconds else 0.0


def cause_of(error: BaseException) -> str:
    """The cause of a lost connection, in a few words."""
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:120] or type(cause).__name__
