"""WordNet's lemmas: the published scripts' figures on real captions, and words whose lemma hangs on their tag."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import spacy

from seelevel.errors import InputError
from seelevel.language import wordnet
from seelevel.language.mentions import Mentions, read_synonyms
from seelevel.language.wordnet import WordNet
from seelevel.scorers.chair import read_objects, score
from seelevel.scorers.files import read_entries

DATA = Path(__file__).parents[3] / "shared" / "data"
REFERENCE = DATA / "chair" / "reference_scores.json"
needs_data = pytest.mark.skipif(not REFERENCE.exists(), reason=f"the public caption files are not at {DATA}")
pytest.importorskip("spacy_lookups_data", reason="the extra wordnet is not installed")
FOLDERS = {"opera_chair": "captions_opera", "pope_captions": "captions_pope"}


@pytest.mark.unit
@pytest.mark.parametrize(
    ("token", "part", "lemma"),
    [
        ("dogs", "noun", "dog"),
        ("buses", "noun", "bus"),
        ("knives", "noun", "knife"),  # an exception
        ("men", "noun", "men"),  # WordNet has 'men' of its own, and NLTK takes the first of the shortest
        ("seated", "verb", "seat"),
        ("skiing", "verb", "ski"),
        ("skiing", "noun", "skiing"),
        ("larger", "adj", "large"),
        ("glasses", "noun", "glass"),
        ("umbrellas", "verb", "umbrella"),  # no verb: taken for the noun
        ("xyzzies", "noun", "xyzzies"),
    ],
)
def test_lemmas_are_wordnets(token: str, part: str, lemma: str) -> None:
    assert WordNet().lemma(token, part) == lemma


@pytest.mark.unit
def test_a_word_is_a_mention_by_its_tag() -> None:
    mentions = Mentions([["chair", "seat"], ["tie"], ["potted plant"], ["toilet"]], "wordnet")
    text = "A man is seated. The boat was tied to the dock. Two potted plants stand there."
    assert [m.object for m in mentions.find(text)] == ["chair", "tie", "potted plant"]


@pytest.mark.unit
def test_tags_seen_through_windows_are_the_whole_texts() -> None:
    texts = [
        "a man is seated beside a table that holds three kites , some geese and a pair of skis he was tying together",
        "skiing and batting ; the kites planted there were kept by men who had stopped at a light , tied to nothing",
    ]
    tokens = [text.split() for text in texts]
    every = [list(range(len(text))) for text in tokens]
    whole = wordnet.tags_at(tokens, every)
    for step in (1, 5, 9):
        some = [places[::step] for places in every]
        assert wordnet.tags_at(tokens, some) == [
            [tags[n] for n in places] for tags, places in zip(whole, some, strict=True)
        ]


@pytest.mark.unit
def test_missing_tables_are_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        raise ValueError("[E955] Can't find table(s) lemma_index for language 'en'")

    wordnet._tables.cache_clear()
    monkeypatch.setattr(spacy.lookups, "load_lookups", nothing)
    with pytest.raises(InputError, match=r"pip install 'seelevel\[wordnet\]'"):
        Mentions([["dog"]], "wordnet")
    monkeypatch.undo()
    wordnet._tables.cache_clear()


@pytest.fixture(scope="module")
def figures() -> Callable[[str], dict[str, float]]:
    """The figures of a public caption file, in percent."""
    objects = read_objects(DATA / "chair" / "coco2014_trainval_imid_to_objects.json")
    mentions = Mentions(read_synonyms(DATA / "chair" / "synonyms_lisaanne.txt"), "wordnet")

    @cache
    def score_file(name: str) -> dict[str, float]:
        scores = score(read_entries(DATA / name), objects, mentions)
        names = {"CHAIRi": "chair_i", "CHAIRs": "chair_s", "Recall": "chair_recall"}
        return {"captions": scores["captions"]} | {ours: 100 * scores[name] for ours, name in names.items()}

    return score_file


@needs_data
@pytest.mark.parametrize("name", json.loads(REFERENCE.read_text()) if REFERENCE.exists() else [])
def test_figures_agree_with_the_public_script_despite_another_tagger(
    figures: Callable[[str], dict[str, float]], name: str
) -> None:
    reference = json.loads(REFERENCE.read_text())[name]["wordnet"]
    folder, _, file = name.partition("/")
    scores = figures(f"{FOLDERS[folder]}/{file}")
    assert scores.pop("captions") == reference["captions"]
    assert scores == pytest.approx({figure: reference[figure] for figure in scores}, abs=0.215)  # docs: at most 0.21


@needs_data
@pytest.mark.parametrize(
    ("file", "published"),
    [
        ("instructblip_greedy", {"CHAIRs": 58.8, "CHAIRi": 23.7}),
        ("instructblip_beam5", {"CHAIRs": 55.6, "CHAIRi": 15.8}),
        ("instructblip_ours", {"CHAIRs": 46.4, "CHAIRi": 14.2}),
        ("llava-1.5_greedy", {"CHAIRs": 45.0}),
        ("llava-1.5_beam5", {"CHAIRs": 48.8, "CHAIRi": 13.9}),
        ("llava-1.5_ours", {"CHAIRs": 44.6, "CHAIRi": 12.8}),
    ],
)
def test_operas_published_figures_come_out(
    figures: Callable[[str], dict[str, float]], file: str, published: dict[str, float]
) -> None:
    scores = figures(f"captions_opera/{file}.jsonl")
    assert {name: scores[name] for name in published} == pytest.approx(published, abs=0.3)
