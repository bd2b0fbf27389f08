"""A preference set in the form of the hub, a folder of Parquet with pictures, to an aligned model: four commands."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image as Pictures

from tests.formats.containers import jpeg
from tests.slow import running

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "set").mkdir()
    for shard in range(2):
        rows = [
            {
                "ds_name": "made",
                "image": {"bytes": jpeg(40 * shard + n, (96, 64)), "path": f"{n}.jpg"},
                "question": "Describe the image.",
                "chosen": f"The image shows a red bed and {n} trees.",
                "rejected": f"There is a green dog and {n} cats.",
                "idx": n,
            }
            for n in range(6)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / f"train-0000{shard}-of-00002.parquet")
    (tmp_path / "questions" / "capability").mkdir(parents=True)
    (tmp_path / "questions" / "images").mkdir()
    Pictures.new("RGB", (64, 64), "red").save(tmp_path / "questions" / "images" / "a.png")
    asked = {"question_id": 1, "image": "a.png", "text": "What colour is it?", "label": "red", "category": "colour"}
    (tmp_path / "questions" / "capability" / "questions.jsonl").write_text(json.dumps(asked) + "\n")
    (tmp_path / "set").chmod(0o555)
    settings = {
        "name": "pairs",
        "data": {"prompts": "$SET/set", "columns": {"prompt": "question"}},
        "generate": {"method": "given"},
        "check": None,
        "align": {"model": "world:xs", "objective": {"name": "dpo"}, "epochs": 1, "ladders_per_step": 4},
        "evaluate": {"benchmarks": ["capability"], "data": str(tmp_path / "questions")},
    }
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "pairs.yaml"


def test_four_commands_lead_from_the_set_to_a_report(recipe, monkeypatch):
    folder = recipe.parent
    monkeypatch.setenv("SET", str(folder))
    out = ["--out", folder / "run"]
    printed = []
    for command in (
        ["inspect", folder / "set", "--columns", "prompt=question"],
        ["doctor", recipe],
        ["run", recipe, *out, "--dry-run"],
        ["run", recipe, *out],
    ):
        code, output = running.finish(command)
        assert code == 0, output
        printed.append(output)
    assert "prompt=question" in printed[0]
    assert "12 records" in printed[2]
    assert "align: 12 ladders" in printed[3]
    assert (folder / "run" / "report.html").is_file()
    assert len(list((folder / "run" / "images").iterdir())) == 12
    assert sorted(path.suffix for path in (folder / "set").iterdir()) == [".parquet", ".parquet"]
