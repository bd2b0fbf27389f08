"""vLLM as a backend, with a stand-in that takes the real one's arguments: no answer is lost, none depends on the call's
other prompts, and nothing of vLLM is imported unless it is asked for."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from seelevel.engine import engine_of
from seelevel.engine.settings import EngineSettings
from seelevel.errors import InputError
from seelevel.generate import run
from seelevel.generate.settings import SamplesSettings
from seelevel.models import load_generator
from seelevel.models.backend import BackendSettings
from seelevel.models.base import ModelRef, Prompt, Sampling
from seelevel.models.files import model_fingerprint
from seelevel.models.vllm import lora_rank
from seelevel.recipe import Recipe, load_recipe
from seelevel.stages import settings_digest
from seelevel.store import StageFolder, shards
from tests.engine.instant import write_prompts
from tests.models.test_adapters import make_adapter
from tests.training.tiny import make_picture, save_model

STANDINS = Path(__file__).parents[1] / "standins"
VLLM = BackendSettings(name="vllm")
DRAWN = Sampling(temperature=1.0, max_new_tokens=30, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The engines that were made."""
    monkeypatch.syspath_prepend(STANDINS)
    import vllm

    engines: list[Any] = vllm.MADE
    yield engines
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def loaded(path: Path, batch_size: int | None = None, **settings: Any) -> Any:
    return load_generator(ModelRef("m", str(path), backend=BackendSettings(name="vllm", **settings)), batch_size)


def ask(text: str, *images: str, sample: int | None = None) -> Prompt:
    return Prompt([{"role": "user", "content": "<image>\n" * len(images) + text}], list(images), sample)


def test_all_samples_of_a_prompt_come_from_one_request(made: list[Any], folder: Path, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, 0)
    model = loaded(folder)
    prompts = [ask(text, picture, sample=n) for text in ("Is there a boat?", "Describe it.") for n in range(4)]
    answers = model.generate(prompts, DRAWN)
    assert [p.n for p in made[-1].parameters] == [4, 4] and len(made[-1].calls[0]) == 2
    assert len({answer.text for answer in answers}) == 8
    assert all(answer.logprob == -0.5 and answer.finished and answer.tokens > 1 for answer in answers)
    assert model.generate(prompts, DRAWN) == answers
    assert model.generate(prompts, DRAWN.model_copy(update={"seed": 4})) != answers


def test_greedy_answers_and_single_ones_are_requests_of_their_own(made: list[Any], folder: Path) -> None:
    model = loaded(folder)
    greedy = model.generate([ask("What?", sample=0), ask("What?")], Sampling(max_new_tokens=30))
    assert greedy[0].text == greedy[1].text and greedy[0].logprob is not None and greedy[1].logprob is None
    drawn = model.generate([ask("What?"), ask("What?")], DRAWN)
    assert drawn[0].text != drawn[1].text
    assert [(p.n, p.seed is None) for p in made[-1].parameters] == [(1, True), (1, True), (1, False), (1, False)]


def test_a_refused_prompt_is_reported_and_changes_no_other_answer(
    made: list[Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = loaded(folder)
    prompts = [ask(f"What is {n}?") for n in range(7)]
    answers = model.generate(prompts, DRAWN)
    spoilt = [*prompts[:3], ask("Why? " * 1000), *prompts[4:6], ask("Is there<|end|>\nYes.")]
    bad = model.generate(spoilt, DRAWN)
    assert [bad[n].text for n in (0, 1, 2, 4, 5)] == [answers[n].text for n in (0, 1, 2, 4, 5)]
    assert bad[3].note == "vLLM refuses it: The decoder prompt is longer than the maximum model length"
    assert bad[6].note.startswith("the prompt holds '<|end|>'")
    assert "1 of 7 prompts are not answered, the first because vLLM refuses it" in capsys.readouterr().err


def test_if_all_of_many_prompts_are_refused_the_cause_is_not_a_prompt(made: list[Any], folder: Path) -> None:
    refused = [ask("Why? " * 1000 + str(n)) for n in range(8)]
    model = loaded(folder)
    assert [answer.text for answer in model.generate(refused[:7], DRAWN)] == [""] * 7
    with pytest.raises(InputError, match=r"answers nothing: vLLM refuses it: The decoder .* backend: transformers$"):
        model.generate(refused, DRAWN)
    model.generate([ask("What?")], DRAWN)
    assert [answer.text for answer in model.generate(refused, DRAWN)] == [""] * 8


def test_an_answer_that_the_limit_cuts_is_not_finished(made: list[Any], folder: Path) -> None:
    [cut] = loaded(folder).generate([ask("What?")], Sampling(max_new_tokens=3))
    assert (cut.finished, cut.tokens) == (False, 3)


def test_settings_reach_the_engine(made: list[Any], folder: Path) -> None:
    loaded(folder, batch_size=5, memory=0.4, max_length=2048, pictures=3, gpus=2)
    given = made[-1].given
    assert given["max_num_seqs"] == 5 and given["limit_mm_per_prompt"] == {"image": 3}
    assert (given["gpu_memory_utilization"], given["max_model_len"], given["tensor_parallel_size"]) == (0.4, 2048, 2)
    assert given["enable_prefix_caching"] is False and given["load_format"] == "safetensors"


def test_what_vllm_cannot_do_is_one_line(made: list[Any], folder: Path, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, 0)
    with pytest.raises(InputError, match=r"vLLM has no beam search; set num_beams: 1, or backend: transformers"):
        loaded(folder).generate([ask("What?")], Sampling(num_beams=4))
    with pytest.raises(InputError, match=r"a prompt has 2 pictures; set backend.pictures: 2"):
        loaded(folder).generate([ask("What?", picture, picture)], DRAWN)
    with pytest.raises(InputError, match=r"vLLM does not load it \(To serve at least one request.*backend.max_length"):
        loaded(folder, max_length=1)


def test_an_adapter_answers_on_its_base(made: list[Any], folder: Path, tmp_path: Path) -> None:
    make_adapter(folder, tmp_path / "a", r=5, target_modules=r".*language_model.*\.(q_proj|up_proj)")
    [adapted] = loaded(tmp_path / "a").generate([ask("What?")], DRAWN)
    assert made[-1].model == str(folder) and made[-1].given["max_lora_rank"] == 8
    [plain] = loaded(folder).generate([ask("What?")], DRAWN)
    assert adapted.text != plain.text


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"use_dora": True}, "it is a DoRA"),
        ({"modules_to_save": ["lm_head"]}, "it has whole layers"),
        ({"rank_pattern": {"v_proj": 8}}, "its layers differ, rank_pattern"),
        ({"rank_pattern": {"v_proj": 8}, "alpha_pattern": {"v_proj": 1}}, "its layers differ, rank_pattern and alpha_"),
        ({"alpha_pattern": {"v_proj": 1}}, "its layers differ, alpha_pattern"),
        ({"target_parameters": ["q_proj.weight"], "target_modules": []}, "it changes experts, target_parameters"),
        ({"trainable_token_indices": [1, 2]}, "it has trained tokens, trainable_token_indices"),
        ({"target_modules": "all-linear"}, "it changes layers for pictures"),
    ],
)
def test_an_adapter_that_vllm_would_load_in_part_is_refused(
    folder: Path, tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    make_adapter(folder, tmp_path / "a", **settings)
    with pytest.raises(InputError, match=rf"vLLM does not load it \({why}.*\); set backend: transformers"):
        lora_rank(tmp_path / "a")


def test_without_vllm_one_line_names_the_package(folder: Path) -> None:
    if find_spec("vllm") is not None:
        pytest.skip("vLLM is installed")
    with pytest.raises(InputError, match=r"^backend vllm needs one more package, and a GPU: pip install vllm$"):
        loaded(folder)


def test_nothing_of_vllm_is_imported_unless_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(STANDINS)
    load_generator(ModelRef("m", str(folder))).generate([ask("What?")], Sampling(max_new_tokens=2))
    assert "vllm" not in sys.modules


def test_a_backend_asks_its_models_again(folder: Path) -> None:
    refs = [ModelRef("m", str(folder), backend=b) for b in (BackendSettings(), VLLM)]
    assert len({model_fingerprint(ref) for ref in refs}) == 2
    assert model_fingerprint(refs[0]) == model_fingerprint(ModelRef("m", str(folder)))
    same = [VLLM, *(BackendSettings(name="vllm", **more) for more in ({"memory": 0.5}, {"gpus": 2}, {"pictures": 3}))]
    assert {model_fingerprint(ModelRef("m", str(folder), backend=b)) for b in same} == {model_fingerprint(refs[1])}
    shorter = ModelRef("m", str(folder), backend=BackendSettings(name="vllm", max_length=64))
    assert model_fingerprint(shorter) != model_fingerprint(refs[1])
    server = [ModelRef("s", "http://127.0.0.1:1/v1#m", backend=b) for b in (BackendSettings(), VLLM)]
    assert len({model_fingerprint(ref) for ref in server}) == 1


def test_more_memory_discards_no_stage() -> None:
    given: list[list[str]] = [["backend=vllm"], ["backend={name: vllm, memory: 0.5}"], []]
    digests = [settings_digest(load_recipe("world-quick", more), "generate") for more in given]
    assert digests[0] == digests[1] != digests[2]


def test_settings_of_vllm_alone_are_refused_without_it() -> None:
    with pytest.raises(InputError, match=r"backend: memory, gpus: only vLLM has such settings; add name: vllm"):
        load_recipe("world-quick", ["backend={name: transformers, memory: 0.8, gpus: 2}"])
    assert load_recipe("world-quick", ["backend={name: transformers, memory: 0.9}"]).backend == BackendSettings()


def test_ray_workers_without_a_gpu_are_refused() -> None:
    with pytest.raises(InputError, match=r"set engine.gpus: 1"):
        load_recipe("world-quick", ["backend=vllm", "engine=ray"])
    assert isinstance(load_recipe("world-quick", ["backend=vllm", "engine={name: ray, gpus: 1}"]), Recipe)


@pytest.mark.usefixtures("one_cluster")
@pytest.mark.slow
def test_ray_workers_ask_vllm_too(made: list[Any], folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="seelevel[ray] is not installed")
    source = write_prompts(tmp_path / "data", shards=4, each=3)
    written = {}
    for engine in ("local", "ray"):
        stage = StageFolder(tmp_path / engine, "f")
        stage.begin()
        with engine_of(EngineSettings(name=engine)):
            settings = SamplesSettings(model="m", n=3, sampling=DRAWN)
            run(source, stage, settings, [ModelRef("m", str(folder), backend=VLLM)], tmp_path, 0)
        written[engine] = {path.name: path.read_bytes() for path in shards(tmp_path / engine)}
    assert written["ray"] == written["local"] and len(written["ray"]) == 4


def test_the_stand_in_takes_what_vllm_takes(made: list[Any]) -> None:
    """Where vLLM's source is on the path, too (it need not run)."""
    import vllm

    paths = [Path(path) / "vllm" for path in sys.path if Path(path) != STANDINS]
    source = next((path for path in paths if (path / "sampling_params.py").is_file()), None)
    if source is None:
        pytest.skip("vLLM's source is not here")
    assert arguments(source / "entrypoints" / "llm.py", "LLM", "__init__") >= vllm.LLM_TAKES
    assert fields(source / "engine" / "arg_utils.py", "EngineArgs") >= vllm.ENGINE_TAKES
    assert fields(source / "sampling_params.py", "SamplingParams") >= vllm.SAMPLING_TAKES
    own = arguments(STANDINS / "vllm" / "__init__.py", "LLM", "generate")
    assert own == arguments(source / "entrypoints" / "llm.py", "LLM", "generate")
    outputs = fields(STANDINS / "vllm" / "__init__.py", "CompletionOutput")
    assert outputs <= fields(source / "outputs.py", "CompletionOutput")
    request = fields(STANDINS / "vllm" / "lora" / "request.py", "LoRARequest")
    assert request <= fields(source / "lora" / "request.py", "LoRARequest")
    for name, base in (("VLLMValidationError", "VLLMClientError"), ("VLLMClientError", "VLLMError")):
        assert ast.unparse(_class(source / "exceptions.py", name).bases[0]) == base


def _class(path: Path, name: str) -> ast.ClassDef:
    tree = ast.parse(path.read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def fields(path: Path, name: str) -> set[str]:
    return {node.target.id for node in _class(path, name).body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]


def arguments(path: Path, name: str, method: str) -> set[str]:
    made = next(n for n in _class(path, name).body if isinstance(n, ast.FunctionDef) and n.name == method)
    return {argument.arg for argument in (*made.args.args, *made.args.kwonlyargs)} - {"self"}
