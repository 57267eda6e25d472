"""From a query to what the two stages take: every term encoded or looked up, and added up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoder.inputs.languages import query_language
from search.query.query import Query
from search.query.terms import Term
from search.query.translation import Notice, Translate, TranslatedQuery, translate_query
from search.query.vector_sum import combine_vectors


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A query as the encoder sees it: its vector, and what the cross-modal encoder can read of it.

    `vector` is float32 [D], of unit length; `text` the encoder's TextEncodings of one `sentence`, where the query has one, and
    `language` what it is in; `tokens` float16 [1, L, H], where it is a photo.
    """

    vector: np.ndarray
    text: object | None = None
    tokens: np.ndarray | None = None
    language: str | None = None
    sentence: str | None = None


def encode_sentence(encoder, text: str) -> EncodedQuery:
    """Encodes one sentence."""
    encoded = encoder.encode_texts([text])
    return EncodedQuery(encoded.vectors[0], text=encoded, language=query_language(text), sentence=text)


def encode_photo(encoder, image: np.ndarray) -> EncodedQuery:
    """Encodes one prepared photo, uint8 [S, S, 3]."""
    encoded = encoder.encode_images(image[np.newaxis])
    return EncodedQuery(encoded.vectors[0], tokens=encoded.tokens)


def encode_query(query: Query, snapshot, encoder, translate: Translate | None = None) -> tuple[EncodedQuery, list[Notice]]:
    """The vector of the whole query, what the cross-modal encoder reads of it, and what there is to say.

    The cross-modal encoder reads pairs of one sentence and one photo, and cannot read signs. So it reads the words to look
    for, as one sentence, with each photo; of a query for captions the one photo to look for, if it is one. Weights, what to
    avoid and other photos count in the vector alone, and through it in the score of what is re-ranked.

    Raises UnknownId for an id that the collection does not hold, TermsCancelOut, and what the encoder raises.
    """
    heard = {t: _hear(t, encoder, translate) for t in query.terms if t.kind == "words"}
    said = list(dict.fromkeys(one.text for one in heard.values()))
    encoded = encoder.encode_texts(said) if said else None
    photo = encoder.encode_images(query.image[np.newaxis]) if query.image is not None else None
    vectors = []
    for term in query.terms:
        if term.kind == "words":
            vectors.append(encoded.vectors[said.index(heard[term].text)])
        elif term.kind == "photo":
            vectors.append(photo.vectors[0])
        elif term.kind == "image":
            vectors.append(snapshot.image_vectors([term.value])[0])
        else:
            vectors.append(snapshot.caption_vectors([term.value])[0])
    vector = combine_vectors(np.stack(vectors), [term.weight for term in query.terms])
    notices = list({notice.sentence: notice for one in heard.values() for notice in one.notices}.values())
    if query.to == "captions":
        return EncodedQuery(vector, tokens=_tokens(query.terms, photo, snapshot)), notices
    sentence = _sentence(query.terms, heard, snapshot)
    text = None
    if sentence:
        text = encoded if said == [sentence] else encoder.encode_texts([sentence])
    return EncodedQuery(vector, text=text, language=query_language(sentence), sentence=sentence), notices


def _hear(term: Term, encoder, translate: Translate | None) -> TranslatedQuery:
    return translate_query(term.value, encoder.config, translate)


def _sentence(terms: tuple[Term, ...], heard: dict[Term, TranslatedQuery], snapshot) -> str:
    """The words and captions to look for, in their order."""
    positive = [term for term in terms if term.weight > 0]
    captions = {c.caption_id: c.text for c in snapshot.captions([t.value for t in positive if t.kind == "caption"])}
    parts = [heard[t].text if t.kind == "words" else captions.get(t.value) for t in positive if t.kind in ("words", "caption")]
    return " ".join(parts)


def _tokens(terms: tuple[Term, ...], photo, snapshot) -> np.ndarray | None:
    """The tokens of the one photo to look for; None where there is none or several."""
    photos = [term for term in terms if term.kind in ("photo", "image") and term.weight > 0]
    if len(photos) != 1:
        return None
    return photo.tokens if photos[0].kind == "photo" else snapshot.tokens([photos[0].value])
