"""The order by image and text similarity, on the world's pictures and its CLIP."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seelevel.check.image import ImageOrder, PictureEncoder
from seelevel.check.settings import CheckSettings
from seelevel.cli import app
from seelevel.errors import InputError
from seelevel.formats.parquet import load_ladders, save_ladders
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.models.kinds import check_encodes
from seelevel.naming import named_model
from seelevel.world.pictures.drawing import picture
from seelevel.world.pictures.scenes import draw_scenes
from seelevel.world.texts.language import standard


@pytest.fixture(scope="module")
def encoder() -> PictureEncoder:
    return PictureEncoder(named_model("world:clip").path)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """(picture, its standard description) of some scenes of the world."""
    folder, rng, made = tmp_path_factory.mktemp("pictures"), random.Random(0), []
    for scene in draw_scenes("dev", 12):
        file = folder / f"{scene.id}.png"
        picture(scene).save(file)
        made.append((str(file), standard(scene, rng, detail=True)))
    return made


def ladder(pictures: Sequence[str], *texts: str, name: str = "a", first: str = "") -> Ladder:
    responses = [
        Response([Message(role="assistant", content=text)], n, {"kind": first} if n == 0 and first else {"n": n})
        for n, text in enumerate(texts)
    ]
    prompt = [Message(role="user", content="<image>" * len(pictures) + " Describe it.")]
    return Ladder(name, [Image(path) for path in pictures], prompt, responses)


def scores(result: Ladder) -> dict[str, float]:
    return {response.text: response.scores["similarity"] for response in result.responses}


def test_a_pictures_own_description_beats_those_of_others(
    encoder: PictureEncoder, scenes: list[tuple[str, str]]
) -> None:
    ladders = [
        ladder([path], scenes[n - 1][1], scenes[n - 2][1], text, name=str(n)) for n, (path, text) in enumerate(scenes)
    ]
    results = list(ImageOrder(encoder)(ladders))
    best = [result.responses[0].text == text for result, (_, text) in zip(results, scenes, strict=True)]
    assert sum(best) >= len(best) - 1
    assert all(result.check is not None and not result.check.unchecked for result in results)


def test_scores_do_not_depend_on_the_batch(encoder: PictureEncoder, scenes: list[tuple[str, str]]) -> None:
    ladders = [ladder([path], *(t for _, t in scenes[:3]), name=str(n)) for n, (path, _) in enumerate(scenes[:4])]
    together = [scores(result) for result in ImageOrder(encoder)(ladders)]
    fresh = PictureEncoder(encoder.name)
    alone = [scores(result) for x in reversed(ladders) for result in ImageOrder(fresh)([x])]
    assert together == alone[::-1]


def test_a_long_text_is_the_mean_of_its_pieces(encoder: PictureEncoder, scenes: list[tuple[str, str]]) -> None:
    path, text = scenes[0]
    words = (text + " ") * 12
    long = " ".join(words.split())
    (result,) = ImageOrder(encoder)([ladder([path], long, text)])
    vectors = encoder.texts.encode([piece for piece, _ in encoder.texts._pieces(long, 10_000)])
    mean = vectors.mean(axis=0) / np.linalg.norm(vectors.mean(axis=0))
    assert len(vectors) > 1
    assert scores(result)[long] == pytest.approx(float(mean @ encoder.picture(path)), abs=1e-4)
    assert result.check is not None and result.check.split == 1


def test_each_picture_is_encoded_once(
    encoder: PictureEncoder, scenes: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, seen = PictureEncoder(encoder.name), list[Any]()
    real = fresh.texts.model.get_image_features
    monkeypatch.setattr(fresh.texts.model, "get_image_features", lambda **x: seen.append(x) or real(**x))
    path = scenes[0][0]
    list(ImageOrder(fresh)(ladder([path], "a dog", "a cat", name=str(n)) for n in range(300)))
    assert len(seen) == 1


def test_several_pictures_count_alike(encoder: PictureEncoder, scenes: list[tuple[str, str]]) -> None:
    (a, text), (b, other) = scenes[:2]
    (result,) = ImageOrder(encoder)([ladder([a, b], text, other)])
    for response in result.responses:
        assert response.check is not None and len(response.check.similarities) == 2
        assert response.scores["similarity"] == pytest.approx(sum(response.check.similarities) / 2, abs=1e-5)


def test_the_standard_response_stays_best_unless_told_otherwise(
    encoder: PictureEncoder, scenes: list[tuple[str, str]]
) -> None:
    (path, text), (_, wrong) = scenes[:2]
    given = ladder([path], wrong, text, wrong, first="standard")
    (kept,) = ImageOrder(encoder)([given])
    assert kept.responses[0].is_standard and [r.text for r in kept.responses] == [wrong, text, wrong]
    (free,) = ImageOrder(encoder, standard_first=False)([given])
    assert [r.text for r in free.responses] == [text, wrong, wrong] and free.levels == [0, 1, 1]
    (tied,) = ImageOrder(encoder, tolerance=1, standard_first=False)([given])
    assert tied.levels == [0, 0, 0]


def test_a_ladder_without_a_picture_keeps_its_order(encoder: PictureEncoder, scenes: list[tuple[str, str]]) -> None:
    (result,) = ImageOrder(encoder)([ladder([], "a dog", "a cat")])
    assert result.check is not None and result.check.unchecked == "there is no picture" and result.levels == [0, 1]


def test_the_reasons_are_kept_in_files(encoder: PictureEncoder, scenes: list[tuple[str, str]], tmp_path: Path) -> None:
    results = list(ImageOrder(encoder)([ladder([scenes[0][0]], scenes[0][1], "a cat")]))
    save_ladders(results, tmp_path / "checked.parquet")
    (again,) = load_ladders(tmp_path / "checked.parquet")
    assert again.check == results[0].check
    assert [r.check for r in again.responses] == [r.check for r in results[0].responses]
    assert [r.scores for r in again.responses] == [r.scores for r in results[0].responses]


@pytest.mark.unit
def test_an_encoder_of_texts_alone_is_refused_before_the_run(tmp_path: Path) -> None:
    sentences, bert = tmp_path / "sentences", tmp_path / "bert"
    for folder in (sentences, bert):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    (sentences / "modules.json").write_text("[]")
    for folder in (sentences, bert):
        check_encodes(str(folder))
        with pytest.raises(InputError, match="encodes no pictures; name a CLIP"):
            check_encodes(str(folder), pictures=True)
    check_encodes(named_model("world:clip").path, pictures=True)


@pytest.mark.unit
def test_settings_need_an_encoder_and_refuse_keys_of_others() -> None:
    assert CheckSettings(checker="image", encoder="e", tolerance=0.01).words == "image with encoder e"
    with pytest.raises(ValueError, match=r"check\.encoder is missing"):
        CheckSettings(checker="image")
    with pytest.raises(ValueError, match=r"check\.synonyms: checker image does not read it; set checker: objects"):
        CheckSettings(checker="image", encoder="e", synonyms="s.txt")


RECIPE = """
name: seen
data: {prompts: world:prompts, limit: 3}
generate: {experts: [world:xs, world:s], sampling: {max_new_tokens: 16}}
check: {checker: image, encoder: world:clip}
align: {model: world:xs}
evaluate: {data: world:dev, judge: world:oracle, limit: 2}
"""


def test_a_recipe_runs_and_plans_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    place = [str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    app(["run", *place, "--dry-run"], standalone_mode=False)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("check")]
    assert "world:clip" in row and "parser" not in row
    app(["generate", *place], standalone_mode=False)
    app(["check", *place], standalone_mode=False)
    checked = load_ladders(tmp_path / "run" / "check")
    assert len(checked) == 3 and all("similarity" in r.scores for x in checked for r in x.responses)
