"""Lexical search in captions and in the text read in photos: BM25 over English stems, Chinese characters and bigrams."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import bm25s
import numpy as np
import Stemmer

from encoder.inputs.chinese import HAN, simplified
from search.query.query import Target
from search.query.terms import Term
from search.retrieval.ranking import best_first
from storage.snapshot import Snapshot
from storage.snapshot_memo import SnapshotMemo

GENERATED_WEIGHT = 0.5
"""How much the words of a caption that a model wrote count, from 0 to 1; those of people's captions count 1.

Their BM25 score is multiplied by it; and in hybrid search, a photo that has no other words is ranked by its words only so far
(`trust` of `search.retrieval.ranking.fuse`).
"""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CHINESE = re.compile(f"{HAN.pattern}+")


def tokens(text: str) -> list[str]:
    """Split a text into index tokens: stems of English words, simplified Chinese characters and bigrams of these."""
    text = simplified(unicodedata.normalize("NFKC", text).lower())
    found = Stemmer.Stemmer("english").stemWords(_WORD.findall(_CHINESE.sub(" ", text)))
    for stretch in _CHINESE.findall(text):
        found += [*stretch, *(stretch[i : i + 2] for i in range(len(stretch) - 1))]
    return found


def scripts(words: Iterable[str]) -> tuple[bool, bool]:
    """Whether some of these tokens are in Chinese characters, and whether some are not."""
    chinese = [HAN.match(word) is not None for word in words]
    return any(chinese), not all(chinese)


class LexicalIndex:
    """BM25 over n texts. Immutable, so any thread may search."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._count = len(texts)
        vocabulary: dict[str, int] = {}
        split = [[vocabulary.setdefault(word, len(vocabulary)) for word in tokens(text)] for text in texts]
        chinese = np.array([HAN.match(word) is not None for word in vocabulary], bool)
        self._scripts = np.array([(chinese[words].any(), not chinese[words].all()) for words in split], bool).reshape(-1, 2)
        self._index = bm25s.BM25() if vocabulary else None
        if self._index is not None:
            self._index.index((split, vocabulary), show_progress=False)

    def scores(self, text: str) -> np.ndarray:
        """The BM25 score of each text, float32 [n]; 0 where it shares no word with `text`."""
        return self._scores(tokens(text))

    def searchable(self, text: str) -> np.ndarray:
        """Which texts could share a word with `text`, because they have words in one of its scripts; bool [n]."""
        return np.any(self._scripts & scripts(tokens(text)), axis=1)

    def with_all_words(self, text: str) -> np.ndarray:
        """Which texts have every word of `text`, bool [n]; none if `text` has no words."""
        words = set(tokens(text))
        found = np.full(self._count, bool(words))
        for word in words:
            found &= self._scores([word]) > 0
        return found

    def _scores(self, words: list[str]) -> np.ndarray:
        if self._index is None or not words:
            return np.zeros(self._count, np.float32)
        known = self._index.get_tokens_ids(words)
        return self._index.get_scores_from_ids(known) if known else np.zeros(self._count, np.float32)


@dataclass(frozen=True, eq=False)
class LexicalMatches:
    """What shares a word with a query, best first, equal scores by id.

    Attributes:
        ids: int64 [m], of images or captions.
        scores: float32 [m].
        searchable_ids: int64 [s], what could have been found by words. An image without a caption, or with none in the
            script of the query, could not: that says nothing about whether it fits.
        trust: float32 [s], beside each of these how far its words can be trusted: 1, or GENERATED_WEIGHT if a model wrote
            all of them.
        caption_scores: float32 [captions], the score of every caption of the version, in the order of ids.
    """

    ids: np.ndarray
    scores: np.ndarray
    searchable_ids: np.ndarray
    trust: np.ndarray
    caption_scores: np.ndarray


class CaptionWords:
    """A lexical index of one version's captions and of the texts read in its photos.

    It finds captions; or images, by the best of their captions or by the text read in them, which counts as one more caption.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        table = snapshot.caption_table()
        self._ids = table["caption_id"].to_numpy()
        images, read = _texts_in_photos(snapshot)
        owners = np.concatenate([table["image_id"].to_numpy(), images])
        self._by_owner = np.argsort(owners, kind="stable")
        self._image_ids, self._starts = np.unique(owners[self._by_owner], return_index=True)
        self._index = LexicalIndex([*table["text"].to_pylist(), *read])
        self._read_in_photo = np.arange(len(owners)) >= len(self._ids)
        generated = np.isin(self._ids, snapshot.caption_ids(generated=True))
        self._weights = np.ones(len(owners), np.float32)
        self._weights[: len(self._ids)][generated] = GENERATED_WEIGHT

    def find(
        self,
        terms: Iterable[Term],
        to: Target,
        allowed: np.ndarray | None = None,
        left_out: Sequence[int] = (),
        hidden: Sequence[int] | np.ndarray = (),
    ) -> LexicalMatches:
        """Find what shares a word with the query.

        Args:
            terms: the words of these count, with their weights; a caption with all words of a negative term is left out,
                and so is its image.
            to: what to find.
            allowed: int64 [a], the only ids that may be found; None for all.
            left_out: ids that may not be found.
            hidden: ids of captions to ignore, as if the collection did not have them.
        """
        own = len(self._ids)
        hides = np.zeros(len(self._read_in_photo), bool)
        hides[:own] = np.isin(self._ids, np.asarray(hidden, np.int64))
        scores, searchable, avoided = self._score_texts(terms)
        scores, trust = scores * ~hides * self._weights, searchable * ~hides * self._weights
        caption_scores = scores[:own]
        if to == "images" and len(scores):
            ids = self._image_ids
            # A sign in a photo that says something else doesn't speak against the photo, as its captions do.
            trust = self._of_images(np.maximum, trust * (~self._read_in_photo | (scores > 0)))
            scores = self._of_images(np.maximum, scores)
            avoided = self._of_images(np.logical_or, avoided)
        else:
            ids, scores, avoided, trust = self._ids, caption_scores, avoided[:own], trust[:own]
        found = (scores > 0) & ~avoided & ~np.isin(ids, np.asarray(left_out, np.int64))
        if allowed is not None:
            found &= np.isin(ids, allowed)
        searchable_ids, trust = ids[trust > 0], trust[trust > 0]
        ids, scores = ids[found], scores[found]
        order = best_first(scores, ids)
        return LexicalMatches(ids[order], scores[order], searchable_ids, trust, caption_scores)

    def caption_scores(self, matches: LexicalMatches, caption_ids: np.ndarray) -> np.ndarray:
        """The scores of these captions, float32 [n]."""
        return matches.caption_scores[np.searchsorted(self._ids, caption_ids)]

    def _score_texts(self, terms: Iterable[Term]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each caption, then of each photo's text: its score, float32; whether it is searchable; whether it is avoided."""
        count = len(self._read_in_photo)
        scores = np.zeros(count, np.float32)
        searchable, avoided = np.zeros((2, count), bool)
        for term in terms:
            if term.kind == "words" and term.weight > 0:
                scores += term.weight * self._index.scores(term.text)
                searchable |= self._index.searchable(term.text)
            elif term.kind == "words":
                avoided |= self._index.with_all_words(term.text)
        return scores, searchable, avoided

    def _of_images(self, combine: np.ufunc, of_texts: np.ndarray) -> np.ndarray:
        """Combine the values of the texts of each image that has any."""
        return combine.reduceat(of_texts[self._by_owner], self._starts)


def _texts_in_photos(snapshot: Snapshot) -> tuple[np.ndarray, list[str]]:
    """The ids of the images in which text was read, int64 [n], and all text of each."""
    if not len(snapshot.texts):
        return np.empty(0, np.int64), []
    table = snapshot.image_table()
    positions, texts = snapshot.texts.documents(table["sha256"].to_pylist())
    return table["image_id"].to_numpy()[positions], texts


_words = SnapshotMemo(lambda snapshot: CaptionWords(snapshot))


def words_of(snapshot: Snapshot) -> CaptionWords:
    """The lexical index of a snapshot's captions, made once for as long as the snapshot is open."""
    return _words.of(snapshot)


def warm_words(snapshot: Snapshot, before: Snapshot) -> None:
    """Index a snapshot's captions if those of the snapshot that it replaces are indexed."""
    if _words.made_of(before) is not None:
        _words.of(snapshot)
