"""Measure whether "nothing found" is right: sentences whose photo is in the index against sentences whose photo is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from encoder.api import Encoder
from search.errors import TooFewPhotos
from search.evaluation.metrics import roc_auc, roc_auc_interval
from search.evaluation.sampling import captions_by_photo
from search.query.encoding import encode_sentence
from search.retrieval.calibration import WORDS, relevance
from search.retrieval.pipeline import Pipeline, RankingRequest
from search.retrieval.rerank_budget import LatencyModel
from storage.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class UnanswerableTrial:
    """The queries in one language.

    Attributes:
        language: of the sentences.
        left_out: int64 [n], the photos that are left out of the index.
        absent: a sentence of each photo that is left out.
        present: a sentence of each of as many other photos, which stay.
    """

    language: str
    left_out: np.ndarray
    absent: list[str]
    present: list[str]


def plan(snapshot: Snapshot, language: str, count: int, seed: int) -> UnanswerableTrial:
    """Choose `count` photos to leave out and `count` that stay, and one caption of each.

    Raises:
        TooFewPhotos: there are fewer photos with captions in this language.
    """
    own = captions_by_photo(snapshot, language)
    if 2 * count > len(own):
        raise TooFewPhotos(count, language, len(own))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(list(own))[: 2 * count]
    texts = [own[image_id][rng.integers(len(own[image_id]))].text for image_id in chosen.tolist()]
    return UnanswerableTrial(language, chosen[:count], texts[:count], texts[count:])


def measure(
    trial: UnanswerableTrial, snapshot: Snapshot, encoder: Encoder, k: int, seed: int, step: Callable[[], None]
) -> dict:
    """Measure how well the best score of a ranking tells whether the right photo is in the index.

    Another photo may fit the caption of one that is left out. It counts as wrong all the same, so the area is a lower bound.

    Args:
        trial: the queries.
        k: the number of candidates to re-rank; with 0 the first stage's best score is used.
        seed: of the bootstrap.
        step: called after each query.

    Returns:
        `language`, `rerank`, the numbers of queries `present` and `absent`, the area under the ROC curve `auc` with its
        95 % bootstrap interval `auc_ci`, and in percent how many of each were called strong, weak and none
        (`present_shares`, `absent_shares`; None if the model is not calibrated or nothing was re-ranked).
    """
    staying = np.setdiff1d(snapshot.image_ids(), trial.left_out)
    latency = LatencyModel(encoder.match_batches)

    def best_scores(texts: list[str]) -> list[float]:
        scores = []
        for text in texts:
            request = RankingRequest("images", "vector", encode_sentence(encoder, text), allowed=staying)
            scores.append(_best_score(Pipeline(request, snapshot, encoder, latency), k))
            step()
        return scores

    present, absent = best_scores(trial.present), best_scores(trial.absent)
    calibrated = k > 0 and encoder.config.match_calibration is not None
    return {
        "language": trial.language,
        "rerank": k,
        "present": len(present),
        "absent": len(absent),
        "auc": round(roc_auc(present, absent), 4),
        "auc_ci": [round(end, 4) for end in roc_auc_interval(present, absent, seed)],
        "present_shares": _shares(present) if calibrated else None,
        "absent_shares": _shares(absent) if calibrated else None,
    }


def _best_score(pipeline: Pipeline, k: int) -> float:
    """The best match probability, or the best score if there are no probabilities."""
    first = pipeline.first_stage(max(k, 1))
    ranking = pipeline.rank(first, pipeline.rerank(first, k))
    return max(pipeline.match_probabilities(ranking).values(), default=float(ranking.scores[0]))


def _shares(probabilities: list[float]) -> dict[str, float]:
    words = [relevance(probability) for probability in probabilities]
    return {word: round(100 * words.count(word) / len(words), 2) for word in WORDS}
