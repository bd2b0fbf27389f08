"""Loading parsers, and training one."""

import json
from pathlib import Path

import pytest
import spacy

from seelevel.errors import InputError
from seelevel.language.parse import BUILTIN, load_parser, parser_fingerprint
from seelevel.language.treebank import evaluate_parser, read_treebank, train_parser

TREEBANK = """# text = A dog sees cats.
1	A	a	DET	DT	_	2	det	_	_
2	dog	dog	NOUN	NN	_	3	nsubj	_	_
3	sees	see	VERB	VBZ	_	0	root	_	_
4	cats	cat	NOUN	NNS	_	3	obj	_	SpaceAfter=No
5	.	.	PUNCT	.	_	3	punct	_	_
"""


@pytest.fixture
def treebank(tmp_path: Path) -> Path:
    folder = tmp_path / "treebank"
    folder.mkdir()
    for part in ("train", "dev"):
        (folder / f"en_tiny-ud-{part}.conllu").write_text("\n".join([TREEBANK] * 40) + "\n")
    return folder


@pytest.mark.unit
def test_a_parser_that_is_not_installed_is_the_users_mistake() -> None:
    with pytest.raises(InputError, match="'en_core_web_trf' is neither a folder nor an installed spaCy package"):
        load_parser("en_core_web_trf")
    with pytest.raises(InputError, match="'en_core_web_trf' is neither"):
        parser_fingerprint("en_core_web_trf")


@pytest.mark.unit
def test_a_parsers_fingerprint_changes_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.cfg").write_text("one")
    before = parser_fingerprint(str(tmp_path))
    assert parser_fingerprint(str(tmp_path)) == before
    (tmp_path / "config.cfg").write_text("two")
    assert parser_fingerprint(str(tmp_path)) != before


@pytest.mark.unit
def test_a_folder_without_pipeline_or_parser_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.cfg"):
        load_parser(str(tmp_path))
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(InputError, match="has no dependency parser"):
        load_parser(str(tmp_path / "blank"))


@pytest.mark.unit
def test_a_treebank_without_a_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0 files are called \*-ud-train\.conllu"):
        read_treebank(tmp_path, "train")


@pytest.mark.unit
def test_training_does_not_overwrite_a_folder_without_a_parser(tmp_path: Path, treebank: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"out exists .* parser"):
        train_parser(treebank, tmp_path / "out", max_steps=1)


@pytest.mark.slow
def test_a_trained_parser_is_a_pipeline_that_learns_its_treebank(tmp_path: Path, treebank: Path) -> None:
    out = train_parser(treebank, tmp_path / "out", max_steps=60, seed=1)
    scores = evaluate_parser(str(out), treebank)
    assert scores["las"] > 0.9
    assert scores["tag_accuracy"] > 0.9
    assert scores["chunk_f1"] > 0.9


@pytest.mark.unit
def test_the_shipped_parser_is_small_and_holds_no_path() -> None:
    files = [path for path in BUILTIN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    assert "/tmp" not in (BUILTIN / "config.cfg").read_text()
    assert json.loads((BUILTIN / "meta.json").read_text())["license"] == "CC BY-SA 4.0"


def test_gold_chunks_grow_by_the_same_rules_as_the_parsers(tmp_path: Path) -> None:
    # Trees straight from the converter know neither punctuation nor lower case: 'dog.' and 'An image' would be chunks.
    rows = [
        ("An", "DET", "DT", 2, "det"),
        ("image", "NOUN", "NN", 3, "nsubj"),
        ("shows", "VERB", "VBZ", 0, "root"),
        ("a", "DET", "DT", 5, "det"),
        ("dog", "NOUN", "NN", 3, "obj"),
        (".", "PUNCT", ".", 5, "punct"),
    ]
    lines = [
        f"{n}\t{word}\t_\t{part}\t{tag}\t_\t{head}\t{label}\t_\t{'SpaceAfter=No' if word == 'dog' else '_'}"
        for n, (word, part, tag, head, label) in enumerate(rows, 1)
    ]
    (tmp_path / "en_tiny-ud-dev.conllu").write_text("\n".join([*lines, ""]))
    scores = evaluate_parser("builtin", tmp_path)
    assert (scores["chunk_precision"], scores["chunk_recall"]) == (1, 1)
