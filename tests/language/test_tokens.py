"""Tokens of NLTK 3.8. Its version 3.8.1, without abbreviations, printed the tokens of these tables."""

import time

import pytest

from seelevel.language.tokens import tokenize

pytestmark = pytest.mark.unit
QUOTES = {"``", "''"}


def words(text: str) -> list[str]:
    return [token for token in tokenize(text) if token not in QUOTES]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ('a dog. a cat.\n\n"a bird." it is 3.5 m... ok?', "a dog . a cat . a bird . it is 3.5 m ... ok ?"),
        ("the dog's bone, the dogs' bones; it isn't there", "the dog 's bone , the dogs ' bones ; it is n't there"),
        (
            'you cannot see it, \'tis gone: gonna lemme "see (it)"',
            "you can not see it , 't is gone : gon na lem me see ( it )",
        ),
        (
            "3.5 m, 1,000 dogs -- 50% #1 a@b.c ... [dog] <cat> o'clock ''twas'' “dog”",
            "3.5 m , 1,000 dogs -- 50 % # 1 a @ b.c ... [ dog ] < cat > o'clock twas “ dog ”",
        ),
        ("dogs:cats, 3:30, a:b ... dog..cat", "dogs : cats , 3:30 , a : b ... dog .. cat"),
        ("i'd they'll we've don't", "i 'd they 'll we 've do n't"),
        ("café’s dog’s été", "café ’ s dog ’ s été"),
    ],
)
def test_tokens_are_nltks(text: str, tokens: str) -> None:
    assert words(text) == tokens.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("dog's\nbowl\n\n- a cat's\tbed", "dog's bowl - a cat's bed"),  # 3.9 splits dog's
        ("a dog—or a cat – or a bird", "a dog—or a cat – or a bird"),  # 3.9 splits dog—or
        ("'dog' `cat` ''bird'' \"", "'dog ' ` cat ` bird"),  # 3.10 splits 'dog
    ],
)
def test_later_versions_split_these_and_3_8_does_not(text: str, tokens: str) -> None:
    assert words(text) == tokens.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the cat!'s toy. dog.\"the cat", "the cat ! 's toy . dog . the cat"),
        ("**a dog.** the cat.) a bird (seen.) now", "* * a dog . * * the cat . ) a bird ( seen . ) now"),
        ("a dog.! a cat.", "a dog. ! a cat ."),
        ('a dog. " the cat.\n" a bird.', "a dog. the cat. a bird ."),
        ("a dog.the cat, a dog.' a “cat.” and", "a dog.the cat , a dog . ' a “ cat. ” and"),
        ("a “dog.”", "a “ dog . ”"),
    ],
)
def test_only_the_period_that_ends_a_sentence_leaves_its_word(text: str, tokens: str) -> None:
    assert words(text) == tokens.split()


@pytest.mark.parametrize("text", ["a.)", "dog. \n", "dog'", "a, ", ". ", "\n"])
def test_long_texts_take_linear_time(text: str) -> None:
    start = time.process_time()
    tokenize(f".{text * 20_000}x")
    assert time.process_time() - start < 10  # linear: well under 1 s
