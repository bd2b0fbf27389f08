"""Real photographs, in every form that people have them in, go through the data step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from seelevel.formats.ingest import ingest
from seelevel.formats.sources import Source
from seelevel.store import StageFolder
from tests.formats.made import record, write

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "coco_photos" / "images"


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of ../shared/data/coco_photos are not here")
def test_photographs_in_every_form_that_people_have_go_in(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    photos = sorted(PHOTOS.iterdir())
    for photo in photos:
        (folder / photo.name).write_bytes(photo.read_bytes())
    with Pictures.open(photos[0]) as opened:
        photo = opened.convert("RGB")
    exif = Pictures.Exif()
    exif[0x0112] = 6
    photo.convert("L").save(folder / "grey.jpg")
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("P").save(folder / "palette.png")
    photo.convert("RGBA").save(folder / "alpha.png")
    photo.save(folder / "turned.jpg", exif=exif)
    photo.resize((1, 1)).save(folder / "one.png")
    photo.resize((8660, 5774)).save(folder / "fifty.jpg")
    Pictures.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257).save(folder / "deep.png")
    names = sorted(p.name for p in folder.iterdir())
    photo.resize((808, 8)).save(folder / "thin.png")
    prompts = write(tmp_path / "prompts.json", [record(name, name) for name in [*names, "thin.png"]])
    root = tmp_path / "run"
    stage = StageFolder(root / "data", "print")
    stage.begin()
    facts = ingest(Source(prompts, folder), stage, root, max_rejected=0.05)
    assert (facts.ladders, facts.reasons) == (68, {"image: aspect ratio 101, over 100": 1})
    assert len(list((root / "images").iterdir())) == 68
