"""Servers that mean harm: they drip, send without end, redirect, and repeat the key in many forms."""

from __future__ import annotations

import base64
import gzip
import html
import json
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from seelevel.errors import InputError, ServerError
from seelevel.models.base import Completion
from seelevel.models.server import connection as connections
from seelevel.models.server.connection import LARGEST
from seelevel.models.server.secret import Secret
from tests.models.asking import model
from tests.models.faulty_server import answer_to, serving
from tests.models.raw_server import GREEDY, KEY, ask, chat_body, raw, serving_raw

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("kept")]


class TestTime:
    @pytest.mark.parametrize("sent_at_once", [0, 12, 60, 2000], ids=["status", "head", "headers", "body"])
    def test_a_server_that_drips_is_given_up_when_the_time_is_over(self, sent_at_once: int) -> None:
        whole = raw(chat_body() + b" " * 4000)

        def drip(to: socket.socket, head: str) -> None:
            to.sendall(whole[:sent_at_once])
            for byte in whole[sent_at_once:]:
                time.sleep(0.05)
                to.sendall(bytes([byte]))

        with serving_raw(drip) as server:
            start = time.monotonic()
            with pytest.raises(ServerError, match=r"failed after 2 tries \(no complete reply within 0.3 s\)"):
                model(server, timeout=0.3, tries=2).generate([ask("a")], GREEDY)
            assert time.monotonic() - start < 60  # of over 200 that the reply takes

    def test_a_server_that_never_answers_is_said_before_anything_is_asked(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with serving_raw(lambda to, head: time.sleep(5)) as server:
            start = time.monotonic()
            with pytest.raises(InputError, match=r"does not answer \(no complete reply within 0\.2 s\)"):
                model(server, timeout=0.2).check_reachable()
            assert time.monotonic() - start < 60  # without the limit of the recipe it would be six minutes
        assert "is slow to list its models" in capsys.readouterr().err

    def test_a_server_that_says_continue_for_ever_is_given_up(self) -> None:
        def go_on(to: socket.socket, head: str) -> None:
            while True:
                to.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.02)

        with serving_raw(go_on) as server, pytest.raises(ServerError, match=r"within 0\.3 s"):
            model(server, timeout=0.3, tries=1).generate([ask("a")], GREEDY)

    def test_redirects_inside_a_server_share_the_time_of_the_call(self) -> None:
        def around(to: socket.socket, head: str) -> None:
            time.sleep(0.15)
            to.sendall(raw(b"", "307 Temporary Redirect", "Location: /v1/again"))

        with serving_raw(around) as server, pytest.raises(ServerError, match=r"within 0\.4 s"):
            model(server, timeout=0.4, tries=1).generate([ask("a")], GREEDY)


class TestSize:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert LARGEST == 64 << 20
        monkeypatch.setattr(connections, "LARGEST", 1 << 20)

    @pytest.mark.parametrize("header", ["", "Content-Length: 99999999999\r\n", "Transfer-Encoding: chunked\r\n"])
    def test_a_reply_without_an_end_is_given_up(self, header: str) -> None:
        def endless(to: socket.socket, head: str) -> None:
            to.sendall(f"HTTP/1.1 200 OK\r\n{header}\r\n".encode())
            while True:
                to.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n" if "chunked" in header else b" " * 65536)

        with serving_raw(endless) as server, pytest.raises(ServerError, match="of over 1 MiB"):
            model(server, tries=1).generate([ask("a")], GREEDY)

    @pytest.mark.parametrize("name", ["gzip", "deflate", "gzip, gzip"])
    def test_a_small_reply_that_is_large_when_decompressed_is_given_up(self, name: str) -> None:
        large = b" " * (8 << 20)
        body = {"gzip": gzip.compress, "deflate": zlib.compress}[name.split(",")[0]](large)
        if "," in name:
            body = gzip.compress(body)
        assert len(body) < 1 << 16

        with (
            serving_raw(lambda to, head: to.sendall(raw(body, "200 OK", f"Content-Encoding: {name}"))) as server,
            pytest.raises(ServerError, match="over 1 MiB when decompressed"),
        ):
            model(server, tries=1).generate([ask("a")], GREEDY)

    def test_the_body_of_a_refusal_is_limited_too(self) -> None:
        body = raw(gzip.compress(b" " * (8 << 20)), "400 Bad Request", "Content-Encoding: gzip")
        with serving_raw(lambda to, head: to.sendall(body)) as server, pytest.raises(ServerError, match="over 1 MiB"):
            model(server, tries=1).generate([ask("a")], GREEDY)

    @pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    def test_a_compressed_reply_that_was_not_asked_for_is_read(self, name: str, pack: Callable[[bytes], bytes]) -> None:
        body = raw(pack(chat_body()), "200 OK", f"Content-Encoding: {name}")
        with serving_raw(lambda to, head: to.sendall(body)) as server:
            assert model(server).generate([ask("a")], GREEDY)[0].text == "a cup"

    def test_an_encoding_that_is_unknown_is_a_fault(self) -> None:
        body = raw(b"?", "200 OK", "Content-Encoding: br")
        with serving_raw(lambda to, head: to.sendall(body)) as server, pytest.raises(ServerError, match="'br'"):
            model(server, tries=1).generate([ask("a")], GREEDY)


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_to_another_server_is_refused_and_nothing_is_sent_there(self, status: int) -> None:
        with serving() as other:
            body = raw(b"", f"{status} Moved", f"Location: {other.address}/chat/completions")
            with serving_raw(lambda to, head: to.sendall(body)) as server:
                with pytest.raises(InputError, match=r"redirects to http://127\.0\.0\.1:\d+, where nothing") as caught:
                    model(server).generate([ask("a")], GREEDY)
                assert "\n" not in str(caught.value)
                with pytest.raises(InputError, match="where nothing was sent"):
                    model(server).check_reachable()
            assert not other.bodies and not other.asked

    @pytest.mark.parametrize("place", ["https://127.0.0.1:{port}/v1/x", "http://localhost:{port}/v1/x", "//evil.test/"])
    def test_another_scheme_or_host_is_another_server(self, place: str) -> None:
        def there(to: socket.socket, head: str) -> None:
            port = to.getsockname()[1]
            to.sendall(raw(b"", "307 Moved", f"Location: {place.format(port=port)}"))

        with serving_raw(there) as server:
            with pytest.raises(InputError, match="redirects to"):
                model(server).generate([ask("a")], GREEDY)
            assert len(server.requests) == 1

    def test_a_redirect_inside_the_server_is_followed(self) -> None:
        def around(to: socket.socket, head: str) -> None:
            moved = head.startswith("POST /v1/chat")
            to.sendall(raw(b"", "307 Moved", "Location: /v2/chat") if moved else raw(chat_body()))

        with serving_raw(around) as server:
            assert model(server).generate([ask("a")], GREEDY)[0].text == "a cup"

    @pytest.mark.parametrize("place", ["http://\u00e9%00.test/", "http://[::1", "http://a:b/", "\x7f", ""])
    def test_a_redirect_to_what_is_no_address_is_no_traceback(self, place: str) -> None:
        body = raw(b"", "307 Moved", f"Location: {place}")
        with serving_raw(lambda to, head: to.sendall(body)) as server:
            try:
                assert not model(server, tries=1).generate([ask("a")], GREEDY)[0].text
            except (InputError, ServerError) as error:
                assert str(error)

    def test_a_header_in_another_alphabet_does_no_harm(self) -> None:
        body = raw(chat_body(), "200 OK", "Server: caf\u00e9 \u72ac")
        with serving_raw(lambda to, head: to.sendall(body)) as server:
            assert model(server).generate([ask("a")], GREEDY)[0].text == "a cup"

    def test_redirects_in_a_circle_end(self) -> None:
        body = raw(b"", "307 Moved", "Location: /v1/chat/completions")
        with serving_raw(lambda to, head: to.sendall(body)) as server, pytest.raises(ServerError, match="5 redirects"):
            model(server, tries=1).generate([ask("a")], GREEDY)

    def test_a_redirect_does_not_show_the_key(self) -> None:
        body = raw(b"", "307 Moved", f"Location: http://{KEY.upper()}.test/")
        with serving_raw(lambda to, head: to.sendall(body)) as server, pytest.raises(InputError) as caught:
            model(server).generate([ask("a")], GREEDY)
        assert KEY not in str(caught.value).lower()


ENCODED = {
    "JSON": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "JSON twice": "".join(f"\\\\u{ord(c):04x}" for c in KEY),
    "hexadecimal escapes": "".join(f"\\x{ord(c):02x}" for c in KEY),
    "octal": "".join(f"\\{ord(c):03o}" for c in KEY),
    "percent": "".join(f"%{ord(c):02X}" for c in KEY),
    "percent twice": quote("".join(f"%{ord(c):02X}" for c in KEY)),
    "entities": "".join(f"&#{ord(c)};" for c in KEY),
    "hexadecimal entities": html.escape("".join(f"&#x{ord(c):x};" for c in KEY)),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of the header": "x" + base64.urlsafe_b64encode(f"Bearer {KEY}".encode()).decode().rstrip("="),
    "base64 in lines": base64.encodebytes(f"{'padding ' * 9}{KEY}".encode()).decode(),
    "base64 twice": base64.b64encode(base64.b64encode(f"Bearer {KEY}".encode())).decode(),
    "hexadecimal": KEY.encode().hex(" "),
    "UTF-16": base64.b64encode(KEY.encode("utf-16")).decode(),
    "quoted-printable": KEY.replace("s", "=73"),
    "full width": "".join(chr(ord(c) + 0xFEE0) for c in KEY),
    "spaced out": " ".join(KEY),
    "zero width": "\u200b".join(KEY),
    "one letter": KEY.replace("c", "\\u0063"),
}


class TestKey:
    @pytest.mark.parametrize("bad", ["\r", "\n", "\r\nX-Evil: 1", "\t", " ", "\u00e9", "\u2028", "\x7f", "\udcff"])
    @pytest.mark.parametrize("place", ["{bad}{key}", "{key}{bad}", "sk-{bad}-{key}"])
    def test_a_key_that_no_header_takes_is_refused_by_its_variable(
        self, bad: str, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MY_KEY", place.format(bad=bad, key="MARKEDKEY"))
        with serving() as server:
            with pytest.raises(InputError, match=r"\$MY_KEY cannot be a key") as caught:
                model(server, key="MY_KEY")
            assert "MARKED" not in str(caught.value) and "\n" not in str(caught.value)
            assert not server.headers

    @pytest.mark.parametrize("form", ENCODED)
    @pytest.mark.parametrize("part", ["answer", "thought"])
    def test_an_answer_that_holds_the_key_in_another_form_is_empty(self, form: str, part: str, kept: Path) -> None:
        words = f"Here it is: {ENCODED[form]} (end)"
        said = {"content": words} if part == "answer" else {"content": "A cup.", "reasoning": words}
        with serving() as server:
            server.says = lambda question: said
            (found,) = model(server).generate([ask("a")], GREEDY)
        assert (found.text, found.reasoning) == ("", "") and "$OPENAI_API_KEY" in found.note
        (file,) = kept.rglob("*.json")
        assert ENCODED[form][:8] not in json.loads(file.read_text()).values()
        assert "Here it is" not in file.read_text()

    @pytest.mark.parametrize("form", ENCODED)
    @pytest.mark.parametrize("status", [200, 422])
    def test_an_error_does_not_hold_the_key_in_any_form(
        self, form: str, status: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with serving() as server:
            server.refuses = lambda body: (status, {"error": {"message": f"no: {ENCODED[form]}"}})
            try:
                said = model(server, tries=1).generate([ask("a")], GREEDY)[0].note
            except (InputError, ServerError) as error:
                said = str(error)
        assert said and ENCODED[form] not in f"{said} {capsys.readouterr().err}"

    def test_a_key_with_json_escapes_in_the_reply_is_removed_after_they_are_read(self, kept: Path) -> None:
        body = chat_body(f"it is {KEY}").replace(KEY.encode(), KEY.replace("a", "\\u0061").encode())
        assert KEY.encode() not in body
        with serving_raw(lambda to, head: to.sendall(raw(body))) as server:
            assert model(server).generate([ask("a")], GREEDY)[0].text == "it is …"
        assert KEY not in "".join(path.read_text() for path in kept.rglob("*.json"))

    def test_the_ending_of_a_reply_may_not_hold_the_key(self, kept: Path) -> None:
        body = chat_body(None, finish_reason=f"error {KEY}")
        with serving_raw(lambda to, head: to.sendall(raw(body))) as server:
            assert model(server).generate([ask("a")], GREEDY)[0].note == "ended by error …, empty"
        assert KEY not in "".join(path.read_text() for path in kept.rglob("*.json"))

    def test_a_broken_header_with_the_key_is_not_shown(self) -> None:
        reply = f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode()
        with serving_raw(lambda to, head: to.sendall(reply)) as server, pytest.raises(ServerError) as caught:
            model(server, tries=1).generate([ask("a")], GREEDY)
        assert KEY not in str(caught.value)

    def test_a_listed_model_with_the_key_in_its_name_is_not_shown(self) -> None:
        with serving(models=[f"m-{KEY}"]) as server, pytest.raises(InputError) as caught:
            model(server, f"m-{KEY[:-1]}").check_reachable()
        assert KEY not in str(caught.value)

    def test_honest_answers_are_left_as_they_are(self) -> None:
        secret = Secret("OPENAI_API_KEY")
        for text in (
            "Two cups & a 50 % sale; see https://a.test/%20x?a=b\\n and `\\u00e9`.",
            base64.b64encode(b"a picture of a dog on the left" * 9).decode(),
            "Der Hund\u00ad läuft. 犬が走る。 👩\u200d🚀",
            "0123456789abcdef" * 40,
        ):
            assert secret.cleaned(Completion(text, 1, True)) == Completion(text, 1, True)

    def test_a_short_key_of_a_local_server_leaves_answers_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
        assert Secret("OPENAI_API_KEY").cleaned(Completion("The cup is empty.", 1, True)).text == "The cup is empty."


class TestPaidReplies:
    @pytest.mark.parametrize(
        "choice",
        [
            {"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [{"id": "x"}]}},
            {"finish_reason": "stop", "message": {"content": None, "tool_calls": [{"id": "x"}]}},
            {"finish_reason": "stop", "message": {"content": None, "refusal": "No."}},
            {"finish_reason": "stop", "message": {"content": []}},
            {"finish_reason": "length", "message": {"content": ""}},
            {"finish_reason": "length", "message": {"content": "<think>hm"}},
            {"finish_reason": "error", "message": {"content": None}},
            {"finish_reason": "pause_turn", "message": {}},
            {"finish_reason": "stop", "message": {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}},
            {"finish_reason": "stop", "message": {"content": None, "audio": {"data": ""}}},
            {"finish_reason": "stop"},
            None,
        ],
    )
    def test_whatever_was_paid_for_is_kept(self, choice: object) -> None:
        body = {"choices": [choice] if choice else [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
        with serving_raw(lambda to, head: to.sendall(raw(json.dumps(body).encode()))) as server:
            first, second = (model(server).generate([ask("a")], GREEDY)[0] for _ in range(2))
            assert first == second
            assert len(server.requests) == 1

    @pytest.mark.parametrize("count", [-5, 10**400, True, 1e308, "9", None])
    def test_an_absurd_count_of_tokens_costs_the_most(self, count: object) -> None:
        body = json.dumps({**json.loads(chat_body()), "usage": {"prompt_tokens": count, "completion_tokens": count}})
        with serving_raw(lambda to, head: to.sendall(raw(body.encode()))) as server:
            found = model(server, prices={"m": (1.0, 1.0)}, budget=1.0).generate([ask("a")], GREEDY)[0]
        assert (found.text, found.tokens, found.read) == ("a cup", 0, 0)


@pytest.mark.parametrize("status", [200, 400, 422, 500])
def test_a_reply_nested_without_end_is_a_fault_and_no_traceback(status: int) -> None:
    for deep in (200, 900, 100_000):
        body = raw(b'{"error": {"message": ' + b"[" * deep + b"]" * deep + b"}}", f"{status} X")
        with serving_raw(lambda to, head, body=body: to.sendall(body)) as server:  # type: ignore[misc]
            try:
                assert not model(server, tries=1).generate([ask("a")], GREEDY)[0].text
            except ServerError as error:
                assert "\n" not in str(error)


def test_a_server_that_hangs_up_politely_is_still_answered() -> None:
    with serving() as server:
        assert model(server).generate([ask("a")], GREEDY)[0].text == answer_to("user: a")
        assert server.headers[0]["connection"] == "close"
