"""Whatever a terminal can show, a command ends without a traceback and with its files in UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
CODE = "from seelevel.cli import main; main()"
ENCODINGS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "C and latin-1": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1"},
}
NAME = "böse – 犬\u202e.json"
TEXT = "Ein Hund – 犬 \x1b[31m\u202egol\u2066 \x9b2J"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    turns = [{"from": "human", "value": TEXT}, {"from": "gpt", "value": TEXT}]
    path = tmp_path / NAME
    path.write_text(json.dumps([{"id": TEXT, "conversations": turns}]), encoding="utf-8")
    return path


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    command = [os.fsencode(sys.executable), b"-c", CODE.encode(), *(str(part).encode() for part in arguments)]
    return subprocess.run(command, capture_output=True, env={**kept, **variables})


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["inspect", "convert", "missing", "json"])
def test_a_command_ends_without_a_traceback(encoding: str, command: str, source: Path, tmp_path: Path) -> None:
    arguments: list[object] = {
        "inspect": ["inspect", source],
        "convert": ["convert", source, tmp_path / f"zu {NAME}", "--to", "llava"],
        "missing": ["convert", tmp_path / f"kein {NAME}", tmp_path / "x.json"],
        "json": ["inspect", source, "--json"],
    }[command]
    done = run(*arguments, **ENCODINGS[encoding])
    said = done.stdout + done.stderr
    assert done.returncode == (2 if command == "missing" else 0), said
    assert b"Traceback" not in said
    for steering in ("\x1b", "\u202e", "\u2066", "\x9b"):
        for charset in ("utf-8", "latin-1"):
            try:
                raw = steering.encode(charset)
            except UnicodeEncodeError:
                continue
            assert raw not in said, (steering, said)
    if command == "convert":
        written = json.loads((tmp_path / f"zu {NAME}").read_text(encoding="utf-8"))
        assert written[0]["conversations"][1]["value"] == TEXT
    if command == "json":
        assert json.loads(done.stdout)["path"].endswith(NAME)
