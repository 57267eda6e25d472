"""Explain a hit: where in a photo the words of a query are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encoder.api import Encoder
from encoder.errors import NoAttention
from encoder.inputs.chinese import HAN
from search.errors import NoHeatMap, NothingToExplain
from search.heat_map import heat_map, sentence_attention, token_attention
from search.query.encoding import encode_query
from search.query.query import Query
from search.query.translation import Notice, Translate
from storage.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the cross-modal encoder looked at when it read a sentence with a photo.

    Attributes:
        image_id: the photo.
        version: the version of the collection.
        sentence: what was read with the photo.
        match_logit: of sentence and photo.
        preprocessing: how the photo became the square that the maps lie over.
        heat: float [h, w] from 0 to 1, row by row from the top left.
        words: the words of the sentence in their order, each with a map of its own; of Chinese, the tokenizer's pieces.
        notices: what to know about the answer.
    """

    image_id: int
    version: int
    sentence: str
    match_logit: float
    preprocessing: str
    heat: np.ndarray
    words: list[tuple[str, np.ndarray]]
    notices: list[Notice]

    def as_json(self) -> dict[str, Any]:
        """Plain values only, ready for `json.dumps`."""
        return {
            "id": self.image_id,
            "version": self.version,
            "sentence": self.sentence,
            "match_logit": self.match_logit,
            "preprocessing": self.preprocessing,
            "grid": list(self.heat.shape),
            "heat": _rounded(self.heat),
            "words": [{"word": word, "heat": _rounded(heat)} for word, heat in self.words],
            "notices": [notice.sentence for notice in self.notices],
        }


def explain(
    query: Query, image_ids: Sequence[int], snapshot: Snapshot, encoder: Encoder, translate: Translate | None = None
) -> list[Explanation]:
    """Explain the query for each of these photos.

    Raises:
        NothingToExplain: the query has no sentence to read with a photo.
        NoHeatMap: the model can't say where in a photo it looks.
        UnknownId: a photo is not in the collection.
    """
    if query.to != "images":
        raise NothingToExplain
    encoded, notices = encode_query(query, snapshot, encoder, translate)
    text, sentence = encoded.text, encoded.sentence
    if text is None or sentence is None:
        raise NothingToExplain
    tokens = snapshot.tokens(image_ids)
    try:
        attentions = encoder.explain(text, tokens)
    except NoAttention as error:
        raise NoHeatMap(str(error)) from error
    logits = encoder.match(text, tokens)
    grid, length = encoder.config.token_grid, int(text.lengths[0])
    assert grid is not None  # or `explain` would have raised NoAttention
    words = words_in(sentence, encoder.spans(sentence))
    return [
        Explanation(
            image_id=int(image_id),
            version=snapshot.version,
            sentence=sentence,
            match_logit=float(logit),
            preprocessing=encoder.config.preprocessing,
            heat=heat_map(sentence_attention(attention, length), grid),
            words=[(word, heat_map(token_attention(attention, positions), grid)) for positions, word in words],
            notices=notices,
        )
        for image_id, logit, attention in zip(image_ids, logits, attentions, strict=True)
    ]


def words_in(sentence: str, spans: Sequence[tuple[int, int]]) -> list[tuple[list[int], str]]:
    """Group the tokens of a sentence into words: the positions of each word's tokens, and its text.

    Pieces that are next to each other within a word are joined, such as "look" and "s". Chinese does not mark its words, so
    its pieces stay as they are. Special tokens belong to no word.

    Args:
        sentence: the text.
        spans: where each token is in it, [start, end) in characters; empty for special tokens.
    """
    words: list[tuple[list[int], int, int]] = []
    for token, (start, end) in enumerate(spans):
        if not sentence[start:end].strip():
            continue
        if words and words[-1][2] == start and _within_word(sentence[start - 1], sentence[start]):
            tokens, begin, _ = words[-1]
            words[-1] = [*tokens, token], begin, end
        else:
            words.append(([token], start, end))
    return [(tokens, sentence[start:end].strip()) for tokens, start, end in words]


def _within_word(before: str, after: str) -> bool:
    return all(character.isalnum() and not HAN.match(character) for character in (before, after))


def _rounded(heat: np.ndarray) -> list[list[float]]:
    return np.round(heat, 3).tolist()
