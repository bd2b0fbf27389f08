"""What `doctor` and `--dry-run` say of memory is near what a run takes."""

import json
from dataclasses import asdict

import pytest

from seelevel.forecast import aligning, alignment, estimate, forecast
from seelevel.forecast.aligning import Training, decided, human, training
from seelevel.formats.parquet import write_shard
from seelevel.naming import count_questions
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.scorers.settings import EvaluateSettings
from seelevel.training.settings import LoraSettings, TrainSettings
from seelevel.world import model_path
from tests.formats.made import picture
from tests.training.test_memory import make_ladders, true_peak
from tests.training.tiny import make_processor

KEYS = ["align.device=cpu", "align.ladders_per_step=8", "align.cache=false", "align.freeze_vision=true"]


def forecast_of(job: Run, keep: bool) -> Training:
    found = alignment(job, 16, keep)
    assert found is not None
    return found


@pytest.mark.parametrize("model", ["s", "m"])
def test_the_forecast_of_a_recipe_is_within_a_fifth_of_the_allocators_peak(tmp_path, model):
    ladders = make_ladders(tmp_path, 3)
    (tmp_path / "run" / "check").mkdir(parents=True)
    write_shard(tmp_path / "run" / "check" / "shard-00000.parquet", ladders)
    job = Run(load_recipe("world-quick", [*KEYS, f"align.model=world:{model}"]), tmp_path / "run")
    forecast = forecast_of(job, keep=True)
    assert forecast.ladders == 16
    truth = true_peak(ladders, model, job.recipe.align, tmp_path / "out", "float32")
    assert forecast.cost.memory.total == pytest.approx(truth, rel=0.2)
    assert forecast.memory > forecast.cost.memory.total + 6e8  # the process itself


@pytest.mark.unit
def test_before_there_are_ladders_the_standard_responses_are_taken_for_every_level(tmp_path):
    jobs = [
        Run(load_recipe("world-quick", [*KEYS, *more]), tmp_path) for more in ([], ['generate.experts=["world:m"]'])
    ]
    three, two = (forecast_of(job, keep=False).cost for job in jobs)
    assert three.scored == pytest.approx(1.5 * two.scored)
    assert three.memory.activations > two.memory.activations


@pytest.mark.unit
def test_a_large_model_is_forecast_on_a_gpu_and_a_gpu_that_is_missing_is_said(tmp_path):
    job = Run(load_recipe("world-quick", KEYS), tmp_path)
    ladders = [*forecast_ladders(tmp_path)]
    found = training(TrainSettings(lora=LoraSettings()), "llava-hf/llava-1.5-7b-hf", ladders, 11_000, 4, 0)
    assert found is not None
    assert (found.device, found.dtype) == ("cuda", "bfloat16")
    assert found.memory == found.cost.memory.total
    assert 3600 < found.seconds(1e9) < 40 * 3600
    assert training(TrainSettings(), "nobody/has-this", ladders, 10, 4, 0) is None
    small = training(job.recipe.align, str(model_path("s")), ladders, 10, 4, 0)
    assert small is not None
    assert "float32 on cpu" in " ".join(small.lines(job.recipe.align))


def forecast_ladders(folder):
    return make_ladders(folder, 4, count=4)


@pytest.mark.unit
def test_numbers_for_people():
    assert [human(n) for n in (7, 1234, 15_300_000, 7.06e9)] == ["7", "1.2k", "15.3M", "7.1G"]


@pytest.mark.unit
def test_a_forecast_as_json_has_the_rows_of_the_table(tmp_path):
    job = Run(load_recipe("world-quick", KEYS), tmp_path)
    rows = json.loads(json.dumps(asdict(estimate(job))))["rows"]
    stages = [row["stage"] for row in rows]
    assert {"data", "generate", "align", "evaluate"} <= set(stages) and all(row["would"] == "run" for row in rows)
    assert [line.split()[0] for line in forecast(job).splitlines()[3 : 3 + len(rows)]] == stages


@pytest.mark.unit
@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "idefics2", "image_token_id": 2}, "no forecast: the sizes of models of kind idefics2 are not"),
        (None, "whose size is unknown until it is downloaded"),
    ],
)
def test_a_model_of_unknown_size_is_said_and_not_guessed(tmp_path, config, words):
    model = tmp_path / "model"
    if config is not None:
        make_processor().save_pretrained(model)
        (model / "config.json").write_text(json.dumps(config))
        (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    job = Run(load_recipe("world-quick", [*KEYS, f"align.model={model if config else 'some/model'}"]), tmp_path / "run")
    [align] = [row for row in estimate(job).rows if row.stage == "align"]
    assert words in align.models
    assert (align.tokens, align.memory) == (0, 0)


@pytest.mark.parametrize("layout", ["shared", "rows"])
@pytest.mark.parametrize(("memory", "answers"), [(1e12, "all"), (6.6e8, 1)])
def test_auto_takes_as_many_answers_as_the_memory_is_enough_for(tmp_path, monkeypatch, capsys, memory, answers, layout):
    settings, ladders = TrainSettings(device="cpu", layout=layout), make_ladders(tmp_path, 4)
    monkeypatch.setattr(aligning, "memory_of", lambda device: memory)
    chosen = decided(settings, str(model_path("s")), ladders, seed=0)
    assert chosen.answers_per_pass == answers
    assert ("answers_per_pass" in capsys.readouterr().err) == (answers != "all")
    kept = settings.model_copy(update={"answers_per_pass": 3})
    assert decided(kept, str(model_path("s")), ladders, seed=0) is kept


@pytest.mark.unit
@pytest.mark.parametrize(("limit", "count"), [(None, 7), (2, 6)])
def test_questions_are_counted_however_a_file_is_written(tmp_path, limit, count):
    questions = [
        json.dumps({"question_id": n, "image": "a.png", "text": "Is it red?", "label": "no"}) for n in range(3)
    ]
    picture(tmp_path, "a.png", 1)
    for name, text in {
        "capability/questions.jsonl": "\n".join(questions),
        "pope/random.json": f"[{questions[0]}, {questions[1]}]",
        "pope/popular.jsonl": f"{questions[0]}\n\n{questions[1]}\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    settings = EvaluateSettings(benchmarks=["pope", "capability"], data=str(tmp_path), limit=limit)
    assert count_questions(settings) == count


@pytest.mark.unit
@pytest.mark.parametrize("name", ["copo", "symmpo"])
def test_the_tokens_of_second_pictures_are_forecast_before_there_are_ladders(tmp_path, name):
    job = Run(load_recipe("world-quick", [*KEYS, "align.objective={name: dpo}"]), tmp_path)
    terms = f"align.objective={{name: mpo, terms: [{{name: dpo}}, {{name: {name}}}], weights: [1, 1]}}"
    more = Run(load_recipe("world-quick", [*KEYS, terms]), tmp_path)
    plain, seen = (forecast_of(one, keep=False).cost for one in (job, more))
    assert seen.tokens > 1.15 * plain.tokens
    assert seen.scored > 1.1 * plain.scored
    assert seen.pictures > plain.pictures
