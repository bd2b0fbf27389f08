"""No recipe, judge's reply, model header, configuration or chat template ends in anything but a result or one line."""

import json
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import strategies as some
from pydantic import BaseModel

from seelevel.forecast.shapes import shape_of
from seelevel.judge.replies import json_verdict, parse_ratings
from seelevel.models.chat_template import end_of_answer, render
from seelevel.models.folders import adapter_base, check_model_folder
from seelevel.models.weights import safetensors_header
from seelevel.recipe import load_recipe
from seelevel.world import model_path
from tests.hostile.search import mutated, scalars, search, values

pytestmark = pytest.mark.unit
RECIPE = """name: mine
data: {prompts: "world:prompts", limit: 4}
generate: {method: experts, experts: ["world:m", "world:s"], sampling: {max_new_tokens: 8}}
check: {encoder: a/b, threshold: 0.8}
align: {model: "world:s", objective: {name: mdpo}, lora: {r: 4}}
evaluate: {benchmarks: [capability], data: "world:dev"}
"""


def test_recipe_texts(tmp_path):
    def run(raw):
        (tmp_path / "r.yaml").write_bytes(raw)
        load_recipe(str(tmp_path / "r.yaml"))

    search(mutated(RECIPE.encode()), run)


def test_recipe_values(tmp_path):
    whole = yaml.safe_load(RECIPE)
    keys = some.sampled_from([*whole, *(f"{top}.{key}" for top in whole if top != "name" for key in whole[top])])

    def run(changes):
        overrides = [f"{key}={json.dumps(value)}" for key, value in changes]
        (tmp_path / "r.yaml").write_text(RECIPE)
        load_recipe(str(tmp_path / "r.yaml"), overrides)

    search(some.lists(some.tuples(keys, values), min_size=1, max_size=3), run)


class Verdict(BaseModel):
    rating: int
    reason: str = ""


def test_judges_replies():
    pieces = some.sampled_from(
        ['{"rating": 3}', "{", "}", '"', ",", "<think>", "</think>", "```json", "[", "1e9", "nan", "3/4"]
    )
    replies = some.lists(some.one_of(pieces, some.text(max_size=8), values.map(repr)), max_size=12).map("".join)
    parse = json_verdict(Verdict)
    search(replies, lambda reply: parse(reply, {}), ValueError)
    search(replies, lambda reply: parse_ratings(reply, 2, 4), ValueError)


entries = some.fixed_dictionaries(
    {},
    optional={
        "dtype": some.one_of(some.sampled_from(["F32", "BF16", "I4"]), scalars),
        "shape": some.one_of(some.lists(some.one_of(some.integers(-1, 4), scalars), max_size=3), scalars),
        "data_offsets": some.one_of(some.lists(some.integers(-1, 20), max_size=3), scalars),
    },
)


def test_safetensors_headers(tmp_path):
    file = tmp_path / "m.safetensors"

    def run(parts):
        header, length, rest = parts
        raw = json.dumps(header).encode()
        run_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + rest)

    def run_bytes(raw):
        file.write_bytes(raw)
        safetensors_header(file)

    headers = some.one_of(values, some.dictionaries(some.text(max_size=4), some.one_of(entries, values), max_size=3))
    lengths = some.one_of(some.none(), some.integers(0, 2**64 - 1))
    search(some.tuples(headers, lengths, some.binary(max_size=24)), run)
    search(some.binary(max_size=40), run_bytes)


def copied_model(folder: Path) -> Path:
    """A folder with the files of a model of the world, by link, without config.json."""
    for file in Path(model_path("s")).iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    return folder


def test_model_configurations(tmp_path):
    folder = copied_model(tmp_path)
    whole = json.loads((Path(model_path("s")) / "config.json").read_text())
    inner = [(part, key) for part in ("text_config", "vision_config") for key in whole[part]]
    keys = some.sampled_from([("", key) for key in whole] + inner)

    def run(changes):
        config = json.loads(json.dumps(whole))
        for (part, key), value in changes:
            target = config[part] if part and isinstance(config[part], dict) else config
            target[key] = value
        (folder / "config.json").write_text(json.dumps(config))
        check_model_folder(folder)
        shape_of(str(folder))

    run([(("text_config", "attention_bias"), True)])  # the first one imports transformers' models, which takes seconds
    search(some.lists(some.tuples(keys, values), min_size=1, max_size=3), run)


def test_model_indexes(tmp_path):
    folder = copied_model(tmp_path)
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    (folder / "config.json").write_text((Path(model_path("s")) / "config.json").read_text())
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    names = some.sampled_from(["one.safetensors", "pytorch_model.bin", "../x.safetensors", "/x.safetensors", "x.pt"])
    maps = some.one_of(values, some.dictionaries(some.text(max_size=6), some.one_of(names, scalars), max_size=3))

    def run(weight_map):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        check_model_folder(folder)
        assert set(weight_map.values()) == {"one.safetensors"}

    search(maps, run)


def test_adapters(tmp_path):
    header = json.dumps({"a.lora_A.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    keys = some.sampled_from(["base_model_name_or_path", "peft_type", "r", "rank_pattern", "megatron_config"])

    def run(config):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        adapter_base(tmp_path)

    bases = some.one_of(values, some.sampled_from([".", "..", "/", str(model_path("s"))]))
    search(some.dictionaries(keys, bases, max_size=4), run)


PIECES = """{{ messages }}|||{% for m in messages %}|||{% endfor %}|||{{ m['content'] }}|||{{ m.role }}|||{% if m %}
|||{% endif %}|||{{ raise_exception('no') }}|||{% include '/etc/passwd' %}|||{% import 'os' as o %}|||{{ 1 / 0 }}
|||{{ ''.__class__.__mro__ }}|||{{ m.content[0].text }}|||{% macro a() %}{{ a() }}{% endmacro %}|||{{ a() }}
|||{{ messages | tojson }}|||{% set x = messages %}|||{{ x.append(1) }}|||{% extends 'x' %}|||{{ none.x }}
|||{{ strftime_now('%Y') }}|||{{ strftime_now('%') }}|||{% generation %}|||{% endgeneration %}|||{{|||}}|||{%|||%}
|||{{ 'a' % 1 }}|||{{ '%s' % messages }}|||{{ messages[99] }}|||{{ (1).bit_length }}|||<image>"""


class Processor:
    """A processor that is no more than its chat template, rendered as transformers does."""

    image_token = "<image>"

    def __init__(self, template: str) -> None:
        self.chat_template = template
        self.tokenizer = SimpleNamespace(
            chat_template=None, name_or_path="m", added_tokens_decoder={}, convert_tokens_to_ids=lambda token: None
        )

    def apply_chat_template(self, chat, chat_template, add_generation_prompt, tokenize, **more):
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered, _ = render_jinja_template(
            [chat], chat_template=chat_template, add_generation_prompt=add_generation_prompt
        )
        return rendered[0]


def test_chat_templates():
    pieces = some.sampled_from([*PIECES.split("|||"), "{% for m in messages %}{{ m.content }}{% endfor %}"])
    templates = some.lists(some.one_of(pieces, some.text(max_size=5)), max_size=9).map("".join)

    def run(template):
        processor = Processor(template)
        end_of_answer(processor)
        render([{"role": "user", "content": "<image>\nWhat?"}], processor, answer_next=True)

    search(templates, run)
