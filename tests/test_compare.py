"""`seelevel compare`: paired figures of several models, worked out by hand; what is left out, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seelevel.compare.figures import Comparisons, compare, fair_coin, mcnemar
from seelevel.compare.plot import plot
from seelevel.compare.table import WIDTH, table
from seelevel.errors import InputError
from seelevel.scorers.pope import CELLS
from seelevel.store import StageFolder, write_json
from tests.test_cli import call, refused

pytestmark = pytest.mark.unit
OLD_RUN = Path(__file__).parent / "data" / "run_before_types"
Files = dict[str, list[dict[str, Any]]]


def caption(name: str, text: str, mentions: int, wrong: int, recalled: int, objects: int = 4) -> dict[str, Any]:
    return {
        "id": name,
        "image": f"images/{name}.png",
        "question": "Describe the picture.",
        "answer": text,
        "reference": {"objects": [f"thing {n}" for n in range(objects)]},
        "mentions": mentions,
        "hallucinated_mentions": wrong,
        "hallucinated": ["thing"] * wrong,
        "objects": objects,
        "recalled": recalled,
    }


def yes_no(name: str, said: str | None, label: str = "yes", group: str = "random", picture: str = "") -> dict[str, Any]:
    return {
        "id": f"{group}/{name}",
        "image": f"images/{picture or name}.png",
        "question": f"Is there a {name}?",
        "answer": said or "Perhaps.",
        "reference": {"label": label, "set": group},
        "set": group,
        "label": label,
        "said": said,
        "cell": CELLS[said, label] if said else None,
        "right": None if said is None else said == label,
    }


def dialogue(name: str, answers: Sequence[str], mean: float) -> dict[str, Any]:
    return {
        "id": name,
        "image": "images/shared.png",
        "question": ["What is there?", "Is there a bus?"],
        "answer": list(answers),
        "reference": {"answers": ["A cup.", "No."]},
        "ratings": [mean, mean],
        "rounds": 2,
        "sum": 2 * mean,
        "mean": mean,
        "below": 2 * (mean < 3),
    }


def make(root: Path, sides: dict[str, Files], **settings: Any) -> Path:
    """A run folder that holds nothing but an evaluation."""
    stage = StageFolder(root / "evaluate", "0" * 16)
    stage.begin()
    for side, files in sides.items():
        (stage.path / side).mkdir()
        for benchmark, items in files.items():
            lines = "".join(json.dumps(item) + "\n" for item in items)
            (stage.path / side / f"{benchmark}.jsonl").write_text(lines)
    known = {"benchmarks": ["chair", "pope", "mrhal"], "rule": "published", "judge": "judge", "seed": 0}
    write_json(root / "metrics.json", {"settings": {**known, **settings}})
    stage.finish(questions={}, seconds=1.0, peak_bytes=0)
    return root


CAPTIONS = [caption("a", "one two three four", 2, 1, 1), caption("b", "one two", 2, 1, 1), caption("c", "one", 1, 0, 1)]
BETTER = [caption("a", "one two", 1, 0, 1), caption("b", "one two", 2, 1, 1), caption("c", "", 0, 0, 0)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make(tmp_path / "run", {"base": {"chair": CAPTIONS}, "aligned": {"chair": BETTER}})


def values(found: Comparisons, benchmark: str, figure: str) -> tuple[float | None, float | None, float | None]:
    """A figure of A and B, and the difference."""
    part = found.record()["benchmarks"][benchmark]
    a, b = (part["figures"][figure][label]["value"] for label in "AB")
    return a, b, part["differences"][figure]["B"]["value"]


def test_figures_and_differences_are_those_worked_out_by_hand(run: Path) -> None:
    found = compare([f"{run}:base", str(run)])
    # mentions 5 and 3, of which invented 2 and 1; recalled 3 and 2 of 12; words 7 and 4 in 3 captions
    assert values(found, "chair", "chair_i") == pytest.approx((2 / 5, 1 / 3, 1 / 3 - 2 / 5))
    assert values(found, "chair", "chair_s") == pytest.approx((2 / 3, 1 / 3, -1 / 3))
    assert values(found, "chair", "chair_recall") == pytest.approx((3 / 12, 2 / 12, -1 / 12))
    assert values(found, "chair", "words") == pytest.approx((7 / 3, 4 / 3, -1))


def test_two_models_of_one_run_differ_as_in_its_metrics() -> None:
    metrics = json.loads((OLD_RUN / "metrics.json").read_text())
    found = compare([f"{OLD_RUN}:base", f"{OLD_RUN}:aligned"]).record()["benchmarks"]
    names = [name for part in found.values() for name in part["figures"] if name != "words"]
    assert sorted(names) == sorted(metrics["differences"])
    for part in found.values():
        for name in set(part["figures"]) - {"words"}:
            assert part["figures"][name] == {"A": metrics["base"][name], "B": metrics["aligned"][name]}
            assert part["differences"][name] == {"B": metrics["differences"][name]}


def test_a_run_does_not_differ_from_itself(run: Path) -> None:
    found = compare([str(run), str(run), f"{run}:aligned"]).record()["benchmarks"]["chair"]
    for name, by_side in found["differences"].items():
        assert list(by_side) == ["B", "C"], name
        for figure in by_side.values():
            assert (figure["value"], figure["low"], figure["high"]) == (0, 0, 0), name


def test_mcnemar_counts_the_questions_that_one_model_alone_has_right() -> None:
    def items(*said: str | None) -> list[dict[str, Any]]:
        return [yes_no(str(n), word) for n, word in enumerate(said)]

    first = items("yes", "yes", "no", "no", "no", "no", "no", "no", None)
    other = [
        yes_no(str(n), said) for n, said in enumerate(["yes", "no", "yes", "yes", "yes", "yes", "yes", "no", "yes"])
    ]
    # 1 lost, 5 won: 2 · (1 + 6) / 2^6
    expected = {"n": 8, "right_in_first_only": 1, "right_in_this_only": 5, "p": 14 / 64}
    assert mcnemar(first, other) == {"random": expected}
    assert mcnemar(CAPTIONS, BETTER) == {}


def test_mcnemar_does_not_pool_sets_that_share_their_positive_questions() -> None:
    def items(said: str) -> list[dict[str, Any]]:
        return [yes_no("cup", said, "yes", s, "p") for s in ("random", "popular")] + [
            yes_no(name, said, "no", s, "p") for name, s in (("bus", "random"), ("dog", "popular"))
        ]

    # always 'no' against always 'yes': as accurate in each set, but right in 2 of 3 different questions
    tests = mcnemar(items("yes"), items("no"))
    assert {name: (test["right_in_first_only"], test["right_in_this_only"]) for name, test in tests.items()} == {
        "random": (1, 1),
        "popular": (1, 1),
    }


@pytest.mark.parametrize(("heads", "tails"), [(0, 0), (0, 1), (3, 3), (1, 9), (40, 61), (1000, 1100), (0, 5000)])
def test_the_exact_p_is_that_of_scipy(heads: int, tails: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(heads, heads + tails).pvalue if heads + tails else 1.0
    assert fair_coin(heads, tails) == pytest.approx(expected, rel=1e-9)
    assert fair_coin(heads, tails) == fair_coin(tails, heads)


def test_items_that_one_side_lacks_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    fewer = make(tmp_path / "fewer", {"aligned": {"chair": [*BETTER[1:], caption("d", "one", 1, 1, 0)]}})
    part = compare([f"{run}:base", str(fewer)]).record()["benchmarks"]["chair"]
    assert (part["items"], part["left_out"], part["lacking"]) == (2, 2, {"A": 1, "B": 1})
    # of b and c alone
    assert part["figures"]["chair_i"]["A"]["value"] == pytest.approx(1 / 3)
    assert part["figures"]["chair_i"]["B"]["value"] == pytest.approx(1 / 2)
    assert "chair: 2 items; 2 left out (A lacks 1, B lacks 1)" in table(compare([f"{run}:base", str(fewer)]))


def test_items_are_joined_by_id_and_not_by_order(run: Path, tmp_path: Path) -> None:
    turned = make(tmp_path / "turned", {"aligned": {"chair": BETTER[::-1]}})
    ours, theirs = (compare([f"{run}:base", str(other)]).record()["benchmarks"] for other in (run, turned))
    assert ours == theirs


def test_an_id_that_occurs_twice_is_two_items(tmp_path: Path) -> None:
    twice = [CAPTIONS[0], caption("a", "one", 1, 1, 0)]
    one = make(tmp_path / "one", {"base": {"chair": twice}, "aligned": {"chair": [BETTER[0], BETTER[0]]}})
    assert compare([f"{one}:base", str(one)]).benchmarks[0].items == 2


def test_an_unanswered_question_is_unscored_and_counts_no_words(tmp_path: Path) -> None:
    silent = {**caption("b", "", 0, 0, 0), "note": "the picture cannot be read"}
    one = make(tmp_path / "one", {"base": {"chair": CAPTIONS}, "aligned": {"chair": [BETTER[0], silent, BETTER[2]]}})
    part = compare([f"{one}:base", str(one)]).record()["benchmarks"]["chair"]
    assert part["unscored"] == {"A": 0, "B": 1}
    assert part["differences"]["chair_i"]["B"]["n"] == part["figures"]["words"]["B"]["n"] == 2


def test_dialogues_about_one_picture_are_resampled_one_by_one(tmp_path: Path) -> None:
    sides = {
        side: {"mrhal": [dialogue(str(n), ["A red cup.", "No."], mean + n % 3) for n in range(6)]}
        for side, mean in (("base", 1.0), ("aligned", 2.0))
    }
    found = compare([f"{make(tmp_path / 'one', sides)}:base", str(tmp_path / "one")]).record()["benchmarks"]["mrhal"]
    score = found["figures"]["mrhal_score_m"]["A"]
    assert score["low"] < score["value"] < score["high"]
    assert found["figures"]["words"]["A"]["value"] == 2  # per round: three words and one


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "What is odd?"}, "asks 'What is odd"),
        ({"image": "images/z.png"}, "is about 'z.png'"),
        ({"reference": {"objects": []}}, "expects {'objects'"),
    ],
)
def test_runs_of_other_questions_are_refused(run: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    other = make(tmp_path / "other", {"aligned": {"chair": [BETTER[0], {**BETTER[1], **change}]}})
    with pytest.raises(InputError, match="item 'b'") as error:
        compare([str(run), str(other)])
    assert words in str(error.value)
    assert str(other) in str(error.value)


def test_a_picture_may_lie_in_another_folder(run: Path, tmp_path: Path) -> None:
    moved = [{**item, "image": f"/elsewhere/{item['id']}.png"} for item in BETTER]
    other = make(tmp_path / "other", {"aligned": {"chair": moved}})
    assert compare([str(run), str(other)]).benchmarks[0].items == 3


def test_a_scorer_from_outside_is_compared_if_it_has_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_scorer.py").write_text(
        "from seelevel.scorers.chair import MEASURES\n"
        "from seelevel.scorers.scorer import Scorer\n"
        "PLAIN = Scorer('plain', None, {})\n"
        "FULL = Scorer('full', None, {}, measures=lambda items: MEASURES)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    files = {"plain": CAPTIONS, "full": CAPTIONS}
    names = ["their_scorer:PLAIN", "their_scorer:FULL"]
    found = compare([str(make(tmp_path / "run", {"aligned": files}, benchmarks=names))] * 2)
    assert [benchmark.name for benchmark in found.benchmarks] == ["full"]
    assert found.notes == ["plain: left out; its scorer has no `measures`"]
    assert "chair i %" in table(found)


def test_runs_without_a_common_item_are_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", {"aligned": {"chair": [caption("z", "one", 1, 0, 1)]}})
    assert "no item is in all of them: they are other questions" in refused("compare", run, other)


def test_a_benchmark_that_was_scored_by_another_rule_is_left_out(tmp_path: Path) -> None:
    files: Files = {"chair": CAPTIONS, "pope": [yes_no("cup", "yes")]}
    one = make(tmp_path / "one", {"aligned": files})
    two = make(tmp_path / "two", {"aligned": {**files, "mrhal": [dialogue("d", ["A.", "B."], 3)]}}, rule="strict")
    found = compare([str(one), str(two)])
    assert [benchmark.name for benchmark in found.benchmarks] == ["chair"]
    pope, mrhal = found.notes
    assert "pope: left out; rule is published in A and strict in B" in pope
    assert "mrhal: left out; no answers in A" in mrhal


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["{run}"], "name 2 to 26 models"),
        (["{run}", "{run}:round-7"], "no model 'round-7' was evaluated; it has base, aligned"),
        (["{run}", "{run}/nowhere"], "is not a run folder"),
        (["{run}", "{empty}"], "evaluate is not run; run `seelevel evaluate`"),
    ],
)
def test_what_cannot_be_compared_is_named(run: Path, tmp_path: Path, names: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        compare([name.format(run=run, empty=tmp_path / "empty") for name in names])
    assert words in str(error.value)


def test_records_of_another_version_are_refused_and_named(run: Path, tmp_path: Path) -> None:
    old = [{key: value for key, value in item.items() if key != "recalled"} for item in BETTER]
    other = make(tmp_path / "other", {"aligned": {"chair": old}})
    with pytest.raises(InputError, match="without 'recalled'"):
        compare([str(run), str(other)])


@pytest.fixture
def wide(tmp_path: Path) -> list[str]:
    """Three sides of all benchmarks, with differences of three digits and a long name."""
    pictures = range(8)

    def files(good: bool) -> Files:
        said = "yes" if good else "no"
        long = "word " * (3 if good else 4000)
        return {
            "chair": [caption(str(n), long, 1, 0 if good else 1, 4 if good else 0) for n in pictures],
            "pope": [yes_no(str(n), said, "yes", s * 8) for s in ("random", "popular") for n in pictures],
            "mrhal": [dialogue(str(n), ["A.", "B."], 6.0 if good else 0.0) for n in pictures],
        }

    one = make(tmp_path / ("long" * 40), {"base": files(False), "aligned": files(True), "control": files(False)})
    return [f"{one}:base", str(one), f"{one}:control"]


def test_the_table_fits_100_columns_with_recall_and_words_beside_every_figure(wide: list[str]) -> None:
    lines = table(compare(wide)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    headers = [line for line in lines if "Words per answer" in line]
    assert len(headers) == 5
    assert all("recall" in line for line in headers if "CHAIR" in line or "POPE" in line)
    rows = [line[:7].rstrip() for line in lines if line.startswith(("A ", "B ", "C "))]
    assert rows[3:8] == ["A", "B", "C", "B − A", "C − A"]


def test_only_a_clear_difference_has_a_mark(wide: list[str], run: Path) -> None:
    rows = [line for line in table(compare(wide)).splitlines() if line.startswith("B − A")]
    assert "−100 [−100, −100] ✓" in rows[0]  # CHAIRi
    assert "✓" not in table(compare([str(run), str(run)])).rpartition("\n")[0]


def test_the_drawing_has_a_panel_for_every_figure(wide: list[str], tmp_path: Path) -> None:
    file = tmp_path / "plot.svg"
    plot(compare(wide), file)
    drawn = file.read_text()
    for figure in ("CHAIRi, %", "CHAIR recall, %", "POPE F1, %", "MRHal hallucination (rounds), %", "Words per answer"):
        assert f"<!-- {figure}" in drawn, figure
    again = tmp_path / "again.svg"
    plot(compare(wide), again)
    assert again.read_text() == drawn
    plot(compare(wide), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"name a \.png"):
        plot(compare(wide), tmp_path / "plot.doc")


def test_the_command_prints_the_figures_as_json_or_as_a_table(run: Path) -> None:
    code, printed, _ = call("compare", f"{run}:base", run, "--json")
    assert code == 0
    assert json.loads(printed) == compare([f"{run}:base", str(run)]).record()
    assert json.loads(printed)["sides"]["B"] == {"run": str(run), "side": "aligned", "model": ""}
    code, printed, _ = call("compare", f"{run}:base", run)
    assert (code, printed.rstrip("\n")) == (0, table(compare([f"{run}:base", str(run)])))
