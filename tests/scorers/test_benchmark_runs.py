"""AMBER, POPE and Object HalBench as benchmarks of `seelevel evaluate`, with the figures of `score`."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from seelevel import evaluate, report
from seelevel.compare.figures import compare
from seelevel.errors import InputError
from seelevel.models.base import Prompt
from seelevel.report.settings import ReportSettings
from seelevel.scorers import amber, find_scorer, objhal, pope
from seelevel.scorers.settings import EvaluateSettings
from tests.formats.made import picture
from tests.scorers.asked import Answers, asked, run, values

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
AMBER = SHARED / "amber"
real = pytest.mark.skipif(not AMBER.is_dir(), reason="../shared/data/amber is not there")


# -- AMBER ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def amber_data(tmp_path: Path) -> Path:
    """AMBER's own files, and a picture for each of its names."""
    pytest.importorskip("spacy_lookups_data", reason="the extra wordnet is not installed")
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "amber").symlink_to(AMBER)
    one = picture(data, "one.png")
    for n in range(1, 1005):
        (data / "images" / f"AMBER_{n}.jpg").symlink_to(one)
    return data


def amber_answers(careful: bool) -> Answers:
    """LLaVA's real descriptions, and answers of which a quarter are wrong and some neither yes nor no."""
    queries = {(q["image"], q["query"]): q["id"] for q in json.loads((AMBER / "query_all.json").read_text())}
    truths = {a["id"]: a["truth"] for a in json.loads((AMBER / "annotations.json").read_text())}
    real = json.loads((AMBER / "llava-v1.5-7b_generative_166.json").read_text())
    told = {entry["id"]: entry["response"] for entry in real}

    def answer(prompt: Prompt) -> str:
        number = queries[asked(prompt)]
        if number in told:
            return told[number] if careful else told[number] + " There is a dog and a cat on a sofa."
        drawn = random.Random(number).random()
        wrong = {"yes": "No", "no": "Yes"}[truths[number]]
        return wrong if drawn < 0.25 else "It is hard to say." if drawn < 0.3 else truths[number].title()

    return answer


@real
@pytest.mark.parametrize("rule", ["published", "strict"])
def test_ambers_figures_are_those_of_the_command_on_the_same_answers(
    amber_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    settings = {"benchmarks": ["amber"], "limit": 166, "rule": rule, "sampling": {"max_new_tokens": 300}}
    _, metrics = run(
        tmp_path, amber_data, monkeypatch, settings, base=amber_answers(True), aligned=amber_answers(False)
    )
    for side in ("base", "aligned"):
        scored = amber.score_files(tmp_path / "evaluate" / side / "amber.jsonl", AMBER, rule)
        evaluated = values(metrics, side)
        wanted = {f"amber_{name}": scored[name] for name in ("chair", "cover", "hal", "cog")}
        wanted["amber_score"] = scored["amber"]
        for kind, of_kind in scored["kinds"].items():
            name = "amber" if kind == amber.ALL else f"amber_{kind}"
            wanted |= {f"{name}_{figure}": of_kind[figure] for figure in ("accuracy", "precision", "recall", "f1")}
        assert {name: evaluated[name] for name in wanted} == pytest.approx(wanted)
        assert evaluated.keys() - wanted.keys() == {"amber_words"}
    if rule == "published":  # the authors' script on these 166 descriptions
        shown = [f"{100 * values(metrics)[f'amber_{name}']:.1f}" for name in ("chair", "cover", "hal", "cog")]  # type: ignore[operator]
        assert shown == ["7.5", "50.9", "37.3", "3.2"]
    difference = metrics["differences"]["amber_chair"]
    assert difference["low"] <= difference["value"] <= difference["high"] and difference["value"] > 0


@real
def test_ambers_questions_are_short_and_its_descriptions_long(
    amber_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"benchmarks": ["amber"], "limit": 5, "sampling": {"max_new_tokens": 300}, "short_tokens": 9}
    speakers, metrics = run(
        tmp_path, amber_data, monkeypatch, settings, base=amber_answers(True), aligned=amber_answers(True)
    )
    limits = {(asked(prompt)[1] == "Describe this image.", s.max_new_tokens) for prompt, s in speakers["base"].asked}
    assert limits == {(True, 300), (False, 9)}
    # 5 of each: descriptions, existence, state, number, action, relation
    assert len(speakers["base"].asked) == 6 * 5
    assert metrics["base"]["amber_chair"]["n"] == 5 and metrics["base"]["amber_accuracy"]["n"] == 25


@real
def test_amber_is_reported_and_compared_with_cover_and_words_beside(
    amber_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"benchmarks": ["amber"], "limit": 12, "sampling": {"max_new_tokens": 300}}
    _, metrics = run(
        tmp_path, amber_data, monkeypatch, settings, base=amber_answers(False), aligned=amber_answers(True)
    )
    page = report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")
    assert all(words in page for words in ("AMBER CHAIR", "AMBER Cover", "AMBER words", "Descriptions (AMBER)"))
    assert "AMBER F1, existence" in page and "Yes or no (AMBER)" in page
    [compared] = compare([f"{tmp_path}:base", str(tmp_path)]).benchmarks
    assert {name: by_side["A"] for name, by_side in compared.figures.items() if name != "words"} == metrics["base"]
    assert {"amber_cover", "amber_words"} <= set(compared.main[1])


@real
def test_amber_names_a_missing_picture_and_a_missing_query_file(amber_data: Path, tmp_path: Path) -> None:
    settings = EvaluateSettings(data="x", benchmarks=["amber"])
    (amber_data / "images" / "AMBER_3.jpg").unlink()
    with pytest.raises(InputError, match=r"query_all\.json, record 3: no image AMBER_3\.jpg in .*put it there"):
        find_scorer("amber").benchmark(amber_data, settings)
    (amber_data / "amber").unlink()
    (amber_data / "amber").mkdir()
    for name in ("annotations.json", "relation.json", "safe_words.txt"):
        (amber_data / "amber" / name).symlink_to(AMBER / name)
    with pytest.raises(InputError, match=r"no query file \(query_\*\.json\) in it; put AMBER's query_all\.json there"):
        find_scorer("amber").benchmark(amber_data, settings)


@real
def test_single_query_files_give_the_questions_of_the_whole_one(amber_data: Path) -> None:
    settings = EvaluateSettings(data="x", benchmarks=["amber"])
    whole = find_scorer("amber").benchmark(amber_data, settings).questions
    assert len(whole) == 15220
    (amber_data / "amber").unlink()
    (amber_data / "amber" / "query").mkdir(parents=True)
    for file in AMBER.iterdir():
        if file.name.startswith("query_discriminative-") or file.name == "query_generative.json":
            (amber_data / "amber" / "query" / file.name).symlink_to(file)
        elif not file.name.startswith("query_"):
            (amber_data / "amber" / file.name).symlink_to(file)
    parts = find_scorer("amber").benchmark(amber_data, settings).questions
    pairs = zip(*(sorted(questions, key=lambda q: int(q.id)) for questions in (whole, parts)), strict=True)
    assert [one.id for one, other in pairs if one != other] == ["13193"]  # AMBER's files differ there


@pytest.mark.unit
@pytest.mark.parametrize("name", ["amber", "hallusion", "mme", "vlguard"])
def test_vcds_rule_is_refused_for_other_benchmarks(tmp_path: Path, name: str) -> None:
    settings = EvaluateSettings(data="x", rule="vcd", benchmarks=[name])
    with pytest.raises(InputError, match=f"evaluate.rule: {name} has no rule vcd, only published and strict; take"):
        evaluate.chosen_benchmarks(settings, tmp_path)


@pytest.mark.unit
@pytest.mark.parametrize("rule", ["published", "strict", "vcd"])
def test_popes_figures_are_those_of_the_command_by_every_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    data = tmp_path / "data"
    (data / "pope").mkdir(parents=True)
    answers = ["Yes.", "no", "NO", "I am not sure.", "There isn't one.", "Yes and no.", "", "A dog."]
    records = [
        {"question_id": n, "image": f"{n}.png", "text": f"Is there a dog in {n}?", "label": ("yes", "no")[n // 8]}
        for n in range(16)
    ]
    for record in records:
        picture(data / "images", str(record["image"]), int(str(record["question_id"])))
    questions = data / "pope" / "coco.json"
    questions.write_text(json.dumps(records))

    def answer(prompt: Prompt) -> str:
        return answers[int(Path(prompt.images[0]).stem) % 8]

    settings = {"benchmarks": ["pope"], "rule": rule}
    _, metrics = run(tmp_path, data, monkeypatch, settings, base=answer, aligned=answer)
    given = [{"question_id": n, "response": answers[n % 8]} for n in range(16)]
    (tmp_path / "answers.json").write_text(json.dumps(given))
    scored = pope.score_files(questions, tmp_path / "answers.json", rule)
    wanted = {f"pope_{name}": scored[name] for name in ("accuracy", "f1", "recall")} | {"pope_yes": scored["yes_ratio"]}
    assert {name: values(metrics)[name] for name in wanted} == pytest.approx(wanted)
    assert metrics["base"]["pope_accuracy"]["n"] == scored["n"]


# -- Object HalBench --------------------------------------------------------------------------------------------------


@pytest.fixture
def objhal_data(tmp_path: Path) -> Path:
    """Two questions: one with its picture in base64, as published, and one with COCO's number alone."""
    data = tmp_path / "data"
    (data / "objhal").mkdir(parents=True)
    raw = picture(tmp_path, "inside.png", 7).read_bytes()
    inside = base64.b64encode(raw * 20).decode()  # longer than any name; what follows a PNG's end is ignored
    picture(data / "images", "COCO_val2014_000000000043.jpg", 1)
    records = [
        {
            "org_idx": 0,
            "image_id": 42,
            "question": "Provide a thorough description of the given image.",
            "image": inside,
        },
        {"org_idx": 1, "image_id": "43", "question": "Describe the image."},
    ]
    (data / "objhal" / "obj_halbench_300_with_image.jsonl").write_text("\n".join(map(json.dumps, records)))
    (data / "objhal" / "objects.json").write_text(json.dumps({"42": ["dog", "cat"], "43": ["cat"]}))
    (data / "objhal" / "synonyms.txt").write_text("dog, puppy\ncat\nsofa, couch\n")
    return data


@pytest.mark.unit
def test_object_halbench_is_scored_as_by_the_command(
    objhal_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(prompt: Prompt) -> str:
        return "A puppy on a couch." if "thorough" in asked(prompt)[1] else "Two cats sleep."

    _, metrics = run(
        tmp_path, objhal_data, monkeypatch, {"benchmarks": ["objhal"]}, base=answer, aligned=lambda _: "Nothing."
    )
    # puppy and couch of {dog, cat}; cats of {cat}
    assert values(metrics) == {
        "objhal_chair_i": 1 / 3,
        "objhal_chair_s": 1 / 2,
        "objhal_chair_s_naming": 1 / 2,
        "objhal_recall": 2 / 3,
        "objhal_words": 4.0,
    }
    folder = objhal_data / "objhal"
    scored = objhal.score_files(
        tmp_path / "evaluate" / "base" / "objhal.jsonl",
        folder / "obj_halbench_300_with_image.jsonl",
        folder / "objects.json",
        folder / "synonyms.txt",
        lemmatizer="singularize",
    )
    assert {f"objhal_{name}": scored[name] for name in ("chair_i", "chair_s", "chair_s_naming", "recall")} == {
        name: value for name, value in values(metrics).items() if name != "objhal_words"
    }
    assert scored["missing"] == 0
    page = report.run(tmp_path, ReportSettings()).read_text(encoding="utf-8")
    assert "Object HalBench CHAIRi" in page and "Object HalBench recall" in page and "Object HalBench words" in page


@pytest.mark.unit
def test_object_halbench_names_a_missing_picture_and_a_broken_one(objhal_data: Path) -> None:
    settings = EvaluateSettings(data="x", benchmarks=["objhal"])
    (objhal_data / "images" / "COCO_val2014_000000000043.jpg").unlink()
    with pytest.raises(InputError, match=r"line 2: no image COCO_val2014_000000000043\.jpg or .*; put it there"):
        find_scorer("objhal").benchmark(objhal_data, settings)
    file = objhal_data / "objhal" / "obj_halbench_300_with_image.jsonl"
    file.write_text(json.dumps({"image_id": 42, "question": "What?", "image": "QUJD" * 500}))
    with pytest.raises(InputError, match=r"line 1: 'image' is not a picture in base64 .*; name its file"):
        find_scorer("objhal").benchmark(objhal_data, settings)
