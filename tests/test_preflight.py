"""What a recipe asks for and cannot have is refused in one line before anything runs."""

import importlib.util
import json
import shutil
import subprocess
import sys

import httpx
import pytest
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from seelevel.errors import InputError
from seelevel.forecast import forecast
from seelevel.models.kinds import check_answers, check_encodes
from seelevel.pipeline import Run
from seelevel.recipe import load_recipe
from seelevel.training.requirements import check_training
from seelevel.training.settings import LoraSettings, TrainSettings
from seelevel.world import model_path
from tests.test_cli import refused
from tests.training.tiny import make_tokenizer

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("step", [Run.plan, Run.everything])
@pytest.mark.parametrize("out", ["file", "file/below/it", "n" * 300])
def test_a_folder_that_cannot_be_one_is_refused_before_anything_runs_and_in_a_dry_run_too(tmp_path, out, step):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be a run folder"):
        step(Run(load_recipe("world-quick"), tmp_path / out))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("align.model=world:clip", "is of kind clip (CLIPModel), which answers no prompts; name an image-text-to-text"),
        ('generate.experts=["world:clip"]', "is of kind clip (CLIPModel), which answers no prompts"),
        ("check.encoder=world:s", "is of kind llava, which writes text and does not encode it; name a CLIP"),
        ("check.parser=en_core_web_nowhere", "en_core_web_nowhere"),
        ("check.parser=numpy", "numpy"),
        ("align.epochs=.inf", "--set align.epochs: '.inf' is not a YAML value (.inf is NaN or infinite"),
        ("align.learning_rate=.nan", "align.learning_rate"),
        ("align.objective.pairs=[[0, 0]]", "pairs"),
        ("align.device=cuda:9", "align.device: cuda:9 is not available"),
        ('align.lora={"target": ["qproj"]}', "align.lora.target: the language model has no linear layer 'qproj'; did"),
        ('align.lora={"target": []}', "align.lora.target"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_anything_runs(tmp_path, change, message):
    line = refused("run", "world-quick", "--out", tmp_path / "run", "--set", change)
    assert message in line
    assert not (tmp_path / "run").exists()


def folder(path, **config):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return str(path)


def test_kinds_are_told_by_the_configuration(tmp_path):
    text = folder(tmp_path / "text", model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=8)
    with pytest.raises(InputError, match="is of kind llama, which reads no pictures"):
        check_answers(text)
    fuyu = folder(tmp_path / "fuyu", model_type="fuyu", architectures=["FuyuForCausalLM"], image_size=300)
    check_answers(fuyu)
    bert = folder(tmp_path / "bert", model_type="bert", architectures=["BertModel"])
    check_encodes(bert)
    with pytest.raises(InputError, match="does not encode it"):
        check_encodes(text)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
@pytest.mark.parametrize("command", ["doctor", "run"])
def test_a_processor_that_needs_a_missing_package_is_refused_with_its_name(tmp_path, command):
    model = tmp_path / "qwen"
    Qwen2VLImageProcessorPil().save_pretrained(model)
    make_tokenizer().save_pretrained(model)
    (model / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen2_5_VLProcessor"}))
    kind = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"], "vision_config": {}}
    (model / "config.json").write_text(json.dumps(kind))
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    line = refused(command, "world-quick", "--set", f"align.model={model}", cwd=tmp_path)
    assert f"model {model}: its processor needs torchvision; install it with `pip install 'seelevel[video]'`" in line
    assert not (tmp_path / "runs").exists()


def test_a_folder_without_a_chat_template_is_refused_before_anything_runs(tmp_path):
    shutil.copytree(model_path("xs"), tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="has no chat template; add"):
        Run(load_recipe("world-quick", [f"align.model={tmp_path / 'm'}"]), tmp_path / "run").plan()


class TestModelsOfTheHub:
    """Looked at before anything runs: a misspelt name would be found after hours of generation."""

    NAME = "somebody/on-the-hub"

    def job(self, place):
        return Run(load_recipe("world-quick", [f"align.model={self.NAME}"]), place / "run")

    def test_their_kind_is_read_from_their_configuration(self, tmp_path, monkeypatch):
        text = folder(tmp_path / "text", model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=8)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda name, file: f"{text}/{file}")
        with pytest.raises(InputError, match="on-the-hub is of kind llama, which reads no pictures"):
            check_answers(self.NAME)
        with pytest.raises(InputError, match="does not encode it"):
            check_encodes(self.NAME)

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (RepositoryNotFoundError, "on-the-hub: .* HF_TOKEN"),
            (GatedRepoError, "on-the-hub: .* .*HF_TOKEN"),
            (RemoteEntryNotFoundError, "on-the-hub: it has no config.json"),
        ],
    )
    def test_a_no_of_the_hub_ends_a_run_and_its_plan_at_once(self, tmp_path, monkeypatch, kind, message):
        def refuse(name, file):
            raise kind("no", response=httpx.Response(404, request=httpx.Request("GET", "http://hub/")))

        monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
        for start in (self.job(tmp_path).everything, self.job(tmp_path).plan):
            with pytest.raises(InputError, match=message):
                start()
        assert not (tmp_path / "run").exists()

    def test_a_hub_that_cannot_be_asked_ends_a_run_and_lets_it_be_planned(self, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        assert self.job(tmp_path).plan()["align"]
        with pytest.raises(InputError, match="on-the-hub is neither a folder nor in the hub's cache here"):
            self.job(tmp_path).everything()
        assert not (tmp_path / "run").exists()


def test_an_adapter_is_of_its_bases_kind(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(model_path("clip"))}))
    (adapter / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(InputError, match="answers no prompts"):
        check_answers(str(adapter))
    with pytest.raises(InputError, match=r"align\.lora: .* is an adapter already"):
        check_training("align", TrainSettings(lora=LoraSettings()), str(adapter))


def test_layers_to_adapt_are_those_of_the_decoder(tmp_path):
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"hidden_size": 8, "num_heads": 2, "depth": 1, "out_hidden_size": 8}
    there = folder(tmp_path / "there", model_type="qwen2_5_vl", text_config=sizes, vision_config=vision)
    check_training("align", TrainSettings(lora=LoraSettings(target=["q_proj", "up_proj"])), there)
    with pytest.raises(InputError, match="no linear layer 'qkv'; known: down_proj, gate_proj"):  # it is the tower's
        check_training("align", TrainSettings(lora=LoraSettings(target=["qkv"])), there)
    unknown = folder(tmp_path / "unknown", model_type="of-next-year")
    check_training("align", TrainSettings(lora=LoraSettings(target=["qkv"])), unknown)


def test_only_names_of_layers_import_torch(tmp_path):
    there = folder(tmp_path / "there", model_type="llava")
    code = (
        "import sys; from seelevel.training.requirements import check_training as check\n"
        "from seelevel.training.settings import LoraSettings, TrainSettings\n"
        f"check('align', TrainSettings(device='cpu', lora=LoraSettings()), {there!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_devices_that_are_always_there_import_no_torch():
    code = (
        "import sys; from seelevel.training.requirements import check_device; "
        "check_device('align', 'cpu'); check_device('align', 'auto'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_input_inside_the_runs_own_stages_is_refused_and_stands(tmp_path):
    adapter = tmp_path / "run" / "align" / "adapter"
    shutil.copytree(model_path("xs"), adapter)
    job = Run(load_recipe("world-quick", [f"align.model={adapter}"]), tmp_path / "run")
    with pytest.raises(InputError, match=r"align\.model: .* lies in a stage of this run"):
        job.preflight()
    assert (adapter / "config.json").exists()
    Run(load_recipe("world-quick", [f"align.model={adapter}"]), tmp_path / "other").preflight()


def test_a_recipe_that_makes_its_own_base_is_examined_before_the_base_is_there(tmp_path):
    job = Run(load_recipe("world-dress"), tmp_path)
    states = job.plan()
    assert [name for name in states if "/" not in name] == [
        "base-data", "base", "data", "generate", "feedback", "align", "evaluate",
    ]  # fmt: skip
    assert all(states.values())
    assert job.recipe.before("align") == "feedback"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["base=null"], "model run:base: this recipe makes none"),
        (["base.model=run:base"], "name the model to fine-tune"),
        (["base.prompts=world:test"], "base.prompts: world:test is unknown"),
        (["feedback.judge=world:clip"], "is of kind clip"),
        (["feedback.judge_template=nowhere.j2"], "feedback.judge_template: nowhere.j2 does not exist"),
    ],
)
def test_what_a_recipe_of_feedback_cannot_have_is_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        Run(load_recipe("world-dress", changes), tmp_path).preflight()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ question }} {{ nope }}", r"mine\.j2: 'nope' is undefined; a record has answer, context"),
        ("", r"mine\.j2 .* the answers"),
        ("<image> {{ answer | quoted }}", r"mine\.j2 marks 1 pictures, but 0 are shown"),
        ("{{ answer }} {{ 1 / 0 }}", r"mine\.j2: .*division by zero"),
    ],
)
def test_a_judge_s_template_that_cannot_work_is_refused_beforehand(tmp_path, text, message):
    file = tmp_path / "mine.j2"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        Run(load_recipe("world-dress", [f"feedback.judge_template={file}"]), tmp_path / "run").preflight()
    file.write_text("{{ question | quoted }} {{ answer | quoted }}")
    Run(load_recipe("world-dress", [f"feedback.judge_template={file}"]), tmp_path / "run").preflight()


def test_the_template_of_a_check_s_judge_is_looked_at_too(tmp_path):
    file = tmp_path / "mine.j2"
    file.write_text("{{ answer }}")
    judged = ["check={checker: judge, judge: 'world:oracle'}", f"check.judge_template={file}"]
    with pytest.raises(InputError, match=r"mine\.j2: 'answer' is undefined; a record has answers"):
        Run(load_recipe("world-quick", judged), tmp_path / "run").preflight()
    file.write_text("{{ answers }}")
    Run(load_recipe("world-quick", judged), tmp_path / "run").preflight()


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("annotations", None, r"check.annotations: .*mine does not exist"),
        ("annotations", '{"a.png": "dog"}', r"mine: the object set of 'a\.png' is not a list of names"),
        ("synonyms", None, r"check.synonyms: .*mine does not exist"),
        ("synonyms", "", r"mine is empty"),
    ],
)
def test_annotated_objects_that_cannot_be_read_are_refused_beforehand(tmp_path, key, text, message):
    file = tmp_path / "mine"
    if text is not None:
        file.write_text(text)
    changes = ["check={checker: objects, annotations: facts}", f"check.{key}={file}"]
    with pytest.raises(InputError, match=message):
        Run(load_recipe("world-quick", changes), tmp_path / "run").preflight()


def test_a_check_by_the_records_facts_needs_no_file_and_no_model(tmp_path):
    job = Run(load_recipe("world-quick", ["check={checker: objects, annotations: facts}"]), tmp_path / "run")
    job.preflight()
    [row] = [line for line in forecast(job).splitlines() if line.startswith("check ")]
    assert row.endswith("facts") and "parser" not in row


def test_other_annotations_under_the_same_name_are_another_check(tmp_path):
    file = tmp_path / "objects.json"
    plans = []
    for names in (["dog"], ["dog"], ["cat"]):
        file.write_text(json.dumps({"a.png": names}))
        job = Run(load_recipe("world-quick", [f"check={{checker: objects, annotations: {file}}}"]), tmp_path / "run")
        job.plan()
        plans.append(job._fingerprints[job.out / "check"])
    assert plans[0] == plans[1] != plans[2]


def test_a_stage_that_the_recipe_has_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="this recipe has no check; it has base, generate, feedback, align"):
        Run(load_recipe("world-dress"), tmp_path).alone("check")
