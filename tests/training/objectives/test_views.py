"""Second pictures and partners: what is drawn for a ladder, and what data without them are told."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from PIL import Image as Pictures
from pydantic import ValidationError

from seelevel.images import Crop, model_picture
from seelevel.ladder import Image, Ladder, Response
from seelevel.notes import RoundOf
from seelevel.training.objectives.picture_settings import CopoSettings, SymmpoSettings
from seelevel.training.objectives.settings import DpoSettings, MpoSettings
from seelevel.training.objectives.views import cropped, exchanged, partners

pytestmark = pytest.mark.unit


def shown(name: str, *answers: str, picture: str = "", prompt: str = "What is there?") -> Ladder:
    """A ladder with a picture of its own."""
    responses = [Response([{"role": "assistant", "content": text}], level) for level, text in enumerate(answers)]
    return Ladder(
        name, [Image(picture or f"{name}.png")], [{"role": "user", "content": f"<image>\n{prompt}"}], responses
    )


LADDERS = [shown(str(n), f"A cup and {n} birds.", "Nothing.") for n in range(12)]
BLIND = Ladder("blind", [], [{"role": "user", "content": "Hello?"}], LADDERS[0].responses)


def test_a_crop_keeps_a_share_of_the_area_and_the_proportions() -> None:
    shares = []
    for pictures in cropped(LADDERS * 20, 3, (0.05, 0.2)):
        assert pictures is not None
        [crop] = pictures
        assert isinstance(crop, Crop)
        left, top, right, bottom = crop.box
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        assert right - left == pytest.approx(bottom - top)
        shares.append((right - left) * (bottom - top))
    assert 0.05 <= min(shares) < 0.07 and 0.18 < max(shares) <= 0.2001


def test_draws_depend_on_the_seed_and_the_ladder_alone() -> None:
    order = random.Random(0).sample(range(len(LADDERS)), len(LADDERS))
    mixed = [LADDERS[n] for n in order]
    for asked in (CopoSettings(), CopoSettings(corruption="other"), SymmpoSettings(), SymmpoSettings(partner="random")):
        found = asked.views(LADDERS, 5)
        assert all(found)
        assert asked.views(mixed, 5) == [found[n] for n in order]
        assert asked.views(LADDERS, 6) != found or asked == SymmpoSettings()


def test_the_rounds_of_an_interaction_get_the_same_second_picture() -> None:
    rounds = [replace(LADDERS[0], id=f"talk#{n}", round_of=RoundOf("talk", n)) for n in range(2)]
    for draw in (cropped([*rounds, *LADDERS], 0, (0.0, 0.2)), exchanged([*rounds, *LADDERS], 0)):
        assert draw[0] == draw[1] != draw[2]


def test_a_crop_is_shown_in_the_size_of_the_whole_picture(tmp_path: object) -> None:
    path = f"{tmp_path}/halves.png"
    picture = Pictures.new("RGB", (60, 40), (255, 0, 0))
    picture.paste((0, 0, 255), (30, 0, 60, 40))
    picture.save(path)
    right = model_picture(Crop(path, (0.6, 0.1, 0.9, 0.4)))
    assert right.size == (60, 40) and right.getcolors() == [(2400, (0, 0, 255))]
    assert model_picture(Crop(path, (0.0, 0.0, 1.0, 1.0))).tobytes() == picture.tobytes()
    nothing = model_picture(Crop(path, (1.0, 1.0, 1.0, 1.0)))  # one pixel is left
    assert nothing.getcolors() == [(2400, (0, 0, 255))]


def test_another_picture_is_never_the_ladders_own() -> None:
    same = [shown(f"again-{n}", "Yes.", picture="0.png") for n in range(3)]
    for ladder, pictures in zip([*same, *LADDERS], exchanged([*same, *LADDERS], 0), strict=True):
        assert pictures is not None and pictures != (ladder.images[0].path,)
    assert exchanged([*same, BLIND], 0) == [None] * 4


def test_a_partner_has_the_prompt_and_another_picture_and_answer() -> None:
    first = shown("first", "Two red cups.")
    others = [
        shown("asked otherwise", "Two blue cups.", prompt="Why?"),
        shown("same picture", "Two green cups.", picture="first.png"),
        shown("same answer", "Two red cups."),
        BLIND,
    ]
    assert next(partners([first, *others], 0, "similar")) is None
    far, near = shown("far", "A tree in a park."), shown("near", "Two red dogs.")
    assert next(partners([first, *others, far, near], 0, "similar")) is near
    drawn = {(found := next(partners([first, far, near], seed, "random"))) and found.id for seed in range(20)}
    assert drawn == {"far", "near"}


def test_symmpo_compares_the_best_answers_of_both_ladders_given_both_pictures() -> None:
    tied = shown("tied", "Two cups.", "One cup.", "None.")
    tied = replace(tied, responses=[replace(response, level=response.level // 2) for response in tied.responses])
    other = shown("other", "A tree.", "A bush.")
    views, _ = SymmpoSettings().views([tied, other], 0)
    answer, picture = (views[name] for name in SymmpoSettings().view_names)
    assert (answer.pictures, [r.text for r in answer.responses]) == (("tied.png",), ["A tree."])
    assert (picture.pictures, [r.text for r in picture.responses]) == (
        ("other.png",),
        ["A tree.", "Two cups.", "One cup."],
    )


def test_data_without_a_second_picture_are_refused() -> None:
    alone = [shown("one", "Yes."), shown("two", "Yes.", picture="one.png")]
    for asked, ladders in (
        (CopoSettings(), [BLIND]),
        (CopoSettings(corruption="other"), alone),
        (SymmpoSettings(), [shown("one", "Yes."), shown("two", "Yes.")]),
        (MpoSettings(terms=[DpoSettings(), CopoSettings()], weights=[1, 1]), [BLIND]),
    ):
        message = str(asked.why_unusable(ladders))
        assert "needs" in message and f"none of {len(ladders)} ladders" in message and "\n" not in message
        assert asked.why_unusable([*ladders, *LADDERS]) is None
    assert "needs a response" in str(CopoSettings().why_unusable([replace(LADDERS[0], responses=[])]))


@pytest.mark.parametrize("wrong", [{"kept": [0.2, 0.1]}, {"kept": [0, 1.1]}, {"corruption": "other", "kept": [0, 0.3]}])
def test_crops_that_cannot_be_drawn_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="kept"):
        CopoSettings.model_validate(wrong)
