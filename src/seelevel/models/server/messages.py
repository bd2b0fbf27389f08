"""What a model's errors say: in one line each, with the server that is meant and without its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seelevel.errors import InputError
from seelevel.models.server.faults import RedirectedError, cause_of
from seelevel.models.server.replicas import Replica, Replicas


@dataclass(frozen=True)
class Messages:
    """name: the model's, as in the recipe; tries: attempts per call; kept: whether replies are."""

    name: str
    model: str
    replicas: Replicas
    tries: int
    kept: bool

    def name_of(self, replica: Replica) -> str:
        return f"{replica.address}#{self.model}" if len(self.replicas) > 1 else self.name

    def refused_key(self, error: Any) -> None:
        """Raise `InputError` for a status that means a wrong key. The reply's text is left out: it may show the key."""
        if error.status_code not in (401, 403):
            return
        replica = self.replicas.asked(str(error.request.url))
        name, secret = self.name_of(replica), replica.secret
        if not secret.variable:
            raise InputError(f"{name} asks for a key; name its environment variable in api.key") from error
        state = "refuses the key in" if secret.value else "asks for a key: set"
        raise InputError(f"{name} {state} ${secret.variable} (status {error.status_code})") from error

    def lost(self, error: BaseException) -> str:
        """Why a connection was lost, in a few words. Raises `InputError` for a redirect to another server."""
        cause = cause_of(error)
        reason = self.shown(str(cause))[:120] or type(cause).__name__
        if isinstance(cause, RedirectedError):
            raise InputError(
                f"{self.name}: the server redirects to {reason}, where nothing was sent; "
                "if that server is meant, name it"
            ) from error
        return reason

    def words(self, error: Any) -> str:
        """Status and message in one line, without the key."""
        body = error.body.get("error", error.body) if isinstance(error.body, dict) else error.body
        message = body.get("message") or body.get("detail") if isinstance(body, dict) else body
        text = self.shown(str(message or ""))[:200]
        return f"status {error.status_code}: {text}" if text else f"status {error.status_code}"

    def shown(self, text: str) -> str:
        """A server's text in one line, without the key."""
        return self.replicas.removed(" ".join(str(text).split()))

    def gave_up(self, reason: str, tries: int | None = None) -> str:
        tries = tries or self.tries
        kept = "its replies are kept, " if self.kept else ""
        failure = f"{self.name} failed after {tries} {'try' if tries == 1 else 'tries'} ({reason})"
        return f"{failure}; {kept}run the same command again when it is available"
