"""BLEU, ROUGE-L and CIDEr-D, by examples, and against pycocoevalcap, which is coco-caption without its Java."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from search.evaluation.captioning.ngrams import bleu, bleu_counts, cider_d, longest_common_subsequence, rouge_l

REFERENCES = [
    ["a small boat on a calm lake", "someone rows a boat at dawn"],
    ["three goats climb a steep rock", "goats on a rock", "a herd of goats climbs"],
    ["an old clock above a red door"],
]
WRITTEN = ["a boat on a lake", "two goats stand on a rock", "a clock on the wall of a station"]

WORDS = st.sampled_from(["a", "boat", "goat", "rock", "on", "the", "red", "山", "羊"])
SENTENCE = st.lists(WORDS, min_size=1, max_size=9)
PHOTOS = st.lists(st.tuples(st.lists(WORDS, max_size=9), st.lists(SENTENCE, min_size=1, max_size=4)), min_size=1, max_size=6)


def split(written, references):
    return [text.split() for text in written], [[text.split() for text in texts] for texts in references]


def ours(written, references):
    return [
        *bleu(bleu_counts(written, references).sum(axis=0)),
        rouge_l(written, references).mean(),
        cider_d(written, references).mean(),
    ]


def theirs(written, references):
    made = {i: [" ".join(tokens)] for i, tokens in enumerate(written)}
    people = {i: [" ".join(tokens) for tokens in texts] for i, texts in enumerate(references)}
    bleus = Bleu(4).compute_score(people, made, verbose=0)[0]
    return [*bleus, Rouge().compute_score(people, made)[0], Cider().compute_score(people, made)[0]]


def test_all_measures_are_those_of_coco_caption():
    given_both = split(WRITTEN, REFERENCES)
    assert ours(*given_both) == pytest.approx(theirs(*given_both), abs=1e-6)


@given(PHOTOS)
def test_all_measures_are_those_of_coco_caption_for_any_sentences(photos):
    written, references = zip(*photos, strict=True)
    assert ours(written, references) == pytest.approx(theirs(written, references), abs=1e-6)


@given(PHOTOS)
def test_each_photo_has_the_scores_that_coco_caption_gives_it(photos):
    written, references = zip(*photos, strict=True)
    made = {i: [" ".join(tokens)] for i, tokens in enumerate(written)}
    people = {i: [" ".join(tokens) for tokens in texts] for i, texts in enumerate(references)}
    assert rouge_l(written, references) == pytest.approx(Rouge().compute_score(people, made)[1], abs=1e-6)
    assert cider_d(written, references) == pytest.approx(Cider().compute_score(people, made)[1], abs=1e-6)


def test_a_caption_that_is_a_reference_has_the_best_bleu_and_rouge():
    written, references = split([texts[0] for texts in REFERENCES], REFERENCES)
    assert bleu(bleu_counts(written, references).sum(axis=0)) == pytest.approx(np.ones(4))
    assert rouge_l(written, references) == pytest.approx(np.ones(3))


def test_a_caption_that_is_the_only_reference_has_ten_in_cider():
    written, references = split(["an old clock above a red door", "goats on a steep rock"], [[], []])
    assert cider_d(written, [[tokens] for tokens in written]) == pytest.approx([10, 10])


def test_an_empty_caption_scores_nothing_and_lowers_bleu():
    written, references = split(WRITTEN, REFERENCES)
    all_of_it = bleu(bleu_counts(written, references).sum(axis=0))
    with_gap = [written[0], [], written[2]]
    assert (bleu(bleu_counts(with_gap, references).sum(axis=0)) < all_of_it).all()
    assert rouge_l(with_gap, references)[1] == cider_d(with_gap, references)[1] == 0
    assert bleu(bleu_counts([[], [], []], references).sum(axis=0)) == pytest.approx(np.zeros(4), abs=1e-12)


def test_of_two_references_that_are_equally_close_in_length_the_shorter_counts():
    counts = bleu_counts([["a", "red", "door"]], [[["a", "door"], ["a", "red", "old", "door"]]])
    assert counts[0, -2:].tolist() == [3, 2]


def test_a_word_counts_no_more_often_than_the_reference_has_it():
    written, references = split(["a a a a a"], [["a boat and a lake"]])
    assert bleu_counts(written, references)[0, 0] == 2


def test_cider_weighs_words_that_every_photo_has_with_nothing():
    written, references = split(["a", "a"], [["a boat"], ["a goat"]])
    assert cider_d(written, references) == pytest.approx([0, 0])


@given(st.lists(WORDS, max_size=7), st.lists(WORDS, max_size=7))
def test_the_common_subsequence_is_symmetric_and_no_longer_than_either(a, b):
    length = longest_common_subsequence(a, b)
    assert length == longest_common_subsequence(b, a) <= min(len(a), len(b))
    assert longest_common_subsequence(a, a) == len(a)
