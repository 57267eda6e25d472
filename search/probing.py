"""From a query to what the two stages take: every term encoded or looked up, and added up."""

from __future__ import annotations

import numpy as np

from encoder.languages import language_asked

from .blend import blend
from .query import Query
from .stages import Probe
from .terms import Term
from .translation import Heard, Notice, Translate, hear


def probe_query(query: Query, snapshot, encoder, translate: Translate | None = None) -> tuple[Probe, list[Notice]]:
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
    vector = blend(np.stack(vectors), [term.weight for term in query.terms])
    notices = list({notice.sentence: notice for one in heard.values() for notice in one.notices}.values())
    if query.to == "captions":
        return Probe(vector, tokens=_tokens(query.terms, photo, snapshot)), notices
    sentence = _sentence(query.terms, heard, snapshot)
    text = None
    if sentence:
        text = encoded if said == [sentence] else encoder.encode_texts([sentence])
    return Probe(vector, text=text, language=language_asked(sentence), sentence=sentence), notices


def _hear(term: Term, encoder, translate: Translate | None) -> Heard:
    return hear(term.value, encoder.config, translate)


def _sentence(terms: tuple[Term, ...], heard: dict[Term, Heard], snapshot) -> str:
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
