"""Where in a photo the words of a query are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder.errors import NoAttention
from encoder.inputs.languages import HAN
from search.errors import NoHeatMap, NothingToExplain
from search.heat_map import heat_map, sentence_attention, token_attention
from search.query.encoding import encode_query
from search.query.query import Query
from search.query.translation import Notice, Translate


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the cross-modal encoder looked at when it read a sentence with a photo.

    `sentence` is what it read, `match_logit` what it said. `heat` is float [h, w] over the photo, row by row from the top
    left, from 0 to 1, and `preprocessing` how the photo was made the square that the map lies over; `words` are the sentence's
    in their order, each as it stands there and with a map of its own; of Chinese, the pieces that the tokenizer makes.
    """

    image_id: int
    version: int
    sentence: str
    match_logit: float
    preprocessing: str
    heat: np.ndarray
    words: list[tuple[str, np.ndarray]]
    notices: list[Notice]

    def as_json(self) -> dict:
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


def explain(query: Query, image_ids: Sequence[int], snapshot, encoder, translate: Translate | None = None) -> list[Explanation]:
    """An explanation for each photo.

    Raises NothingToExplain where the query has no sentence to be read with a photo, NoHeatMap where the model can't say where
    it looks, and UnknownId.
    """
    if query.to != "images":
        raise NothingToExplain
    probe, notices = encode_query(query, snapshot, encoder, translate)
    if probe.text is None:
        raise NothingToExplain
    tokens = snapshot.tokens(image_ids)
    try:
        looks = encoder.explain(probe.text, tokens)
    except NoAttention as error:
        raise NoHeatMap(str(error)) from error
    logits = encoder.match(probe.text, tokens)
    grid, length = encoder.config.token_grid, int(probe.text.lengths[0])
    words = words_in(probe.sentence, encoder.spans(probe.sentence))
    return [
        Explanation(
            image_id=int(own),
            version=snapshot.version,
            sentence=probe.sentence,
            match_logit=float(logit),
            preprocessing=encoder.config.preprocessing,
            heat=heat_map(sentence_attention(attention, length), grid),
            words=[(word, heat_map(token_attention(attention, tokens), grid)) for tokens, word in words],
            notices=notices,
        )
        for own, logit, attention in zip(image_ids, logits, looks, strict=True)
    ]


def words_in(sentence: str, spans: Sequence[tuple[int, int]]) -> list[tuple[list[int], str]]:
    """(tokens, text) of each word of a sentence, of which tokens lie at [start, end); of marks, which lie nowhere, nothing.

    Pieces that stand side by side within a word are put together: "look" and "s". Chinese has no words to be seen, and keeps
    its pieces.
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
    return all(sign.isalnum() and not HAN.match(sign) for sign in (before, after))


def _rounded(heat: np.ndarray) -> list[list[float]]:
    return np.round(heat, 3).tolist()
