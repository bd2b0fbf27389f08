"""Pictures behind addresses: only if asked for, only from public servers, whole, in time, and once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from seelevel.formats import Rejected, convert, fetching, read
from seelevel.formats.pictures import Pictures
from seelevel.image_store import ImageStore
from seelevel.ladder import Ladder
from tests.formats.made import picture, write

pytestmark = pytest.mark.unit


class Server(ThreadingHTTPServer):
    """Answers by path; `asked` holds the paths of all calls."""

    daemon_threads = True
    picture: bytes
    asked: list[str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/moved":
            return self.reply(302, b"", Location="/a%20b.png?size=1")
        if self.path == "/around":
            return self.reply(302, b"", Location="/around")
        if self.path == "/inside":
            return self.reply(302, b"", Location="http://10.1.2.3/a.png")
        if self.path == "/file":
            return self.reply(302, b"", Location="file:///etc/passwd")
        if self.path == "/busy" and self.server.asked.count("/busy") < 3:
            return self.reply(503, b"")
        if self.path == "/none":
            return self.reply(404, b"")
        if self.path == "/page":
            return self.reply(200, b"<html>no picture</html>")
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
            return None
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(self.server.picture)
            return None
        return self.reply(200, self.server.picture)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on the loopback, which counts as public here; other addresses are judged as ever."""
    whole = fetching.is_public
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1" or whole(address))
    monkeypatch.setattr(fetching, "sleep", lambda _: None)
    picture(tmp_path, "sent.png")
    with Server(("127.0.0.1", 0), Handler) as found:
        found.picture, found.asked = (tmp_path / "sent.png").read_bytes(), []
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def ladders(folder: Path, *names: str, fetch: bool = True) -> list[Ladder | Rejected]:
    records = [
        {"id": str(n), "image": name, "prompt": "What?", "chosen": "a", "rejected": "b"} for n, name in enumerate(names)
    ]
    return list(read(write(folder / "p.json", records), fetch=fetch, store=ImageStore(folder / "kept")))


def reason(folder: Path, name: str) -> str:
    (found,) = ladders(folder, name)
    assert isinstance(found, Rejected)
    return found.reason


def test_nothing_is_fetched_unless_asked_for(tmp_path: Path, server: Server) -> None:
    (found,) = ladders(tmp_path, f"{server.address}/a.png", fetch=False)
    assert isinstance(found, Rejected)
    assert "is an address, and nothing is fetched; set data.fetch" in found.reason
    assert not server.asked


def test_pictures_are_fetched_once_and_kept(tmp_path: Path, server: Server) -> None:
    found = ladders(tmp_path, f"{server.address}/a.png", f"{server.address}/a.png", f"{server.address}/moved")
    files = [Path(ladder.images[0].path) for ladder in found if isinstance(ladder, Ladder)]
    assert len(files) == 3 and len({*files}) == 1
    assert files[0].read_bytes() == server.picture
    assert server.asked == ["/a.png", "/moved", "/a%20b.png?size=1"]


def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server) -> None:
    assert isinstance(ladders(tmp_path, f"{server.address}/busy")[0], Ladder)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "cannot be fetched: the server answers with 404"),
        ("/page", "not a picture"),
        ("/around", "cannot be fetched: over 5 redirects"),
        ("/inside", "cannot be fetched: '10.1.2.3' is not a public server"),
        ("/file", "cannot be fetched: not an address of HTTP or HTTPS"),
        ("/short", "cannot be fetched: "),
    ],
)
def test_what_cannot_be_fetched_is_set_aside(tmp_path: Path, server: Server, path: str, why: str) -> None:
    assert why in reason(tmp_path, server.address + path)


def test_a_call_has_a_limit_of_time_and_size(tmp_path: Path, server: Server, monkeypatch: Any) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.3)
    start = time.monotonic()
    assert "cannot be fetched: it took over 0.3 s" in reason(tmp_path, f"{server.address}/drip")
    assert time.monotonic() - start < 4
    monkeypatch.setattr(fetching, "SECONDS", 30.0)
    monkeypatch.setattr(fetching, "LARGEST", len(server.picture) - 1)
    assert "cannot be fetched: over 0 MiB, or cut off" in reason(tmp_path, f"{server.address}/a.png")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1%eth0", "0.0.0.0", "224.0.0.1"],
)
def test_this_machine_and_its_network_are_not_public(address: str) -> None:
    assert not fetching.is_public(address)
    assert fetching.is_public("93.184.216.34") and fetching.is_public("2606:2800:220:1::1")


def test_names_of_this_machine_are_refused(tmp_path: Path) -> None:
    found = Pictures(None, tmp_path / "p.json", ImageStore(tmp_path).put_bytes, fetch=True)
    for name in (
        "http://localhost:1/a.png",
        "http://127.0.0.1:1/a.png",
        "http://[::1]:1/a.png",
        "http://2130706433:1/a.png",
    ):
        with pytest.raises(ValueError, match=r"not a public server|cannot be fetched"):
            found.read(name)


def test_convert_keeps_what_it_fetched(tmp_path: Path, server: Server) -> None:
    record = {"image": f"{server.address}/a.png", "prompt": "What?", "chosen": "a", "rejected": "b"}
    source = write(tmp_path / "p.json", [record])
    assert convert(source, tmp_path / "out" / "o.parquet", fetch=True)["written"] == 1
    assert [file.read_bytes() for file in (tmp_path / "out" / "images").iterdir()] == [server.picture]
