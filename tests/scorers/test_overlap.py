"""Training pictures in an evaluation set: the same, saved again, or resized; and how a run says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

import seelevel.models
from seelevel import evaluate, report
from seelevel.formats.parquet import write_shard
from seelevel.ladder import Image, Ladder, Message
from seelevel.models.base import Completion, ModelRef
from seelevel.naming import Names
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.report.settings import ReportSettings
from seelevel.scorers import overlap
from seelevel.scorers.overlap import look_at, looks_of, near_pairs
from seelevel.scorers.settings import EvaluateSettings
from seelevel.store import StageFolder

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "coco_photos" / "images"
Change = Callable[[Pictures.Image], Pictures.Image]
CHANGES: dict[str, Change] = {
    "saved again": lambda picture: picture,
    "half": lambda picture: picture.resize((picture.width // 2, picture.height // 2), Pictures.Resampling.LANCZOS),
    "square": lambda picture: picture.resize((336, 336), Pictures.Resampling.BICUBIC),
}


def drawn(seed: int, size: tuple[int, int] = (160, 120)) -> Pictures.Image:
    """A smooth picture of many colours, another one for each seed."""
    few = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Pictures.fromarray(few).resize(size, Pictures.Resampling.BICUBIC)


def saved(picture: Pictures.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def nearly(one: Path, other: Path) -> bool:
    looks = looks_of([one, other])
    return list(near_pairs([looks[one]], [looks[other]])) == [(0, 0)]


@pytest.mark.unit
def test_equal_pixels_are_the_same_in_another_file(tmp_path: Path) -> None:
    first, copy = saved(drawn(1), tmp_path / "a.png"), saved(drawn(1), tmp_path / "b.bmp")
    other = saved(drawn(1, (120, 160)), tmp_path / "c.png")
    looks = looks_of([first, copy, other])
    assert looks[first].pixels == looks[copy].pixels != looks[other].pixels


@pytest.mark.unit
@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_saved_again_or_resized_is_nearly_the_same(tmp_path: Path, change: str) -> None:
    for seed in range(8):
        first = saved(drawn(seed), tmp_path / f"{seed}.png")
        again = saved(CHANGES[change](drawn(seed)), tmp_path / f"{seed}-{change}.jpg", quality=60)
        assert looks_of([first])[first].pixels != looks_of([again])[again].pixels
        assert nearly(first, again)
        assert not nearly(first, saved(drawn(seed + 100), tmp_path / f"{seed}-other.jpg"))


@pytest.mark.unit
def test_pictures_are_compared_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "BLOCK", 3)
    paths = [saved(drawn(n), tmp_path / f"{n}.png") for n in range(8)]
    looks = looks_of(paths)
    wanted = [looks[path] for path in (paths[7], paths[2])]
    assert list(near_pairs(wanted, [looks[path] for path in paths])) == [(1, 2), (0, 7)]


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="../shared/data/coco_photos is not there")
@pytest.mark.parametrize("change", CHANGES)
def test_each_real_photograph_is_near_its_copy_and_no_other(tmp_path: Path, change: str) -> None:
    photos = sorted(PHOTOS.iterdir())
    copies = [saved(CHANGES[change](Pictures.open(p).convert("RGB")), tmp_path / p.name, quality=40) for p in photos]
    looks = looks_of([*photos, *copies])
    pairs = near_pairs([looks[p] for p in photos], [looks[c] for c in copies])
    assert list(pairs) == [(n, n) for n in range(len(photos))]


@pytest.mark.unit
def test_flat_pictures_and_faint_drawings_are_not_taken_for_each_other(tmp_path: Path) -> None:
    grey = [saved(Pictures.new("RGB", (64, 64), (c, c, c)), tmp_path / f"{c}.png") for c in (200, 201)]
    assert not nearly(*grey)
    tables = []
    for n in (8, 40):  # two thin lines on white, as in tables and charts
        page = Pictures.new("RGB", (64, 64), "white")
        page.paste((230, 230, 230), (n, 0, n + 2, 64))
        tables.append(saved(page, tmp_path / f"table-{n}.png"))
    assert not nearly(*tables)


@pytest.mark.unit
def test_looks_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [saved(drawn(n), tmp_path / f"{n}.png") for n in range(3)]
    opened: list[Path] = []
    monkeypatch.setattr(overlap, "look_at", lambda path: opened.append(path) or look_at(path))
    first = looks_of(paths)
    assert sorted(opened) == paths
    opened.clear()
    assert looks_of(paths) == first and not opened
    saved(drawn(9), paths[1])
    assert looks_of(paths)[paths[1]] != first[paths[1]] and opened == [paths[1]]
    [kept] = (overlap.cache_folder() / "looks").iterdir()
    kept.write_bytes(kept.read_bytes()[:-30])  # a crash
    opened.clear()
    assert looks_of(paths)[paths[0]] == first[paths[0]] and sorted(opened) == paths


class Speaker:
    name = "speaker"

    def generate(self, prompts: Any, sampling: Any) -> list[Completion]:
        return [Completion("A dog.", 2, True) for _ in prompts]


def evaluated(root: Path, monkeypatch: pytest.MonkeyPatch, *training: Path) -> dict[str, Any]:
    """A run of `chair` on six pictures. Four are training pictures: two the same, one saved again, one shrunk."""
    data = root / "data"
    for n in range(6):
        saved(drawn(n), data / "images" / f"{n}.png")
    (data / "chair").mkdir(parents=True)
    lines = [json.dumps({"id": n, "image": f"{n}.png", "text": "Describe it."}) for n in range(6)]
    (data / "chair" / "questions.jsonl").write_text("\n".join(lines))
    (data / "chair" / "objects.json").write_text(json.dumps({f"{n}.png": ["dog"] for n in range(6)}))
    (data / "chair" / "synonyms.txt").write_text("dog, puppy\n")
    monkeypatch.setattr(seelevel.models, "load_model", lambda path: Speaker())
    stage = StageFolder(root / "evaluate", "0" * 16)
    stage.begin()
    settings = EvaluateSettings(data=str(data), benchmarks=["chair"])
    models = {side: ModelRef(side, side) for side in ("base", "aligned")}
    evaluate.run(stage, settings, data, models, None, root, 0, training)
    stage.finish()
    metrics: dict[str, Any] = json.loads((root / "metrics.json").read_text())
    return metrics


def learned(root: Path) -> Path:
    """Ladders on seven pictures, one of which is gone."""
    pictures = [
        saved(drawn(0), root / "trained" / "x.bmp"),
        saved(drawn(1), root / "trained" / "y.png"),
        saved(drawn(2), root / "trained" / "z.jpg", quality=70),
        saved(CHANGES["half"](drawn(3)), root / "trained" / "w.jpg"),
        saved(drawn(50), root / "trained" / "v.png"),
        saved(drawn(51), root / "trained" / "u.png"),
        root / "trained" / "gone.png",
    ]
    prompt: list[Message] = [{"role": "user", "content": "<image>\nWhat?"}]
    ladders = [Ladder(path.name, [Image(str(path))], prompt, []) for path in pictures]
    (root / "check").mkdir()
    write_shard(root / "check" / "shard-00000.parquet", ladders, root)
    return root / "check"


@pytest.mark.unit
def test_a_run_reports_its_training_pictures_in_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = evaluated(tmp_path, monkeypatch, learned(tmp_path))
    assert metrics["overlap"] == {
        "training_pictures": 7,
        "unread": 1,
        "benchmarks": {"chair": {"pictures": 6, "same": 2, "near": 2, "first": ["0.png", "1.png", "2.png", "3.png"]}},
    }
    words = (
        "training pictures are in the evaluation: chair 4 of 6, 2 of them nearly the same (0.png, 1.png, 2.png, 3.png)"
    )
    [line] = [line for line in capsys.readouterr().err.splitlines() if "training pictures" in line]
    assert line == f"evaluate: {words}"
    page = report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")
    assert f"Warning: {words}. Figures on these pictures also measure memory." in page


@pytest.mark.unit
def test_an_evaluation_without_training_data_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "overlap" not in evaluated(tmp_path, monkeypatch)
    assert "training pictures" not in capsys.readouterr().err
    assert "Training pictures" not in report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")


@pytest.mark.unit
def test_other_training_pictures_are_said_to_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    path = saved(drawn(77), tmp_path / "trained" / "t.png")
    prompt: list[Message] = [{"role": "user", "content": "<image>\nWhat?"}]
    write_shard(folder / "shard-00000.parquet", [Ladder("t", [Image(str(path))], prompt, [])], tmp_path)
    metrics = evaluated(tmp_path, monkeypatch, folder)
    assert metrics["overlap"]["benchmarks"]["chair"] == {"pictures": 6, "same": 0, "near": 0, "first": []}
    page = report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")
    assert "none of 1 is in the evaluation" in page and "Warning: training pictures" not in page


@pytest.mark.unit
def test_the_ladders_of_every_round_are_training_data(tmp_path: Path) -> None:
    recipe = load_recipe("world-samples", ["rounds=2"])
    last = recipe.of_round(2).before("align")
    assert Run(recipe, tmp_path)._learned() == [Names(recipe, tmp_path).round(1) / last, tmp_path / last]
