"""A preference set in the form of the hub, a folder of Parquet with pictures, to an aligned model: four commands.

The model is of a current family, tiny and random, with its family's own processor. Of these, Gemma 3's alone needs no
torchvision; `make test-families` runs two others.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.real_processors.families import FAMILIES, TORCHVISION, make_photograph
from tests.slow import running

pytestmark = pytest.mark.slow
NEEDS_TORCHVISION = [
    pytest.mark.real_processor,
    pytest.mark.skipif(not TORCHVISION, reason="the family's processor needs torchvision: make test-families"),
]
SIZES = ((120, 70), (60, 130), (56, 56))


@pytest.fixture(params=["gemma3", *(pytest.param(name, marks=NEEDS_TORCHVISION) for name in ("qwen2_5_vl", "smolvlm"))])
def recipe(request, tmp_path):
    (tmp_path / "set").mkdir()
    model = FAMILIES[request.param].save(tmp_path / "model")
    photographs = [make_photograph(tmp_path / f"{n}.jpg", *SIZES[n % 3], n) for n in range(12)]
    for shard in range(2):
        rows = [
            {
                "ds_name": "made",
                "image": {"bytes": Path(photographs[6 * shard + n]).read_bytes(), "path": f"{n}.jpg"},
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
    make_photograph(tmp_path / "questions" / "images" / "a.png", *SIZES[0], 0)
    asked = {"question_id": 1, "image": "a.png", "text": "What colour is it?", "label": "red", "category": "colour"}
    (tmp_path / "questions" / "capability" / "questions.jsonl").write_text(json.dumps(asked) + "\n")
    (tmp_path / "set").chmod(0o555)
    settings = {
        "name": "pairs",
        "data": {"prompts": "$SET/set", "columns": {"prompt": "question"}},
        "generate": {"method": "given"},
        "check": None,
        "align": {
            "model": str(model),
            "objective": {"name": "dpo"},
            "epochs": 1,
            "ladders_per_step": 4,
            "learning_rate": 1e-2,
            "warmup_steps": 0,
        },
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
    assert "layout shared" in printed[3]
    before, after = (load_file(path / "model.safetensors") for path in (folder / "model", folder / "run/align/model"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert (folder / "run" / "report.html").is_file()
    assert len(list((folder / "run" / "images").iterdir())) == 12
    assert sorted(path.suffix for path in (folder / "set").iterdir()) == [".parquet", ".parquet"]
