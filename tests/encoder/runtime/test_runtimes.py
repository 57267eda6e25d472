"""ONNX Runtime and MindSpore give the same numbers and share collections; with ONNX Runtime no MindSpore is needed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from urllib.parse import quote

import numpy as np
import pytest

from encoder import model_folder
from encoder.inputs.pixels import decode, prepare
from encoder.runtime.graphs import runtime_of
from encoder.runtime.onnx_graphs import OnnxGraphs
from indexer.gallery import sample_gallery
from tests.commands.test_demo import get, wait_until_ready
from tests.support.commands import ROOT, answer, manage
from tests.support.published_models import SMALL_IMPORTED, write_published
from tests.support.runtimes import RUNTIMES, open_with
from tests.support.small_models import keep_graphs, write_small_model

VECTORS, LOGITS = 1e-5, 1e-3
MINDSPORE = {"PANOPTES_RUNTIME": "mindspore"}
SENTENCES = [
    "a cat looks at you",
    "a cup of coffee on a wooden table",
    "一只猫",
    "夜里发射的火箭",
    "the moon",
    "红色的摩托车",
    "an astronaut in an orange suit",
    "显微镜下的细胞",
]
HIDDEN = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec.__func__


def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] == "mindspore" else found(cls, name, path, target)


PathFinder.find_spec = classmethod(find_spec)
"""


def one_line(done, *expected) -> None:
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all(part in done.stderr for part in expected), done.stderr


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return sample_gallery(tmp_path_factory.mktemp("gallery")).parent


@pytest.fixture(scope="module")
def shipped(gallery):
    """Each runtime's encoder of the shipped model, and its encodings of the sample gallery and of SENTENCES."""
    photos = [decode(path) for path in sorted([*gallery.glob("*.png"), *gallery.glob("*.jp*g")])[:8]]
    made = {}
    for runtime in RUNTIMES:
        encoder = open_with(runtime, model_folder.SHIPPED)
        side = encoder.config.image_size
        images = encoder.encode_images(np.stack([prepare(one, side, encoder.config.preprocessing) for one in photos]))
        made[runtime] = encoder, images, encoder.encode_texts(SENTENCES)
    return made


def test_the_shipped_model_gives_the_same_vectors(shipped):
    (_, images, texts), (_, expected_images, expected_texts) = (shipped[runtime] for runtime in RUNTIMES)
    np.testing.assert_allclose(images.vectors, expected_images.vectors, atol=VECTORS)
    np.testing.assert_allclose(texts.vectors, expected_texts.vectors, atol=VECTORS)
    np.testing.assert_allclose(images.tokens.astype(np.float32), expected_images.tokens.astype(np.float32), atol=0.05)
    assert np.ptp(texts.vectors @ images.vectors.T) > 0.05  # the numbers do differ


def test_the_shipped_model_gives_the_same_match_logits(shipped):
    (encoder, _, texts), (reference, images, expected) = (shipped[runtime] for runtime in RUNTIMES)
    found = encoder.match(texts, images.tokens), reference.match(expected, images.tokens)
    np.testing.assert_allclose(*found, atol=LOGITS)
    assert np.ptp(found[1]) > 100 * LOGITS


def test_the_shipped_model_gives_the_same_attention_weights(shipped):
    (encoder, _, texts), (reference, images, expected) = (shipped[runtime] for runtime in RUNTIMES)
    weights = [one.explain(sentences, images.tokens[:1])[:1] for one, sentences in ((encoder, texts), (reference, expected))]
    length = int(texts.lengths[0])
    np.testing.assert_allclose(weights[0][:, :, :length], weights[1][:, :, :length], atol=VECTORS)


def test_fingerprints_are_the_same(shipped):
    first, second = (shipped[runtime][0] for runtime in RUNTIMES)
    assert first.fingerprint == second.fingerprint
    assert (type(first.graphs), first.graphs.padded, second.graphs.padded) == (OnnxGraphs, False, True)


@pytest.fixture(scope="module", params=RUNTIMES)
def home(request, gallery, tmp_path_factory):
    """A home with a collection that one of the runtimes has built, the model, and that runtime."""
    home = tmp_path_factory.mktemp("home")
    model = write_small_model(home / "small")
    done = manage("build-index", gallery, "--home", home, "--model", model, PANOPTES_RUNTIME=request.param)
    assert done.returncode == 0, done.stderr
    return home, model, request.param


def test_both_runtimes_search_a_collection_and_the_other_one_verifies_it(home):
    home, model, built = home
    options = ["--home", home, "--model", model]
    hits = [
        answer("search", "a red car", "--top", 20, "--rerank", 8, *options, PANOPTES_RUNTIME=runtime)["hits"]
        for runtime in RUNTIMES
    ]
    assert [hit["id"] for hit in hits[0]] == [hit["id"] for hit in hits[1]]
    for name, tolerance in (("match_logit", LOGITS), ("first_stage_score", VECTORS)):
        values = [[hit[name] for hit in found if hit[name] is not None] for found in hits]
        assert len(values[0]) >= 8
        np.testing.assert_allclose(values[0], values[1], atol=tolerance)
    (other,) = set(RUNTIMES) - {built}
    assert answer("verify", "--sample", 4, *options, PANOPTES_RUNTIME=other)["problems"] == []


def test_an_unknown_runtime_is_one_line(gallery):
    one_line(
        manage("evaluate", gallery, PANOPTES_RUNTIME="tensorflow"),
        "PANOPTES_RUNTIME is 'tensorflow'; set it to onnxruntime or mindspore.",
    )


def test_onnx_runtime_on_ascend_is_one_line(gallery):
    one_line(
        manage("evaluate", gallery, PANOPTES_RUNTIME="onnxruntime", PANOPTES_DEVICE="Ascend"),
        "PANOPTES_RUNTIME is onnxruntime, which runs on CPU alone; unset it on Ascend.",
    )


def test_the_default_runtime_depends_on_the_device(monkeypatch):
    monkeypatch.delenv("PANOPTES_RUNTIME", raising=False)
    assert [runtime_of(device) for device in ("CPU", "Ascend")] == [*RUNTIMES]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """The environment of a Python without MindSpore."""
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "sitecustomize.py").write_text(HIDDEN, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def without(hidden, gallery, tmp_path_factory):
    """A home with the sample gallery, indexed without MindSpore by the shipped model."""
    home = tmp_path_factory.mktemp("without")
    done = manage("build-index", gallery, "--home", home, **hidden)
    assert done.returncode == 0, done.stderr
    return home


def test_mindspore_is_really_hidden(hidden):
    done = subprocess.run([sys.executable, "-c", "import mindspore"], env=hidden, capture_output=True, text=True)
    assert "No module named 'mindspore'" in done.stderr


def test_search_needs_no_mindspore(without, hidden):
    hits = answer("search", "一只猫", "--top", 3, "--explain", "--home", without, **hidden)["hits"]
    assert any(hit["uri"].endswith("chelsea.png") for hit in hits) and all(hit["match_logit"] for hit in hits)
    assert answer("verify", "--home", without, **hidden)["problems"] == []


def test_serve_needs_no_mindspore(without, hidden):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "manage.py", "serve", "--home", str(without), "--port", address.rsplit(":")[-1]]
    server = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | hidden, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until_ready(server, f"{address}/readyz")
        hits = get(f"{address}/api/v1/search?q={quote('a cup of coffee')}&top=3")["hits"]
        assert any(hit["uri"].endswith("coffee.png") for hit in hits)
    finally:
        server.terminate()
        server.wait(20)


def test_commands_that_need_mindspore_say_so_in_one_line(without, hidden, tmp_path):
    missing, search = "needs MindSpore, which is not installed: run `pip install", ["search", "a cat", "--home", without]
    one_line(manage(*search, **hidden, **MINDSPORE), "PANOPTES_RUNTIME=mindspore", missing)
    one_line(manage(*search, **hidden, PANOPTES_DEVICE="Ascend"), "PANOPTES_DEVICE=Ascend", missing)
    one_line(manage("model", "export", "opt-mini", "--home", without, **hidden), "model export", missing)
    one_line(manage("train", "--data", tmp_path / "none.jsonl", "--out", tmp_path / "out", **hidden), "train", missing)


def test_an_import_needs_mindspore_only_if_no_graphs_are_kept(hidden, tmp_path):
    file = write_published(tmp_path / "files")
    command = ["model", "import", file, "--as", "taichu", "--home", tmp_path / "home"]
    one_line(manage(*command, **hidden, PANOPTES_CACHE=str(tmp_path / "empty")), "model import needs MindSpore")
    assert not (tmp_path / "home" / "models" / "taichu").exists()
    keep_graphs(SMALL_IMPORTED)
    assert answer(*command, **hidden)["name"] == "taichu"


@pytest.mark.parametrize("command", [["search", "a cat", "--explain"], ["verify"], ["status"], ["evaluate", "--queries", "1"]])
def test_commands_on_cpu_never_import_mindspore(without, gallery, command):
    sources = [str(gallery)] if command[0] == "evaluate" else []
    code = (
        "import sys, manage\n"
        f"try: manage.cli({[*command, *sources, '--home', str(without)]!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'mindspore', 'onnx', 'onnxscript', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stderr
