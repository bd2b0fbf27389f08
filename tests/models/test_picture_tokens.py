"""Processors of older versions are completed from config.json, and parts that do not go together are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seelevel.errors import InputError
from seelevel.models import load_model
from seelevel.models.base import Prompt, Sampling
from seelevel.models.processor import check_reads, load_processor
from tests.models.test_families import idefics3, llava_next
from tests.training.tiny import make_picture, save_model

pytestmark = pytest.mark.unit
FORGOTTEN = ["patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"]


def save_next(folder: Path) -> Path:
    for part in llava_next():
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[save_model, save_next])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = request.param(tmp_path_factory.mktemp("models") / "m")
    return made


def changed(folder: Path, copy: Path, file: str, forget: tuple[str, ...] = (), **values: Any) -> str:
    shutil.copytree(folder, copy)
    settings = json.loads((copy / file).read_text())
    settings = {key: value for key, value in settings.items() if key not in forget} | values
    (copy / file).write_text(json.dumps(settings))
    return str(copy)


@pytest.mark.parametrize("forget", [*[(key,) for key in FORGOTTEN], tuple(FORGOTTEN)])
def test_what_an_old_processor_lacks_is_taken_from_the_configuration(
    folder: Path, tmp_path: Path, forget: tuple[str, ...]
) -> None:
    whole = load_processor(str(folder))
    old = changed(folder, tmp_path / "old", "processor_config.json", forget)
    check_reads(old, download=False)
    processor = load_processor(old)
    assert [getattr(processor, key) for key in FORGOTTEN] == [getattr(whole, key) for key in FORGOTTEN]
    processor.save_pretrained(tmp_path / "saved")  # as training saves it
    saved = json.loads((tmp_path / "saved" / "processor_config.json").read_text())
    assert {*FORGOTTEN} <= {*saved}


def test_a_model_with_an_old_processor_answers_as_with_its_own(folder: Path, tmp_path: Path) -> None:
    prompt = Prompt([{"role": "user", "content": "<image>\nIs there a boat?"}], [make_picture(tmp_path, 0)])
    sampling = Sampling(max_new_tokens=6)
    old = changed(folder, tmp_path / "old", "processor_config.json", tuple(FORGOTTEN))
    assert load_model(old).generate([prompt], sampling) == load_model(str(folder)).generate([prompt], sampling)


def test_what_the_configuration_lacks_too_is_one_line(tmp_path: Path) -> None:
    model, processor = llava_next()
    config = model.config
    config.vision_config.patch_size = None
    processor.patch_size = None
    from seelevel.models.picture_tokens import complete

    with pytest.raises(InputError, match=r"no patch_size, and config\.json no vision_config\.patch_size; add"):
        complete(processor, config, "m")


@pytest.mark.parametrize(
    ("key", "value"),
    [("patch_size", 14), ("vision_feature_select_strategy", "full"), ("num_additional_image_tokens", 0)],
)
def test_a_processor_that_makes_other_numbers_of_tokens_than_the_model_is_refused(
    folder: Path, tmp_path: Path, key: str, value: Any
) -> None:
    broken = changed(folder, tmp_path / "m", "processor_config.json", **{key: value})
    with pytest.raises(InputError, match=rf"tokens from a picture .*{key}"):
        check_reads(broken, download=False)


def test_a_processor_and_a_model_with_other_picture_tokens_are_refused(folder: Path, tmp_path: Path) -> None:
    key = next(
        k for k in ("image_token_id", "image_token_index") if k in json.loads((folder / "config.json").read_text())
    )
    broken = changed(folder, tmp_path / "m", "config.json", **{key: 7})
    with pytest.raises(InputError, match=r"should have number 7 .*'<image>'"):
        check_reads(broken, download=False)


def test_a_tokenizer_without_the_picture_s_token_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = changed(folder, tmp_path / "m", "tokenizer_config.json")
    for file in (tmp_path / "m").glob("*.json"):
        file.write_text(file.read_text().replace('"<image>"', '"<img>"'))
    (tmp_path / "m" / "processor_config.json").write_text(
        (tmp_path / "m" / "processor_config.json")
        .read_text()
        .replace('"image_token": "<img>"', '"image_token": "<image>"')
    )
    with pytest.raises(InputError, match=str(tmp_path / "m")):
        check_reads(broken, download=False)


def test_a_picture_token_outside_the_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    processor = load_processor(str(folder))
    broken = changed(folder, tmp_path / "m", "config.json", text_config=text | {"vocab_size": processor.image_token_id})
    with pytest.raises(InputError, match=rf"'<image>' is number {processor.image_token_id}.*vocab_size"):
        check_reads(broken, download=False)


def test_a_family_whose_processor_asks_nothing_is_left_alone(tmp_path: Path) -> None:
    for part in idefics3():
        part.save_pretrained(tmp_path)
    check_reads(str(tmp_path), download=False)
