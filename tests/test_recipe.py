"""Recipes: every shipped one loads; a wrong one is refused in one line that helps."""

import pytest

from seelevel.errors import InputError
from seelevel.recipe import load_recipe, shipped_recipes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_under_its_own_name(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("aling.model=x", "'aling' is unknown; did you mean 'align'?"),
        ("align.epoch=3", "'align.epoch' is unknown; did you mean 'epochs'?"),
        ("align.objective.betta=3", "did you mean 'beta'?"),
        ("generate.sampling.num_beam=3", "did you mean 'num_beams'?"),
        ("align.epochs=many", "align.epochs: .*not 'many'"),
        ("align.epochs=1e30", "align.epochs: .*10000"),
        ("align", "expected key=value"),
        ("name.x=1", "'name' is not a mapping"),
        ("data.max_rejected=2", "data.max_rejected"),
        ("align.objective=dpo", r"align\.objective: an objective is a mapping, such as \{name: dpo\}, not 'dpo'$"),
        ("align.objective={beta: 1}", r"align\.objective: name is missing; known: ancpo, .*, symmpo$"),
        ("align.objective={name: mpo, terms: [dpo], weights: [1]}", r"terms\.0: an objective is a mapping, such as"),
        ("align.objective={name: mpo, terms: [{}], weights: [1]}", r"terms\.0: name is missing; known: ancpo"),
        ("align.objective={name: mpo, terms: [{name: mpo}], weights: [1]}", r"terms\.0: mpo has no place in mpo; name"),
        ("align.objective={name: copo, kept: [1, 1]}", r"keeps the whole picture.*kept: \[0, 0\.2\]$"),
        ("generate={method: samples, model: [a, b]}", r"generate\.model: name a model, or .*, not \['a', 'b'\]$"),
        ("generate={method: samples, model: {a: 2, b: 0}}", r"generate\.model\.b: .* greater .* 1, not 0$"),
        ("generate={method: samples, model: {a: true}}", r"generate\.model\.a: .* valid integer, not True$"),
        ("generate={method: samples, model: a, n: true}", r"generate\.n: .* valid integer, not True$"),
        ("generate={method: samples, model: {}}", r"generate\.model: .* at least 1 item"),
        ("generate={method: samples, model: a, n: 1, standard: false}", "generate: .* one response.*mdpo learns"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_that_names_it(override, message):
    with pytest.raises(InputError, match=message) as caught:
        load_recipe("world-quick", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["generate.method=expert"], "generate: method 'expert' is unknown; did you mean 'experts'?"),
        (["generate.method=perturbation"], "'generate.experts' is unknown; known: .*shares"),
        (["generate={method: perturbation, share: [0.1]}"], "'generate.share' is unknown; did you mean 'shares'?"),
        (["generate={method: perturbation, shares: [0.3, 0.1]}"], "generate.shares: the shares must rise"),
        (["generate={experts: [a], modle: b}"], "'generate.modle' is unknown; did you mean 'method'?"),
        (["generate={method: incremental, modle: b}"], "'generate.modle' is unknown; did you mean 'model'?"),
        (["generate={method: incremental, model: b}"], "'generate.finetune' is missing"),
        (
            ["generate={method: incremental, model: b, finetune: {prompts: c, epoch: 1}}"],
            "'generate.finetune.epoch' is unknown; did you mean 'epochs'?",
        ),
        (["generate={method: incremental, model: b, finetune: {prompts: c}, levels: 2}"], "generate.levels"),
        (["generate=experts"], "generate"),
    ],
)
def test_a_method_of_generation_knows_its_own_keys_alone(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        load_recipe("world-quick", overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("align.objective.dropout=7", r": align\.objective\.dropout: .*, not 7$"),
        ("align.objective.dropuot=.1", r"key 'align\.objective\.dropuot' is unknown; did you mean 'dropout'\?$"),
        (
            "align.objective={name: mdpo}",
            r": feedback\.ladders: rounds .*mdpo learns nothing; set",
        ),
    ],
)
def test_a_line_names_keys_that_a_recipe_has(override, message):
    with pytest.raises(InputError, match=message):
        load_recipe("world-dress", [override])


def test_preferences_are_learnt_from_feedback_where_it_orders_the_ladders():
    recipe = load_recipe("world-dress", ["align.objective={name: mdpo}", "feedback.ladders=ratings"])
    assert recipe.align.objective.name == "mdpo"
    assert load_recipe("world-dress", ["align.objective={name: sft}"]).align.objective.name == "sft"


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("world-dress", ["align.objective={name: dpo}", "feedback.rounds=1"]),
        ("world-amp-dress", ["generate={method: dialogues, writer: a, experts: [b]}", "feedback={judge: c}"]),
    ],
)
def test_a_judge_whose_ratings_preferences_would_not_see_is_refused(name, overrides):
    with pytest.raises(InputError, match=r"learns nothing; set feedback\.ladders: ratings"):
        load_recipe(name, overrides)


def test_overrides_are_yaml_values():
    recipe = load_recipe("world-quick", ["align.epochs=7", "generate.experts=[a, b]", "seed=3"])
    assert (recipe.align.epochs, list(recipe.generate.experts), recipe.seed) == (7, ["a", "b"], 3)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'world-quick'"):
        load_recipe("world-quik")


def test_yaml_that_is_not_yaml_names_file_and_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\ndata: [1, 2\nseed: 0\n")
    with pytest.raises(InputError, match=r"r\.yaml, line 3: not YAML"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: x\nseed: 1\nseed: 2\n", r"line 3: not YAML \(key 'seed' appears twice\)"),
        (b"data:\n  limit: 1\n  limit: 2\n", r"line 3: not YAML \(key 'limit' appears twice\)"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"name: 2024-13-45\n", "not usable YAML"),
        (b"[" * 5000, "not usable YAML"),
    ],
)
def test_a_recipe_that_cannot_be_taken_at_its_word_is_refused(tmp_path, content, message):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)


def test_a_merge_key_may_stand_beside_what_it_overrides(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\na: &a {seed: 1}\nb: &b {seed: 2}\nc: {<<: *a, seed: 3}\n")
    with pytest.raises(InputError, match="'a' is unknown"):
        load_recipe(str(path))


def test_a_name_that_is_no_file_name_is_refused():
    for name in (".", "..", ".hidden", "a/b"):
        with pytest.raises(InputError, match="name"):
            load_recipe("world-quick", [f"name={name}"])
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe("x" * 5000)


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\n")
    with pytest.raises(InputError, match="key 'data' is missing"):
        load_recipe(str(path))


def test_a_device_is_one_that_torch_knows():
    assert load_recipe("world-quick", ["align.device=cuda:1"]).align.device == "cuda:1"
    with pytest.raises(InputError, match=r"align\.device"):
        load_recipe("world-quick", ["align.device=gpu"])


def test_home_and_variables_in_paths_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PHOTOS", "/data/photos")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a$b.json").write_text("[]")
    changes = ["data.prompts=~/set/train", "data.images=${PHOTOS}/small", "data.columns={prompt: $q}"]
    data = load_recipe("world-quick", changes).data
    assert (data.prompts, data.images, data.columns) == (
        f"{tmp_path}/set/train",
        "/data/photos/small",
        {"prompt": "$q"},
    )
    assert load_recipe("world-quick", ["data.prompts=a$b.json"]).data.prompts == "a$b.json"
    assert load_recipe("world-quick", ["report.title=costs $5 and $X"]).report.title == "costs $5 and $X"


def test_a_variable_that_is_not_set_is_refused_by_name(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(InputError, match=r"^data\.images: \$NOWHERE/x: the variable NOWHERE is not set; set it"):
        load_recipe("world-quick", ["data.images=$NOWHERE/x"])
    with pytest.raises(InputError, match=r"^evaluate\.data: ~nobody0/x: .*; write the path out"):
        load_recipe("world-quick", ["evaluate.data=~nobody0/x"])


def test_an_alias_inside_itself_is_refused(tmp_path):
    (tmp_path / "r.yaml").write_text("name: x\ndata: &a {prompts: p, images: [*a]}\n")
    with pytest.raises(InputError, match=r"r\.yaml, line 2: not YAML \(an alias \(\*\) stands inside its own anchor"):
        load_recipe(str(tmp_path / "r.yaml"))


def test_a_message_about_an_objective_names_its_key_without_its_kind() -> None:
    with pytest.raises(InputError, match=r"align\.objective: kept names the smallest share first"):
        load_recipe("world-quick", ["align.objective={name: copo, kept: [0.3, 0.1]}"])


def test_a_text_that_is_no_model_may_begin_like_one() -> None:
    assert load_recipe("world-quick", ["report.title=run:round-1 again"]).report.title == "run:round-1 again"
