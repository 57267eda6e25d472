"""How a finished model combines its scores: its query bank, what hubs cost, and what a match is; chosen on validation."""

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
"""At most so many sentences of each language and so many photos, evenly from all manifests."""
MOST_VALIDATED = 1000
HUB_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
STRANGEST = 0.1
"""The share of the bank's sentences, of those least like any validation caption, that fit no validation photo."""
READ = 32
TRIALS = 400
SMALL_GALLERY, SMALL_GALLERIES = 20, 20
FEWEST = 100

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Sentences:
    """Captions with their vectors float32 [n, D] and the rows [n] of the photos that they were written for."""

    texts: list[str]
    vectors: np.ndarray
    owners: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> Sentences:
        """Some of them."""
        return Sentences([self.texts[row] for row in rows], self.vectors[rows], self.owners[rows])


@dataclass(frozen=True, eq=False)
class Gallery:
    """Photos' vectors float32 [n, D] and tokens float16 [n, L, H]."""

    vectors: np.ndarray
    tokens: np.ndarray


def fit_ranking(
    folder: Path, groups: list[list[Photo]], validation: list[Photo], seed: int, device: str | None = None, say: Say = print
) -> None:
    """Give a model folder its query bank, made of the groups, and a ranking.json, fitted on the validation photos.

    The fingerprint stays: no collection has to be indexed anew. Raises BadTrainingData for a model without vectors or pixels.
    """
    encoder, rng = OptEncoder(folder, device), np.random.default_rng(seed)
    if not encoder.config.dim or encoder.config.inputs.region_width:
        raise BadTrainingData(f"{encoder.config.name} can't be calibrated: only models that make vectors of pixels can.")
    said = {language: _drawn(groups, language, rng) for language in encoder.config.languages}
    bank_texts = {language: encoder.encode_texts(texts).vectors for language, texts in said.items() if texts}
    bank = QueryBank(bank_texts, _photos(encoder, _drawn_photos(groups, rng)).vectors)
    bank.write(folder)
    say("query bank  " + "  ".join(f"{name}: {len(rows)}" for name, rows in {**bank.texts, "images": bank.images}.items()))
    gallery, captions = _validation(encoder, validation, rng)
    if sum(map(len, captions.values())) < FEWEST:
        say("too few captions to validate with: hubs cost nothing, and what is a match stays")
        write_ranking(folder, hub_weights=(0.0, 0.0))
        return
    weights = choose_hub_weights(gallery, captions, bank, encoder.config.hub_sharpness)
    say(f"hub weights  to images: {weights[0]:g}  to captions: {weights[1]:g}")
    strange = strangest([text for texts in said.values() for text in texts], np.concatenate([*bank_texts.values()]), captions)
    calibration = _calibrated(encoder, gallery, captions, strange, rng)
    say("match probability  a: {:.4g}  m: {:g}  b: {:.4g}".format(*calibration))
    write_ranking(folder, hub_weights=weights, match_calibration=calibration)


def choose_hub_weights(gallery: Gallery, captions: dict[str, Sentences], bank: QueryBank, sharpness: float):
    """(to images, to captions): of HUB_WEIGHTS those with the most R@1 and R@5 over all kinds of captions."""
    texts = [one for one in captions.values() if len(one)]
    similar = [one.vectors @ gallery.vectors.T for one in texts]
    to_images = [familiarity(gallery.vectors, bank.sentences(name[:2]), sharpness) for name in captions if len(captions[name])]
    to_captions = [familiarity(one.vectors, bank.images, sharpness) for one in texts]

    def images(weight: float) -> float:
        return sum(_found(s - weight * cost, one.owners) for s, cost, one in zip(similar, to_images, texts, strict=True))

    def sentences(weight: float) -> float:
        return sum(
            _own_found(s - weight * cost[:, None], one.owners) for s, cost, one in zip(similar, to_captions, texts, strict=True)
        )

    return max(HUB_WEIGHTS, key=images), max(HUB_WEIGHTS, key=sentences)


def strangest(texts: list[str], vectors: np.ndarray, captions: dict[str, Sentences]) -> Sentences:
    """The sentences that are least like anything said of the validation photos: they fit none of them."""
    said = np.concatenate([one.vectors for one in captions.values()])
    nearest = np.concatenate([(part @ said.T).max(1) for part in np.array_split(vectors, 1 + len(vectors) // 1000)])
    rows = np.argsort(nearest, kind="stable")[: max(1, round(STRANGEST * len(texts)))]
    return Sentences(texts, vectors, np.full(len(texts), -1)).take(rows)


def _calibrated(encoder, gallery: Gallery, captions: dict[str, Sentences], strange: Sentences, rng) -> tuple[float, ...]:
    """Fitted on the whole gallery and on small ones alike: the best of many photos fits better than the best of few."""
    fitting, odd = [], []
    for one in (one for one in captions.values() if len(one)):
        fitting.append(_best(encoder, one.take(_some(len(one), TRIALS, rng)), gallery))
        odd.append(_best(encoder, strange.take(_some(len(strange), TRIALS, rng)), gallery))
        for _ in range(SMALL_GALLERIES):
            photos = rng.permutation(len(gallery.vectors))[:SMALL_GALLERY]
            few = Gallery(gallery.vectors[photos], gallery.tokens[photos])
            own = np.flatnonzero(np.isin(one.owners, photos))
            fitting.append(_best(encoder, one.take(own[_some(len(own), SMALL_GALLERY, rng)]), few))
            odd.append(_best(encoder, strange.take(_some(len(strange), SMALL_GALLERY, rng)), few))
    return fit_calibration(np.concatenate(fitting)[:, None], np.concatenate(odd)[:, None])


def _best(encoder, sentences: Sentences, gallery: Gallery) -> np.ndarray:
    """The best score of each sentence, float64 [n]: match logit + first_stage_weight * cosine of those that are read."""
    similar = sentences.vectors @ gallery.vectors.T
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :READ]
    scores = encoder.config.first_stage_weight * np.take_along_axis(similar, nearest, 1)
    said = encoder.encode_texts(sentences.texts)
    for i in range(len(said)):
        one = EncodedTexts(said.vectors[i : i + 1], said.states[i : i + 1], said.lengths[i : i + 1])
        scores[i] += encoder.match(one, gallery.tokens[nearest[i]])
    return scores.max(1).astype(np.float64)


def _validation(encoder, photos: list[Photo], rng) -> tuple[Gallery, dict[str, Sentences]]:
    chosen = [photos[i] for i in _some(len(photos), MOST_VALIDATED, rng)]
    kinds = {"en": [p.english for p in chosen], "zh": [p.chinese for p in chosen], "zh-mt": [p.translated[:5] for p in chosen]}
    captions = {}
    for name, sets in kinds.items():
        texts = [text for own in sets for text in own]
        owners = np.repeat(np.arange(len(sets)), [len(own) for own in sets])
        if texts and name[:2] in encoder.config.languages:
            captions[name] = Sentences(texts, encoder.encode_texts(texts).vectors, owners)
    return _photos(encoder, chosen), captions


def _photos(encoder, photos: list[Photo]) -> Gallery:
    size, preprocessing = encoder.config.image_size, encoder.config.preprocessing
    vectors, tokens = [], []
    for start in range(0, len(photos), 64):
        pixels = [prepare(decode(photo.path), size, preprocessing) for photo in photos[start : start + 64]]
        encoded = encoder.encode_images(np.stack(pixels))
        vectors.append(encoded.vectors)
        tokens.append(encoded.tokens)
    return Gallery(np.concatenate(vectors), np.concatenate(tokens))


def _drawn(groups: list[list[Photo]], language: str, rng) -> list[str]:
    """Sentences of a language, evenly from the groups that have any."""
    sets = [sorted({text for photo in group for text in _in_language(photo, language)}) for group in groups]
    sets = [texts for texts in sets if texts]
    return [texts[i] for texts in sets for i in _some(len(texts), BANK_SENTENCES // len(sets), rng)]


def _drawn_photos(groups: list[list[Photo]], rng) -> list[Photo]:
    return [group[i] for group in groups for i in _some(len(group), BANK_PHOTOS // len(groups), rng)]


def _in_language(photo: Photo, language: str) -> tuple[str, ...]:
    return photo.english if language == "en" else photo.chinese + photo.translated


def _some(count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of `count` rows, at random, upwards."""
    return np.sort(rng.permutation(count)[:most])


def _found(similarities: np.ndarray, owners: np.ndarray) -> float:
    """R@1 + R@5 of sentences [n] to photos [m], of float [n, m]; ties count against it."""
    own = similarities[np.arange(len(owners)), owners]
    ranks = (similarities >= own[:, None]).sum(1)
    return float((ranks <= 1).mean() + (ranks <= 5).mean())


def _own_found(similarities: np.ndarray, owners: np.ndarray) -> float:
    """R@1 + R@5 of photos to their sentences, of float [n sentences, m photos]: the best of a photo's own counts."""
    ranks = []
    for photo in np.unique(owners):
        column = similarities[:, photo]
        ranks.append((column > column[owners == photo].max()).sum() + 1)
    return float((np.array(ranks) <= 1).mean() + (np.array(ranks) <= 5).mean())
