"""Tests of which text belongs to which photo."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.sources.text_files import decoded_text, text_captions
from indexer.sources.text_pairing import pair

E_ACUTE = "caf\u00e9", "cafe\u0301"


def paired(photos, texts, by_key=False):
    return {photo: [tuple(text) for text in own] for photo, own in pair(photos, texts, by_key).of_photo.items()}


@pytest.mark.parametrize(
    ("photo", "text", "language"),
    [
        ("1.jpg", "1.txt", None),
        ("1.jpg", "1.TXT", None),
        ("1.jpg", "1.jpg.txt", None),
        ("1.jpg", "1.caption", None),
        ("1.jpg", "1.zh.txt", "zh"),
        ("1.jpg", "1.jpg.zh-CN.txt", "zh"),
        ("A.JPG", "a.txt", None),
        ("a.jpg", "A.JPG.TXT", None),
        (f"{E_ACUTE[1]}.jpg", f"{E_ACUTE[0]}.txt", None),
        (f"{E_ACUTE[0]}.jpg", f"{E_ACUTE[1]}.en.txt", "en"),
        ("IMG_2023.01.05.jpg", "IMG_2023.01.05.txt", None),
        ("b/1.jpg", "b/1.txt", None),
    ],
)
def test_a_text_of_a_photo(photo, text, language):
    assert paired([photo, "other.jpg"], [text]) == {photo: [(text, language)]}


@pytest.mark.parametrize("text", ["2.txt", "1.seg.txt", "1.cls.txt", "b/1.txt", "11.txt", "IMG_2023.txt", "txt"])
def test_a_text_of_no_photo(text):
    pairing = pair(["1.jpg", "IMG_2023.01.jpg"], [text])
    assert (pairing.of_photo, pairing.ambiguous, pairing.unmatched) == ({}, {}, [text])


def test_several_texts_of_a_photo_add_up():
    texts = ["0.caption", "0.en.txt", "0.txt", "0.zh.txt"]
    assert paired(["0.jpg"], texts) == {"0.jpg": [("0.caption", None), ("0.en.txt", "en"), ("0.txt", None), ("0.zh.txt", "zh")]}


def test_the_nearest_name_wins():
    photos = ["1.jpg", "1.en.jpg", "1.jpg.png", "A.jpg", "a.jpg", f"{E_ACUTE[0]}.jpg", f"{E_ACUTE[1]}.jpg"]
    texts = ["1.txt", "1.en.txt", "1.jpg.txt", "a.txt", f"{E_ACUTE[1]}.txt"]
    assert paired(photos, texts) == {
        "1.jpg": [("1.txt", None), ("1.jpg.txt", None)],
        "1.en.jpg": [("1.en.txt", None)],
        "a.jpg": [("a.txt", None)],
        f"{E_ACUTE[1]}.jpg": [(f"{E_ACUTE[1]}.txt", None)],
    }


def test_a_text_that_may_belong_to_several_photos_is_nobodys():
    pairing = pair(["Ab.jpg", "aB.jpg"], ["ab.txt"])
    assert (pairing.of_photo, pairing.ambiguous) == ({}, {"ab.txt": ["Ab.jpg", "aB.jpg"]})
    assert paired(["1.jpg", "1.png"], ["1.txt"]) == {"1.jpg": [("1.txt", None)], "1.png": [("1.txt", None)]}


def test_a_key_of_webdataset_counts_if_it_has_one_photo():
    photos = ["IMG_2023.01.05.jpg", "IMG_2023.01.06.jpg", "2.seg.png"]
    pairing = pair(photos, ["IMG_2023.01.05.txt", "IMG_2023.txt", "2.json", "3.txt"], by_key=True)
    assert {photo: [text.name for text in own] for photo, own in pairing.of_photo.items()} == {
        "IMG_2023.01.05.jpg": ["IMG_2023.01.05.txt"],
        "2.seg.png": ["2.json"],
    }
    assert (pairing.ambiguous, pairing.unmatched) == ({"IMG_2023.txt": photos[:2]}, ["3.txt"])


NAMES = st.text("abA\u00e9e\u0301.", min_size=1, max_size=4).map(lambda name: name.strip(".") or "x")


@given(st.lists(NAMES, unique=True, max_size=6), st.lists(NAMES, unique=True, max_size=6), st.booleans())
def test_every_text_has_one_fate_and_an_equal_stem_always_wins(photo_stems, text_stems, by_key):
    photos, texts = [f"{stem}.jpg" for stem in photo_stems], [f"{stem}.txt" for stem in text_stems]
    pairing = pair(photos, texts, by_key)
    given_away = [text.name for own in pairing.of_photo.values() for text in own]
    assert sorted({*given_away, *pairing.ambiguous, *pairing.unmatched}) == sorted(texts)
    assert len(given_away) + len(pairing.ambiguous) + len(pairing.unmatched) == len(texts)
    for stem in set(photo_stems) & set(text_stems):
        if f"{stem}.jpg" not in photo_stems and stem not in photos:
            assert f"{stem}.txt" in [text.name for text in pairing.of_photo[f"{stem}.jpg"]]


# What is in a text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", ["a dog\n", "a dog on a beach\r\n海边的狗\r\n", "一只狗\n两只猫\n", "Ein größerer Hund\n"])
def test_texts_in_every_form_of_unicode(text, encoding):
    assert decoded_text(text.encode(encoding)) == text


@pytest.mark.parametrize("content", ["狗狗".encode("gb18030"), b"\xff", b"a \xff dog \0", b"\0\xd8\0\0", b"\xff\xfe\0"])
def test_other_content_is_refused(content):
    with pytest.raises(ValueError):
        text_captions(content)


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-16-le", "replace")))
def test_no_caption_ever_holds_a_nul(content):
    try:
        captions = text_captions(content)
    except ValueError:
        return
    assert not any("\0" in one.text for one in captions)


@given(st.text("ab dé狗", min_size=1, max_size=9))
def test_text_in_utf_8_is_never_taken_for_utf_16(text):
    assert decoded_text(unicodedata.normalize("NFC", text).encode()) == unicodedata.normalize("NFC", text)
