"""HallusionBench as a benchmark of `seelevel evaluate`, with the figures of `score`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import seelevel.models
from seelevel import report
from seelevel.compare.figures import compare
from seelevel.errors import InputError
from seelevel.models.base import Prompt, Sampling
from seelevel.naming import named_model
from seelevel.report.settings import ReportSettings
from seelevel.scorers import find_scorer, hallusion
from seelevel.scorers.intervals import figures
from seelevel.scorers.settings import EvaluateSettings
from tests.formats.made import picture
from tests.scorers.asked import asked, run, values

HALLUSION = [
    ("VD/illusion/0/0/0", "1", "Are the circles equal?"),
    ("VD/illusion/0/0/1", "0", "Is the left one larger?"),
    ("VD/illusion/0/1/0", "0", "Are the circles equal?"),
    ("VD/illusion/0/1/1", "1", "Is the left one larger?"),
    ("VD/illusion/1/0/0", "1", "Is the line straight?"),
    ("VS/chart/0/0/0", "1", "Is China the largest?"),
    ("VS/chart/0/1/0", "0", "Is China the largest?"),
]


@pytest.fixture
def hallusion_data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "hallusion").mkdir(parents=True)
    records = []
    for n, (place, truth, question) in enumerate(HALLUSION):
        category, subcategory, group, figure, number = place.split("/")
        pictured = not (category == "VS" and figure == "0")
        file = f"hallusion_bench/{category}/{subcategory}/{group}_{figure}.png"
        if pictured:
            picture(data / "images", file, n)
        records.append(
            {
                "category": category,
                "subcategory": subcategory,
                "visual_input": str(int(pictured)),
                "set_id": group,
                "figure_id": figure,
                "question_id": number,
                "question": question,
                "gt_answer": truth,
                "filename": f"./{file}" if pictured else None,
            }
        )
    (data / "hallusion" / "HallusionBench.json").write_text(json.dumps(records))
    return data


def hallusion_answer(prompt: Prompt) -> str:
    """Wrong about the left circle of the second figure, and unsure without a picture."""
    image, question = asked(prompt)
    if not prompt.images:
        return "It is hard to tell."
    right = {("0_0.png", "Are the circles equal?"): "Yes.", ("1_0.png", "Is the line straight?"): "Yes, it is."}
    return right.get((image, question), "No.")


@pytest.mark.unit
@pytest.mark.parametrize("rule", ["published", "strict"])
def test_hallusionbench_is_scored_as_by_the_command(
    hallusion_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    settings = {"benchmarks": ["hallusion"], "rule": rule}
    speakers, metrics = run(
        tmp_path, hallusion_data, monkeypatch, settings, base=hallusion_answer, aligned=lambda _: "Yes."
    )
    questions = hallusion_data / "hallusion" / "HallusionBench.json"
    for side in speakers:
        scored = hallusion.score_files(tmp_path / "evaluate" / side / "hallusion.jsonl", questions, rule)
        names = ("a_acc", "q_acc", "f_acc")
        wanted = {f"hallusion_{name}": scored[name] for name in names}
        for category, of_category in scored["per_category"].items():
            wanted |= {f"hallusion_{category}_{name}": of_category[name] for name in names}
        assert values(metrics, side) == pytest.approx(wanted)
        assert scored["missing"] == 0
    if rule == "published":  # by hand: 6 of 7 right; of 4 pairs one is broken; of 4 figures one
        assert values(metrics)["hallusion_a_acc"] == 6 / 7
        assert values(metrics)["hallusion_q_acc"] == 3 / 4
        assert values(metrics)["hallusion_f_acc"] == 3 / 4
    without = [prompt for prompt, _ in speakers["base"].asked if not prompt.images]
    assert [str(prompt.messages[-1]["content"]) for prompt in without] == ["Is China the largest?"]
    record = json.loads((tmp_path / "evaluate" / "base" / "hallusion.jsonl").read_text().splitlines()[5])
    assert record["image"] is None and record["group"] == "VS/chart/0"


@pytest.mark.unit
def test_a_draw_of_hallusionbench_has_whole_pairs_and_figures(
    hallusion_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, metrics = run(
        tmp_path,
        hallusion_data,
        monkeypatch,
        {"benchmarks": ["hallusion"]},
        base=hallusion_answer,
        aligned=hallusion_answer,
    )
    assert metrics["settings"]["groups"] == {"hallusion": 3}  # three sets
    rows = [json.loads(line) for line in (tmp_path / "evaluate" / "base" / "hallusion.jsonl").read_text().splitlines()]
    [drawn] = {row["group"] for row in rows if row["pair_right"] is False}
    scorer = find_scorer("hallusion")
    assert scorer.measures is not None
    twice = [row for row in rows if row["group"] == drawn] * 2
    alone = figures(scorer.measures(twice), [{**row, "cluster": row["group"]} for row in twice])
    assert alone["hallusion_q_acc"]["value"] == alone["hallusion_f_acc"]["value"] == 1 / 2
    [compared] = compare([f"{tmp_path}:base", str(tmp_path)]).benchmarks
    assert {name: by_side["A"] for name, by_side in compared.figures.items() if name != "words"} == metrics["base"]
    assert "HallusionBench qAcc" in report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")


@pytest.mark.unit
def test_a_model_of_the_world_answers_without_a_picture() -> None:
    model = seelevel.models.load_model(named_model("world:xs").path)
    user = [{"role": "user", "content": "Is there a dog?"}]
    [completion] = model.generate([Prompt(user)], Sampling(max_new_tokens=4))  # type: ignore[list-item]
    assert completion.text and not completion.note


@pytest.mark.unit
def test_hallusionbench_names_a_missing_picture_and_a_repeated_question(hallusion_data: Path) -> None:
    settings = EvaluateSettings(data="x", benchmarks=["hallusion"])
    file = hallusion_data / "hallusion" / "HallusionBench.json"
    records = json.loads(file.read_text())
    file.write_text(json.dumps([*records, records[0]]))
    with pytest.raises(InputError, match=r"record 8: question VD/illusion/0/0/0 is in .*record 1 already; keep one"):
        find_scorer("hallusion").benchmark(hallusion_data, settings)
    file.write_text(json.dumps(records))
    (hallusion_data / "images" / "hallusion_bench" / "VD" / "illusion" / "1_0.png").unlink()
    with pytest.raises(InputError, match=r"record 5: no image .*1_0\.png in .*; put it there"):
        find_scorer("hallusion").benchmark(hallusion_data, settings)
