"""`seelevel inspect`: what is understood of a file is shown before anything runs, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from seelevel.cli import app
from seelevel.cli.inspect import read_columns, show
from seelevel.errors import InputError
from seelevel.formats import read
from seelevel.formats.inspection import inspect
from seelevel.formats.parquet import save_ladders
from seelevel.formats.records import Record
from seelevel.formats.sources import Source
from seelevel.ladder import Ladder, Message
from tests.formats.containers import jpeg, lines, pair, parquet, tar, text
from tests.formats.made import picture, record, write

pytestmark = pytest.mark.unit


def printed(path: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> list[str]:
    show(inspect(path, None, **{"columns": {}, **options}), Console(highlight=False))
    return capsys.readouterr().out.splitlines()


def test_a_folder_of_shards_is_shown_with_columns_and_ladders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for shard in range(2):
        rows = [pair(10 * shard + n, ds_name="made", idx=n) for n in range(3)]
        parquet(tmp_path / "data" / f"train-0000{shard}-of-00002.parquet", rows)
    before = sorted(tmp_path.rglob("*"))
    out = printed(tmp_path / "data", capsys)
    assert out[1:9] == [
        "container  folder of 2 Parquet files",
        "form       trl",
        "records    6; 6 looked at",
        "used       image, prompt, chosen, rejected",
        "ignored    ds_name, idx",
        "ladders    6",
        "",
        "ladder     data-0",
    ]
    assert out[9:13] == [
        "pictures   inside the record 12×9",
        "user       <image>⏎Q0?",
        "level 0    good 0",
        "level 1    bad",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_would_be_set_aside_is_counted_by_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    records = [record(1), record(2, "gone.png"), record(3, "lost.png"), record(4, "b.png"), record(5, extra=7)]
    out = printed(write(tmp_path / "p.json", records), capsys)
    assert "set aside  2 × image is missing" in out
    assert any(line.startswith("set aside  1 × image: not a picture") for line in out)
    assert "ladders    2" in out
    assert "pictures   a.png 8×8" in out


def test_an_unknown_form_shows_its_columns_and_the_nearest_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = text(tmp_path / "p.jsonl", lines([{"question": "Q?", "chosen": "good", "worse": "bad"}]))
    out = printed(path, capsys)
    assert "form       unknown: the nearest form, trl, lacks rejected" in out
    assert "ignored    question, chosen, worse" in out
    out = printed(path, capsys, columns={"rejected": "worse", "prompt": "question"})
    assert "used       chosen, rejected=worse, prompt=question" in out


def test_the_json_of_an_inspection_has_the_same_facts(tmp_path: Path) -> None:
    members = [("a.jpg", jpeg(1, (30, 20))), ("a.json", json.dumps(record("7", "a.jpg")).encode())]
    path = tar(tmp_path / "s.tar", members)
    result = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["container"], found["form"], found["records"], found["looked_at"]) == ("tar", "llava", None, 1)
    assert found["examples"][0]["pictures"] == [{"name": "inside the record", "width": 30, "height": 20}]
    assert found["examples"][0]["responses"] == [{"level": 0, "messages": [{"role": "assistant", "content": "A cup."}]}]


def test_no_more_than_the_limit_is_looked_at(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    path = text(tmp_path / "p.jsonl", lines([record(n) for n in range(9)]) + "broken")
    assert inspect(path, None, {}, limit=4).looked_at == 4


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = text(tmp_path / "p.jsonl", lines([{"prompt": "a\x1b[31mb", "chosen": "[bold]x[/bold]", "rejected": "y"}]))
    out = printed(path, capsys)
    assert "user       a\\x1b[31mb" in out
    assert "level 0    [bold]x[/bold]" in out


def test_columns_on_the_command_line_are_pairs() -> None:
    assert read_columns("prompt=question, images=a=b") == {"prompt": "question", "images": "a=b"}
    for wrong in ("prompt", "prompt=", "=question"):
        with pytest.raises(InputError, match="expected OURS=THEIRS"):
            read_columns(wrong)


def test_a_column_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prompt is named twice"):
        read_columns("prompt=question, images=photo, prompt=frage")
    assert read_columns("prompt=q,prompt=q") == {"prompt": "q"}


def own(source: Source) -> Iterator[Record]:
    """A reader that opens the file itself."""
    for line in source.path.read_text().splitlines():
        yield Record(line, Ladder(line, [], [Message(role="user", content="What?")], []))


OWN = f"{__name__}:own"


def test_columns_of_a_reader_that_opens_the_file_itself_are_not_called_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = text(tmp_path / "p.jsonl", lines([{"frage": "Q?", "gut": "yes"}]))
    out = printed(path, capsys, form=OWN)
    assert "columns    frage, gut; unknown which are used: the reader opens the file itself" in out
    assert not any(line.startswith(("used", "ignored")) for line in out)
    found = inspect(path, None, {}, OWN)
    assert (found.used, found.ignored, found.unknown) == ([], [], ["frage", "gut"])


def test_columns_that_a_reader_would_not_heed_are_refused(tmp_path: Path) -> None:
    ladder = Ladder("x", [], [Message(role="user", content="What?")], [])
    save_ladders([ladder], tmp_path / "l.parquet")
    for path, columns, form in (
        (tmp_path / "l.parquet", {"prompt": "id"}, None),
        (tmp_path / "l.parquet", {"prompt": "id"}, "ladders"),
        (text(tmp_path / "p.jsonl", lines([{"frage": "Q?"}])), {"prompt": "frage"}, OWN),
    ):
        reason = r"columns: format .* reads .* by its own names; leave columns out"
        with pytest.raises(InputError, match=reason):
            list(read(path, columns=columns, form=form))
        with pytest.raises(InputError, match=reason):
            inspect(path, None, columns, form)


def test_columns_of_ladders_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ladder = Ladder("x", [], [Message(role="user", content="What?")], [])
    save_ladders([ladder], tmp_path / "l.parquet")
    assert "used       id, images, prompt, responses, annotations, notes" in printed(tmp_path / "l.parquet", capsys)
