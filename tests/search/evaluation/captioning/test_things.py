"""Things that captions name, and those that nobody saw in the photo."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.evaluation.captioning import things
from search.evaluation.captioning.things import hallucinations, things_named
from search.evaluation.captioning.tokens import TOKENIZERS


def words(text, language="en"):
    return TOKENIZERS[language]["words"](text)


def judged(written, *references, language="en"):
    """Whether each caption names a thing that isn't there; the references of a photo are one text, parted by bars."""
    people = [[words(text, language) for text in one.split("|")] for one in references]
    return hallucinations([words(text, language) for text in written], people, language)[1].tolist()


def test_a_thing_of_another_photo_is_a_hallucination():
    assert judged(["a horse on a boat", "a horse"], "a boat on a lake", "two horses") == [True, False]
    assert judged(["马在船上", "一匹马"], "湖上有一条船", "两匹马", language="zh") == [True, False]


def test_a_thing_that_no_photo_has_counts_neither_way():
    assert judged(["a boat and a horse"], "a boat on a lake") == [False]


@pytest.mark.parametrize(
    ("one", "other"), [("puppies", "dog"), ("a guy", "people"), ("knives", "knife"), ("a bike", "motorcycle")]
)
def test_plurals_and_synonyms_are_the_same_thing(one, other):
    assert judged([one, "a vase"], other, f"{one} {other} and a vase") == [False, False]


def test_a_broad_word_is_there_if_one_of_what_it_may_mean_is():
    assert judged(["an animal", "a vase"], "a horse", "a vase and an animal") == [False, False]
    assert judged(["an animal", "a horse"], "a vase", "a horse") == [True, False]


@pytest.mark.parametrize(
    ("language", "text", "looks_like"),
    [("en", "hot dogs", "dog"), ("en", "a teddy bear", "bear"), ("zh", "热狗", "狗"), ("zh", "马上走", "马")],
)
def test_the_longest_name_counts(language, text, looks_like):
    animal = things_named(words(looks_like, language), language)[0]
    assert not any(named & animal for named in things_named(words(text, language), language))


def test_a_name_inside_a_chinese_word_counts():
    dog = things_named(["狗"], "zh")
    assert things_named(["黑狗"], "zh") == things_named(["狗嘴里"], "zh") == dog


@given(
    st.lists(st.sampled_from(["a", "dog", "boat", "red", "vase"]), max_size=6), st.sampled_from(["a cat", "two boats|a dog"])
)
def test_a_reference_never_hallucinates(tokens, other):
    assert judged([" ".join(tokens), ""], " ".join(tokens), other) == [False, False]


def test_each_line_names_one_thing_in_both_languages():
    lines = [line for line in things._FILE.read_text("utf-8").splitlines() if not line.startswith(("#", "!"))]
    for line in lines:
        english, chinese = line.split("|")
        assert re.fullmatch(r"[a-z_ -]+", english) and re.fullmatch(r"[\u4e00-\u9fffTU型 ]+", chinese), line
        assert english.split() and chinese.split()
