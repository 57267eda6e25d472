"""From a query to what the two stages read: encode or look up every term, and combine them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoder.api import Encoder, ImageEncodings, TextEncodings
from encoder.inputs.languages import bank_language
from search.query.query import Query
from search.query.terms import Term
from search.query.translation import Notice, Translate, TranslatedQuery, translate_query
from search.query.vector_sum import combine_vectors
from storage.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A query as the two stages read it.

    Attributes:
        vector: float32 [D], of unit length.
        text: the encoding of `sentence`; None if the cross-modal encoder has no sentence to read.
        tokens: float16 [1, L, W], the tokens of the query's photo; None if it has no single photo.
        language: the language of the query bank's sentences to compare with.
        sentence: what to look for in words.
    """

    vector: np.ndarray
    text: TextEncodings | None = None
    tokens: np.ndarray | None = None
    language: str | None = None
    sentence: str | None = None


def encode_sentence(encoder: Encoder, text: str) -> EncodedQuery:
    """Encode one sentence."""
    encodings = encoder.encode_texts([text])
    return EncodedQuery(encodings.vectors[0], text=encodings, language=bank_language(text), sentence=text)


def encode_photo(encoder: Encoder, image: np.ndarray) -> EncodedQuery:
    """Encode one prepared photo, uint8 [S, S, 3]."""
    encodings = encoder.encode_images(image[np.newaxis])
    return EncodedQuery(encodings.vectors[0], tokens=encodings.tokens)


def encode_query(
    query: Query, snapshot: Snapshot, encoder: Encoder, translate: Translate | None = None
) -> tuple[EncodedQuery, list[Notice]]:
    """Encode a whole query, and say what there is to know about it.

    The cross-modal encoder reads pairs of one sentence and one photo, and knows no signs. In a query for images it reads the
    words to look for, as one sentence, with each photo. In a query for captions it reads the photo to look for, if there is
    exactly one. Weights, what to avoid and other photos count in the vector only, and so in the first-stage score.

    Raises:
        UnknownId: the collection does not have an id in the query.
        TermsCancelOut: the terms add up to nothing.
        EncoderError: the encoder failed.
    """
    terms = query.terms
    translated = {
        term: translate_query(term.text, encoder.config, translate, encoder.vocabulary)
        for term in terms
        if term.kind == "words"
    }
    texts = list(dict.fromkeys(one.text for one in translated.values()))
    encodings = encoder.encode_texts(texts) if texts else None
    photo = encoder.encode_images(query.image[np.newaxis]) if query.image is not None else None
    by_text = {} if encodings is None else dict(zip(texts, encodings.vectors, strict=True))
    vectors = [_vector(term, translated, by_text, photo, snapshot) for term in terms]
    vector = combine_vectors(np.stack(vectors), [term.weight for term in terms])
    notices = list({notice.sentence: notice for one in translated.values() for notice in one.notices}.values())
    if query.to == "captions":
        return EncodedQuery(vector, tokens=_tokens(terms, photo, snapshot)), notices
    sentence = _sentence(terms, translated, snapshot)
    text = None
    if sentence:
        text = encodings if texts == [sentence] else encoder.encode_texts([sentence])
    return EncodedQuery(vector, text=text, language=bank_language(sentence), sentence=sentence), notices


def _vector(
    term: Term,
    translated: Mapping[Term, TranslatedQuery],
    by_text: Mapping[str, np.ndarray],
    photo: ImageEncodings | None,
    snapshot: Snapshot,
) -> np.ndarray:
    """The vector of one term, float32 [D]."""
    if term.kind == "words":
        return by_text[translated[term].text]
    if term.kind == "photo":
        assert photo is not None  # `Query` has such a term only with a photo
        return photo.vectors[0]
    return (snapshot.image_vectors if term.kind == "image" else snapshot.caption_vectors)([term.id])[0]


def _sentence(terms: Sequence[Term], translated: Mapping[Term, TranslatedQuery], snapshot: Snapshot) -> str:
    """The words and captions to look for, in their order."""
    parts = [term for term in terms if term.weight > 0 and term.kind in ("words", "caption")]
    captions = {c.caption_id: c.text for c in snapshot.captions([term.id for term in parts if term.kind == "caption"])}
    return " ".join(translated[term].text if term.kind == "words" else captions[term.id] for term in parts)


def _tokens(terms: Sequence[Term], photo: ImageEncodings | None, snapshot: Snapshot) -> np.ndarray | None:
    """The tokens of the only photo to look for, float16 [1, L, W]; None if there is none or there are several."""
    photos = [term for term in terms if term.kind in ("photo", "image") and term.weight > 0]
    if len(photos) != 1:
        return None
    if photos[0].kind == "image":
        return snapshot.tokens([photos[0].id])
    assert photo is not None  # `Query` has such a term only with a photo
    return photo.tokens
