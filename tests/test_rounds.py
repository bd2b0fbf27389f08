"""On-policy rounds: what each round's recipe is, which model it trains and asks, and what a page shows of them."""

import json

import pytest

from seelevel import align, check, evaluate, feedback, generate
from seelevel.errors import InputError
from seelevel.export import finished_run
from seelevel.facts import AlignFacts, CheckFacts, EvaluateFacts, FeedbackFacts, GenerateFacts
from seelevel.forecast import estimate
from seelevel.naming import Names
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.report.by_round import rows_by_round
from seelevel.report.costs import costs
from seelevel.report.facts import kicker, run_facts
from seelevel.report.figures import comparisons, headline
from seelevel.report.page import render
from seelevel.report.reading import read_run
from seelevel.report.settings import ReportSettings
from seelevel.scorers import SCORERS, find_scorer
from seelevel.stages import made_under_these_settings
from seelevel.store import StageFolder, write_json

pytestmark = pytest.mark.unit
SMALL = ["data.limit=2", "align.control=false", "evaluate.data=world:dev", "evaluate.limit=1"]


def recipe(rounds=2, *more):
    return load_recipe("world-samples", [*SMALL, f"rounds={rounds}", *more])


def test_the_first_round_is_the_recipe_of_one_round():
    assert recipe(3).of_round(1) == recipe(1)
    assert recipe(1).of_round(1) == recipe(1)


def test_a_later_round_trains_and_asks_the_model_of_the_round_before():
    three = recipe(3, "align.lora={r: 4}")
    second, third = three.of_round(2), three.of_round(3)
    assert (second.align.model, second.generate.model, second.rounds) == ("run:round-1", "run:round-1", 1)
    assert (third.align.model, third.generate.model, third.rounds) == ("run:round-2", "run:round-2", 3)
    assert second.align.lora is None  # the adapter trains on, without a second one
    assert second.check == three.check and second.data == three.data and second.evaluate == three.evaluate


def test_each_round_draws_other_samples():
    seeds = {recipe(3, "generate.sampling.seed=4294967295").of_round(n).generate.sampling.seed for n in (1, 2, 3)}
    assert len(seeds) == 3


def test_other_models_and_judges_stay():
    several = recipe(2, "generate={method: samples, model: {'world:s': 2, 'world:m': 1}}").of_round(2)
    assert several.generate.counts == {"run:round-1": 2, "world:m": 1}
    dress = load_recipe("world-dress", ["rounds=2", "feedback.judge=run:base"]).of_round(2)
    assert dress.generate.experts == ["run:round-1", "world:m"]
    assert (dress.feedback.model, dress.feedback.judge) == ("run:round-1", "run:base")


def test_the_refining_model_alone_makes_rounds_useful():
    given = [
        "generate={method: given}",
        "feedback={judge: 'world:oracle', model: 'world:s', rounds: 2, ladders: ratings}",
    ]
    assert recipe(2, *given).of_round(2).feedback.model == "run:round-1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["generate={method: perturbation}"],
            "rounds: 2 needs answers of the model to align.*model: world:s, or rounds: 1",
        ),
        (["generate={method: given}"], "rounds: 2 needs answers"),
        (["generate.model=world:m"], "rounds: 2 needs answers"),
        (
            ["generate={method: incremental, model: 'world:s', finetune: {prompts: 'world:finetune'}}"],
            "rounds: 2 needs answers",
        ),
        (["check.overrides=levels.jsonl"], "check.overrides is about answers of one round; remove it"),
        (["align.model=run:round-1", "generate.model=run:round-1"], "generate: only a run names a model run:round-"),
        (["rounds=0"], "rounds: input should be greater than or equal to 1"),
        (["rounds=true"], "rounds: input should be a valid integer, not True"),
    ],
)
def test_rounds_that_change_nothing_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        recipe(2, *changes)


def test_a_round_names_its_folder_and_descends_from_the_first_model(tmp_path):
    names = Names(recipe(3), tmp_path)
    assert names.round(1) == tmp_path / "rounds" / "1" and names.round(3) == tmp_path
    (tmp_path / "rounds" / "2" / "align" / "adapter").mkdir(parents=True)
    assert names.model("run:round-2").path == str(tmp_path / "rounds" / "2" / "align" / "adapter")
    assert names.ancestor("world:s") == names.model("world:s")
    with pytest.raises(InputError, match="1/align holds no model"):
        names.aligned(1)


def done(run):
    """Pretend that every stage of a run is done."""
    run.plan()
    for folder, fingerprint in run._fingerprints.items():
        stage = StageFolder(folder, fingerprint)
        stage.begin()
        stage.finish()
    write_json(run.out / "metrics.json", {})


def test_a_plan_has_every_round_and_writes_nothing(tmp_path):
    plan = Run(recipe(3), tmp_path / "run").plan()
    stages = [f"{place}{name}" for place in ("rounds/1/", "rounds/2/", "") for name in ("generate", "check", "align")]
    assert [name for name in plan if name in stages] == stages
    assert all(plan.values()) and not (tmp_path / "run").exists()


def test_a_plan_with_a_further_round_keeps_the_others(tmp_path):
    done(Run(recipe(2), tmp_path))
    assert not any(Run(recipe(2), tmp_path).plan().values())
    plan = Run(recipe(3), tmp_path).plan()
    anew = ["generate", "check", "align", "evaluate"]
    assert [name for name, would_run in plan.items() if would_run] == anew


def test_another_first_round_changes_all_later_ones(tmp_path):
    done(Run(recipe(2), tmp_path))
    (tmp_path / "rounds" / "1" / "align" / "manifest.json").unlink()
    (tmp_path / "rounds" / "1" / "generate" / "manifest.json").unlink()
    plan = Run(recipe(2, "align.learning_rate=0.01"), tmp_path).plan()
    assert not plan["rounds/1/check"]
    assert all(plan[name] for name in ("rounds/1/align", "generate", "check", "align", "evaluate"))


@pytest.fixture
def faked(monkeypatch):
    """Stages that only note what they were asked to do."""
    asked = []

    def note(stage, what, facts):
        asked.append((stage.path, what))
        return facts

    def generating(source, stage, settings, models, root, seed):
        return note(stage, (source, [(m.name, m.path) for m in models], root), GenerateFacts())

    def aligning(source, stage, settings, model, root, seed, decide):
        (stage.path / "model").mkdir(exist_ok=True)
        (stage.path / "model" / "weights").write_text(str(stage.path))
        return note(stage, (source, model.path, settings.lora), AlignFacts())

    def evaluating(stage, settings, data, models, judge, root, seed, training):
        write_json(root / "metrics.json", {"base": {}})
        return note(stage, {side: model.path for side, model in models.items()}, EvaluateFacts())

    monkeypatch.setattr(generate, "run", generating)
    monkeypatch.setattr(check, "run", lambda source, stage, *_: note(stage, source, CheckFacts()))
    monkeypatch.setattr(align, "run", aligning)
    monkeypatch.setattr(evaluate, "run", evaluating)
    return asked


def test_a_run_makes_its_rounds_in_their_order_and_evaluates_all(tmp_path, faked):
    run = Run(recipe(2), tmp_path)
    run.everything()
    first, first_model = tmp_path / "rounds" / "1", tmp_path / "rounds" / "1" / "align" / "model"
    base = run.names.model("world:s").path
    assert faked == [
        (first / "generate", (tmp_path / "data", [("world:s", base)], tmp_path)),
        (first / "check", first / "generate"),
        (first / "align", (first / "check", base, None)),
        (tmp_path / "generate", (tmp_path / "data", [("run:round-1", str(first_model))], tmp_path)),
        (tmp_path / "check", tmp_path / "generate"),
        (tmp_path / "align", (tmp_path / "check", str(first_model), None)),
        (
            tmp_path / "evaluate",
            {"base": base, "round-1": str(first_model), "aligned": str(tmp_path / "align" / "model")},
        ),
    ]
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe(2)
    assert load_recipe(str(first / "recipe.yaml")) == recipe(2).of_round(1)
    assert made_under_these_settings(recipe(2), tmp_path, "align")
    assert not made_under_these_settings(recipe(3), tmp_path, "align")
    faked.clear()
    run.everything()
    assert faked == []
    assert "of the model of round 1" in dict(run_facts(read_run(tmp_path)))["Levels"]
    with pytest.raises(InputError, match=f"{first} is one round of a run; name the run's folder, {tmp_path}"):
        finished_run(first)


def test_rounds_share_the_base_that_the_run_makes(tmp_path, faked, monkeypatch):
    monkeypatch.setattr(feedback, "run", lambda *_: FeedbackFacts())
    Run(load_recipe("world-dress", [*SMALL, "base.limit=2", "rounds=2", "align.lora={r: 4}"]), tmp_path).everything()
    base, first = tmp_path / "base" / "model", tmp_path / "rounds" / "1" / "align" / "model"
    models = {path.relative_to(tmp_path).as_posix(): what for path, what in faked}
    assert models["rounds/1/align"][1] == str(base) and models["align"][1] == str(first)
    assert models["evaluate"]["base"] == str(base)
    assert [path for path, _ in faked if path.name == "base"] == [tmp_path / "base"]
    assert "LoRA r=4" in read_run(tmp_path).stages["align"].words


def test_the_control_is_of_the_last_round(tmp_path, faked):
    with_control = recipe(2, "align.control=true", "align.lora={r: 4}")
    assert not with_control.of_round(1).align.control and with_control.of_round(2).align.control
    Run(with_control, tmp_path).everything()
    models = {path.relative_to(tmp_path).as_posix(): what for path, what in faked}
    assert models["control"] == models["align"] and "rounds/1/control" not in models
    assert list(models["evaluate"]) == ["base", "round-1", "aligned", "control"]
    run = read_run(tmp_path)
    assert run.control is not None and "LoRA r=4" in run.control.words
    assert [name for name, _ in run.all_stages][-3:] == ["align of round 2", "control", "evaluate"]


def test_another_number_of_rounds_moves_those_that_are_done(tmp_path, faked):
    Run(recipe(2), tmp_path).everything()
    former = (tmp_path / "align" / "model" / "weights").read_text()
    faked.clear()
    Run(recipe(3), tmp_path).everything()
    assert [path.relative_to(tmp_path).as_posix() for path, _ in faked] == ["generate", "check", "align", "evaluate"]
    second = tmp_path / "rounds" / "2" / "align" / "model"
    assert (second / "weights").read_text() == former and faked[2][1][1] == str(second)
    faked.clear()
    Run(recipe(2), tmp_path).everything()
    assert [path.name for path, _ in faked] == ["evaluate"]
    assert (tmp_path / "align" / "model" / "weights").read_text() == former


def test_a_stage_alone_is_of_the_last_round_and_needs_the_others(tmp_path, faked):
    with pytest.raises(InputError, match="rounds/1/generate is not finished; run `seelevel run` on this recipe first"):
        Run(recipe(2), tmp_path).alone("generate")
    run = Run(recipe(2), tmp_path)
    run.everything()
    faked.clear()
    again = Run(recipe(2, "align.learning_rate=0.01"), tmp_path)
    with pytest.raises(
        InputError, match=r"rounds/1/align was made under other settings.*run `seelevel run` on it first"
    ):
        again.alone("align")
    (tmp_path / "align" / "manifest.json").unlink()
    run.alone("align")
    assert [path for path, _ in faked] == [tmp_path / "align"]


def test_a_stage_alone_reads_no_ladders_of_another_first_round(tmp_path, faked):
    Run(recipe(2), tmp_path).everything()
    again = Run(recipe(2, "align.learning_rate=0.01"), tmp_path)
    again.data()
    first = Run(again.names.recipe.of_round(1), again.names.round(1), whole=again)
    first._until_aligned()  # then the run is stopped
    with pytest.raises(InputError, match=r"/generate was made under other settings.*run `seelevel generate` on it"):
        Run(again.names.recipe, tmp_path).alone("align")
    again.everything()
    Run(again.names.recipe, tmp_path).alone("align")


def test_the_model_of_another_first_round_makes_the_rest_stale(tmp_path, faked):
    Run(recipe(2), tmp_path).everything()
    assert not any(stage.stale for _, stage in read_run(tmp_path).all_stages)
    manifest = tmp_path / "rounds" / "1" / "align" / "manifest.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**facts, "fingerprint": "another"}))
    run = read_run(tmp_path)
    states = {name: stage.state for name, stage in run.all_stages}
    assert states["align of round 1"] == "done"
    assert states["generate of round 2"] == "of a model that has been trained again since"
    assert run.stages["align"].stale and run.stages["evaluate"].stale and run.metrics is None
    assert "align of round 2 of ladders that have changed since" in kicker(run)


def test_the_costs_have_a_row_for_each_stage_of_each_round(tmp_path, faked):
    Run(recipe(2), tmp_path).everything()
    rows = [row.name for row in costs(read_run(tmp_path))]
    assert [name for name in rows if name.endswith(" of round 1")] == [
        f"{n} of round 1" for n in ("generate", "check", "align")
    ]
    assert rows[-2:] == ["align of round 2", "evaluate"]


def test_a_forecast_counts_every_round_and_the_adapters_of_the_recipe(tmp_path):
    rows = {row.stage: row for row in estimate(Run(recipe(2, "align.lora={r: 4}"), tmp_path)).rows}
    once = {row.stage: row for row in estimate(Run(recipe(1, "align.lora={r: 4}"), tmp_path)).rows}
    assert list(rows) == [
        "data",
        *(f"rounds/1/{name}" for name in ("generate", "check", "align")),
        *("generate", "check", "align", "evaluate"),
    ]
    assert rows["rounds/1/align"].memory == rows["align"].memory == once["align"].memory
    assert rows["evaluate"].tokens == pytest.approx(1.5 * once["evaluate"].tokens)


def figure(value, reach=0.01, n=100):
    return {"value": value, "low": value - reach, "high": value + reach, "n": n}


METRICS = {
    "base": {"chair_i": figure(0.3)},
    "round-1": {"chair_i": figure(0.2)},
    "aligned": {"chair_i": figure(0.195)},
    "differences": {"chair_i": figure(-0.105)},
    "differences_by_round": {"round-1": {"chair_i": figure(-0.1)}, "aligned": {"chair_i": figure(-0.005)}},
}


def test_figures_by_round_are_compared_with_the_model_before():
    [row] = rows_by_round(METRICS, headline(comparisons(METRICS, [find_scorer(name) for name in SCORERS])))
    assert [step.verdict for step in row.steps] == ["better", "unclear"]
    assert [step.aligned.value for step in row.steps] == [0.2, 0.195]
    for words in ("model, base: 30.0%", "model, round 1: 20.0%", "model, round 2: 19.5%"):
        assert words in row.plot
    one = {side: METRICS[side] for side in ("base", "aligned", "differences")}
    assert rows_by_round(one, comparisons(one, [])) == []


def test_the_page_shows_the_figures_by_round(tmp_path):
    write_json(tmp_path / "metrics.json", METRICS)
    page = render(read_run(tmp_path), ReportSettings())
    assert '<h3 id="by-round">' in page and "model, round 2: 19.5%" in page
    write_json(tmp_path / "metrics.json", {side: METRICS[side] for side in ("base", "aligned", "differences")})
    assert 'id="by-round"' not in render(read_run(tmp_path), ReportSettings())
