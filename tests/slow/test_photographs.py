"""Sixty real photographs through every stage: the small models talk nonsense about them, and everything still works."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.slow import running

pytestmark = pytest.mark.slow
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    if not (DATA / "coco_photos").is_dir():
        pytest.skip("the folder of public photographs is not here")
    folder = tmp_path_factory.mktemp("photos")
    records = json.loads((DATA / "coco_photos" / "annotations.json").read_text())
    prompts = [
        {
            "id": record["image_id"],
            "image": record["image"],
            "conversations": [
                {"from": "human", "value": "<image>\nDescribe the picture in detail."},
                {"from": "gpt", "value": f"The picture shows a {' and a '.join(record['objects'][:3] or ['wall'])}."},
            ],
        }
        for record in records
    ]
    (folder / "prompts.json").write_text(json.dumps(prompts))
    for part in ("chair", "pope"):
        (folder / "eval" / part).mkdir(parents=True)
    shutil.copytree(DATA / "coco_photos" / "images", folder / "eval" / "images")
    shutil.copy(DATA / "chair" / "synonyms_lisaanne.txt", folder / "eval" / "chair" / "synonyms.txt")
    write_lines(
        folder / "eval/chair/questions.jsonl",
        [{"question_id": n, "image": r["image"], "text": "Describe the picture."} for n, r in enumerate(records)],
    )
    (folder / "eval/chair/objects.json").write_text(json.dumps({r["image"]: r["objects"] for r in records}))
    questions = [
        {"question_id": 2 * n + k, "image": r["image"], "text": f"Is there a {name} in the image?", "label": label}
        for n, r in enumerate(records)
        for k, (name, label) in enumerate([((r["objects"] or ["wall"])[0], "yes"), ("zebra", "no")])
        if label == "yes" or "zebra" not in r["objects"]
    ]
    write_lines(folder / "eval/pope/random.json", questions)
    recipe = {
        "name": "photos",
        "data": {"prompts": str(folder / "prompts.json"), "images": str(DATA / "coco_photos" / "images")},
        "generate": {"method": "experts", "experts": ["world:m", "world:s"], "sampling": {"max_new_tokens": 48}},
        "check": {"checker": "autocheck", "encoder": "world:clip", "threshold": 0.85, "parser": "builtin"},
        "align": {"model": "world:s", "objective": {"name": "mdpo"}, "epochs": 2},
        "evaluate": {"benchmarks": ["chair", "pope"], "data": str(folder / "eval"), "judge": None},
    }
    (folder / "photos.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_stage_takes_real_photographs(photographs):
    out = photographs / "run"
    code, output = running.finish(["run", photographs / "photos.yaml", "--out", out])
    assert code == 0, output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["base"]["chair_i"]["n"] == 60
    assert 0 <= metrics["aligned"]["pope_accuracy"]["value"] <= 1
    assert len(list((out / "images").iterdir())) == 60
    assert (out / "report.html").stat().st_size > 50_000
