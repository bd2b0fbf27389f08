"""`seelevel export`: a finished run becomes folders that need nothing of this package."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import load_dataset

from seelevel.errors import InputError
from seelevel.export import export, weights
from seelevel.formats import read
from seelevel.formats.parquet import read_ladders
from seelevel.ladder import Ladder
from seelevel.models.weights import MODEL
from seelevel.store import WRITING
from seelevel.world import model_path
from tests.export.made import WORSE, make_run
from tests.export.plain import Task, answers, printed

SMALL = ["config.json", "generation_config.json", "processor_config.json", "tokenizer.json", "chat_template.jinja"]
QUESTIONS = ["Describe this picture in detail.", "What is in the picture?"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "small"
    make_run(root)
    return root


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return export(run)


def front(card: Path) -> Any:
    head, _, text = card.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    assert text.strip()
    return yaml.safe_load(head)


def test_merged_weights_answer_in_a_plain_process_as_base_and_adapter(run: Path, exported: Path) -> None:
    base = model_path("s")
    for name in SMALL:
        assert (exported / "model" / name).read_bytes() == (base / name).read_bytes()
    assert not list((exported / "model").glob("adapter*")) and (exported / "model" / MODEL).is_file()
    questions = tuple((str(picture), q) for picture in sorted((run / "images").iterdir())[:4] for q in QUESTIONS)
    merged, adapted, before = answers(
        Task(str(exported / "model"), questions=questions),
        Task(str(run / "align" / "adapter"), base=str(base), questions=questions),
        Task(str(base), questions=questions),
    )
    assert merged == adapted != before


def test_the_model_card_says_what_the_run_knows(exported: Path) -> None:
    card = (exported / "model" / "README.md").read_text(encoding="utf-8")
    assert front(exported / "model" / "README.md") == {
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["seelevel", "preference-alignment", "mdpo"],
        "license": "apache-2.0",
    }
    for part in (
        "| CHAIRi ↓ | 20.9% (15.5% to 26.4%) | 10.5% (6.2% to 15.1%) | −10.4 points (−15.7 to −5.4) | 30 | better |",
        "### What got worse\n\n- Capability (colour, count and place questions answered exactly): 60.0% before, ",
        "40.0% after; −20.0 points (−30.0 to −10.0).\n",
        "| Training | mdpo",
        "| Training time | 2.5 s in float32 on cpu, of 12.5 s for the run |",
        "| Seed | 0 |",
        "4 ladders with 8 responses, from which 4 pairs about 4 pictures follow.",
        "learning_rate: 0.02",
        "world:oracle judged",
    ):
        assert part in card
    assert "Describe this" not in card and str(exported.parents[1]) not in card


def test_the_data_are_read_by_datasets_and_by_ourselves(run: Path, exported: Path) -> None:
    folder = exported / "data"
    card = front(folder / "README.md")
    assert {entry["data_files"] for entry in card["configs"]} == {"trl.jsonl", "llamafactory.json", "swift.jsonl"}
    for entry in card["configs"]:
        rows = load_dataset("json", data_files=str(folder / entry["data_files"]), split="train")
        assert len(rows) == 4
        assert all((folder / image).is_file() for images in rows["images"] for image in images)
        found = list(read(folder / entry["data_files"]))
        texts = {tuple(r.text for r in ladder.responses) for ladder in found if isinstance(ladder, Ladder)}
        assert texts == {tuple(r.text for r in ladder.responses) for ladder in read_ladders(run / "check", run)}
    assert all(pair[1] == WORSE for pair in texts)
    info = json.loads((folder / "dataset_info.json").read_text())
    assert info["small"]["file_name"] == "llamafactory.json" and info["small"]["ranking"]


def test_the_adapter_alone_is_exported(run: Path, tmp_path: Path) -> None:
    out = export(run, tmp_path / "out", adapter=True)
    assert not (out / "model").exists()
    assert (out / "adapter" / "adapter_model.safetensors").read_bytes() == (
        run / "align" / "adapter" / "adapter_model.safetensors"
    ).read_bytes()
    assert front(out / "adapter" / "README.md")["library_name"] == "peft"


def test_the_code_of_both_cards_runs_as_it_stands(run: Path, exported: Path, tmp_path: Path) -> None:
    adapter = export(run, tmp_path / "out", adapter=True) / "adapter"
    picture = str(min((run / "images").iterdir()))
    shown = []
    for folder in (exported / "model", adapter):
        code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)[0]
        places = {"this folder": str(folder), "the base model": str(model_path("s")), "picture.png": picture}
        for place, own in places.items():
            code = code.replace(f'"{place}"', repr(own))
        shown.append(printed(code))
    assert shown[0] == shown[1] and "What is in the picture?" in shown[0]


def test_full_weights_are_exported_under_the_bases_files(tmp_path: Path) -> None:
    make_run(tmp_path / "run", lora=None, learning_rate=3.0e-3)
    out = export(tmp_path / "run")
    assert (out / "model" / "config.json").read_bytes() == (model_path("s") / "config.json").read_bytes()
    picture = min((tmp_path / "run" / "images").iterdir())
    questions = tuple((str(picture), question) for question in QUESTIONS)
    written, trained = answers(
        *(Task(str(f), questions=questions) for f in (out / "model", tmp_path / "run/align/model"))
    )
    assert written == trained
    with pytest.raises(InputError, match="no adapter; leave out --adapter"):
        export(tmp_path / "run", tmp_path / "other", adapter=True)


def test_another_number_format_is_named_in_the_config(run: Path, tmp_path: Path) -> None:
    out = export(run, tmp_path / "out", dtype="bfloat16")
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "rounded once to BF16" in (out / "model" / "README.md").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_export_leaves_nothing_and_can_be_repeated(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    whole = weights._write

    def broken(*arguments: Any) -> None:
        whole(*arguments)
        raise error

    monkeypatch.setattr(weights, "_write", broken)
    with pytest.raises(error):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    export(run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and not list(tmp_path.glob(f"{WRITING}*"))


@pytest.mark.parametrize("lost", ["data", "check", "align", "evaluate", "metrics.json", "recipe.yaml"])
def test_a_run_that_is_not_finished_is_refused_in_a_line(run: Path, tmp_path: Path, lost: str) -> None:
    root = tmp_path / "run"
    shutil.copytree(run, root, ignore=shutil.ignore_patterns("export", "images"))
    if (root / lost).is_dir():
        (root / lost / "manifest.json").unlink()
    else:
        (root / lost).unlink()
    with pytest.raises(InputError) as caught:
        export(root)
    message = str(caught.value)
    assert "\n" not in message and str(root) in message and "seelevel run" in message
    assert not (root / "export").exists()


def test_folders_in_use_are_refused_and_stand(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for out in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt", run, run / "align" / "new"):
        with pytest.raises(InputError, match="choose another --out"):
            export(run, out)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
    with pytest.raises(InputError, match="not a run folder"):
        export(tmp_path / "typo", tmp_path / "out")
