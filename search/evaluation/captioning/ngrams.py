"""BLEU, ROUGE-L and CIDEr-D of written captions, as coco-caption defines them: pure functions over lists of tokens.

Entry i of `written` is the caption of photo i, and entry i of `references` holds the captions that people wrote of it: at least
one, none of them empty. An empty written caption shares nothing with any reference: it scores 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from search.evaluation.captioning.tokens import Tokens

LONGEST = 4
"""N-grams of 1 to so many tokens count."""
BETA = 1.2
"""How many times as much recall weighs as precision, in ROUGE-L."""
SIGMA = 6.0
"""In tokens: how soon a caption of another length loses, in CIDEr-D."""
TINY, SMALL = 1e-15, 1e-9
"""What coco-caption adds to BLEU's numerators and denominators, so that none is 0."""


def count_ngrams(tokens: Tokens) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs, of 1 to LONGEST tokens."""
    return Counter(tuple(tokens[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(tokens) - n + 1))


def bleu_counts(written: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """What `bleu` adds up.

    Returns:
        int64 [photos, 2 * LONGEST + 2]: n-grams that occur in a reference, of each length; n-grams, of each length; the length
        of the written caption, and that of the reference whose length is closest, the shorter of two.
    """
    return np.array([_bleu_counts(*pair) for pair in zip(written, references, strict=True)], np.int64)


def _bleu_counts(tokens: Tokens, references: Sequence[Tokens]) -> list[int]:
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= count_ngrams(reference)
    right = count_ngrams(tokens) & most
    found = Counter(len(ngram) for ngram in right.elements())
    sizes = range(1, LONGEST + 1)
    closest = min((len(reference) for reference in references), key=lambda length: (abs(length - len(tokens)), length))
    return [*(found[n] for n in sizes), *(max(0, len(tokens) - n + 1) for n in sizes), len(tokens), closest]


def bleu(counts: np.ndarray) -> np.ndarray:
    """BLEU-1 to BLEU-4 of a corpus, float [LONGEST].

    Args:
        counts: what `bleu_counts` returned, added up over photos, [2 * LONGEST + 2].
    """
    right, made, (length, closest) = counts[:LONGEST], counts[LONGEST:-2], counts[-2:]
    precisions = (right + TINY) / (made + SMALL)
    means = np.cumprod(precisions) ** (1 / np.arange(1, LONGEST + 1))
    ratio = (length + TINY) / (closest + SMALL)
    return means * np.exp(min(0.0, 1 - 1 / ratio))


def rouge_l(written: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """ROUGE-L of each photo, float [photos]: the F-measure of the best precision and the best recall over its references."""
    return np.array([_rouge_l(*pair) for pair in zip(written, references, strict=True)], np.float64)


def _rouge_l(tokens: Tokens, references: Sequence[Tokens]) -> float:
    common = [longest_common_subsequence(tokens, reference) for reference in references]
    if not max(common):
        return 0.0
    precision = max(common) / len(tokens)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True))
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common_subsequence(a: Tokens, b: Tokens) -> int:
    """The length of the longest list of tokens that stand in both, in this order."""
    row = [0] * (len(b) + 1)
    for token in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = diagonal + 1 if token == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]


def cider_d(written: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """CIDEr-D of each photo, float [photos], at most 10.

    An n-gram weighs more the fewer photos have it in their references, of the photos that are given here: so CIDEr-D of a few
    photos isn't comparable with that of many, and of a single one it is 0.
    """
    documents = Counter(ngram for texts in references for ngram in set().union(*map(count_ngrams, texts)))
    rarest = np.log(len(references))

    def weigh(tokens: Tokens) -> _Weighed:
        return _Weighed(
            {ngram: n * (rarest - np.log(max(1, documents[ngram]))) for ngram, n in count_ngrams(tokens).items()}, len(tokens)
        )

    scores = []
    for tokens, texts in zip(written, references, strict=True):
        candidate = weigh(tokens)
        scores.append(10 * np.mean([candidate.similarity(weigh(text)) for text in texts]))
    return np.array(scores, np.float64)


class _Weighed:
    """A caption's n-grams with their weights, count times inverse document frequency, and its length in tokens."""

    def __init__(self, weights: dict[tuple[str, ...], float], length: int) -> None:
        self.weights, self.length = weights, length
        squares = np.zeros(LONGEST)
        for ngram, weight in weights.items():
            squares[len(ngram) - 1] += weight**2
        self.norms = np.sqrt(squares)

    def similarity(self, reference: _Weighed) -> float:
        """The mean over n of the cosines, in which no n-gram counts more than in the reference; less for another length."""
        products = np.zeros(LONGEST)
        for ngram in self.weights.keys() & reference.weights.keys():
            products[len(ngram) - 1] += min(self.weights[ngram], reference.weights[ngram]) * reference.weights[ngram]
        norms = self.norms * reference.norms
        cosines = np.divide(products, norms, out=np.zeros(LONGEST), where=norms > 0)
        return float(cosines.mean() * np.exp(-((self.length - reference.length) ** 2) / (2 * SIGMA**2)))
