"""A published checkpoint through the real commands: import, build-index, search, evaluate, each in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from urllib.parse import quote

import numpy as np
import pytest

from indexer.gallery import sample_gallery
from tests.commands.test_demo import get, wait_until_ready
from tests.support.commands import ROOT, answer, manage
from tests.support.published_models import SMALL_IMPORTED, published_weights, training_weights, write_published
from tests.support.small_models import SMALL_MINI, write_small_model


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A checkpoint out of the middle of a training run, as somebody may have it."""
    return write_published(tmp_path_factory.mktemp("files"), training_weights())


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    """A home with the model `taichu`, and the gallery indexed by it; the report of the import."""
    home = tmp_path_factory.mktemp("home")
    report = answer("model", "import", published, "--as", "taichu", "--home", home)
    done = manage("build-index", sample_gallery(home / "gallery"), "--model", "taichu", "--home", home)
    assert done.returncode == 0, done.stderr
    return home, report


def test_the_report_says_what_became_of_every_tensor(imported):
    home, report = imported
    assert (report["form"], report["network"], report["missing"], report["left_over"]) == ("V2", "opt-v2", [], [])
    counted = report["loaded"] + sum(report["ignored"].values())
    assert counted == len(training_weights())
    assert report["ignored"]["optimizer state"] > report["loaded"]
    assert sorted(path.name for path in (home / "models" / "taichu").iterdir()) == [
        "config.json",
        "graphs",
        "import.json",
        "vocab.txt",
        "weights.safetensors",
    ]
    assert {path.name for path in (home / "models" / "taichu" / "graphs").iterdir()} == {
        "graphs.json",
        "images.onnx",
        "texts.onnx",
        "match.onnx",
        "attention.onnx",
    }


def test_models_are_listed_and_shown_with_their_fingerprints(imported):
    home, report = imported
    models = {model["name"]: model for model in answer("model", "list", "--home", home)["models"]}
    assert models.keys() == {"opt-mini", "taichu"}
    shown = answer("model", "show", "taichu", "--home", home)
    assert shown == models["taichu"]
    assert shown["fingerprint"] == report["fingerprint"]
    assert (shown["languages"], shown["preprocessing"], shown["token_shape"]) == (["zh"], "center_crop", [17, 128])
    assert shown["imported"]["file"] == "opt_v2_small.ckpt" and len(shown["imported"]["sha256"]) == 64
    printed = manage("model", "list", "--home", home).stdout + manage("model", "show", "taichu", "--home", home).stdout
    assert report["fingerprint"] in printed and "center_crop" in printed


@pytest.mark.parametrize("depth", [0, 1, 7, 20, 128])
def test_any_depth_of_reranking_works_and_the_score_is_the_match_logit(imported, depth):
    home, _ = imported
    result = answer("search", "一只狗在海边", "--rerank", depth, "--top", 20, "--model", "taichu", "--home", home)
    read = [hit for hit in result["hits"] if hit["match_logit"] is not None]
    assert len(read) == result["reranked"] == min(depth, 20)
    assert all(hit["score"] == hit["match_logit"] for hit in read)
    assert result["notices"] == []


def test_a_photo_finds_itself_and_captions(imported):
    home, _ = imported
    photo = home / "gallery" / "chelsea.png"
    similar = answer("search", "--image", photo, "--top", 1, "--model", "taichu", "--home", home)
    assert similar["hits"][0]["uri"].endswith("chelsea.png")
    assert similar["hits"][0]["score"] == pytest.approx(1, abs=2e-3)
    captions = answer("search", "--image", photo, "--to", "captions", "--rerank", 5, "--model", "taichu", "--home", home)
    assert sum(hit["match_logit"] is not None for hit in captions["hits"]) == 5


def test_evaluate_measures_an_imported_model(imported):
    home, _ = imported
    report = answer(
        "evaluate", home / "gallery", "--lang", "zh", "--rerank", "0,8", "--queries", 3, "--model", "taichu", "--home", home
    )
    assert {(row["direction"], row["rerank"]) for row in report["results"]} == {
        (direction, k) for direction in ("text_to_image", "image_to_text") for k in (0, 8)
    }
    assert report["notices"] == []


def test_english_is_answered_with_a_notice_and_with_a_translator_translated(imported, tmp_path):
    home, _ = imported
    where = ["--model", "taichu", "--home", home, "--top", 5]
    plain = answer("search", "a dog", *where)
    assert plain["notices"] == [
        "opt-v2 was trained on Chinese only, and the query is English: what it finds may have little to do with it. "
        "Ask in Chinese, or name a translator in PANOPTES_TRANSLATOR."
    ]
    assert manage("search", "a dog", *where).stdout.startswith(plain["notices"][0])

    (tmp_path / "dictionary.py").write_text(
        "def translate(text, source, target):\n"
        "    assert (source, target) == ('en', 'zh')\n"
        "    return {'a dog': '一只狗'}[text]\n",
        encoding="utf-8",
    )
    dictionary = {"PYTHONPATH": str(tmp_path), "PANOPTES_TRANSLATOR": "dictionary:translate"}
    translated = answer("search", "a dog", *where, **dictionary)
    assert translated["notices"] == ['opt-v2 was trained on Chinese only: searched for "一只狗", translated from English.']
    chinese = answer("search", "一只狗", *where)
    assert [(hit["id"], hit["score"]) for hit in translated["hits"]] == [(hit["id"], hit["score"]) for hit in chinese["hits"]]

    failed = answer("search", "a cat", *where, **dictionary)
    assert "the translator failed (KeyError)" in failed["notices"][0] and len(failed["hits"]) == 5
    assert "The translator failed on 'a cat': KeyError: 'a cat'" in manage("search", "a cat", *where, **dictionary).stderr


def test_a_translator_that_is_none_is_one_line(imported):
    home, _ = imported
    done = manage("search", "a dog", "--model", "taichu", "--home", home, PANOPTES_TRANSLATOR="nowhere:translate")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "PANOPTES_TRANSLATOR is 'nowhere:translate'" in done.stderr


def test_an_index_refuses_another_model_and_names_its_own(imported):
    home, report = imported
    for command in (["search", "一只狗"], ["serve", "--port", 1]):
        done = manage(*command, "--home", home)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
        assert "--model taichu" in done.stderr and "--rebuild" in done.stderr
    status = answer("status", "--home", home)
    assert status["model_fingerprint"] == report["fingerprint"] and not status["searchable"]
    assert answer("status", "--model", "taichu", "--home", home)["searchable"]
    done = manage("build-index", home / "gallery", "--home", home)
    assert done.returncode == 2 and "--model" in done.stderr and "--rebuild" in done.stderr


def test_the_option_wins_over_the_variable_which_takes_names_too(imported, tmp_path):
    home, report = imported
    own = write_small_model(tmp_path / "own", SMALL_MINI)
    assert answer("status", "--home", home, PANOPTES_MODEL="taichu")["searchable"]
    assert not answer("status", "--home", home, PANOPTES_MODEL=str(own))["searchable"]
    assert answer("status", "--home", home, "--model", "taichu", PANOPTES_MODEL=str(own))["searchable"]
    done = manage("search", "狗", "--home", home, "--model", "nobody")
    assert done.returncode == 2 and "there are opt-mini, taichu" in done.stderr


def test_what_does_not_fit_is_one_line_and_writes_nothing(tmp_path):
    weights = published_weights()
    weights["uniter.embeddings.encoder.blocks.1.attention.dense2.weight"] = np.zeros((128, 127), np.float32)
    del weights["vision_proj.bias"]
    done = manage("model", "import", write_published(tmp_path, weights), "--home", tmp_path / "home")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "missing: vision_proj.bias" in done.stderr
    assert "blocks.1.attention.dense2.weight [128, 127] instead of [128, 128]" in done.stderr
    assert not (tmp_path / "home").exists()


def test_every_size_is_read_off_the_shapes(imported):
    home, _ = imported
    written = json.loads((home / "models" / "taichu" / "config.json").read_text())
    assert written == json.loads(SMALL_IMPORTED.to_json())


def test_the_page_of_an_imported_model_is_served(imported):
    home, report = imported
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    server = subprocess.Popen(
        [sys.executable, "manage.py", "serve", "--model", "taichu", "--home", str(home), "--port", address.rsplit(":")[-1]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_ready(server, f"{address}/readyz")
        assert get(f"{address}/api/v1/status")["model"]["fingerprint"] == report["fingerprint"]
        answered = get(f"{address}/api/v1/search?q={quote('一只狗')}&rerank=20&top=20")
        expected = answer("search", "一只狗", "--rerank", 20, "--top", 20, "--model", "taichu", "--home", home)
        assert [hit["id"] for hit in answered["hits"]] == [hit["id"] for hit in expected["hits"]]
        assert answered["reranked"] == 20 and answered["notices"] == []
        assert "trained on Chinese only" in get(f"{address}/api/v1/search?q=dog")["notices"][0]
    finally:
        server.terminate()
        server.wait(20)


def test_import_needs_neither_mindspore_nor_protobuf(published, tmp_path):
    code = (
        "import sys, manage\n"
        f"try: manage.cli(['model', 'import', {str(published)!r}, '--home', {str(tmp_path)!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'mindspore', 'google.protobuf', 'faiss', 'flask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stderr


@pytest.mark.parametrize("command", ["build-index", "search", "evaluate", "serve", "status", "demo"])
def test_every_command_that_needs_a_model_takes_one(command):
    assert "--model NAME" in manage(command, "--help").stdout


@pytest.mark.parametrize("command", [["import"], ["list"], ["show"]])
def test_help_says_what_is_read_and_written(command):
    text = " ".join(manage("model", *command, "--help").stdout.split())
    assert "Reads" in text and ("Writes" in text or "writes nothing" in text)
