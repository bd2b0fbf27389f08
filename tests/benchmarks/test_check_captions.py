"""The proof of the check, on four captions of four pictures that were made for it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import check_captions
from seelevel.models.base import Completion, Prompt, Sampling
from seelevel.naming import named_model
from seelevel.world.pictures.drawing import picture
from seelevel.world.pictures.scenes import draw_scenes

# Of dog and cat in the picture: both (P 1, R 1), one (1, 1/2), both and an absent bear (2/3, 1), the bear (0, 0).
CAPTIONS = ["A dog and a cat.", "A dog.", "A dog and a cat and a bear.", "A bear."]


class Longer:
    """A judge that rates a caption by its words, which come shuffled."""

    name = "longer"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        assert all(Path(prompt.images[0]).is_file() for prompt in prompts)
        texts = [re.findall(r'"(A [^"]*)"', prompt.messages[0]["content"]) for prompt in prompts]
        return [Completion(f"Ratings: {[len(text.split()) for text in found]}", 3, True) for found in texts]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("captions_opera", "captions_pope", "chair", "pictures"):
        (tmp_path / folder).mkdir()
    (tmp_path / "chair" / "synonyms_lisaanne.txt").write_text("dog\ncat\nbear\n")
    objects = {str(image): ["dog", "cat"] for image in range(1, 5)}
    (tmp_path / "chair" / "coco2014_trainval_imid_to_objects.json").write_text(json.dumps(objects))
    for n, caption in enumerate(CAPTIONS):
        lines = [json.dumps({"image_id": image, "caption": caption}) + "\n" for image in range(1, 5)]
        for name in (f"captions_pope/{n}", f"captions_opera/instructblip_{n}", f"captions_opera/llava-1.5_{n}"):
            (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    for image, scene in enumerate(draw_scenes("dev", 4), 1):
        picture(scene).save(tmp_path / "pictures" / f"COCO_val2014_{image:012}.png")
    return tmp_path


def test_every_checker_is_measured_against_the_truth(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = named_model("world:clip").path
    options = ["--data", str(data), "--encoders", "words", "--clip", clip, "--pictures", str(data / "pictures")]
    options += ["--judge", "tests.benchmarks.test_check_captions:Longer"]
    report = check_captions.main([*options, "--json", str(data / "rows.json")])
    assert json.loads((data / "rows.json").read_text()) == report

    def value(checker: str, truth: str, standards: str) -> Any:
        rows = [row for row in report["rows"] if (row["checker"], row["truth"]) == (checker, truth)]
        return next(row["value"] for row in rows if row["standards"] == standards)

    assert value("objects, annotated (the truth itself)", "f1", "each") == 1
    # The standard is caption 0. Recall of the others is 1/2, 1, 0 and their lengths are 2, 8, 2: two of three pairs
    # alike, one tied in length: 2 / √(2 · 3).
    assert value("longer first", "recall", "best") == pytest.approx(2 / 6**0.5)
    assert value("shorter first", "recall", "best") == pytest.approx(-2 / 6**0.5)
    assert -1 <= value("image", "f1", "each") <= 1
    assert value("judge", "recall", "best") == value("longer first", "recall", "best")
    checkers = {row["checker"] for row in report["rows"] if row["checker"].startswith("autocheck words, ")}
    assert {name.split(", ")[1].split(" ")[0] for name in checkers} == set(check_captions.RULES)
    assert report["settings"]["images"]["pope, 3 models"] == [2, 2]
    assert "pope, 3 models, standards best" in capsys.readouterr().out
