import json

import numpy as np
import pytest
from fakes import FakeEncoder
from galleries import COLOURFUL, Shot, build_gallery
from search.evaluation import evaluate


class ConstantEncoder(FakeEncoder):
    """Sees no difference between anything, and says so with the greatest confidence."""

    def _vectors(self, colours):
        return np.tile(np.eye(1, self.config.dim, dtype=np.float32), (len(colours), 1))

    def match(self, texts, tokens):
        return np.full(max(len(texts), len(tokens)), 9.0, np.float32)


class MisreadingEncoder(FakeEncoder):
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
    encoder = MisreadingEncoder()

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

    def texts_asked(seed):
        asked = []
        encoder.encode_texts = lambda texts: asked.extend(texts) or FakeEncoder.encode_texts(encoder, texts)
        report = evaluate(snapshot, encoder, rerank=(0,), languages=("en",), queries=3, seed=seed)
        assert [result["queries"] for result in report["results"]] == [3, 3]
        return asked

    assert texts_asked(0) == texts_asked(0)
    assert len({tuple(texts_asked(seed)) for seed in range(5)}) > 1


def test_progress_counts_every_query(tmp_path):
    encoder = FakeEncoder()
    seen = []

    evaluate(snapshot_of(tmp_path, encoder), encoder, rerank=(0,), progress=lambda *args: seen.append(args))

    assert seen == [(i, 15) for i in range(1, 16)]


def test_nothing_to_ask_gives_no_rows(tmp_path):
    encoder = FakeEncoder()

    report = evaluate(snapshot_of(tmp_path, encoder, [Shot("a.png", "red")]), encoder)

    assert report["images"] == 1 and report["results"] == []
