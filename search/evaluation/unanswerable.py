"""Whether "nothing found" can be told: sentences whose photo is in the index against sentences whose photo is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search.errors import TooFewPhotos
from search.evaluation.metrics import roc_auc, roc_auc_interval
from search.evaluation.sampling import captions_by_photo
from search.query.encoding import encode_sentence
from search.retrieval.calibration import WORDS, match_probabilities, relevance
from search.retrieval.cross_encoder import rerank
from search.retrieval.first_stage import retrieve
from search.retrieval.ranking import fit_scores


@dataclass(frozen=True, eq=False)
class UnanswerableTrial:
    """What is asked in one language: sentences of photos that are left out, and of as many others that stay."""

    language: str
    left_out: np.ndarray
    absent: list[str]
    present: list[str]


def plan(snapshot, language: str, count: int, seed: int) -> UnanswerableTrial:
    """Chooses `count` photos to leave out and `count` that stay, and one caption of each; raises TooFewPhotos."""
    own = captions_by_photo(snapshot, language)
    if 2 * count > len(own):
        raise TooFewPhotos(count, language, len(own))
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(list(own))[: 2 * count]
    texts = [own[image_id][rng.integers(len(own[image_id]))].text for image_id in chosen.tolist()]
    return UnanswerableTrial(language, chosen[:count], texts[:count], texts[count:])


def measure(trial: UnanswerableTrial, snapshot, encoder, k: int, seed: int, step: Callable[[], None]) -> dict:
    """How well the best score of a ranking tells whether the photo that was asked for is there.

    Another photo may fit the caption of one that is left out, and a finding of it counts as wrong all the same: the
    area is what can be told at the least.

    Args:
        k: how many candidates are re-ranked; with 0 the first stage's best score is looked at.
        step: called after each query.

    Returns:
        `language`, `rerank`, the numbers of queries `present` and `absent`, the area under the ROC curve `auc` with a
        95 % bootstrap interval `auc_ci`, and in percent how many of either were called strong, weak and none
        (`present_shares`, `absent_shares`; None where the weights are not calibrated or nothing was re-ranked).
    """
    staying = np.setdiff1d(snapshot.image_ids(), trial.left_out)

    def best_scores(texts: list[str]) -> list[float]:
        scores = []
        for text in texts:
            scores.append(_best_score(text, staying, k, snapshot, encoder))
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


def _best_score(text: str, allowed: np.ndarray, k: int, snapshot, encoder) -> float:
    """The best match probability, or the best score where there are no probabilities."""
    probe = encode_sentence(encoder, text)
    first = retrieve(snapshot.image_index, probe.vector, min(max(k, 1), len(allowed)), allowed)
    ranking = rerank(first, probe, "images", k, snapshot, encoder)
    config = encoder.config
    if k == 0 or config.match_calibration is None:
        return float(ranking.scores[0])
    return float(match_probabilities(fit_scores(ranking, config.first_stage_weight), config.match_calibration).max())


def _shares(probabilities: list[float]) -> dict[str, float]:
    words = [relevance(probability) for probability in probabilities]
    return {word: round(100 * words.count(word) / len(words), 2) for word in WORDS}
