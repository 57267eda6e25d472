"""The query syntax: what is a sign, and above all what is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search.errors import BadQuery, BadTerm
from search.query.terms import LARGEST_WEIGHT, MOST_TERMS, Term, as_plain, parse_terms, positive_words

DATA = os.environ.get("PANOPTES_TEST_DATA", str(Path(__file__).parents[4] / "shared" / "data"))


def words(text: str, weight: float = 1.0) -> Term:
    return Term("words", text, weight)


@pytest.mark.parametrize(
    "sentence",
    [
        "2 dogs in a t-shirt",
        "a black-and-white cat",
        "a dog - its tongue out - runs",
        "man – smiling — at camera",
        "dog -- cat",
        "the boy's mother's car",
        "rock 'n' roll",
        "-5 degrees",
        "the 1970s-style -- car",
        "2*4 wood",
        "a 5* hotel",
        "4 * 4 = 16",
        "1 + 1 = 2",
        "C++",
        "18+ only",
        "dog +",
        "+ dog",
        "+",
        "-",
        "- -",
        "a - b",
        "well -",
        "-smiling- faces",
        "hanging -up.",
        'a sign that says "stop -now" in red',
        'a "smiling" man',
        '"',
        '""',
        'say "',
        "mail me@home.com",
        "@ 5 pm",
        "@home",
        "@5pm",
        "photo",
        "a photo of a dog",
        "海边的狗，和人。",
        "一只狗——在跑",
        "红色-蓝色",
        "“红色”的墙",
        "海滩，-人",
        "海边 － 人",
        "T－恤衫的狗",
        "man –",
        "a dog – its tongue out – runs",
        "black–and−white cat",
        "10–20 dogs",
        "−5 degrees",
        "２０２４年",
        "１ ＋ １ ＝ ２",
        "４ ＊ ４",
        "＠家",
        "the dogs’ ‘house’",
        "rock ‘n’ roll",
        "rock 'n' roll -",
        "he said ‘stop −now’ in red",
        "「红色」的墙",
        "牌子上写着“禁止 －入内”",
        "„Ruhe“ an der Wand",
        "“",
        "「",
        "¯\\_(ツ)_/¯",
        "C:\\photos\\-dog",
        "\\o/",
        "50 % off",
        "a/b",
        "snow, ice & rain (at night)",
        "#sunset",
        "dog|cat",
        "not a dog",
        "a and b",
    ],
)
def test_ordinary_sentences_are_one_term(sentence):
    assert parse_terms(sentence) == [words(sentence)]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("beach sunset -people", [words("beach sunset"), words("people", -1)]),
        ("海滩日落 -人", [words("海滩日落"), words("人", -1)]),
        ("beach -people sunset", [words("beach sunset"), words("people", -1)]),
        ("-people beach", [words("people", -1), words("beach")]),
        ("street -t-shirt", [words("street"), words("t-shirt", -1)]),
        ('street -"red car" at night', [words("street at night"), words("red car", -1)]),
        ("2*dog", [words("dog", 2)]),
        ("2*dog cat -0.5*man's", [words("dog", 2), words("cat"), words("man's", -0.5)]),
        ("mother + child", [words("mother"), words("child")]),
        ('"a + b" + c', [words("a + b"), words("c")]),
        ("a dog\u3000+\u3000a cat", [words("a dog"), words("a cat")]),
        ('"red car"', [words("red car")]),
        ('-"say \\"no\\" \\\\" x', [words('say "no" \\', -1), words("x")]),
        ("@17", [Term("image", 17)]),
        ("2*@17 -@3 + snow", [Term("image", 17, 2), Term("image", 3, -1), words("snow")]),
        ("@c5", [Term("caption", 5)]),
        ("\\-people", [words("-people")]),
        ("\\\\-people", [words("\\-people")]),
        ("a \\+ b", [words("a + b")]),
        ("\\2*dog \\@17", [words("2*dog @17")]),
        ('\\"a b"', [words('"a b"')]),
        ("海边 －人", [words("海边"), words("人", -1)]),
        ("海边　－人　日落", [words("海边 日落"), words("人", -1)]),
        ("beach −people", [words("beach"), words("people", -1)]),
        ("beach –people", [words("beach"), words("people", -1)]),
        ("beach —people", [words("beach"), words("people", -1)]),
        ("beach −“red car”", [words("beach"), words("red car", -1)]),
        ("beach -„red car“", [words("beach"), words("red car", -1)]),
        ("beach -«red car»", [words("beach"), words("red car", -1)]),
        ("beach -»red car«", [words("beach"), words("red car", -1)]),
        ("海边 －「红色 汽车」", [words("海边"), words("红色 汽车", -1)]),
        ("海边 －『红色 汽车』", [words("海边"), words("红色 汽车", -1)]),
        ("海边 －＂红色 汽车＂", [words("海边"), words("红色 汽车", -1)]),
        ("beach -‘the boy’s red car’", [words("beach"), words("the boy’s red car", -1)]),
        ("beach -'the boy's red car'", [words("beach"), words("the boy's red car", -1)]),
        ("beach 2*'red car'", [words("beach"), words("red car", 2)]),
        ("beach -「say “no”」", [words("beach"), words("say “no”", -1)]),
        ("２＊狗", [words("狗", 2)]),
        ("０．５＊“红色 汽车” ＋ 雪", [words("红色 汽车", 0.5), words("雪")]),
        ("狗　＋　猫", [words("狗"), words("猫")]),
        ("＠１７ －＠ｃ５ 雪", [Term("image", 17), Term("caption", 5, -1), words("雪")]),
        ("“a ＋ b” ＋ ｃ", [words("a ＋ b"), words("ｃ")]),
        ("“红色的墙”", [words("红色的墙")]),
        ("‘红色的墙’", [words("红色的墙")]),
        ("'a red wall'", [words("'a red wall'")]),
        ("＼－人 海边", [words("－人 海边")]),
        ("\\−people", [words("−people")]),
        ("\\“a b”", [words("“a b”")]),
        ("beach -t−shirt", [words("beach"), words("t−shirt", -1)]),
    ],
)
def test_signs_are_parsed_into_terms(query, terms):
    assert parse_terms(query) == terms


def test_the_given_photo_can_be_named_between_signs():
    assert parse_terms("2*dog + photo", photo=True) == [words("dog", 2), Term("photo")]
    assert parse_terms("snow -photo", photo=True) == [words("snow"), Term("photo", None, -1)]
    assert parse_terms("-people", photo=True, alone=False) == [words("people", -1)]
    assert parse_terms("a photo", photo=True) == [words("a photo")] and parse_terms("photo", photo=True) == [words("photo")]
    assert parse_terms("dog + photo") == [words("dog"), words("photo")]


@pytest.mark.parametrize(
    ("query", "at", "says"),
    [
        ('beach -"people', 6, "character 7 ('-\"people'): the quotation that begins here does not end before a blank"),
        ('2*"red car".', 0, "does not end before a blank"),
        ("beach -0*people", 6, "a weight lies above 0"),
        ("beach 101*sea", 6, "at most 100"),
        ("2*dog + cat +", 12, "character 13 ('+'): this plus has nothing to add"),
        ("a + + 2*dog", 2, "this plus has nothing to add"),
        ("  -people", 2, "there is only what to avoid"),
        ("－人", 0, "there is only what to avoid"),
        ("海边 －“人", 3, "character 4 ('－“人'): the quotation that begins here does not end before a blank"),
        ("海边 －「人」。", 3, "the quotation that begins here does not end before a blank"),
        ("beach -‘people", 6, "does not end before a blank"),
        ("2*dog ＋ cat ＋", 12, "character 13 ('＋'): this plus has nothing to add"),
        ("@1234567890123456789", 0, "too large for an id"),
        ('dog -"  "', 4, "nothing in the quotation"),
        ("x " + "-a " * MOST_TERMS, 0, f"there are {MOST_TERMS + 1} terms, and {MOST_TERMS} is the most"),
    ],
)
def test_a_syntax_error_names_its_position(query, at, says):
    with pytest.raises(BadTerm) as raised:
        parse_terms(query)
    assert raised.value.at == at and says in str(raised.value) and "\n" not in str(raised.value)
    assert isinstance(raised.value, BadQuery)


OTHERS = {"-": "－﹣−‐‑‒–—―", "*": "＊﹡∗", "+": "＋﹢", "@": "＠﹫", ".": "．", "c": "ｃ", " ": "\u3000"}
OTHERS |= {str(digit): "０１２３４５６７８９"[digit] for digit in range(10)}
QUOTATIONS = ['""', "＂＂", "“”", "„“", "«»", "»«", "「」", "『』", "‘’", "‚‘", "‹›"]
SIGNS = st.text(st.sampled_from("ab1 2狗。-*+\"\\@c.\n'\u3000－−–—＊＋＠ｃ２＼＂“”„«»「」『』‘’"), min_size=1, max_size=30)
BLANKLESS = (st.text(min_size=1, max_size=20) | SIGNS).filter(lambda text: text.strip())
WEIGHTS = st.integers(1, int(1000 * LARGEST_WEIGHT)).map(lambda n: n / 1000)


def a_term(weights):
    ids = st.integers(0, 10**18 - 1)
    return st.builds(words, BLANKLESS, weights) | st.builds(Term, st.sampled_from(["image", "caption"]), ids, weights)


def written(term):
    """Write a term with every sign that the syntax has for it."""
    size = f"{abs(term.weight):.3f}".rstrip("0").rstrip(".")
    sign = ("-" if term.weight < 0 else "") + (f"{size}*" if size != "1" else "")
    if term.kind == "words":
        return sign + '"' + term.value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{sign}@{'c' if term.kind == 'caption' else ''}{term.value}"


@given(st.lists(a_term(WEIGHTS | WEIGHTS.map(lambda weight: -weight)), max_size=5), a_term(WEIGHTS))
def test_written_terms_are_parsed_back(others, one):
    terms = [*others, one]
    assert parse_terms(" + ".join(map(written, terms))) == terms


MARKS = {*"\"'’‘", *"".join(QUOTATIONS)}
"""A text that holds one of them is written in plain quotation marks, in which a backslash stands before a mark."""


def on_another_keyboard(draw, text: str) -> str:
    """The same query, with signs as other keyboards write them."""
    return "".join(draw(st.sampled_from(OTHERS.get(character, character) + character)) for character in text)


@given(st.lists(a_term(WEIGHTS | WEIGHTS.map(lambda weight: -weight)), max_size=3), a_term(WEIGHTS), st.data())
def test_signs_of_other_keyboards_mean_the_same(others, one, data):
    terms = [*others, one]
    parts = []
    for term in terms:
        sign, mark, rest = written(term).partition('"')
        if not mark:
            parts.append(on_another_keyboard(data.draw, sign))
            continue
        first, last = data.draw(st.sampled_from([pair for pair in QUOTATIONS if not set(term.text) & MARKS] or ['""']))
        parts.append(on_another_keyboard(data.draw, sign) + first + rest[:-1] + last)
    plus = on_another_keyboard(data.draw, " + ")
    assert parse_terms(plus.join(parts)) == terms


@given(BLANKLESS)
@example("-people")
@example("－人")
@example("−“a b”")
@example("＼－人")
@example("‘a b’")
@example('"')
def test_any_text_can_be_written_as_plain_text(text):
    assert parse_terms(as_plain(text)) == [words(text)]


@given(BLANKLESS, st.booleans())
def test_any_query_is_parsed_or_refused_with_a_position(text, photo):
    try:
        terms = parse_terms(text, photo, not photo)
    except BadTerm as error:
        assert 0 <= error.at <= len(text)
    else:
        assert terms and all(term.weight and (term.kind != "words" or term.value.strip()) for term in terms)


NO_SIGNS = st.characters(exclude_characters="".join(OTHERS.values()) + "".join(QUOTATIONS) + "-+*@\\＼﹨｢'")


@given(st.text(NO_SIGNS | st.just(" "), min_size=1).filter(lambda text: text.strip()))
def test_a_text_without_the_characters_of_signs_has_none(text):
    assert parse_terms(text) == [words(text)]


HYPHENATED = st.from_regex(r"[^\W_]+(-[^\W_]+)*", fullmatch=True)


@given(st.lists(HYPHENATED, min_size=1, max_size=4), st.sampled_from([" ", " - ", ", ", "，", " -- ", " – ", "—", "　", "－"]))
def test_hyphens_inside_words_and_dashes_between_them_are_no_signs(parts, between):
    sentence = between.join(parts)
    assert parse_terms(sentence) == [words(sentence)]


def test_positive_words_are_one_sentence():
    assert positive_words(parse_terms("2*dog on grass -cat + @3 + at night")) == "dog on grass at night"
    assert positive_words(parse_terms("@3")) == ""


@pytest.mark.skipif(not Path(DATA).is_dir(), reason="needs the real captions (PANOPTES_TEST_DATA)")
@pytest.mark.parametrize("step", [25, pytest.param(5, marks=pytest.mark.long)])
def test_hardly_any_sentence_that_people_wrote_has_a_sign(step):
    rows = [
        json.loads(line)
        for manifest in sorted(Path(DATA).glob("*/*.jsonl"))
        for line in manifest.read_text("utf-8").splitlines()
    ]
    texts = [text for row in rows for texts in row.get("captions", {}).values() for text in texts if text.strip()]
    sample = texts[::step]
    misread = [text for text in sample if parse_terms(text) != [words(text)]]
    assert len(sample) > 50_000 / step and len(misread) <= 1, misread
