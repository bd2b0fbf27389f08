"""One request to a server, without what it refuses."""

from __future__ import annotations

import threading
from typing import Any

from seelevel.models.server.refusals import LIMITS, refused_parameter, shortened, without
from seelevel.models.server.streaming import STREAM, ReplyStream
from seelevel.progress import say

SEVERAL = "n"
"""The parameter that asks for several choices in one reply."""


class Sender:
    """Sends the requests to one model. name: the model's; `given_up`: parameters that its servers refuse."""

    def __init__(self, name: str) -> None:
        self.name, self.given_up = name, set[str]()
        self._lock = threading.Lock()

    def send(
        self, client: Any, body: dict[str, Any], timeout: float, retries: int = 0, stream: ReplyStream | None = None
    ) -> str:
        """The raw text of the reply; `stream` gets its pieces. Raises the library's errors for any status but 200."""
        import openai

        sent = without(body, self.given_up)
        if "stream" not in sent:
            sent.pop("stream_options", None)
        try:
            bounded = client.with_options(timeout=timeout, max_retries=retries)
            if stream is not None and "stream" in sent:
                return stream.reply(bounded, sent)
            return str(bounded.chat.completions.with_raw_response.create(**sent).http_response.text)
        except openai.APIStatusError as error:
            error.body = shortened(error.body)
            one_choice = SEVERAL in sent and "completion choice" in str(error.body)  # of llama.cpp, under status 500
            if error.status_code not in (400, 422) and not one_choice:
                raise
            names = {*sent, *sent.get("extra_body", {})} - {"model", "messages", "extra_body"}
            if not (name := refused_parameter(error.body, names)):
                if SEVERAL not in sent:
                    raise
                # Servers refuse several choices in many words. If one choice is refused too, they are not the cause.
                single = {key: value for key, value in body.items() if key != SEVERAL}
                raw = self.send(client, single, timeout, retries, stream)
                self.give_up(SEVERAL)
                return raw
            self.give_up(name)
        return self.send(client, body, timeout, retries, stream)

    def give_up(self, name: str) -> None:
        """Send a parameter no more. Said once; a limit is sent under its newer name."""
        with self._lock:
            is_new = name not in self.given_up
            self.given_up.add(name)
        if is_new and name == SEVERAL:
            say(f"{self.name} gives one choice per call; each sample is asked for on its own")
        elif is_new and name not in (LIMITS[0], *STREAM):
            say(f"{self.name} accepts no {name}; the server's own setting is used")
