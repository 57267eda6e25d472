"""Our recall against that of ir_measures, whose Success@k is what people call R@k of text and image search."""

from __future__ import annotations

import numpy as np
import pytest
from ir_measures import Qrel, ScoredDoc, Success, calc_aggregate

from encoder.api import EncodedTexts
from encoder.inputs.pixels import prepare
from search.evaluation.evaluate import KS, evaluate
from search.evaluation.metrics import best_relevant_rank, recall_at_k
from search.query.encoding import encode_photo, encode_sentence
from search.retrieval.cross_encoder import score_pairs
from search.retrieval.first_stage import retrieve
from search.retrieval.ranking import rerank_head
from tests.support.fakes import FakeEncoder, photo
from tests.support.galleries import Shot, build_gallery

PHOTOS = 45
SHOTS = [
    Shot(
        f"{i}.png",
        (i, 0, 0),
        captions=[("en", f"{i} said {n}") for n in range(1 + i % 5)] + [("zh", f"{i} said {n}") for n in range(10, 11 + i % 2)],
    )
    for i in range(PHOTOS)
]


class HesitantEncoder(FakeEncoder):
    """Is right in some cases only, and never gives two equal scores: they are seeded noise around a topic.

    The red of a photo is its topic; a caption says topic and number.
    """

    def encode_texts(self, texts):
        said = np.array([[int(part) for part in text.split(" said ")] for text in texts])
        colours = np.column_stack([said, np.full(len(texts), 1)])
        states = np.zeros((len(texts), 1, self.config.token_shape[1]), np.float32)
        states[:, 0, :3] = colours
        return EncodedTexts(self._vectors(colours), states, np.ones(len(texts), np.int32))

    def match(self, texts, tokens):
        shown = np.round(255 * tokens[:, 0, 0].astype(np.float64)).astype(int)
        said = texts.states[:, 0, :3].astype(int)
        count = max(len(said), len(shown))
        pairs = zip(np.broadcast_to(said, (count, 3)), np.broadcast_to(shown, count), strict=True)
        return np.array([1.5 * (one[0] == other) + _noise(1, *one, other)[0] for one, other in pairs], np.float32)

    def _vectors(self, colours):
        colours = np.round(colours).astype(int)
        vectors = np.array([_noise(self.config.dim, colour[0]) + 2 * _noise(self.config.dim, *colour) for colour in colours])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _noise(size, *seed):
    return np.random.default_rng([int(part) for part in seed]).standard_normal(size)


@pytest.fixture(scope="module")
def encoder():
    return HesitantEncoder()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory, encoder):
    return build_gallery(tmp_path_factory.mktemp("gallery"), SHOTS, encoder).open_snapshot()


def rankings(snapshot, encoder, direction, language, k):
    """(query, relevant ids, ranking of everything) for every query."""
    captions = snapshot.captions(snapshot.caption_ids(language))
    if direction == "text_to_image":
        for caption in captions:
            encoded = encode_sentence(encoder, caption.text)
            first = retrieve(snapshot.image_index, encoded.vector, snapshot.image_count)
            scores = score_pairs(first, encoded, "images", k, snapshot, encoder)
            yield caption.caption_id, {caption.image_id}, rerank_head(first, scores, encoder.config.first_stage_weight)
        return
    for shot, image_id in zip(SHOTS, sorted(snapshot.image_ids()), strict=True):
        encoded = encode_photo(encoder, prepare(photo(shot.colour), encoder.config.image_size))
        own = {caption.caption_id for caption in captions if caption.image_id == image_id}
        first = retrieve(snapshot.caption_index, encoded.vector, len(captions), snapshot.caption_ids(language))
        scores = score_pairs(first, encoded, "captions", k, snapshot, encoder)
        yield image_id, own, rerank_head(first, scores, encoder.config.first_stage_weight)


def success(found):
    """Success@1, @5 and @10 by ir_measures, in percent."""
    judged = [Qrel(str(query), str(one), 1) for query, right, _ in found for one in right]
    run = [
        ScoredDoc(str(query), str(one), score)
        for query, _, ranking in found
        for one, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True)
    ]
    values = calc_aggregate([Success @ k for k in KS], judged, run)
    return [round(100 * values[Success @ k], 2) for k in KS]


@pytest.mark.parametrize("k", [0, 12])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("direction", ["text_to_image", "image_to_text"])
def test_recall_is_what_an_independent_library_counts(snapshot, encoder, direction, language, k):
    report = evaluate(snapshot, encoder, rerank=(k,), languages=(language,))
    found = list(rankings(snapshot, encoder, direction, language, k))

    assert all(len(np.unique(ranking.scores)) == len(ranking) for _, _, ranking in found), "a tie"
    row = next(row for row in report["results"] if row["direction"] == direction)
    ours = [row[f"R@{at}"] for at in KS]
    assert ours == success(found)
    assert 0 < ours[0] < ours[1] < ours[2] < 100


def test_a_tie_counts_against_us_and_goes_by_the_name_there():
    """trec_eval settles equal scores by the names of documents, so that a right answer can be lucky in its name."""
    scores = np.array([0.5, 0.5])
    names = ["a", "b"]

    def theirs(right):
        run = [ScoredDoc("q", name, score) for name, score in zip(names, scores, strict=True)]
        return 100 * calc_aggregate([Success @ 1], [Qrel("q", right, 1)], run)[Success @ 1]

    def ours(right):
        return recall_at_k([best_relevant_rank(scores, np.array([name == right for name in names]))], 1)

    assert (theirs("a"), theirs("b")) == (0, 100)
    assert (ours("a"), ours("b")) == (0, 0)
