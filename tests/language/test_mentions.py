"""Mentions of objects, against the public CHAIR script's figures and its rules."""

import json
import sys
import time
from pathlib import Path
from subprocess import run

import pytest

from seelevel.errors import InputError
from seelevel.language.mentions import Mentions, read_synonyms

DATA = Path(__file__).parents[3] / "shared" / "data"
REFERENCE = DATA / "chair" / "reference_scores.json"
needs_data = pytest.mark.skipif(not REFERENCE.exists(), reason=f"the public caption files are not at {DATA}")
COCO = [
    ["person", "man", "baby", "passenger"],
    ["airplane", "jet"],
    ["giraffe"],
    ["tie", "bow", "bow tie"],
    ["chair", "seat"],
    ["toilet"],
    ["wine glass"],
    ["dog"],
    ["hot dog"],
    ["dining table", "table"],
    ["sports ball", "ball"],
    ["potted plant"],
    ["hair drier"],
]


def found(text: str, synonyms: list[list[str]] = COCO) -> list[str]:
    return [mention.object for mention in Mentions(synonyms).find(text)]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("A man eats hot dogs beside his dog.", ["person", "hot dog", "dog"]),
        ("A baby giraffe; a baby.", ["giraffe", "person"]),
        ("Passenger jets and a passenger", ["airplane", "person"]),
        ("The seat of the toilet is up.", ["toilet"]),
        ("The toilet seat is up.", ["toilet"]),
        ("Two wine glasses on a dining table", ["wine glass", "dining table"]),
        ("a bow tie and a bow", ["tie", "tie"]),
        ("Dogs!Dogs. (dog) the dog's dog-house", ["dog"] * 4),
        ("'dog' \"dog\" “dog”", ["dog"] * 2),  # NLTK 3.8 leaves an opening quotation mark of one stroke on its word
        ("A dog.The dog", ["dog"]),  # a period without a space after it ends no word: 'dog.the' is one
    ],
)
def test_rules_of_the_public_script(text: str, objects: list[str]) -> None:
    assert found(text) == objects


@pytest.mark.unit
def test_other_lists_join_words_of_several_tokens_and_match_lemmas() -> None:
    synonyms = [["glass", "drinking glass"], ["traffic sign", "sign"], ["ice cream cone"], ["cream"]]
    assert found("Two drinking glasses, a glass, ice cream cones near traffic signs, cream", synonyms) == [
        "glass",
        "glass",
        "ice cream cone",
        "traffic sign",
        "cream",
    ]


@pytest.mark.unit
def test_mentions_are_in_text_order_with_their_token() -> None:
    mentions = Mentions(COCO).find("Dogs eat hot dogs.")
    assert [(m.object, m.word, m.token) for m in mentions] == [("dog", "dog", 0), ("hot dog", "hot dog", 2)]


@pytest.mark.unit
def test_a_missing_empty_or_nameless_synonym_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt does not exist"):
        read_synonyms(tmp_path / "nowhere.txt")
    (tmp_path / "s.txt").write_text("dog, puppy\n, cat\n")
    with pytest.raises(InputError, match="line 2: no object"):
        read_synonyms(tmp_path / "s.txt")
    (tmp_path / "s.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_synonyms(tmp_path / "s.txt")


@pytest.mark.unit
def test_an_unknown_lemmatizer_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'singularize'"):
        Mentions(COCO, lemmatizer="singularise")


@pytest.mark.unit
def test_importing_mentions_loads_neither_torch_nor_nltk_nor_spacy() -> None:
    heavy = "{'torch', 'nltk', 'spacy', 'textblob'}"
    code = f"import sys, seelevel.language.mentions; print(sorted({heavy} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@needs_data
@pytest.mark.parametrize("name", sorted(json.loads(REFERENCE.read_text())) if REFERENCE.exists() else [])
def test_counts_are_the_public_scripts_to_the_digit(name: str) -> None:
    folder, file = name.split("/")
    path = DATA / {"opera_chair": "captions_opera", "pope_captions": "captions_pope"}[folder] / file
    text = path.read_text(encoding="utf-8")
    captions = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    objects_of = json.loads((DATA / "chair" / "coco2014_trainval_imid_to_objects.json").read_text())
    mentions = Mentions(read_synonyms(DATA / "chair" / "synonyms_lisaanne.txt"))
    expected = json.loads(REFERENCE.read_text())[name]["singularize"]
    total = invented = bad_captions = recalled = there = 0
    for caption in captions:
        objects = set(objects_of[str(int(caption["image_id"]))])
        named = [m.object for m in mentions.find(caption.get("caption", caption.get("text", "")))]
        wrong = [name for name in named if name not in objects]
        total, invented, bad_captions = total + len(named), invented + len(wrong), bad_captions + bool(wrong)
        recalled, there = recalled + len(objects & set(named)), there + len(objects)
    assert (total, invented, bad_captions) == (
        expected["mentions"],
        expected["hallucinated_mentions"],
        expected["hallucinated_captions"],
    )
    assert round(100 * recalled / there, 4) == expected["Recall"]


@needs_data
def test_finding_mentions_in_2000_captions_takes_under_two_seconds() -> None:
    captions = [c["text"] for c in json.loads((DATA / "captions_pope/Instruction1_llava.json").read_text())]
    mentions = Mentions(read_synonyms(DATA / "chair" / "synonyms_lisaanne.txt"))
    mentions.find(captions[0])
    start = time.process_time()
    mentions.find_all(captions)
    assert time.process_time() - start < 2
