"""The order by annotated objects, on ladders worked out by hand, on the world's own truth and on real captions."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seelevel import check
from seelevel.check.objects import Annotations, Objects, own_objects
from seelevel.check.rules import close_levels, figure
from seelevel.check.settings import CheckSettings
from seelevel.errors import InputError
from seelevel.facts import CheckFacts
from seelevel.formats.parquet import read_ladders, write_shard
from seelevel.ladder import Image, Ladder, Message, Response
from seelevel.language.mentions import Mentions
from seelevel.notes import Checked, CheckNote, NamedObject, ObjectsNamed
from seelevel.store import StageFolder
from seelevel.world.pictures.scenes import KINDS, draw_scenes
from seelevel.world.texts.datasets import prompt_ladder

DATA = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not (DATA / "chair").is_dir(), reason="../shared/data/chair is not there")
LIST = [["dog", "puppy"], ["cat"], ["cup", "mug"], ["hot dog"], ["bed"]]
STANDARD = {"kind": "standard"}


def ladder(*texts: str, objects: Sequence[str] | None = ("dog", "cup"), tied: bool = False, name: str = "a") -> Ladder:
    return Ladder(
        name,
        [Image("a.png")],
        [Message(role="user", content="<image>\nDescribe the picture.")],
        [
            Response([Message(role="assistant", content=text)], 0 if tied else n, {"n": n})
            for n, text in enumerate(texts)
        ],
        {} if objects is None else {"objects": list(objects)},
    )


def checked(*ladders: Ladder, words: list[list[str]] | None = LIST, **options: Any) -> list[Ladder]:
    return list(Objects(Annotations(None, None if words is None else Mentions(words)), **options)(ladders))


def texts_of(result: Ladder) -> list[str]:
    return [response.text for response in result.responses]


def unchecked(result: Ladder) -> str:
    assert result.check is not None
    return result.check.unchecked


def objects_of(response: Response) -> ObjectsNamed:
    assert response.check is not None and response.check.objects is not None
    return response.check.objects


@pytest.mark.unit
def test_precision_recall_and_f1_of_a_ladder_worked_out_by_hand() -> None:
    # In the picture: dog, cup. Named: dog, cup, cat (2/3, 1, .8); dog (1, 1/2, .66667); cat (0, 0, 0); dog, cup.
    (result,) = checked(ladder("A puppy, a mug, a cat.", "A dog. The dog sits.", "A cat.", "Dogs and cups."))
    assert texts_of(result) == ["Dogs and cups.", "A puppy, a mug, a cat.", "A dog. The dog sits.", "A cat."]
    assert [r.scores for r in result.responses] == [
        {"precision": 1.0, "recall": 1.0, "f1": 1.0},
        {"precision": 0.66667, "recall": 1.0, "f1": 0.8},
        {"precision": 1.0, "recall": 0.5, "f1": 0.66667},
        {"precision": 0.0, "recall": 0.0, "f1": 0.0},
    ]
    assert result.levels == [0, 1, 2, 3]
    assert result.check == CheckNote("objects", (0, 1, 2, 3), rule="f1")
    assert [r.origin["n"] for r in result.responses] == [3, 0, 1, 2]


@pytest.mark.unit
def test_the_rule_decides_between_saying_little_and_inventing() -> None:
    # Of 4 there: 'little' names 1 and nothing else (1, .25, F1 .4); 'much' names 4 of 4 and 2 more (2/3, 1, F1 .8).
    words = [[name] for name in ("car", "bus", "tree", "sign", "kite", "boat")]
    given = ladder("A car.", "A car, a bus, a tree, a sign, a kite and a boat.", objects=("car", "bus", "tree", "sign"))
    best = {
        rule: texts_of(checked(given, words=words, rule=rule)[0])[0]
        for rule in ("precision", "recall", "f1", "f0.5", "f2")
    }
    assert best.pop("precision") == "A car."
    assert set(best.values()) == {given.responses[1].text}
    # F0.5 = 1.25·1·.25/(.25·1+.25) = .625, F2 = 5·1·.25/(4·1+.25) = .29412
    assert (figure(1, 0.25, "f0.5"), figure(1, 0.25, "f2"), figure(1, 0.25, "f1")) == (0.625, 0.29412, 0.4)


@pytest.mark.unit
@pytest.mark.parametrize("rule", ["f1", "f0.5", "f2", "precision", "recall"])
def test_silence_is_not_perfect_precision(rule: str) -> None:
    (result,) = checked(ladder("It is calm.", "A dog and a cat.", "A cat."), rule=rule)
    assert texts_of(result)[0] == "A dog and a cat."
    assert result.levels == [0, 1, 1]  # to name nothing and to name only what is not there are both worth 0
    silent = objects_of(result.responses[1])
    assert (silent.precision, silent.recall, silent.matched, silent.missed) == (0, 0, (), ("cup", "dog"))


@pytest.mark.unit
def test_levels_hold_what_is_within_the_tolerance_of_their_best() -> None:
    assert close_levels([0.5, 0.9, 0.5], 0) == [1, 0, 1]
    assert close_levels([0.9, 0.8, 0.7], 0.1) == [0, 0, 1]  # .7 is .2 below the best of the level, not .1
    assert close_levels([0.7, 0.8, 0.9], 0.2) == [0, 0, 0]
    (result,) = checked(ladder("A dog, a cup, a cat.", "A dog, a cup."), tolerance=0.2)  # .8 and 1
    assert result.levels == [0, 0] and result.pairs() == []


@pytest.mark.unit
def test_unranked_responses_get_their_order() -> None:
    (result,) = checked(ladder("A cat.", "A dog.", "A dog and a cup.", "One cup.", tied=True))
    assert [r.origin["n"] for r in result.responses] == [2, 1, 3, 0]
    assert result.levels == [0, 1, 1, 2]
    assert result.reordered


@pytest.mark.unit
def test_the_standard_response_stays_best_unless_it_is_to_be_ranked() -> None:
    given = ladder("A dog.", "A dog and a cup.", "A cat.")
    first, *others = given.responses
    given = replace(given, responses=[replace(first, origin=STANDARD), *others])
    assert texts_of(checked(given)[0]) == ["A dog.", "A dog and a cup.", "A cat."]
    (ranked,) = checked(given, standard_first=False)
    assert texts_of(ranked) == ["A dog and a cup.", "A dog.", "A cat."]
    assert unchecked(checked(ranked)[0]) == "the standard response is not first"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (ladder("A dog.", "A cup.", objects=None), "no objects are annotated"),
        (ladder("A dog.", "A cup.", objects=()), "the picture holds no listed object"),
        (ladder("A dog.", "A cup.", objects=("piano",)), "the picture holds no listed object"),
        (ladder("Yes.", "No."), "no response names an object"),
        (ladder("A dog."), "fewer than 2 responses"),
    ],
)
def test_what_cannot_be_judged_keeps_its_order_and_says_why(given: Ladder, reason: str) -> None:
    result, _ = checked(given, ladder("A dog.", "A cup.", name="b"))
    assert unchecked(result) == reason
    assert (result.levels, texts_of(result)) == (given.levels, texts_of(given))
    assert [r.check for r in result.responses] == [Checked(n) for n in range(len(given.responses))]


@pytest.mark.unit
def test_reasons_say_what_is_matched_invented_and_missed_and_where() -> None:
    (result,) = checked(ladder("A puppy by a hot dog; the dog eats.", "A cup."))
    assert objects_of(result.responses[1]) == ObjectsNamed(
        precision=0.5,
        recall=0.5,
        matched=(NamedObject("dog", ((2, 7), (26, 29))),),
        invented=(NamedObject("hot dog", ((13, 20),)),),
        missed=("cup",),
    )


@pytest.mark.unit
def test_without_synonyms_the_annotated_names_of_all_ladders_are_the_words() -> None:
    # 'cat' is annotated for the second ladder only, and so an invention of the first; nobody listed a piano.
    result, _ = checked(
        ladder("A dog, a cat and a piano.", "A puppy."),
        ladder("A cat.", "A dog.", objects=("Cat",), name="b"),
        words=None,
    )
    assert [o.object for o in objects_of(result.responses[0]).invented] == ["cat"]
    assert objects_of(result.responses[1]).matched == ()


@pytest.mark.unit
def test_objects_are_found_beside_or_inside_the_annotations() -> None:
    assert own_objects({"objects": ["dog", {"kind": "cup", "count": 2}]}) == ["dog", "cup"]
    assert own_objects({"setting": "farm", "scene": {"objects": [{"kind": "cow"}]}}) == ["cow"]
    assert own_objects({"objects": []}) == []
    assert own_objects({"objects": "a dog", "caption": ["a dog"]}) is None


@pytest.mark.unit
def test_annotations_of_no_ladder_are_an_error_that_names_both_sides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the records' annotations have objects for none of 1 ladders"):
        checked(ladder("A dog.", "A cup.", objects=None))
    file = tmp_path / "objects.json"
    file.write_text('{"other.png": ["dog"]}')
    checker = Objects.from_settings(CheckSettings(checker="objects", annotations=str(file)))
    with pytest.raises(
        InputError, match=r"none of 1 ladders; the file names pictures such as other\.png, and ladder a"
    ):
        list(checker([ladder("A dog.", "A cup.")]))


@pytest.mark.unit
def test_annotations_of_no_picture_say_so(tmp_path: Path) -> None:
    file = tmp_path / "objects.json"
    file.write_text("{}")
    checker = Objects.from_settings(CheckSettings(checker="objects", annotations=str(file)))
    with pytest.raises(InputError, match="none of 1 ladders; the file names no picture; name another file"):
        checker.prepare([ladder("A dog.", "A cup.")])


@pytest.mark.unit
def test_what_is_left_out_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    checked(ladder("A dog.", "A cup.", objects=("dog", "piano")), ladder("A dog.", "A cup.", objects=None, name="b"))
    printed = capsys.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert "check: 1 of 2 ladders have no annotated objects and keep their order (the first: b)" in lines
    assert "check: 1 annotated objects are not in check.synonyms and do not count: piano" in lines


@pytest.mark.unit
def test_a_picture_is_found_by_its_name_and_only_a_record_with_an_id_by_the_ladders(tmp_path: Path) -> None:
    file = tmp_path / "objects.jsonl"
    file.write_text('{"image_id": 9, "objects": ["dog"]}\n{"id": "x", "objects": ["cat"]}\n')
    objects = Objects(Annotations.read(CheckSettings(checker="objects", annotations=str(file))))

    def found(name: str, *images: str) -> list[str] | None:
        given = replace(ladder("A dog."), id=name)
        marks = [Message(role="user", content="<image>" * len(images))]
        return objects.annotated(replace(given, images=[Image(path) for path in images], prompt=marks))

    assert found("1", "val/COCO_val2014_000000000009.jpg") == ["dog"]
    assert found("x", "other.jpg") == ["cat"]
    assert found("9", "other.jpg") is None  # picture 9 of COCO is not ladder 9
    assert found("1", "9.jpg", "other.jpg") is None  # one of two pictures is not annotated
    assert found("1", "9.jpg", "000000000009.png") == ["dog", "dog"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checker": "objects"}, "check.annotations is missing: checker objects needs it"),
        (
            {"encoder": "e", "annotations": "facts"},
            "check.annotations: checker autocheck does not read it; set checker",
        ),
        ({"checker": "judge", "judge": "j", "rule": "f2"}, "check.rule: checker judge does not read it"),
        ({"checker": "objects", "annotations": "facts", "rule": "f3"}, "rule"),
        ({"checker": "objects", "annotations": "facts", "tolerance": -1}, "tolerance"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckSettings.model_validate(settings)


def world(count: int) -> list[Ladder]:
    """Scenes with three answers: what is there, half of it, and it with two things that are not."""
    ladders = []
    for scene in draw_scenes("prompts", count):
        given = prompt_ladder(scene, "prompts", f"{scene.id}.png")
        there = sorted(scene.kinds)
        absent = [kind for kind in ("clock", "boat", "cow", "kite") if kind not in scene.kinds][:2]
        named = (there + absent, there[: (len(there) + 1) // 2], there)
        texts = ["There is " + ", ".join(f"a {kind}" for kind in kinds) + "." for kinds in named]
        ladders.append(
            replace(
                given,
                prompt=given.prompt[:1],
                responses=[
                    Response([Message(role="assistant", content=text)], 0, {"n": n}) for n, text in enumerate(texts)
                ],
            )
        )
    return ladders


@pytest.mark.unit
def test_the_worlds_own_facts_put_the_true_answer_first() -> None:
    given = world(40)
    for result in checked(*given, words=[[kind] for kind in KINDS]):
        assert 2 in {r.origin["n"] for r in result.responses if r.level == 0}
        true = objects_of(next(r for r in result.responses if r.origin["n"] == 2))
        assert (true.precision, true.recall, true.invented, true.missed) == (1, 1, (), ())
        padded = objects_of(next(r for r in result.responses if r.origin["n"] == 0))
        assert (len(padded.invented), padded.recall) == (2, 1)


@pytest.mark.unit
def test_the_stage_counts_continues_and_keeps_the_reasons(tmp_path: Path) -> None:
    source, folder = StageFolder(tmp_path / "generate", "print"), StageFolder(tmp_path / "check", "print")
    source.begin()
    folder.begin()
    ladders = world(6)
    write_shard(source.shard(0), ladders[:3], tmp_path)
    write_shard(source.shard(1), [*ladders[3:], ladder("A dog.", "A cow.", objects=None)], tmp_path)
    settings = CheckSettings(checker="objects", annotations="facts")
    facts = check.run(source.path, folder, settings, None, tmp_path)
    assert facts == CheckFacts(ladders=7, reordered=6, unchecked=1, split_texts=0)
    whole = [folder.shard(n).read_bytes() for n in range(2)]
    # The names come from all ladders, also from those of a shard that is finished.
    folder.shard(1).unlink()
    check.run(source.path, folder, settings, None, tmp_path)
    assert [folder.shard(n).read_bytes() for n in range(2)] == whole
    kept = read_ladders(tmp_path / "check", tmp_path)
    assert [[r.check for r in x.responses] for x in kept[:6]] == [
        [r.check for r in x.responses] for x in checked(*ladders, words=None)
    ]


@real
def test_real_captions_agree_with_the_published_way_of_counting() -> None:
    """An invented mention of CHAIR is an invented object here, and the other way round."""
    from seelevel.scorers.chair import by_image, figures_of, read_objects

    objects, synonyms = (
        DATA / "chair" / "coco2014_trainval_imid_to_objects.json",
        DATA / "chair" / "synonyms_lisaanne.txt",
    )
    captions: dict[int, list[str]] = defaultdict(list)
    for file in sorted((DATA / "captions_opera").glob("*.jsonl")):
        for row in map(json.loads, file.read_text().splitlines()):
            captions[row["image_id"]].append(row["caption"])
    several = {image: texts for image, texts in captions.items() if len(texts) > 2}
    ladders = [
        replace(
            ladder(*texts, objects=None, tied=True, name=f"caption {image}"),
            images=[Image(f"COCO_val2014_{image:012}.jpg")],
        )
        for image, texts in sorted(several.items())[:40]
    ]
    settings = CheckSettings(checker="objects", annotations=str(objects), synonyms=str(synonyms))
    checker = Objects.from_settings(settings)
    assert checker.mentions is not None
    known, placed, mentioned = by_image(read_objects(objects)), 0, 0
    for before, after in zip(ladders, checker(ladders), strict=True):
        there = known[before.id.removeprefix("caption ")]
        for response in after.responses:
            mentions = checker.mentions.find(response.text)
            counted, noted = figures_of(mentions, there), objects_of(response)
            assert {o.object for o in noted.invented} == {m.object for m in mentions if m.object not in there}
            assert len(noted.matched) == counted["recalled"]
            assert noted.recall == pytest.approx(counted["recalled"] / counted["objects"], abs=1e-5)
            placed += sum(len(one.places) for one in (*noted.matched, *noted.invented))
            mentioned += len(mentions)
        assert after.levels == sorted(after.levels)
    assert mentioned > 500 and placed / mentioned == pytest.approx(1, abs=0.02)
