"""The data step: shards of usable ladders, pictures kept by content, the rest in rejected.jsonl."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from seelevel.errors import InputError
from seelevel.facts import DataFacts
from seelevel.formats import ingest as ingest_module
from seelevel.formats.ingest import ingest
from seelevel.formats.parquet import read_ladders
from seelevel.formats.records import REPEATED
from seelevel.formats.sources import Source
from seelevel.ladder import Ladder
from seelevel.store import SHARD_SIZE, StageFolder, shards
from tests.formats.containers import jpeg, lines, pair, parquet, text
from tests.formats.made import gpt, human, picture, record, write

pytestmark = pytest.mark.unit


def run(folder: Path, records: list[Any], **options: Any) -> tuple[Path, dict[str, Any]]:
    """The run folder and the facts."""
    picture(folder / "pictures", "a.png")
    prompts = write(folder / "prompts.json", records)
    root = folder / "run"
    stage = StageFolder(root / "data", "print")
    stage.begin()
    source = Source(prompts, folder / "pictures", limit=options.pop("limit", None))
    return root, ingest(source, stage, root, **{"max_rejected": 0.05, **options})


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_shards_keep_the_order_and_each_picture_once(tmp_path: Path) -> None:
    root, facts = run(tmp_path, [record(n) for n in range(SHARD_SIZE + 5)])
    assert [len(read_ladders(path, root)) for path in shards(root / "data")] == [SHARD_SIZE, 5]
    ladders = read_ladders(root / "data", root)
    assert [ladder.id for ladder in ladders] == [str(n) for n in range(SHARD_SIZE + 5)]
    assert len(list((root / "images").iterdir())) == 1
    assert Path(ladders[0].images[0].path).parent == (root / "images").resolve()
    assert (facts.records, facts.ladders, facts.images, facts.rejected) == (133, 133, 1, 0)


def test_bad_records_are_listed_in_order_with_their_reasons(tmp_path: Path) -> None:
    records = [record(0), record(1, "nope.png"), 7, record(0), record(4, "a.png", gpt("Hi.")), record(5)]
    root, facts = run(tmp_path, records, max_rejected=1.0)
    lines = [json.loads(line) for line in (root / "data" / "rejected.jsonl").read_text().splitlines()]
    assert [line["where"] for line in lines] == [f"prompts.json[{n}]" for n in (1, 2, 3, 4)]
    assert lines[2] == {"where": "prompts.json[3]", "id": "0", "reason": REPEATED}
    assert [ladder.id for ladder in read_ladders(root / "data", root)] == ["0", "5"]
    assert facts.rejected == 4
    assert sum(facts.reasons.values()) == 4


def test_too_many_bad_records_stop_the_run_and_are_listed(tmp_path: Path) -> None:
    records = [record(n, "a.png" if n % 10 else "nope.png") for n in range(40)]
    with pytest.raises(InputError, match=r"4 of 40 .*10%, over max_rejected 5%.*4 × image is missing.*rejected\.jsonl"):
        run(tmp_path, records)
    assert len((tmp_path / "run" / "data" / "rejected.jsonl").read_text().splitlines()) == 4
    assert shards(tmp_path / "run" / "data") == []


def test_a_share_of_exactly_max_rejected_is_allowed(tmp_path: Path) -> None:
    _, facts = run(tmp_path, [record(n, "a.png" if n else "nope.png") for n in range(20)])
    assert facts.rejected == 1


def test_repeated_records_do_not_stop_the_run(tmp_path: Path) -> None:
    _, facts = run(tmp_path, [record(n % 10) for n in range(20)])
    assert (facts.ladders, facts.reasons) == (10, {REPEATED: 10})


def test_no_usable_record_stops_the_run_whatever_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no usable record"):
        run(tmp_path, [record(1, "nope.png")], max_rejected=1.0)
    with pytest.raises(InputError, match="holds no usable record: it is empty"):
        run(tmp_path, [])


def test_a_limit_takes_the_first_records_of_the_file(tmp_path: Path) -> None:
    root, facts = run(tmp_path, [record(n) for n in range(9)], limit=4)
    assert [ladder.id for ladder in read_ladders(root / "data", root)] == ["0", "1", "2", "3"]
    assert facts.records == 4


def talk(image: str) -> dict[str, Any]:
    """One of LVLM_NLF's records, of three rounds."""
    return {"image": image, "interaction": [{"user": f"Q{n}", "model": f"A{n}.", "rating": "3"} for n in range(3)]}


def test_a_record_of_several_rounds_counts_as_one_record(tmp_path: Path) -> None:
    records = [talk("a.png" if n % 10 else "nope.png") for n in range(20)]
    with pytest.raises(InputError, match=r"2 of 20 records .*10%, over max_rejected 5%"):
        run(tmp_path / "x", records)
    (tmp_path / "y" / "pictures").mkdir(parents=True)
    (tmp_path / "y" / "pictures" / "nope.png").write_text("")  # set aside once it is opened, round by round
    _, facts = run(tmp_path / "y", records, max_rejected=0.2, limit=11)
    assert (facts.records, facts.rejected, facts.ladders) == (11, 2, 27)
    assert sum(facts.reasons.values()) == 2


def test_prompts_without_an_answer_are_kept_unless_one_is_needed(tmp_path: Path) -> None:
    records = [record(0), record(1, "a.png", human("What?"))]
    _, facts = run(tmp_path / "x", records)
    assert (facts.ladders, facts.answered) == (2, 1)
    _, facts = run(tmp_path / "y", records, need_answer=True, max_rejected=0.5)
    assert facts.reasons == {"no answer": 1}


def test_a_step_repeated_after_a_stop_writes_the_same_bytes(tmp_path: Path) -> None:
    records = [record(n, "a.png" if n % 50 else "nope.png") for n in range(SHARD_SIZE + 40)]
    root, _ = run(tmp_path, records)
    whole = contents(root)
    shards(root / "data")[1].unlink()
    (root / "data" / "rejected.jsonl").unlink()
    for image in (root / "images").iterdir():
        image.unlink()
    run(tmp_path, records)
    assert contents(root) == whole


def ingested(source: Source, root: Path, **options: Any) -> tuple[list[Ladder], DataFacts]:
    stage = StageFolder(root / "data", "print")
    stage.begin()
    facts = ingest(source, stage, root, **{"max_rejected": 0.0, **options})
    return read_ladders(root / "data", root), facts


def test_pictures_inside_rows_go_to_the_run_and_nowhere_else(tmp_path: Path) -> None:
    rows = [pair(n % 4) | {"id": n} for n in range(SHARD_SIZE + 7)]
    path = parquet(tmp_path / "user" / "p.parquet", rows)
    (tmp_path / "user").chmod(0o555)
    ladders, facts = ingested(Source(path), tmp_path / "run")
    assert [p.name for p in (tmp_path / "user").iterdir()] == ["p.parquet"]
    assert (facts.ladders, facts.images, len(list((tmp_path / "run" / "images").iterdir()))) == (135, 4, 4)
    assert [Path(ladder.images[0].path).read_bytes() for ladder in ladders] == [jpeg(n % 4) for n in range(135)]


def test_a_broken_picture_inside_a_row_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    rows = [pair(0) | {"id": 0}, pair(1) | {"id": 1}, pair(2) | {"id": 2}]
    rows[1]["image"]["bytes"] = noise(1)[:-40]
    rows[2]["image"]["bytes"] = b"no picture"
    ladders, facts = ingested(Source(parquet(tmp_path / "p.parquet", rows)), tmp_path / "run", max_rejected=1.0)
    assert [ladder.id for ladder in ladders] == ["0"]
    assert sum(facts.reasons.values()) == 2
    assert any("truncated" in reason for reason in facts.reasons)
    assert len(list((tmp_path / "run" / "images").iterdir())) == 1


def noise(seed: int) -> bytes:
    buffer = io.BytesIO()
    Pictures.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_shards_are_written_while_records_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path, "a.png")
    path = text(tmp_path / "p.jsonl", lines([record(n) for n in range(5 * SHARD_SIZE)]))
    seen: list[int] = []
    real = ingest_module.write_shard
    stage = tmp_path / "run" / "data"
    monkeypatch.setattr(ingest_module, "write_shard", lambda *given: real(*given) or seen.append(len(shards(stage))))
    ingested(Source(path), tmp_path / "run")
    assert seen == [1, 2, 3, 4, 5]


def test_columns_of_other_names_become_ladders(tmp_path: Path) -> None:
    rows = [{"frage": f"Q{n}?", "photo": {"bytes": jpeg(n), "path": "x"}, "good": "yes", "bad": "no"} for n in (1, 2)]
    columns = {"prompt": "frage", "images": "photo", "chosen": "good", "rejected": "bad"}
    ladders, facts = ingested(Source(parquet(tmp_path / "p.parquet", rows), columns=columns), tmp_path / "run")
    assert facts.format == "trl"
    assert [ladder.prompt[0]["content"] for ladder in ladders] == ["<image>\nQ1?", "<image>\nQ2?"]
    assert [[r.text for r in ladder.responses] for ladder in ladders] == [["yes", "no"]] * 2
