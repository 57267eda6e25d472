from __future__ import annotations

import numpy as np
import pytest

from search import BadQuery, EmptyQuery, Query, SearchError

PHOTO = np.zeros((8, 8, 3), np.uint8)


def test_a_sentence_is_trimmed():
    assert Query(text="  海边的狗 \n").text == "海边的狗"


@pytest.mark.parametrize("text", [None, "", "  \n\t", "\u3000"])
def test_an_empty_query_is_refused(text):
    with pytest.raises(EmptyQuery, match="Nothing to search for"):
        Query(text=text)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"text": 'a dog -"cat'}, r"can't be read at character 7 \('-\"cat'\): the quotation"),
        ({"text": "-cat", "image_id": None}, "only what to avoid"),
        ({"text": "-dog -photo", "image": PHOTO}, "only what to avoid"),
        ({"text": "a dog", "to": "videos"}, "Can't search to 'videos': choose images or captions."),
        ({"text": "a dog", "top": 0}, "top is 0: it must be at least 1."),
        ({"text": "a dog", "rerank": -1}, "rerank is -1: it must be at least 0."),
        ({"text": "a dog", "offset": -5}, "offset is -5: it must be at least 0."),
        ({"image_id": 2**63}, "9223372036854775808 can't be the id of a photo."),
        ({"text": "dog " * 600}, "The sentence is 2399 characters long: 2000 is the most."),
        ({"text": "dog \udce4"}, "not valid Unicode"),
        ({"image": np.zeros((8, 9, 3), np.uint8)}, r"uint8 \[S, S, 3\], not uint8 \[8, 9, 3\]"),
        ({"image": PHOTO.astype(np.float32)}, "not float32"),
    ],
)
def test_an_invalid_query_is_refused_with_the_reason(wrong, says):
    with pytest.raises(BadQuery, match=says) as raised:
        Query(**wrong)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, SearchError)


def test_a_query_as_text():
    assert Query(text="a dog").as_text() == "a dog"
    assert Query(image=PHOTO, label="dog.jpg").as_text() == "dog.jpg"
    assert Query(image_id=7).as_text() is None


def test_a_sentence_and_photos_add_up():
    terms = Query(text="at night", image=PHOTO, image_id=7).terms
    assert [(term.kind, term.value, term.weight) for term in terms] == [
        ("words", "at night", 1), ("photo", None, 1), ("image", 7, 1),
    ]  # fmt: skip


def test_a_negative_term_is_fine_beside_a_photo():
    for photo in ({"image_id": 3}, {"image": PHOTO}):
        assert [term.weight for term in Query(text="-people", **photo).terms] == [-1, 1]


def test_a_photo_that_the_text_names_is_not_added_again():
    terms = Query(text="2*photo + snow -@7", image=PHOTO, image_id=7).terms
    assert [(term.kind, term.weight) for term in terms] == [("photo", 2), ("words", 1), ("image", -1)]


def test_images_and_captions_in_a_query_are_left_out():
    query = Query(text="@3 + @c4 + @1 -@2")
    assert query.left_out == [1, 3] and Query(text=query.text, to="captions").left_out == [4]
