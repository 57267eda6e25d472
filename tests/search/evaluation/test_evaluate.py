from __future__ import annotations

import json

import numpy as np
import pytest

from search.errors import NothingToMeasure
from search.evaluation.evaluate import evaluate
from tests.support.fakes import FakeEncoder
from tests.support.galleries import COLOURFUL, Shot, build_gallery


class ConstantEncoder(FakeEncoder):
    """Gives everything the same vector and the same high match logit."""

    def _vectors(self, colours):
        return np.tile(np.eye(1, self.config.dim, dtype=np.float32), (len(colours), 1))

    def match(self, texts, tokens):
        return np.full(max(len(texts), len(tokens)), 9.0, np.float32)


class WrongCrossEncoder(FakeEncoder):
    """A good first stage, and a cross-modal encoder that is always wrong."""

    def match(self, texts, tokens):
        return -super().match(texts, tokens)


def snapshot_of(tmp_path, encoder, shots=COLOURFUL):
    return build_gallery(tmp_path, shots, encoder).open_snapshot()


def row(report, direction, language, k):
    found = [r for r in report["results"] if (r["direction"], r["language"], r["rerank"]) == (direction, language, k)]
    assert len(found) == 1
    return found[0]


def test_an_encoder_that_sees_colours_finds_them_all(tmp_path):
    encoder = FakeEncoder()

    report = evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(0, 4))

    assert report["images"] == 6
    for result in report["results"]:
        assert (result["R@1"], result["R@5"], result["R@10"]) == (100, 100, 100), result
        assert result["R@1_ci"] == [100, 100]
        assert 0 < result["p50_ms"] <= result["p95_ms"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_row_for_each_direction_language_and_k(tmp_path):
    encoder = FakeEncoder()

    report = evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(4, 0))

    assert [(r["direction"], r["language"], r["rerank"], r["queries"]) for r in report["results"]] == [
        ("text_to_image", "en", 0, 6),
        ("text_to_image", "en", 4, 6),
        ("text_to_image", "zh", 0, 4),
        ("text_to_image", "zh", 4, 4),
        ("image_to_text", "en", 0, 5),
        ("image_to_text", "en", 4, 5),
        ("image_to_text", "zh", 0, 4),
        ("image_to_text", "zh", 4, 4),
    ]
    assert report["rsum"] == [{"language": lang, "rerank": k, "rsum": 600.0} for lang in ("en", "zh") for k in (0, 4)]


@pytest.mark.parametrize("k", [0, 32])
def test_a_constant_score_gives_no_more_than_chance(tmp_path, k):
    encoder = ConstantEncoder()
    shots = [Shot(f"{i}.png", (i, i, i), captions=[("en", f"photo number {i}")]) for i in range(40)]

    report = evaluate(snapshot_of(tmp_path, encoder, shots), encoder, rerank=(k,))

    for result in report["results"]:
        assert result["R@1"] <= 100 / 40 and result["R@5"] <= 500 / 40 and result["R@10"] <= 1000 / 40


def test_each_k_is_measured_on_its_own(tmp_path):
    encoder = WrongCrossEncoder()

    report = evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(0, 6))

    assert row(report, "text_to_image", "en", 0)["R@1"] == 100
    assert row(report, "text_to_image", "en", 6)["R@1"] == 0
    assert row(report, "text_to_image", "en", 6)["ceiling"] == 100


def test_queries_are_encoded_once_whatever_the_number_of_ks(tmp_path):
    encoder = FakeEncoder()
    snapshot = snapshot_of(tmp_path, encoder)
    encoder.calls.clear()

    evaluate(snapshot, encoder, rerank=(0, 2, 4))

    assert encoder.calls[0] == ("warm_up", 0)
    assert encoder.calls.count(("encode_texts", 1)) == 10
    assert encoder.calls.count(("encode_images", 1)) == 5
    assert encoder.calls.count(("match", 2)) == encoder.calls.count(("match", 4)) == 10 + 9


def test_a_photo_is_right_with_any_of_its_captions_but_only_of_that_language(tmp_path):
    encoder = FakeEncoder()
    shots = [
        Shot("a.png", "red", captions=[("en", "blue, wrongly"), ("en", "red"), ("zh", "蓝")]),
        Shot("b.png", "blue", captions=[("en", "blue"), ("zh", "红")]),
    ]

    report = evaluate(snapshot_of(tmp_path, encoder, shots), encoder, rerank=(0,))

    assert row(report, "image_to_text", "en", 0)["R@1"] == 50  # blue: its caption ties with the wrong one
    assert row(report, "image_to_text", "zh", 0)["R@1"] == 0


def test_a_language_without_captions_has_no_row(tmp_path):
    encoder = FakeEncoder()

    report = evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(0,), languages=("zh", "fr"))

    assert {result["language"] for result in report["results"]} == {"zh"}


def test_a_sample_is_seeded(tmp_path):
    encoder = FakeEncoder()
    snapshot = snapshot_of(tmp_path, encoder)

    def encoded_texts(seed):
        texts_seen = []
        encoder.encode_texts = lambda texts: texts_seen.extend(texts) or FakeEncoder.encode_texts(encoder, texts)
        report = evaluate(snapshot, encoder, rerank=(0,), languages=("en",), queries=3, seed=seed)
        assert [result["queries"] for result in report["results"]] == [3, 3]
        return texts_seen

    assert encoded_texts(0) == encoded_texts(0)
    assert len({tuple(encoded_texts(seed)) for seed in range(5)}) > 1


def test_progress_counts_every_query(tmp_path):
    encoder = FakeEncoder()
    seen = []

    evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(0,), progress=lambda *args: seen.append(args))

    assert seen == [(i, 15) for i in range(1, 16)]


def test_no_captions_in_any_language_is_an_error_that_names_those_there_are(tmp_path):
    encoder = FakeEncoder()
    snapshot = snapshot_of(tmp_path, encoder, [Shot("a.png", "red", captions=[("en", "red")])])

    with pytest.raises(NothingToMeasure, match="No captions in fr, de: there are captions in en"):
        evaluate(snapshot, encoder, languages=("fr", "de"))


class CoarseEncoder(FakeEncoder):
    """Sees only three kinds of photo, and reads pairs in whole numbers: ties everywhere."""

    def _vectors(self, colours):
        kinds = np.asarray(colours).sum(axis=1).astype(int) % 3
        return np.eye(self.config.dim, dtype=np.float32)[kinds]

    def match(self, texts, tokens):
        return np.round(super().match(texts, tokens) / 3).astype(np.float32)


def recalls_by_definition(snapshot, encoder, k):
    """Text to image, from all the scores there are: a tie counts against, also one across the end of the head."""
    ids = snapshot.image_ids()
    ranks = []
    for caption in snapshot.captions(snapshot.caption_ids("en")):
        encoded = encoder.encode_texts([caption.text])
        scores = dict(zip(ids.tolist(), snapshot.image_vectors(ids) @ encoded.vectors[0], strict=True))
        order = sorted(scores, key=lambda i: (-scores[i], i))
        logits = dict(zip(order[:k], encoder.match(encoded, snapshot.tokens(order[:k])) if k else [], strict=True))
        final = {i: logits[i] + scores[i] if i in logits else scores[i] for i in order}
        if k:
            lowest, last = min(final[i] for i in logits), scores[order[k - 1]]
            final |= {i: lowest - (last - scores[i]) for i in order[k:]}
        ranks.append(sum(score >= final[caption.image_id] for score in final.values()))
    return [round(100 * float(np.mean(np.array(ranks) <= at)), 2) for at in (1, 5, 10)]


@pytest.mark.parametrize("k", [0, 3, 20])
def test_recall_agrees_with_its_definition_though_only_the_head_is_retrieved(tmp_path, k):
    encoder = CoarseEncoder()
    colours = [(i * 37 % 256, i * 91 % 256, i * 13 % 256) for i in range(45)]
    shots = [Shot(f"{i}.png", colours[i], captions=[("en", f"picture {i}"), ("en", "red")]) for i in range(45)]
    snapshot = snapshot_of(tmp_path, encoder, shots)

    result = row(evaluate(snapshot, encoder, rerank=(k,), languages=("en",)), "text_to_image", "en", k)

    assert [result["R@1"], result["R@5"], result["R@10"]] == recalls_by_definition(snapshot, encoder, k)


def test_a_depth_beyond_all_candidates_reads_them_all(tmp_path):
    encoder = FakeEncoder()

    report = evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(10**12,))

    assert encoder.calls.count(("match", 6)) == 10 + 5  # six photos for each sentence, six English captions for a photo
    assert {result["rerank"] for result in report["results"]} == {10**12}
