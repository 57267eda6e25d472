"""Sentences become token ids, by the shipped vocabulary and by WordPiece over a vocabulary file."""

from __future__ import annotations

import pytest

from encoder.config import PRESETS
from encoder.errors import BadCheckpoint
from encoder.inputs.tokenizer import Tokenizer, pad, read_vocabulary
from encoder.model_folder import SHIPPED, vocabulary_path

WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "dog", "##gy", "狗", "a", "跑"]


@pytest.fixture(scope="module")
def shipped():
    return Tokenizer(vocabulary_path(SHIPPED), 64)


def test_wordpiece_reads_a_vocabulary_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDPIECES), encoding="utf-8")
    tokenizer = Tokenizer(path, 50)
    assert tokenizer.pieces("A doggy 狗跑") == ["[CLS]", "a", "dog", "##gy", "狗", "跑", "[SEP]"]
    assert tokenizer.ids(["dog cat"]) == [[2, 4, 1, 3]]


def test_a_vocabulary_without_its_marks_is_refused(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("dog\ncat")
    with pytest.raises(BadCheckpoint, match=r"\[PAD\]"):
        Tokenizer(path, 50)


def test_a_long_sentence_is_cut_and_keeps_its_end_mark(shipped):
    (ids,) = shipped.ids(["dog " * 500])
    assert len(ids) == 64
    assert ids[0] == 1 and ids[-1] == 2


@pytest.mark.parametrize(
    "one, other",
    [
        ("A dog runs .", "a DOG runs"),
        ("两只狗。", "两只狗"),
        ("Ｄｏｇ　ｒｕｎｓ", "dog runs"),
        ("  a   dog ", "a dog"),
    ],
)
def test_spellings_that_differ_only_in_form_give_the_same_pieces(shipped, one, other):
    assert shipped.pieces(one) == shipped.pieces(other)


@pytest.mark.parametrize("text", ["", " ", "\x00", "🐶", "\u200b", "ñandú", "我爱🐶 and 狗"])
def test_any_text_has_ids(shipped, text):
    (ids,) = shipped.ids([text])
    assert ids[0] == 1 and ids[-1] == 2 and 0 not in ids


def test_no_word_of_either_language_is_unknown(shipped):
    unknown = 3
    for text in ("a man rides a bicycle past the red house", "一个男人骑着自行车经过红色的房子"):
        assert unknown not in shipped.ids([text])[0]


def test_padding_fills_up_with_zeros():
    assert pad([[1, 5, 2], [1, 2]], 4).tolist() == [[1, 5, 2, 0], [1, 2, 0, 0]]


def test_a_piece_may_be_a_separator_of_lines(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*WORDPIECES, "\u2028", "\x85", "猫"]) + "\n", encoding="utf-8", newline="\n")
    assert read_vocabulary(path)["猫"] == len(WORDPIECES) + 2
    path.write_bytes("\r\n".join(WORDPIECES).encode())
    assert Tokenizer(path, 50).ids(["狗"]) == [[2, 6, 3]]


def test_padding_must_be_the_first_piece(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDPIECES[::-1]), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match=r"\[PAD\] in line 9"):
        Tokenizer(path, 50)


def test_opt_v2_reads_48_pieces_between_its_marks(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDPIECES), encoding="utf-8")
    (ids,) = Tokenizer(path, PRESETS["opt-v2-base"].text_length).ids(["狗" * 60 + "跑"])
    assert ids == [2, *[6] * 48, 3]


@pytest.mark.parametrize(
    ("traditional", "simple"),
    [
        ("貓", "猫"),
        ("汽車", "汽车"),
        ("火車", "火车"),
        ("一隻狗", "一只狗"),
        ("頭髮", "头发"),
        ("a 紅色的 bus", "a 红色的 bus"),
    ],
)
def test_traditional_characters_are_read_as_simplified_ones(shipped, traditional, simple):
    assert shipped.ids([traditional]) == shipped.ids([simple])
    assert shipped.ids([traditional] * 20) == [shipped.ids([simple])[0]] * 20
    assert shipped.pieces(traditional) == shipped.pieces(simple) and shipped.spans(traditional) == shipped.spans(simple)


def test_a_character_that_the_vocabulary_has_is_left_alone(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*WORDPIECES, "貓", "猫", "车"]), encoding="utf-8")
    assert Tokenizer(path, 50).pieces("貓猫車馬") == ["[CLS]", "貓", "猫", "车", "[UNK]", "[SEP]"]


def test_the_vocabulary_tells_words_that_it_has_whole(shipped):
    assert all(map(shipped.has_word, ["dog", "Dog", "the"]))
    assert not any(map(shipped.has_word, ["perro", "🐶", "собака", "a dog", ""]))


@pytest.mark.parametrize(
    ("text", "unknown", "nothing"),
    [
        ("a dog", [], False),
        ("", [], False),
        ("?!", [], False),
        ("🐶", ["🐶"], True),
        ("🐶!?", ["🐶"], True),
        ("собака", ["собака"], True),
        ("a 🐶 on grass, 🐶 and собака", ["🐶", "собака"], False),
        ("ñandúß", ["ñandúß"], False),
        ("草地上的貓", [], False),
        ("一只貔貅", ["貔", "貅"], False),
        ("= ~ —", [], False),
    ],
)
def test_what_the_vocabulary_has_no_piece_for_is_named(shipped, text, unknown, nothing):
    found, all_of_it = shipped.unknown_in(text)
    assert "".join(found) == "".join(unknown) and all_of_it == nothing


@pytest.mark.parametrize(
    "text, written",
    [
        ("a dog on the beach", "a dog on the beach"),
        ("A red car, parked", "a red car, parked"),
        ("一只狗在海边奔跑", "一只狗在海边奔跑"),
        ("一只 狗 和 a dog", "一只狗和 a dog"),
    ],
)
def test_ids_become_the_text_that_they_stand_for(shipped, text, written):
    assert shipped.text(shipped.ids([text])[0]) == written


def test_wordpiece_is_written_without_its_signs(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[unused1]", "狗", "##狗", "在", "red", "##s", "dog", "7", ","]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    tokenizer = Tokenizer(tmp_path / "vocab.txt", 9)

    def text(*written: str) -> str:
        return tokenizer.text([pieces.index(piece) for piece in written])

    assert text("[CLS]", "狗", "在", "##狗", "[unused1]", "[SEP]") == "狗在狗"
    assert text("red", "##s", "dog", "在", "7", ",", "dog") == "reds dog在7,dog"  # the published code writes "redsdog"
    assert tokenizer.text([5, 999]) == "狗"  # the published table of words has rows that no piece has
