"""Fits how a trained model combines its scores: query bank, hub weights and match calibration, chosen on validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder.api import EncodedTexts
from encoder.errors import BadTrainingData
from encoder.inputs.pixels import decode, prepare
from encoder.model_folder import write_ranking
from encoder.query_bank import QueryBank, familiarity
from encoder.runtime.encoder import OptEncoder
from encoder.training.calibration import fit_calibration
from encoder.training.dataset import Photo

BANK_SENTENCES, BANK_PHOTOS = 3000, 1500
"""The size of a query bank: sentences of each language and photos, in equal shares from all manifests."""
MOST_PHOTOS = 1000
HUB_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
UNMATCHED_SHARE = 0.1
"""The share of the bank's sentences that are taken to fit no validation photo: those least like any validation caption."""
RERANKED = 32
CALIBRATION_SENTENCES = 400
SMALL_GALLERY, SMALL_GALLERIES = 20, 20
FEWEST_CAPTIONS = 100

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Sentences:
    """Captions.

    Attributes:
        texts: the captions.
        vectors: their unit vectors float32 [n, D].
        owners: the rows of the photos that they were written for, int [n].
    """

    texts: list[str]
    vectors: np.ndarray
    owners: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Sentences:
        """Select rows."""
        return Sentences([self.texts[row] for row in rows], self.vectors[rows], self.owners[rows])


@dataclass(frozen=True, eq=False)
class Gallery:
    """Photos: unit vectors float32 [n, D] and tokens float16 [n, L, H]."""

    vectors: np.ndarray
    tokens: np.ndarray


def fit_ranking(
    folder: Path, groups: list[list[Photo]], validation: list[Photo], seed: int, device: str | None = None, say: Say = print
) -> None:
    """Write a model folder's query bank, made of the groups, and its `ranking.json`, fitted on the validation photos.

    The model's fingerprint stays the same, so that no collection has to be indexed again.

    Args:
        folder: the model folder.
        groups: photos of each manifest of training data.
        validation: other photos.
        seed: of what is drawn from them.
        device: "CPU" or "Ascend"; None: see `use_device`.
        say: prints a line for the user.

    Raises:
        BadTrainingData: the model has no vectors, or doesn't read pixels.
    """
    encoder, rng = OptEncoder(folder, device), np.random.default_rng(seed)
    if not encoder.config.dim or encoder.config.inputs.region_width:
        raise BadTrainingData(f"{encoder.config.name} can't be calibrated: only models that make vectors of pixels can.")
    sentences = {language: _sample_sentences(groups, language, rng) for language in encoder.config.languages}
    bank_texts = {language: encoder.encode_texts(texts).vectors for language, texts in sentences.items() if texts}
    bank = QueryBank(bank_texts, _encode_photos(encoder, _sample_photos(groups, rng)).vectors)
    bank.write(folder)
    say("query bank  " + "  ".join(f"{name}: {len(rows)}" for name, rows in {**bank.texts, "images": bank.images}.items()))
    gallery, captions = _encode_validation(encoder, validation, rng)
    if sum(map(len, captions.values())) < FEWEST_CAPTIONS:
        say("too few captions to validate with: hubs cost nothing, and what is a match stays")
        write_ranking(folder, hub_weights=(0.0, 0.0))
        return
    weights = choose_hub_weights(gallery, captions, bank, encoder.config.hub_sharpness)
    say(f"hub weights  to images: {weights[0]:g}  to captions: {weights[1]:g}")
    texts = [text for texts in sentences.values() for text in texts]
    unmatched = unmatched_sentences(texts, np.concatenate([*bank_texts.values()]), captions)
    calibration = _calibrate(encoder, gallery, captions, unmatched, rng)
    say("match probability  a: {:.4g}  m: {:g}  b: {:.4g}".format(*calibration))
    write_ranking(folder, hub_weights=weights, match_calibration=calibration)


def choose_hub_weights(
    gallery: Gallery, captions: dict[str, Sentences], bank: QueryBank, sharpness: float
) -> tuple[float, float]:
    """Choose the hub weights of images and of captions: those of HUB_WEIGHTS with the best R@1 + R@5 over all captions."""
    texts = [one for one in captions.values() if len(one)]
    similar = [one.vectors @ gallery.vectors.T for one in texts]
    to_images = [familiarity(gallery.vectors, bank.sentences(name[:2]), sharpness) for name in captions if len(captions[name])]
    to_captions = [familiarity(one.vectors, bank.images, sharpness) for one in texts]

    def images(weight: float) -> float:
        costs = zip(similar, to_images, texts, strict=True)
        return sum(_image_recall(scores - weight * cost, one.owners) for scores, cost, one in costs)

    def sentences(weight: float) -> float:
        costs = zip(similar, to_captions, texts, strict=True)
        return sum(_caption_recall(scores - weight * cost[:, None], one.owners) for scores, cost, one in costs)

    return max(HUB_WEIGHTS, key=images), max(HUB_WEIGHTS, key=sentences)


def unmatched_sentences(texts: list[str], vectors: np.ndarray, captions: dict[str, Sentences]) -> Sentences:
    """Select the sentences that are least like any caption of the validation photos: they are taken to fit none of them."""
    written = np.concatenate([one.vectors for one in captions.values()])
    nearest = np.concatenate([(part @ written.T).max(1) for part in np.array_split(vectors, 1 + len(vectors) // 1000)])
    rows = np.argsort(nearest, kind="stable")[: max(1, round(UNMATCHED_SHARE * len(texts)))]
    return Sentences(texts, vectors, np.full(len(texts), -1)).take(rows)


def _calibrate(
    encoder: OptEncoder, gallery: Gallery, captions: dict[str, Sentences], unmatched: Sentences, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Fit the match calibration on the whole gallery and on small ones: the best of many photos has a higher score."""
    matched_scores, unmatched_scores = [], []
    for one in (one for one in captions.values() if len(one)):
        matched_scores.append(_best_scores(encoder, one.take(_sample(len(one), CALIBRATION_SENTENCES, rng)), gallery))
        unmatched_scores.append(
            _best_scores(encoder, unmatched.take(_sample(len(unmatched), CALIBRATION_SENTENCES, rng)), gallery)
        )
        for _ in range(SMALL_GALLERIES):
            photos = rng.permutation(len(gallery.vectors))[:SMALL_GALLERY]
            few = Gallery(gallery.vectors[photos], gallery.tokens[photos])
            own = np.flatnonzero(np.isin(one.owners, photos))
            matched_scores.append(_best_scores(encoder, one.take(own[_sample(len(own), SMALL_GALLERY, rng)]), few))
            unmatched_scores.append(_best_scores(encoder, unmatched.take(_sample(len(unmatched), SMALL_GALLERY, rng)), few))
    return fit_calibration(np.concatenate(matched_scores)[:, None], np.concatenate(unmatched_scores)[:, None])


def _best_scores(encoder: OptEncoder, sentences: Sentences, gallery: Gallery) -> np.ndarray:
    """Compute the best score of each sentence, match logit + first_stage_weight * cosine, float64 [n]."""
    similar = sentences.vectors @ gallery.vectors.T
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :RERANKED]
    scores = encoder.config.first_stage_weight * np.take_along_axis(similar, nearest, 1)
    texts = encoder.encode_texts(sentences.texts)
    for i in range(len(texts)):
        one = EncodedTexts(texts.vectors[i : i + 1], texts.states[i : i + 1], texts.lengths[i : i + 1])
        scores[i] += encoder.match(one, gallery.tokens[nearest[i]])
    return scores.max(1).astype(np.float64)


def _encode_validation(
    encoder: OptEncoder, photos: list[Photo], rng: np.random.Generator
) -> tuple[Gallery, dict[str, Sentences]]:
    chosen = [photos[i] for i in _sample(len(photos), MOST_PHOTOS, rng)]
    kinds = {"en": [p.english for p in chosen], "zh": [p.chinese for p in chosen], "zh-mt": [p.translated[:5] for p in chosen]}
    captions = {}
    for name, sets in kinds.items():
        texts = [text for own in sets for text in own]
        owners = np.repeat(np.arange(len(sets)), [len(own) for own in sets])
        if texts and name[:2] in encoder.config.languages:
            captions[name] = Sentences(texts, encoder.encode_texts(texts).vectors, owners)
    return _encode_photos(encoder, chosen), captions


def _encode_photos(encoder: OptEncoder, photos: list[Photo]) -> Gallery:
    size, preprocessing = encoder.config.image_size, encoder.config.preprocessing
    vectors, tokens = [], []
    for start in range(0, len(photos), 64):
        pixels = [prepare(decode(photo.path), size, preprocessing) for photo in photos[start : start + 64]]
        encoded = encoder.encode_images(np.stack(pixels))
        vectors.append(encoded.vectors)
        tokens.append(encoded.tokens)
    return Gallery(np.concatenate(vectors), np.concatenate(tokens))


def _sample_sentences(groups: list[list[Photo]], language: str, rng: np.random.Generator) -> list[str]:
    """Draw sentences of a language, in equal shares from the groups that have any."""
    sets = [sorted({text for photo in group for text in _in_language(photo, language)}) for group in groups]
    sets = [texts for texts in sets if texts]
    return [texts[i] for texts in sets for i in _sample(len(texts), BANK_SENTENCES // len(sets), rng)]


def _sample_photos(groups: list[list[Photo]], rng: np.random.Generator) -> list[Photo]:
    return [group[i] for group in groups for i in _sample(len(group), BANK_PHOTOS // len(groups), rng)]


def _in_language(photo: Photo, language: str) -> tuple[str, ...]:
    return photo.english if language == "en" else photo.chinese + photo.translated


def _sample(count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Draw at most `most` of `count` rows, in order."""
    return np.sort(rng.permutation(count)[:most])


def _image_recall(similarities: np.ndarray, owners: np.ndarray) -> float:
    """Compute R@1 + R@5, text to image, of similarities float [n, m] of sentences and photos. Ties count as misses."""
    own = similarities[np.arange(len(owners)), owners]
    ranks = (similarities >= own[:, None]).sum(1)
    return float((ranks <= 1).mean() + (ranks <= 5).mean())


def _caption_recall(similarities: np.ndarray, owners: np.ndarray) -> float:
    """Compute R@1 + R@5, image to text, of similarities float [n, m] of sentences and photos."""
    ranks = []
    for photo in np.unique(owners):
        column = similarities[:, photo]
        ranks.append((column > column[owners == photo].max()).sum() + 1)
    return float((np.array(ranks) <= 1).mean() + (np.array(ranks) <= 5).mean())
