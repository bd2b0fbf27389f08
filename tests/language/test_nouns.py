"""Nouns as AMBER's script takes them."""

from __future__ import annotations

import pytest

from seelevel.errors import InputError
from seelevel.language import wordnet
from seelevel.language.nouns import nouns_in

pytestmark = pytest.mark.unit
WORDS = {"tree", "dog", "paddle", "can", "orange", "child", "street", "sky"}


def test_nouns_are_singular_and_in_the_order_of_the_text() -> None:
    pytest.importorskip("spacy_lookups_data", reason="the extra wordnet is not installed")
    texts = ["Two dogs and some children stand by the trees.", "The sky is blue.\n\nA street can be seen."]
    assert nouns_in(texts, WORDS) == [["dog", "child", "tree"], ["sky", "street"]]


def test_a_capital_hides_a_noun_and_orange_is_always_one() -> None:
    pytest.importorskip("spacy_lookups_data", reason="the extra wordnet is not installed")
    assert nouns_in(["Trees stand by the street.", "He juggles three orange balls."], WORDS) == [["street"], ["orange"]]


def test_missing_tables_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise InputError(wordnet.NO_TABLES)

    monkeypatch.setattr(wordnet, "_tables", missing)
    with pytest.raises(InputError, match=r"finding nouns needs WordNet's tables; pip install 'seelevel\[wordnet\]'"):
        nouns_in(["A dog."], WORDS)
