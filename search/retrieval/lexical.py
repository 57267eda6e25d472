"""The captions by their words: BM25 over stemmed English and Chinese characters and pairs of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import bm25s
import numpy as np
import Stemmer

from encoder.inputs.languages import HAN
from search.query.terms import Term
from search.retrieval.ranking import best_first
from storage.snapshot_memo import SnapshotMemo

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CHINESE = re.compile(f"{HAN.pattern}+")


def tokens(text: str) -> list[str]:
    """What of a text is looked up: English words by their stems, Chinese characters and each two that follow each other."""
    text = unicodedata.normalize("NFKC", text).lower()
    found = Stemmer.Stemmer("english").stemWords(_WORD.findall(_CHINESE.sub(" ", text)))
    for stretch in _CHINESE.findall(text):
        found += [*stretch, *(stretch[i : i + 2] for i in range(len(stretch) - 1))]
    return found


def scripts(words: Iterable[str]) -> tuple[bool, bool]:
    """Whether there are words in Chinese characters among some tokens, and whether there are others."""
    chinese = [HAN.match(word) is not None for word in words]
    return any(chinese), not all(chinese)


class LexicalIndex:
    """BM25 over some texts. Nothing changes after it is made: any thread may call."""

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
        """How well each text fits, float32 [n]; 0 where they have no word in common."""
        return self._scored(tokens(text))

    def speaking(self, text: str) -> np.ndarray:
        """Which texts could have a word of `text`, for they have words in a script of its, bool [n]."""
        return (self._scripts & scripts(tokens(text))).any(axis=1)

    def holding(self, text: str) -> np.ndarray:
        """Which texts hold every word of `text`, bool [n]; none where it has no words."""
        words = set(tokens(text))
        holding = np.full(self._count, bool(words))
        for word in words:
            holding &= self._scored([word]) > 0
        return holding

    def _scored(self, words: list[str]) -> np.ndarray:
        known = self._index.get_tokens_ids(words) if self._index is not None and words else []
        return self._index.get_scores_from_ids(known) if known else np.zeros(self._count, np.float32)


@dataclass(frozen=True, eq=False)
class Found:
    """What has a word in common with a query: `ids` int64 [m] with `scores` float32 [m], best first, equal scores by id.

    `speaking` int64 [s] are the ids that could have had one: a photo without a caption, or with none in the script of the
    query, says nothing about whether it fits. `of_captions` float32 [captions] is what each caption of the version scores.
    """

    ids: np.ndarray
    scores: np.ndarray
    speaking: np.ndarray
    of_captions: np.ndarray


class CaptionWords:
    """The words of one version's captions, for finding captions, or images by the best of theirs."""

    def __init__(self, snapshot) -> None:
        table = snapshot.caption_table()
        self._ids = table["caption_id"].to_numpy()
        self._owners = table["image_id"].to_numpy()
        self._by_owner = np.argsort(self._owners, kind="stable")
        self._image_ids, self._starts = np.unique(self._owners[self._by_owner], return_index=True)
        self._index = LexicalIndex(table["text"].to_pylist())

    def ranking(
        self,
        terms: Iterable[Term],
        to: str,
        allowed: np.ndarray | None = None,
        left_out: Sequence[int] = (),
        hidden: Sequence[int] = (),
    ) -> Found:
        """What has a word in common with the query.

        Args:
            terms: of which the words count, with their weights; what holds all words of one to be avoided is left out.
            allowed: int64 [a], the only ids that may be found; None for all.
            left_out: ids that are not to be found.
            hidden: ids of captions that are passed over, as if the collection did not have them.
        """
        scores = np.zeros(len(self._ids), np.float32)
        avoided, speaking = np.zeros((2, len(self._ids)), bool)
        for term in terms:
            if term.kind == "words" and term.weight > 0:
                scores += term.weight * self._index.scores(term.value)
                speaking |= self._index.speaking(term.value)
            elif term.kind == "words":
                avoided |= self._index.holding(term.value)
        shown = ~np.isin(self._ids, np.asarray(hidden, np.int64))
        scores, speaking = scores * shown, speaking & shown
        ids, of_captions = self._ids, scores
        if to == "images" and len(ids):
            ids = self._image_ids
            scores = np.maximum.reduceat(scores[self._by_owner], self._starts)
            avoided = np.logical_or.reduceat(avoided[self._by_owner], self._starts)
            speaking = np.logical_or.reduceat(speaking[self._by_owner], self._starts)
        found = (scores > 0) & ~avoided & ~np.isin(ids, np.asarray(left_out, np.int64))
        if allowed is not None:
            found &= np.isin(ids, allowed)
        spoken, ids, scores = ids[speaking], ids[found], scores[found]
        order = best_first(scores, ids)
        return Found(ids[order], scores[order], spoken, of_captions)

    def caption_scores(self, found: Found, caption_ids: np.ndarray) -> np.ndarray:
        """How well each of these captions fits by its words, float32 [n]."""
        return found.of_captions[np.searchsorted(self._ids, caption_ids)]


_words = SnapshotMemo(lambda snapshot: CaptionWords(snapshot))


def words_of(snapshot) -> CaptionWords:
    """The words of a snapshot's captions, indexed once for as long as it is open."""
    return _words.of(snapshot)


def warm_words(snapshot, before) -> None:
    """Indexes the words of a snapshot's captions if those of another, which it is to replace, are."""
    if _words.made_of(before) is not None:
        _words.of(snapshot)
