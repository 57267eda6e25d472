"""Captions as tokens. The English ones are those of coco-caption, whose tokenizer needs Java: these lists are what it gives."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.evaluation.captioning.tokens import TOKENIZERS, chinese_characters, chinese_words, english_words
from tests.support.commands import ROOT

PENN = [
    ("Two goats climb, slowly.", "two goats climb slowly"),
    ("The man's boat isn't red!", "the man 's boat is n't red"),
    ("They can't stop; it cannot be.", "they ca n't stop it can not be"),
    ("A black-and-white t-shirt", "a black-and-white t-shirt"),
    ('A sign says "STOP"', "a sign says stop"),
    ("A clock (old) at 10:30", "a clock -lrb- old -rrb- at 10:30"),
    ("A cat sleeps. A dog doesn't.", "a cat sleeps a dog does n't"),
    ("his/her 1,000 kites", "his/her 1,000 kites"),
    ("It is five o'clock -- almost", "it is five o'clock almost"),
    ("In the U.S. a bus", "in the u.s. a bus"),
    ("  ", ""),
    ("...", ""),
]


@pytest.mark.parametrize(("text", "tokens"), PENN)
def test_english_is_cut_as_the_penn_treebank_is(text, tokens):
    assert english_words(text) == tokens.split()


def test_quotation_marks_of_print_are_those_of_a_keyboard():
    assert english_words("“The man’s hat” isn‘t red…") == ["the", "man", "'s", "hat", "is", "n't", "red"]


def test_chinese_characters_leave_punctuation_out_and_keep_other_scripts_together():
    assert chinese_characters("穿T恤的42号，跑！") == ["穿", "t", "恤", "的", "42", "号", "跑"]


def test_chinese_words_are_those_of_jieba():
    assert chinese_words("小男孩骑自行车。") == ["小男孩", "骑", "自行车"]


@pytest.mark.parametrize("tokenize", [chinese_characters, chinese_words])
def test_the_same_in_other_characters_is_the_same(tokenize):
    assert tokenize("兩隻鳥在樹上") == tokenize("两只鸟在树上")
    assert tokenize("１２ 号") == tokenize("12号")


@given(st.text(max_size=30))
def test_no_token_is_empty_or_holds_a_blank(text):
    for units in TOKENIZERS.values():
        for tokenize in units.values():
            assert all(token and not any(map(str.isspace, token)) for token in tokenize(text))


def test_jieba_is_loaded_only_where_chinese_is_cut():
    code = "import sys, search.evaluation.captioning.evaluate; sys.exit('jieba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
