"""Train and evaluate the shipped parser on a treebank."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seelevel.errors import InputError
from seelevel.language.parse import load_parser
from seelevel.opening import read_text

if TYPE_CHECKING:
    from spacy.tokens import Doc


TRAINING = Path(__file__).parent / "parser_training.cfg"
PARTS = ("train", "dev")
# Texts hold ten sentences each, so that the parser learns to find their ends.
SENTENCES_PER_TEXT = 10
EVALUATE_EVERY, WARM_UP = 250, 250


def read_treebank(treebank: Path | str, part: str) -> list[Doc]:
    """The gold trees of a Universal Dependencies folder's `*-ud-<part>.conllu`, ten sentences per text.

    Raises `InputError` if the folder or the file is missing.
    """
    from spacy.training.converters import conllu_to_docs

    files = sorted(Path(treebank).glob(f"*-ud-{part}.conllu"))
    if len(files) != 1:
        raise InputError(
            f"treebank {treebank}: {len(files)} files are called *-ud-{part}.conllu, expected one; "
            "give a folder of Universal Dependencies in CoNLL-U"
        )
    return list(conllu_to_docs(read_text(files[0]), n_sents=SENTENCES_PER_TEXT, no_print=True))


def train_parser(treebank: Path | str, out: Path | str, max_steps: int = 5000, seed: int = 0) -> Path:
    """Train the small pipeline of `parser_training.cfg` on a treebank's train part, keeping the best on its dev part.

    Prints spaCy's table of scores every 250 steps. Returns `out`, which holds the pipeline in spaCy's own format.
    Raises `InputError` if the treebank is missing or `out` holds something else.
    """
    from spacy.tokens import DocBin
    from spacy.training.initialize import init_nlp
    from spacy.training.loop import train
    from spacy.util import load_config

    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "config.cfg").is_file():
        raise InputError(f"{out} exists and does not hold a parser; give another folder")
    docs = {part: read_treebank(treebank, part) for part in PARTS}
    with tempfile.TemporaryDirectory() as folder:
        paths = {part: Path(folder) / f"{part}.spacy" for part in PARTS}
        for part, path in paths.items():
            DocBin(docs=docs[part], store_user_data=True).to_disk(path)
        overrides: dict[str, Any] = {f"paths.{part}": str(path) for part, path in paths.items()}
        overrides |= {"system.max_steps": max_steps, "system.seed": seed}
        # Short runs are evaluated at least once, at their end, and warm up in a tenth of their steps.
        overrides["training.eval_frequency"] = min(EVALUATE_EVERY, max_steps)
        overrides["training.optimizer.learn_rate.warmup_steps"] = min(WARM_UP, max_steps // 10)
        nlp = init_nlp(load_config(TRAINING, overrides=overrides, interpolate=False))
        steps = Path(folder) / "steps"
        steps.mkdir()
        train(nlp, steps, stdout=sys.stdout, stderr=sys.stderr)
        _ship(steps / "model-best", out)
    return out


def _ship(trained: Path, out: Path) -> None:
    """Copy a trained pipeline without the paths of the machine it was trained on."""
    import spacy

    nlp = spacy.load(trained)
    nlp.config["paths"] = dict.fromkeys(nlp.config["paths"])
    nlp.meta.update(
        name="seelevel_ud_ewt",
        description="Tagger and dependency parser with Universal Dependencies labels",
        license="CC BY-SA 4.0",
        sources=[{"name": "UD English-EWT", "url": "https://universaldependencies.org", "license": "CC BY-SA 4.0"}],
    )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    nlp.to_disk(out, exclude=["vectors", "lookups"])  # both are empty


def evaluate_parser(path: str, treebank: Path | str, part: str = "dev") -> dict[str, float]:
    """Measure a parser on raw text against a treebank's gold trees.

    Returns fractions: `las`, `uas`, `tag_accuracy` and `sentences_f1` as spaCy scores them (punctuation left out of the
    first two); `chunk_precision`, `chunk_recall` and `chunk_f1`; and `words_per_second`, `words`. A chunk is right if
    the gold trees have a chunk with the same first and last character.
    """
    from spacy.tokens import Doc
    from spacy.training import Example

    from seelevel.language.chunks import doc_chunks

    nlp = load_parser(path)
    # The parser's own vocabulary marks punctuation, which the converter's does not.
    gold = [Doc(nlp.vocab).from_bytes(doc.to_bytes()) for doc in read_treebank(treebank, part)]
    start = time.perf_counter()
    parsed = list(nlp.pipe(doc.text for doc in gold))
    seconds = time.perf_counter() - start
    scores = nlp.evaluate([Example(nlp.make_doc(doc.text), doc) for doc in gold])
    expected = {(n, c.start, c.end) for n, doc in enumerate(gold) for c in doc_chunks(doc)}
    predicted = {(n, c.start, c.end) for n, doc in enumerate(parsed) for c in doc_chunks(doc)}
    right = len(expected & predicted)
    words = sum(len(doc) for doc in parsed)
    return {
        "las": scores["dep_las"],
        "uas": scores["dep_uas"],
        "tag_accuracy": scores["tag_acc"],
        "sentences_f1": scores["sents_f"],
        "chunk_precision": right / max(len(predicted), 1),
        "chunk_recall": right / max(len(expected), 1),
        "chunk_f1": 2 * right / max(len(predicted) + len(expected), 1),
        "words": words,
        "words_per_second": words / seconds,
    }
