"""Longest noun chunks, on trees written by hand and on the shipped parser's."""

import pytest
import spacy
from spacy.tokens import Doc

from seelevel.language.chunks import Chunk, doc_chunks, noun_chunks

VOCAB = spacy.blank("en").vocab


def tree(rows: str) -> Doc:
    """A parsed text from `word/part of speech/head/label` items; heads count from 1, 0 is the root. A '_' after the
    word means that no space follows."""
    items = [row.rsplit("/", 3) for row in rows.split()]
    heads = [int(head) - 1 if head != "0" else n for n, (_, _, head, _) in enumerate(items)]
    return Doc(
        VOCAB,
        words=[word.rstrip("_") for word, *_ in items],
        spaces=[not word.endswith("_") for word, *_ in items],
        pos=[pos for _, pos, _, _ in items],
        heads=heads,
        deps=["ROOT" if head == "0" else label for _, _, head, label in items],
    )


def chunks(rows: str) -> list[str]:
    return [chunk.text for chunk in doc_chunks(tree(rows))]


UD_MOTORHOME = (
    "a/DET/3/det white/ADJ/3/amod motorhome_/NOUN/0/root ,/PUNCT/7/punct which/PRON/7/nsubj:pass is/AUX/7/aux:pass "
    "parked/VERB/3/acl:relcl on/ADP/10/case a/DET/10/det street/NOUN/7/obl"
)
CLEAR_MOTORHOME = (
    "a/DET/3/det white/ADJ/3/amod motorhome_/NOUN/0/root ,/PUNCT/3/punct which/PRON/7/nsubjpass is/AUX/7/auxpass "
    "parked/VERB/3/relcl on/ADP/7/prep a/DET/10/det street/NOUN/8/pobj"
)


@pytest.mark.unit
@pytest.mark.parametrize("rows", [UD_MOTORHOME, CLEAR_MOTORHOME], ids=["UD", "CLEAR"])
def test_a_relative_clause_belongs_to_the_chunk(rows: str) -> None:
    assert chunks(rows) == ["a white motorhome, which is parked on a street"]


UD_BICYCLES = (
    "There/PRON/2/expl are/VERB/0/root two/NUM/4/nummod bicycles_/NOUN/2/nsubj ,/PUNCT/7/punct one/NUM/7/nsubj "
    "silver/NOUN/4/appos and/CCONJ/11/cc the/DET/10/det other/ADJ/11/nsubj black/ADJ/7/conj"
)
CLEAR_BICYCLES = (
    "There/PRON/2/expl are/VERB/0/root two/NUM/4/nummod bicycles_/NOUN/2/attr ,/PUNCT/4/punct one/NUM/7/nummod "
    "silver/NOUN/4/appos and/CCONJ/7/cc the/DET/11/det other/ADJ/11/amod black/NOUN/7/conj"
)


# As the shipped parser has it: the second half is a conjunct of the bicycles.
FLAT_BICYCLES = (
    "There/PRON/2/expl are/VERB/0/root two/NUM/4/nummod bicycles_/NOUN/2/nsubj ,/PUNCT/7/punct one/NUM/7/nummod "
    "silver/NOUN/4/appos and/CCONJ/11/cc the/DET/11/det other/ADJ/11/amod black/ADJ/4/conj"
)


# The adjectives behind their words: 'one (that is) silver and the other (that is) black'.
CLEAR_ONE_AND_OTHER = (
    "There/PRON/2/expl are/VERB/0/ROOT two/NUM/4/nummod bicycles_/NOUN/2/attr ,/PUNCT/4/punct one/NUM/4/appos "
    "silver/ADJ/6/amod and/CCONJ/6/cc the/DET/10/det other/ADJ/6/conj black/ADJ/10/amod"
)


@pytest.mark.unit
@pytest.mark.parametrize(
    "rows",
    [UD_BICYCLES, CLEAR_BICYCLES, CLEAR_ONE_AND_OTHER, FLAT_BICYCLES],
    ids=["UD", "CLEAR", "CLEAR, adjectives behind", "flat"],
)
def test_conjuncts_further_down_stay_in(rows: str) -> None:
    assert chunks(rows) == ["two bicycles, one silver and the other black"]


UD_FIELD = "a/DET/2/det dog/NOUN/0/root in/ADP/5/case a/DET/5/det field/NOUN/2/nmod of/ADP/7/case flowers/NOUN/5/nmod"
CLEAR_FIELD = (
    "a/DET/2/det dog/NOUN/0/root in/ADP/2/prep a/DET/5/det field/NOUN/3/pobj of/ADP/5/prep flowers/NOUN/6/pobj"
)


@pytest.mark.unit
@pytest.mark.parametrize("rows", [UD_FIELD, CLEAR_FIELD], ids=["UD", "CLEAR"])
def test_only_the_longest_span_is_kept(rows: str) -> None:
    assert chunks(rows) == ["a dog in a field of flowers"]


UD_SENTENCE = (
    "The/DET/2/det image/NOUN/3/nsubj features/VERB/0/root a/DET/6/det white/ADJ/6/amod motorhome_/NOUN/3/obj "
    ",/PUNCT/10/punct which/PRON/10/nsubj:pass is/AUX/10/aux:pass parked/VERB/6/acl:relcl on/ADP/13/case a/DET/13/det "
    "street/NOUN/10/obl beside/ADP/16/case a/DET/16/det dog/NOUN/13/nmod in/ADP/19/case a/DET/19/det "
    "field/NOUN/16/nmod of/ADP/21/case flowers_/NOUN/19/nmod ./PUNCT/3/punct"
)
CLEAR_SENTENCE = (
    "The/DET/2/det image/NOUN/3/nsubj features/VERB/0/ROOT a/DET/6/det white/ADJ/6/amod motorhome_/NOUN/3/dobj "
    ",/PUNCT/6/punct which/PRON/10/nsubjpass is/AUX/10/auxpass parked/VERB/6/relcl on/ADP/10/prep a/DET/13/det "
    "street/NOUN/11/pobj beside/ADP/13/prep a/DET/16/det dog/NOUN/14/pobj in/ADP/16/prep a/DET/19/det "
    "field/NOUN/17/pobj of/ADP/19/prep flowers_/NOUN/20/pobj ./PUNCT/3/punct"
)


@pytest.mark.unit
@pytest.mark.parametrize("rows", [UD_SENTENCE, CLEAR_SENTENCE], ids=["UD", "CLEAR"])
def test_a_verb_ends_a_chunk_and_inner_chunks_are_dropped(rows: str) -> None:
    assert chunks(rows) == ["a white motorhome, which is parked on a street beside a dog in a field of flowers"]


UD_OWNER = "The/DET/2/det man_/NOUN/4/nmod:poss 's/PART/2/case dog/NOUN/5/nsubj sits/VERB/0/root"
CLEAR_OWNER = "The/DET/2/det man_/NOUN/4/poss 's/PART/2/case dog/NOUN/5/nsubj sits/VERB/0/ROOT"


@pytest.mark.unit
@pytest.mark.parametrize("rows", [UD_OWNER, CLEAR_OWNER], ids=["UD", "CLEAR"])
def test_an_owner_belongs_to_what_is_owned(rows: str) -> None:
    assert chunks(rows) == ["The man's dog"]


UD_LIST = (
    "a/DET/2/det dog_/NOUN/0/root ,/PUNCT/5/punct a/DET/5/det cat/NOUN/2/conj and/CCONJ/9/cc a/DET/9/det "
    "red/ADJ/9/amod bird/NOUN/2/conj"
)
CLEAR_LIST = (
    "a/DET/2/det dog_/NOUN/0/root ,/PUNCT/2/punct a/DET/5/det cat/NOUN/2/conj and/CCONJ/5/cc a/DET/9/det "
    "red/ADJ/9/amod bird/NOUN/5/conj"
)


@pytest.mark.unit
@pytest.mark.parametrize("rows", [UD_LIST, CLEAR_LIST], ids=["UD", "CLEAR"])
def test_conjuncts_of_the_head_are_separate_chunks_without_and(rows: str) -> None:
    assert chunks(rows) == ["a dog", "a cat", "a red bird"]


@pytest.mark.unit
def test_a_predicate_noun_leaves_out_subject_copula_and_parataxis() -> None:
    # 'This is a big dog in a field, I think.'
    assert chunks(
        "This/PRON/5/nsubj is/AUX/5/cop a/DET/5/det big/ADJ/5/amod dog/NOUN/0/root in/ADP/8/case a/DET/8/det "
        "field_/NOUN/5/nmod ,/PUNCT/5/punct I/PRON/11/nsubj think_/VERB/5/parataxis ./PUNCT/5/punct"
    ) == ["a big dog in a field"]


@pytest.mark.unit
def test_subject_and_predicate_are_two_chunks_without_the_preposition() -> None:
    # 'A small red cup is in the upper left.': in Universal Dependencies 'left' heads the clause.
    assert chunks(
        "A/DET/4/det small/ADJ/4/amod red/ADJ/4/amod cup/NOUN/9/nsubj is/AUX/9/cop in/ADP/9/case the/DET/9/det "
        "upper/ADJ/9/amod left_/NOUN/0/root ./PUNCT/9/punct"
    ) == ["A small red cup", "the upper left"]


@pytest.mark.unit
def test_a_span_with_a_gap_keeps_its_heads_part() -> None:
    # 'A dog, a cat, with collars': 'with collars' depends on the dog, the cat between them stays out.
    assert chunks(
        "A/DET/2/det dog_/NOUN/0/root ,/PUNCT/5/punct a/DET/5/det cat_/NOUN/2/conj ,/PUNCT/8/punct with/ADP/8/case "
        "collars/NOUN/2/nmod"
    ) == ["A dog", "a cat", "collars"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("The/DET/2/det image/NOUN/3/nsubj shows/VERB/0/root a/DET/5/det dog/NOUN/3/obj", ["a dog"]),
        ("Many/ADJ/2/amod details/NOUN/0/root of/ADP/5/case the/DET/5/det dog/NOUN/2/nmod", ["the dog"]),
        ("A/DET/2/det view/NOUN/0/root of/ADP/5/case a/DET/5/det city/NOUN/2/nmod", ["a city"]),
        ("A/DET/2/det view/NOUN/0/root of/ADP/2/prep a/DET/5/det city/NOUN/3/pobj", ["a city"]),
        (
            "The/DET/2/det scene/NOUN/4/nsubj:pass is/AUX/4/aux set/VERB/0/root in/ADP/7/case a/DET/7/det "
            "park/NOUN/4/obl",
            ["a park"],
        ),
        (
            "The/DET/2/det scene/NOUN/4/nsubjpass is/AUX/4/auxpass set/VERB/0/ROOT in/ADP/4/prep a/DET/7/det "
            "park/NOUN/5/pobj",
            ["a park"],
        ),
        ("In/ADP/3/case the/DET/3/det scene/NOUN/4/obl stands/VERB/0/root a/DET/6/det dog/NOUN/4/nsubj", ["a dog"]),
        ("A/DET/3/det street/NOUN/3/compound scene/NOUN/0/root", ["A street scene"]),
        ("The/DET/2/det view/NOUN/4/nsubj is/AUX/4/cop clear/ADJ/0/root", ["The view"]),
    ],
)
def test_nouns_that_only_introduce_what_is_seen_are_omitted(rows: str, expected: list[str]) -> None:
    assert chunks(rows) == expected


@pytest.mark.unit
def test_a_bracket_that_opens_inside_a_chunk_closes_inside_it() -> None:
    rows = "A/DET/2/det dog/NOUN/0/root (_/PUNCT/4/punct brown_/ADJ/2/amod )_/PUNCT/4/punct ./PUNCT/2/punct"
    assert chunks(rows) == ["A dog (brown)"]


@pytest.mark.unit
def test_penn_tags_do_where_parts_of_speech_are_missing() -> None:
    doc = Doc(VOCAB, words=["red", "cups"], tags=["JJ", "NNS"], heads=[1, 1], deps=["amod", "ROOT"])
    assert doc_chunks(doc) == [Chunk("red cups", "red cups", 0, 8)]


def test_offsets_are_of_the_whole_text_and_newlines_end_sentences() -> None:
    text = "A dog runs.\n\n- a red cup\n- a blue boat"
    (found,) = noun_chunks([text])
    assert [c.text for c in found] == ["A dog", "a red cup", "a blue boat"]
    assert [text[c.start : c.end] for c in found] == [c.text for c in found]
    assert found[0].sentence == "A dog runs."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a white motorhome, which is parked on a street", ["a white motorhome, which is parked on a street"]),
        ("two bicycles, one silver and the other black", ["two bicycles, one silver and the other black"]),
        ("a dog in a field of flowers", ["a dog in a field of flowers"]),
        (
            "The image features a white motorhome, which is parked on a street.",
            ["a white motorhome, which is parked on a street"],
        ),
        (
            "There are two bicycles, one silver and the other black, leaning against a wall.",
            ["two bicycles, one silver and the other black", "a wall"],
        ),
        ("There is a dog in a field of flowers.", ["a dog in a field of flowers"]),
        ("A small red cup is in the upper left.", ["A small red cup", "the upper left"]),
        ("The image shows a dog on the left.", ["a dog", "the left"]),
    ],
)
def test_the_shipped_parser_finds_the_chunks_of_captions(text: str, expected: list[str]) -> None:
    assert [c.text for c in noun_chunks([text])[0]] == expected


def test_a_text_without_nouns_has_no_chunks() -> None:
    assert noun_chunks(["Yes, it is.", ""]) == [[], []]
