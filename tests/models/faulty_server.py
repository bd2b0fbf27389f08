"""A chat server of the standard library that fails as it is told: by the hash of what it is asked, so that the same
call fails the same number of times whatever the order of calls."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "drop", "cut", "no json", "no choice", "big", "slow", "drip")
MANY = FAULTS[:6] * 3 + FAULTS[6:]
"""What takes long is seldom: the time-out has to leave room for a busy machine."""
STOPS = ("elsewhere", "down")
"""Faults that end a run: a redirect to another server, and a status that no number of tries outlasts."""
BIG = 50 << 20
KEY = "sk-a-secret-of-the-tests"


def answer_to(text: str) -> str:
    """What the server says to a question: a test knows it without asking."""
    return f"answer to {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def sample_of(text: str, seed: int) -> str:
    """What the server says to a question for a sample of this seed."""
    return f"sample {seed} of {answer_to(text)}"


class FaultyServer(ThreadingHTTPServer):
    """`share` of the questions fail once, a third of those twice, each in one of `faults`; the rest never."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, share: float = 0.0, faults: Sequence[str] = FAULTS, models: Sequence[str] = ("m",)) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.share, self.faults, self.models = share, faults, models
        self.key = ""
        self.always: int | None = None
        self.always_code: str | None = None
        self.always_more: dict[str, Any] = {}
        self.unsupported: set[str] = set()
        self.ending: str | None = None  # in place of an answer, why there is none
        self.refuses: Callable[[dict[str, Any]], tuple[int, Any] | None] = lambda body: None  # status and reply
        self.watch: Callable[[int, int], None] = lambda here, there: None  # gets the ports of a call
        self.replies: Callable[[str], dict[str, Any] | None] = lambda question: None  # a whole reply, or None
        self.says: Callable[[str], str | dict[str, Any]] = answer_to  # a text, or a message such as a refusal
        self.most_choices = 64  # of one reply, however many are asked for
        self.slow_seconds = 1.5
        self.slow_list = 0.0
        self.elsewhere = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.faulted: Counter[str] = Counter()
        self.busy = self.busiest = self.refused = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the game."""

    def fault(self, question: str, times: int) -> str | None:
        draw = int(hashlib.sha256(f"fault {question}".encode()).hexdigest(), 16)
        if (draw % 1000) / 1000 >= self.share or times > (2 if draw // 1000 % 3 == 0 else 1):
            return None
        return self.faults[(draw // 3000 + times) % len(self.faults)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, *arguments: Any) -> None:
        pass

    def say(self, status: int, value: Any, **headers: str) -> None:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(raw)

    def refused(self) -> bool:
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            shown = self.headers.get("Authorization", "")
            self.say(401, {"error": {"message": f"Incorrect API key provided: {shown}", "code": "invalid_api_key"}})
            return True
        return False

    def do_GET(self) -> None:
        time.sleep(self.server.slow_list)
        if not self.refused():
            self.say(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return
        server = self.server
        if body["model"] not in server.models:
            self.say(404, {"error": {"message": f"The model {body['model']} does not exist.", "code": "no_model"}})
            return
        if server.always is not None:
            said = {"message": "never today", "code": server.always_code, **server.always_more}
            self.say(server.always, {"error": said})
            return
        if wrong := sorted(server.unsupported & set(body)):
            self.say(400, {"error": {"message": f"Unsupported parameter: '{wrong[0]}'", "param": wrong[0]}})
            return
        if refusal := server.refuses(body):
            with server.lock:
                server.refused += 1
            self.say(*refusal)
            return
        question = question_of(body)
        with server.lock:
            server.bodies.append(body)
            server.headers.append({name.lower(): text for name, text in self.headers.items()})
            server.asked[question] += 1
            times = server.asked[question]
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        try:
            server.watch(server.server_address[1], self.client_address[1])
            fault = server.fault(question, times)
            if fault is not None:
                with server.lock:
                    server.faulted[fault] += 1
                self.fail(fault)
                return
            choices = [self.choice(question, body, n) for n in range(min(body.get("n", 1), server.most_choices))]
            reply = {"choices": choices, "usage": {"completion_tokens": 5 * len(choices)}}
            with server.lock:
                server.answered[question] += 1
            self.say(200, server.replies(question) or reply)
        finally:
            with server.lock:
                server.busy -= 1

    def choice(self, question: str, body: dict[str, Any], n: int) -> dict[str, Any]:
        """One choice; where log-probs are asked for, it is a sample of the seed, and its mean is -1."""
        said = self.server.says(question) if self.server.ending is None else None
        choice: dict[str, Any] = {"finish_reason": self.server.ending or "stop"}
        if body.get("logprobs"):
            said = sample_of(question, body.get("seed", 0) + n) if said == answer_to(question) else said
            choice["logprobs"] = {"content": [{"token": "a", "logprob": value} for value in (-0.5, -1.5)]}
        message = said if isinstance(said, dict) else {"content": said}
        return {**choice, "message": {"role": "assistant", **message}}

    def fail(self, fault: str) -> None:
        if fault == "429":
            self.say(429, {"error": {"message": "slow down"}}, Retry_After="0.05")
        elif fault in ("500", "down"):
            self.say(500, {"error": {"message": "oops"}})
        elif fault == "elsewhere":
            self.say(307, b"", Location=self.server.elsewhere)
        elif fault == "drop":
            self.close_connection = True
            self.connection.close()
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"message": {"content": "half a re')
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        elif fault == "big":
            self.say(200, b'{"choices": "' + b"a" * BIG)
        elif fault == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            for _ in range(5000):  # until the client hangs up
                self.wfile.write(b" ")
                time.sleep(0.2)
        elif fault == "slow":
            time.sleep(self.server.slow_seconds)
            self.close_connection = True
        elif fault == "no json":
            self.say(200, b"<html>Bad gateway</html>")
        elif fault == "no choice":
            self.say(200, {"choices": [], "usage": {"completion_tokens": 0}})


def question_of(body: dict[str, Any]) -> str:
    """All that was asked as one text: roles, texts and the hashes of the pictures, in order."""
    parts = []
    for message in body["messages"]:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                parts.append(f"{message['role']}: {part['text']}")
            else:
                head, _, data = part["image_url"]["url"].partition(",")
                parts.append(f"{head} {hashlib.sha256(base64.b64decode(data)).hexdigest()}")
    return "\n".join(parts)


@contextmanager
def serving(**options: Any) -> Iterator[FaultyServer]:
    server = FaultyServer(**options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
