"""A re-ranker behind another model's first stage, and a detector's features, through the real commands."""

from __future__ import annotations

import socket
import subprocess
import sys
from urllib.parse import quote

import numpy as np
import pytest

from encoder import open_encoder
from encoder.inputs.pixels import decode, prepare
from encoder.registry import ModelRegistry
from indexer.gallery import sample_gallery
from storage import Home
from tests.commands.test_demo import get, wait_until_ready
from tests.encoder.network.test_region_stream import SMALL_REGIONS
from tests.support.commands import ROOT, answer, manage
from tests.support.published_models import write_published
from tests.support.published_single_stream import (
    SMALL_ZOO,
    v1_pretraining_weights,
    write_detections,
    write_single_stream,
    zoo_weights,
)
from tests.support.small_models import write_small_model

PAIR = ["--model", "taichu", "--reranker", "v1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The models taichu (V2), v1 and zoo, and the gallery indexed by taichu with v1 as its re-ranker."""
    home, files = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("files")
    answer("model", "import", write_published(files / "v2"), "--as", "taichu", "--home", home)
    report = answer(
        "model", "import", write_single_stream(files / "v1", v1_pretraining_weights()), "--as", "v1", "--home", home
    )
    assert report["taken"]["rank_output.weight"] == "row 2 of itm_output.weight" and report["only_reranks"]
    answer("model", "import", write_single_stream(files / "zoo", zoo_weights()), "--as", "zoo", "--home", home)
    done = manage("build-index", sample_gallery(home / "gallery"), *PAIR, "--home", home)
    assert done.returncode == 0, done.stderr
    return home


def one_line(done, *said) -> None:
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(part in done.stderr for part in said), done.stderr


def test_the_re_ranker_scores_what_the_first_model_finds(home):
    result = answer("search", "一只狗在海边", "--rerank", 6, "--top", 20, *PAIR, "--home", home)
    read = [hit for hit in result["hits"] if hit["match_logit"] is not None]
    assert len(read) == result["reranked"] == 6
    assert [hit["score"] for hit in read] == [hit["match_logit"] for hit in read]
    assert {hit["first_stage_rank"] for hit in read} == set(range(1, 7))

    models = ModelRegistry(home / "models")
    v1 = open_encoder(models.path("v1"))
    texts = v1.encode_texts(["一只狗在海边"])
    for hit in read[:3]:
        pixels = prepare(decode(hit["uri"]), 96, v1.config.preprocessing)[None]
        expected = v1.match(texts, v1.encode_images(pixels).tokens)
        np.testing.assert_allclose(hit["match_logit"], expected[0], atol=1e-3)
    taichu = open_encoder(models.path("taichu"))
    vector = taichu.encode_texts(["一只狗在海边"]).vectors[0]
    found = Home(home).collection("default").open_snapshot().image_vectors([read[0]["id"]])[0]
    assert read[0]["first_stage_score"] == pytest.approx(float(vector @ found), abs=2e-3)


def test_a_photo_finds_captions_through_both(home):
    photo = home / "gallery" / "chelsea.png"
    found = answer("search", "--image", photo, "--to", "captions", "--rerank", 4, *PAIR, "--home", home)
    assert sum(hit["match_logit"] is not None for hit in found["hits"]) == 4


def test_an_index_refuses_other_models_with_the_options_that_choose_its_own(home):
    for options in (["--model", "taichu"], ["--model", "taichu", "--reranker", "zoo"]):
        one_line(manage("search", "狗", *options, "--home", home), "--model taichu --reranker v1", "--rebuild")
    one_line(manage("serve", "--port", 1, "--model", "taichu", "--home", home), "--model taichu --reranker v1")
    one_line(manage("build-index", home / "gallery", "--model", "taichu", "--home", home), "--reranker", "--rebuild")
    one_line(manage("search", "狗", "--model", "v1", "--home", home), "can only re-rank", "--reranker")
    status = answer("status", *PAIR, "--home", home)
    assert status["searchable"] and status["model_fingerprint"].count("+") == 1
    assert not answer("status", "--model", "taichu", "--home", home)["searchable"]


def test_evaluate_measures_the_pair(home):
    report = answer("evaluate", home / "gallery", "--lang", "zh", "--rerank", "0,4", "--queries", 2, *PAIR, "--home", home)
    assert {(row["direction"], row["rerank"]) for row in report["results"]} == {
        (direction, k) for direction in ("text_to_image", "image_to_text") for k in (0, 4)
    }


def test_the_page_of_a_pair_is_served(home):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen(
        [sys.executable, "manage.py", "serve", *PAIR, "--home", str(home), "--port", address.rsplit(":")[-1]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_ready(server, f"{address}/readyz")
        answered = get(f"{address}/api/v1/search?q={quote('一只狗')}&rerank=4")
        assert answered["reranked"] == 4
        assert get(f"{address}/api/v1/status")["model"]["name"] == "opt-v2 + opt-v1"
    finally:
        server.terminate()
        server.wait(20)


def test_features_are_indexed_and_searched_by_a_model_that_reads_them(home, tmp_path):
    model = write_small_model(tmp_path / "regions", SMALL_REGIONS)
    for number, count in enumerate((1, 5, 40)):
        write_detections(tmp_path / "features" / f"{number}.npz", count, width=SMALL_REGIONS.region_width)
    where = ["--model", model, "--collection", "boxes", "--home", home]
    done = manage("build-index", tmp_path / "features", *where)
    assert done.returncode == 0, done.stderr
    result = answer("search", "红色", "--rerank", 2, *where)
    assert len(result["hits"]) == 3 and result["reranked"] == 2
    itself = answer("search", "--image", tmp_path / "features" / "1.npz", *where)
    assert itself["hits"][0]["uri"].endswith("1.npz") and itself["hits"][0]["score"] == pytest.approx(1, abs=2e-3)
    one_line(
        manage("build-index", tmp_path / "features", "--model", "taichu", "--collection", "no", "--home", home),
        "features only, and the model reads photos",
    )
    one_line(
        manage("build-index", home / "gallery", "--model", model, "--collection", "no", "--home", home),
        "photos only, and the model reads a detector's features",
    )
    one_line(manage("search", "--image", home / "gallery" / "chelsea.png", *where), "detector's features")


def test_the_zoo_re_ranks_regions_behind_a_first_stage_of_pixels(home, tmp_path):
    gallery = sorted((home / "gallery").glob("*.png"))[:3]
    for number, photo in enumerate(gallery):
        (tmp_path / "both").mkdir(exist_ok=True)
        (tmp_path / "both" / photo.name).write_bytes(photo.read_bytes())
        write_detections(tmp_path / "both" / f"{photo.stem}.npz", 3 + 20 * number, width=SMALL_ZOO.region_width)
    where = ["--model", "taichu", "--reranker", "zoo", "--collection", "both", "--home", home]
    done = manage("build-index", tmp_path / "both", *where)
    assert done.returncode == 0, done.stderr
    result = answer("search", "一只狗", "--rerank", 2, *where)
    assert len(result["hits"]) == 3 and result["reranked"] == 2
    assert result["hits"][0]["metadata"]["features"].endswith(".npz")


@pytest.mark.parametrize("command", ["build-index", "search", "evaluate", "serve", "status", "demo"])
def test_every_command_that_takes_a_model_takes_a_re_ranker(command):
    assert "--reranker NAME" in manage(command, "--help").stdout
