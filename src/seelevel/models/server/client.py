"""Any OpenAI-compatible server as a `Generator`, pictures included.

Every reply is stored on disk at once, under the content of its request (server, model, messages, the pictures' bytes,
sampling), and the same request is never sent again, also if the answer was empty or called a tool: it was paid for. A
killed run loses only the calls in flight. A request that the server refused with a status is sent again in the next
run. Keys and requests are not stored.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator as Pieces
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from seelevel.errors import InputError, ServerError
from seelevel.fingerprints import digest
from seelevel.models.base import DEFAULT_API, MANY, ApiSettings, Completion, Prompt, Sampling
from seelevel.models.server.faults import AGAIN, TooSlowError, asked_wait, cause_of, may_succeed
from seelevel.models.server.messages import Messages
from seelevel.models.server.names import split_name
from seelevel.models.server.refusals import BLIND, LASTING, is_flagged
from seelevel.models.server.replicas import Replica, Replicas
from seelevel.models.server.replies import Replies, request_key
from seelevel.models.server.sending import SEVERAL, Sender
from seelevel.models.server.spending import LEDGER, Usage, most_used, priced
from seelevel.models.server.streaming import STREAM, BrokenOffError, ReplyStream
from seelevel.models.server.wire import GarbledReplyError, chat, parameters, read_reply
from seelevel.models.thinking import without_cut_thoughts
from seelevel.progress import say, waiting_for
from seelevel.registry import nearest
from seelevel.thoughts import CUT

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before a call is repeated: the first time, and at most if the server does not say how long."""
EXAMINE_SECONDS, PROBE_SECONDS, EXAMINE_RETRIES = 10.0, 120.0, 2
SAID_FROM = 15.0
"""Pauses of at least so many seconds are reported."""


class ApiModel:
    """A model on a server. `batch_size`, calls at once, may be set.

    Failed calls are repeated: lost connections, time-outs, statuses 408, 409, 425, 429 and from 500, replies that are
    not chat completions. The pause doubles each time, or is what the server asks for (Retry-After). Raises `InputError`
    if the server refuses the key or lacks the model, `ServerError` if it stays unavailable or answers 402 or 403.
    """

    def __init__(self, name: str, settings: ApiSettings = DEFAULT_API, first_wait: float = FIRST_WAIT) -> None:
        self.address, self.model = split_name(name)
        try:
            import openai  # noqa: F401  (asked for before anything is sent)
        except ImportError as error:
            raise InputError(f"model {name}: servers need two more packages; pip install 'seelevel[api]'") from error
        self._replicas = Replicas([self.address, *settings.replicas.get(self.address, [])], settings)
        self.name, self.settings = name, settings
        self.batch_size, self._first_wait = settings.concurrency * len(self._replicas), first_wait
        self._timeout = settings.timeouts.get(self.model, settings.timeout)
        self._replies = Replies(settings)
        self._messages = Messages(name, self.model, self._replicas, settings.tries, self._replies.folder is not None)
        if settings.budget is not None and self.model not in settings.prices:
            raise InputError(
                f"{name}: a budget needs its price; add it to api.prices as `{self.model}: [read, written]`"
            )
        self._sender, self._answered = Sender(name), False

    def describe(self) -> str:
        """One line: the name, calls at once, where replies are stored."""
        replies = f"replies kept in {self._replies.folder}" if self._replies.folder else "replies not kept"
        servers = "a server" if len(self._replicas) == 1 else f"{len(self._replicas)} servers"
        return f"{self.name}: {servers}, {self.batch_size} calls at once, {replies}"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order; equal prompts are sent once, and their samples in one call if the server
        gives several choices.

        An answer that the server refuses for good (too long, filtered) is empty, with the reason. If all answers are,
        that is an `InputError`.
        """
        self._check_beams(sampling)
        keys = [request_key(self.address, self.model, prompt, sampling) for prompt in prompts]
        done: dict[str, Completion] = {}
        todo: dict[str, Prompt] = {}
        for key, prompt in zip(keys, prompts, strict=True):
            if key not in done and key not in todo:
                stored = self._replies.stored(key)
                if stored is None:
                    todo[key] = prompt
                else:
                    done[key] = self._replicas.cleaned(stored)
        self._answered |= any(completion.text for completion in done.values())
        if todo:
            self._replies.prepare()
        done |= self._ask_all(todo, sampling)
        done = dict(zip(done, without_cut_thoughts(list(done.values())), strict=True))
        notes = Counter(completion.note for completion in done.values() if completion.note)
        if notes:
            reasons = "; ".join(f"{count} × {note}" for note, count in notes.most_common(3))
            if not self._answered and notes.total() == len(done) >= MANY:
                short = "length" in reasons or CUT in reasons
                remedy = (
                    "raise max_new_tokens, above all if it thinks first" if short else "correct what it complains about"
                )
                raise InputError(f"{self.name} answers nothing: {reasons}; {remedy}")
            say(f"{self.name}: {notes.total()} of {len(done)} calls without a complete answer: {reasons}")
        return [done[key] for key in keys]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Pieces[str, None, bool]:
        """The answer of `generate` piece by piece, and whether it ended by itself; whole if it is stored or the server
        cannot stream. A call is repeated only before its first piece.

        Closing the iterator hangs up. Raises `InputError` with the reason if there is no answer, `ServerError` if it
        breaks off.
        """
        self._check_beams(sampling)
        key, stream = request_key(self.address, self.model, prompt, sampling), ReplyStream(self._replicas.check)
        if (stored := self._replies.stored(key)) is not None:
            completion = self._replicas.cleaned(stored)
        else:
            self._replies.prepare()
            try:
                completion = yield from stream.pieces(
                    lambda: self._ask([key], prompt, sampling, stream.stop, stream)[key]
                )
            except BrokenOffError as error:
                raise ServerError(f"{self.name}: the answer broke off ({self._messages.shown(str(error))})") from error
        if completion.note and not completion.text:
            raise InputError(completion.note)
        if not stream.has_piece:
            yield completion.text
        return completion.finished

    def _check_beams(self, sampling: Sampling) -> None:
        if sampling.num_beams > 1:
            raise InputError(f"{self.name}: a server has no beam search; set sampling.num_beams: 1")

    def check_reachable(self) -> None:
        """Raise `InputError` if the server cannot be reached, refuses the key or lacks the model; of several servers,
        if one refuses the key or lacks the model, or none can be reached.

        Listing models is free. But some servers' lists are incomplete, so a model that is not listed is asked for one
        token.
        """
        lost = [error for replica in self._replicas.all if (error := self._reached(replica)) is not None]
        if len(lost) == len(self._replicas):
            raise lost[0]
        for error in lost:
            say(f"{error}; the others are asked")

    def _reached(self, replica: Replica) -> InputError | None:
        """None, or why the server cannot be reached. Raises `InputError` for a key or a model that it refuses."""
        import openai

        name, listed = self._messages.name_of(replica), list[str]()
        try:
            seconds = min(EXAMINE_SECONDS, self._timeout)
            client = replica.client.with_options(timeout=seconds, max_retries=EXAMINE_RETRIES)
            listed = [self._messages.shown(m.id) for m in client.models.list().data]
        except openai.APIConnectionError as error:
            # A busy server may be slow to list its models; a missing one accepts no connection.
            slow = isinstance(error, openai.APITimeoutError) or isinstance(cause_of(error), TooSlowError)
            if not slow or "Connect" in type(cause_of(error)).__name__:
                reason = self._messages.lost(error)
                return InputError(f"{name}: the server cannot be reached ({reason}); start it or correct the address")
            say(f"{name} is slow to list its models; it is asked for one token")
        except openai.APIStatusError as error:
            self._messages.refused_key(error)
        except (openai.OpenAIError, ValueError, TypeError, AttributeError):
            pass  # a list in another form tells nothing
        if self.model in listed:
            return None
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            self._sender.send(replica.client, body, min(PROBE_SECONDS, self._timeout), EXAMINE_RETRIES)
        except openai.APIConnectionError as error:
            return InputError(f"{name}: the server does not answer ({self._messages.lost(error)}); is it busy?")
        except openai.APIStatusError as error:
            self._messages.refused_key(error)
            if error.status_code in (400, 404):
                hint = f"; {nearest(self.model, listed)}" if listed else ""
                raise InputError(f"{name}: {self._messages.words(error)}{hint}; name a model that it serves") from error
        return None

    # --- one call --------------------------------------------------------------------------------------------------

    def _ask_all(self, todo: Mapping[str, Prompt], sampling: Sampling) -> dict[str, Completion]:
        """Send all requests, `batch_size` at a time. If one ends the run, the calls in flight are still waited for."""
        completions: dict[str, Completion] = {}
        groups: dict[str, dict[str, Prompt]] = {}  # the samples of one prompt by their keys
        for key, prompt in todo.items():
            alike = digest(prompt.messages, prompt.images) if prompt.sample is not None else key
            groups.setdefault(alike, {})[key] = prompt
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.batch_size, thread_name_prefix="api")
        try:
            calls = [pool.submit(self._ask_group, group, sampling, stop) for group in groups.values()]
            with waiting_for(lambda: f"{len(todo) - len(completions)} of {len(todo)} replies of {self.name}"):
                for call in as_completed(calls):
                    completions |= call.result()
        except KeyboardInterrupt:
            say(f"{self.name}: waiting for calls in flight; interrupt once more to drop them")
            raise
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        return completions

    def _ask_group(
        self, group: Mapping[str, Prompt], sampling: Sampling, stop: threading.Event
    ) -> dict[str, Completion]:
        """The replies to all samples of a prompt: in one call, and those that it does not give one by one."""
        answers: dict[str, Completion] = {}
        while len(answers) < len(group) and not stop.is_set():
            missing = [key for key in group if key not in answers]
            asked = missing[:1] if answers or SEVERAL in self._sender.given_up else missing
            got = self._ask(asked, group[asked[0]], sampling, stop)
            if len(got) == 1 < len(asked):
                self._sender.give_up(SEVERAL)
            answers |= got
        return answers

    def _ask(
        self,
        keys: Sequence[str],
        prompt: Prompt,
        sampling: Sampling,
        stop: threading.Event,
        stream: ReplyStream | None = None,
    ) -> dict[str, Completion]:
        """The replies to so many samples of a prompt, or to the first of them, stored at once. `stream` gets the pieces
        of a single one."""
        import openai
        import tenacity

        pause = tenacity.wait_random_exponential(multiplier=self._first_wait, max=LONGEST_WAIT)
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_succeed),
            wait=lambda state: self._pause(state, pause),
            stop=tenacity.stop_after_attempt(self.settings.tries) | tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._say_pause,
            reraise=True,
        )
        body = {"model": self.model, "messages": chat(prompt), **parameters(sampling, prompt.sample)}
        body |= {"logprobs": True} if prompt.sample is not None else {}
        body |= {SEVERAL: len(keys)} if len(keys) > 1 else {}
        body |= {} if stream is None else STREAM
        try:
            completions: list[Completion] = again(lambda: self._paid(prompt, sampling, body, stop, stream))
        except GarbledReplyError as error:
            if not error.note:
                raise ServerError(
                    self._messages.gave_up(f"{error}: {self._messages.shown(error.raw[:4096])[:120]}")
                ) from error
            completions = [Completion("", 0, False, self._messages.shown(error.note))] * len(keys)
            if not error.final:
                return dict(zip(keys, completions, strict=True))
        except openai.APIConnectionError as error:
            raise ServerError(self._messages.gave_up(self._messages.lost(error))) from error
        except openai.APIStatusError as error:
            if prompt.images and BLIND.search(str(error.body)):
                raise InputError(
                    f"{self.name} takes no pictures ({self._messages.words(error)}); "
                    "serve a model that does, with its projector"
                ) from error
            lasting = error.status_code >= 500 and (LASTING.search(str(error.body)) or is_flagged(error.body))
            if (error.status_code >= 500 or error.status_code in AGAIN) and not lasting:
                tries = self.settings.tries if may_succeed(error) else 1
                raise ServerError(self._messages.gave_up(self._messages.words(error), tries)) from error
            if error.status_code == 401:
                self._messages.refused_key(error)
            if error.status_code in (402, 403) and not is_flagged(error.body):
                raise ServerError(self._messages.gave_up(self._messages.words(error), 1)) from error
            if error.status_code == 404:
                raise InputError(f"{self.name}: {self._messages.words(error)}; name a model that it serves") from error
            return dict.fromkeys(keys, Completion("", 0, False, f"refused with {self._messages.words(error)}"))
        answers = dict(zip(keys, completions, strict=False))  # a server may give fewer choices than are asked for
        for key, completion in answers.items():
            self._answered |= bool(completion.text)
            self._replies.store(key, completion)
        return answers

    def _paid(
        self,
        prompt: Prompt,
        sampling: Sampling,
        body: dict[str, Any],
        stop: threading.Event,
        stream: ReplyStream | None,
    ) -> list[Completion]:
        """One call within the budget, with its cost recorded. A reply without token counts costs the maximum, a missing
        reply nothing."""
        most = most_used(prompt, sampling, self.settings, self.model, body.get(SEVERAL, 1))
        with self._replicas.one(stop) as replica:
            LEDGER.reserve(most.cost, self.settings.budget)
            used = Usage()
            try:
                raw = self._sender.send(replica.client, body, self._timeout, stream=stream)
                used = most
                completions = [self._replicas.cleaned(c) for c in read_reply(raw, body.get(SEVERAL, 1))]
                read, written = sum(c.read for c in completions), sum(c.tokens for c in completions)
                if read or written:
                    used = priced(Usage(1, read, written), self.settings, self.model)
            except BrokenOffError:
                used = most
                raise
            finally:
                LEDGER.settle(self.name, most.cost, used)
            return completions

    def _pause(self, state: Any, pause: Any) -> float:
        """Seconds until a call is repeated. The other servers, if there are any, are asked at once."""
        if state.attempt_number < len(self._replicas):
            return 0.0
        asked = asked_wait(state.outcome) if len(self._replicas) == 1 else 0.0  # of several, that one rests
        return max(asked, float(pause(state)))

    def _say_pause(self, state: Any) -> None:
        seconds = state.next_action.sleep
        if seconds >= SAID_FROM:
            error = state.outcome.exception()
            cause = f"status {error.status_code}" if hasattr(error, "status_code") else self._messages.lost(error)
            say(f"{self.name}: {cause}; a call is repeated in {seconds:.0f} s")
