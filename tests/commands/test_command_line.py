"""The real commands in real processes, with the shipped weights (or small random ones) on the sample gallery."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from PIL import Image

import manage as manage_module
from indexer.gallery import sample_gallery
from search import commands as search_commands
from tests.support.commands import ROOT, answer, manage
from tests.support.fakes import FakeEncoder, save_photo
from tests.support.galleries import build_gallery
from tests.support.small_models import SMALL_MINI, write_small_model


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose default collection is the sample gallery."""
    home = tmp_path_factory.mktemp("home")
    done = manage("build-index", sample_gallery(home / "gallery"), "--home", home)
    assert done.returncode == 0, done.stderr
    assert "20 images and 80 captions" in done.stdout
    return home


def names(result: dict) -> list[str]:
    return [Path(hit["uri"]).name for hit in result["hits"]]


@pytest.mark.parametrize(
    "sentence, photo",
    [
        ("a cat", "chelsea.png"),
        ("一只猫", "chelsea.png"),
        ("a cup of coffee", "coffee.png"),
        ("一杯咖啡", "coffee.png"),
        ("an astronaut in an orange suit", "astronaut.png"),
        ("a rocket at night", "rocket.jpg"),
    ],
)
def test_a_sentence_in_either_language_finds_its_photo(home, sentence, photo):
    assert photo in names(answer("search", sentence, "--home", home, "--top", 3))


def test_a_hit_says_why_it_was_found(home):
    result = answer("search", "a red motorcycle", "--home", home, "--top", 2, "--rerank", 8)
    assert result["query"] == "a red motorcycle"
    assert set(names(result)) == {"motorcycle_left.png", "motorcycle_right.png"}
    hit = result["hits"][0]
    assert {"id", "uri", "score", "first_stage_score", "first_stage_rank", "match_logit", "captions"} <= hit.keys()
    assert hit["match_logit"] is not None and 1 <= hit["first_stage_rank"] <= 8
    assert {caption["language"] for caption in hit["captions"]} == {"en", "zh"}
    assert {"encode", "first_stage", "rerank", "fetch", "total"} <= result["took_ms"].keys()


def test_a_sum_and_a_filter(home):
    photo = home / "gallery" / "chelsea.png"
    result = answer(
        "search",
        "2*coffee + photo -rocket",
        "--image",
        photo,
        "--home",
        home,
        "--where",
        "language = 'zh' and name != 'chelsea.png' and width > 300",
        "--top",
        50,
    )
    assert [(term["kind"], term["weight"]) for term in result["terms"]] == [("words", 2), ("photo", 1), ("words", -1)]
    assert "coffee.png" in names(result)[:2] and "chelsea.png" not in names(result)
    assert result["total"] == len(result["hits"]) < 20 and all(hit["width"] > 300 for hit in result["hits"])


def test_without_reranking_the_first_stage_decides(home):
    result = answer("search", "a cat", "--home", home, "--rerank", 0)
    assert all(hit["match_logit"] is None for hit in result["hits"])
    assert [hit["first_stage_rank"] for hit in result["hits"]] == list(range(1, 11))


def test_a_photo_finds_photos_and_sentences(home):
    photo = home / "gallery" / "motorcycle_left.png"
    similar = answer("search", "--image", photo, "--to", "images", "--home", home, "--top", 2)
    assert names(similar) == ["motorcycle_left.png", "motorcycle_right.png"]
    captions = answer("search", "--image", photo, "--to", "captions", "--home", home, "--top", 10)
    owners = [Path(hit["image"]["uri"]).name for hit in captions["hits"]]
    assert sum(name.startswith("motorcycle") for name in owners) >= 5
    assert {"text", "language"} <= captions["hits"][0].keys()


def test_hits_are_printed_for_people_too(home):
    done = manage("search", "a cat", "--home", home, "--top", 1)
    assert done.returncode == 0
    assert "chelsea.png" in done.stdout and "milliseconds" in done.stdout


def test_an_unchanged_source_does_nothing_and_says_so(home):
    done = manage("build-index", home / "gallery" / "gallery.jsonl", "--home", home)
    assert done.returncode == 0 and "Nothing is new" in done.stdout
    assert "0 added, 20 unchanged" in done.stdout


def test_status_counts(home):
    report = answer("status", "--home", home)
    assert (report["images"], report["captions"], report["languages"], report["failures"]) == (20, 80, ["en", "zh"], [])


def test_bad_photos_among_good_ones_are_listed(home, tmp_path):
    folder, own = tmp_path / "photos", tmp_path / "home"
    folder.mkdir()
    Image.new("RGB", (64, 48), "red").save(folder / "red.jpg")
    (folder / "red.txt").write_text("一个红色的方块\na red square\n", encoding="utf-8")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    done = manage("build-index", folder, "--home", own)
    assert done.returncode == 3
    assert "broken.jpg" in done.stderr and "1 images and 2 captions" in done.stdout
    (failure,) = answer("status", "--home", own)["failures"]
    assert failure["uri"].endswith("broken.jpg") and failure["reason"] and failure["sentence"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["build-index", "nowhere"], "does not exist"),
        (["search", "a cat", "--collection", "nothing"], "build-index"),
        (["status", "--collection", "nothing"], "build-index"),
        (["search", "  "], "sentence"),
        (["search", 'sea -"dog'], "character 5"),
        (["search", "sea", "--where", "heigth > 3"], "did you mean height?"),
        (["search", "--image", "nowhere.jpg"], "nowhere.jpg"),
        (["evaluate", "nowhere.jsonl"], "nowhere.jsonl"),
        (["compare", "a.run", "b.run", "--qrels", "c.qrels"], "a.run"),
        (["serve", "--collection", "nothing"], "build-index"),
        (["search", "a cat", "--image", "manage.py"], "manage.py"),
    ],
)
def test_what_a_user_did_wrong_is_one_line(home, arguments, said):
    done = manage(*arguments, PANOPTES_HOME=str(home))
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_manifest_line_that_is_not_json_is_listed_and_nothing_is_lost(home, tmp_path):
    manifest = tmp_path / "bad.jsonl"
    manifest.write_text('{"image": "a.jpg", "captions": {}}\n{oops\n')
    done = manage("build-index", manifest, "--home", home)
    assert done.returncode == 3 and "line 2: not JSON" in done.stderr
    assert answer("status", "--home", home)["images"] == 20


@contextlib.contextmanager
def other_weights(home):
    """The collection as if other weights had made it."""
    manifest = home / "collections" / "default" / "manifest.json"
    before = manifest.read_text()
    fingerprint = answer("status", "--home", home)["model_fingerprint"]
    manifest.write_text(before.replace(fingerprint, "0123456789abcdef"))
    yield
    manifest.write_text(before)


def test_other_weights_are_told_and_the_fix_is_named(home):
    with other_weights(home):
        done = manage("search", "a cat", "--home", home)
    assert done.returncode == 2 and "--rebuild" in done.stderr and "Traceback" not in done.stderr


def test_evaluate_measures_both_directions_and_languages(home):
    report = answer("evaluate", home / "gallery" / "gallery.jsonl", "--rerank", "0,8", "--queries", 6)
    assert report["images"] == 20
    rows = {(row["direction"], row["language"], row["rerank"]) for row in report["results"]}
    assert rows == {(d, lang, k) for d in ("text_to_image", "image_to_text") for lang in ("en", "zh") for k in (0, 8)}
    for row in report["results"]:
        assert 0 <= row["R@1"] <= row["R@5"] <= row["R@10"] <= 100
        assert 0 < row["p50_ms"] <= row["p95_ms"]


def test_evaluate_without_captions_in_a_language_says_which_there_are(home):
    done = manage("evaluate", home / "gallery" / "gallery.jsonl", "--lang", "fr", PANOPTES_HOME=str(home))
    assert done.returncode == 2 and "en, zh" in done.stderr and "Traceback" not in done.stderr
    assert not list(home.glob("evaluate-*"))


UNSURE = (0.02, -0.01, -6.0)


@pytest.fixture(scope="module")
def unsure(tmp_path_factory):
    """An environment with a home of its own, and random weights whose calibration finds that nothing fits."""
    folder = tmp_path_factory.mktemp("unsure")
    write_small_model(folder / "model", dataclasses.replace(SMALL_MINI, match_calibration=UNSURE))
    environment = {"PANOPTES_MODEL": str(folder / "model"), "PANOPTES_HOME": str(folder)}
    done = manage("build-index", sample_gallery(folder / "gallery"), **environment)
    assert done.returncode == 0, done.stderr
    return environment


def gallery_of(environment: dict) -> Path:
    return Path(environment["PANOPTES_HOME"]) / "gallery" / "gallery.jsonl"


def test_nothing_found_is_said_and_what_comes_nearest_is_printed(unsure):
    done = manage("search", "a red car", "--top", 3, **unsure)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing found: these come nearest\n")
    assert "match <1 % (" in done.stdout and "3 hits" in done.stdout


def test_how_likely_a_hit_is_a_match_is_in_the_json(unsure):
    result = answer("search", "a red car", "--top", 10, "--rerank", 8, **unsure)
    assert result["relevance"] == "none"
    head, (a, m, b) = result["hits"][:8], UNSURE
    mean = sum(hit["score"] for hit in head) / 8
    for hit in head:
        likely = 1 / (1 + math.exp(-(a * hit["score"] + m * mean + b)))
        assert hit["match_probability"] == pytest.approx(likely)
    assert all(hit["match_probability"] is None for hit in result["hits"][8:])


def test_evaluate_measures_whether_nothing_found_can_be_told(unsure):
    report = answer("evaluate", gallery_of(unsure), "--rerank", "0,8", "--queries", 2, "--absent", 5, **unsure)
    assert [(row["language"], row["rerank"], row["present"], row["absent"]) for row in report["relevance"]] == [
        ("en", 8, 5, 5),
        ("zh", 8, 5, 5),
    ]
    for row in report["relevance"]:
        assert 0 <= row["auc_ci"][0] <= row["auc"] <= row["auc_ci"][1] <= 1
        assert row["present_shares"] == row["absent_shares"] == {"strong": 0, "weak": 0, "none": 100}


def test_pages_by_cursor(unsure):
    first = answer("search", "a cat", "--top", 15, **unsure)
    second = answer("search", "a cat", "--top", 15, "--cursor", first["cursor"], **unsure)
    assert [hit["rank"] for hit in second["hits"]] == [16, 17, 18, 19, 20] and second["cursor"] is None


def test_where_the_words_are_is_shown(unsure):
    hit = answer("search", "a red car", "--top", 1, "--explain", **unsure)["hits"][0]
    assert [word["word"] for word in hit["explanation"]["words"]] == ["a", "red", "car"]
    assert hit["explanation"]["grid"] == [2, 2] and max(map(max, hit["explanation"]["heat"])) == 1
    assert "all of" in manage("search", "a red car", "--top", 1, "--explain", **unsure).stdout
    done = manage("search", "a red car", "--to", "captions", "--explain", **unsure)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "ask for photos" in done.stderr


def test_a_budget_is_that_of_a_running_server(tmp_path, monkeypatch):
    encoder = FakeEncoder()
    build_gallery(tmp_path, encoder=encoder)
    encoder.calls.clear()
    chosen = SimpleNamespace(config=encoder.config, fingerprint=encoder.fingerprint, open=lambda: encoder)
    monkeypatch.setattr(search_commands, "chosen_models", lambda *_: chosen)

    def search(*options):
        return CliRunner().invoke(manage_module.cli, ["search", "red", "--home", str(tmp_path / "var"), *options])

    done = search("--budget-ms", "60000", "--json")

    assert json.loads(done.stdout)["reranked"] == 6
    before = 2 * len(encoder.match_batches)  # each size is compiled, and timed
    assert [name for name, _ in encoder.calls].count("match") == before + 1
    refused = search("--budget-ms", "9", "--offset", "3")
    assert refused.exit_code == 2 and "cursor" in refused.stderr


def karpathys_file(folder: Path) -> Path:
    """A file in Karpathy's layout: photos of a red and a blue wall in its split test, a white one in train."""
    images = []
    for colour, split in (("white", "train"), ("red", "test"), ("blue", "test")):
        save_photo(folder / "val2014" / f"{colour}.png", colour)
        sentences = [{"raw": colour}, {"raw": f"a {colour} wall"}]
        images.append({"filepath": "val2014", "filename": f"{colour}.png", "split": split, "sentences": sentences})
    path = folder / "dataset_coco.json"
    path.write_text(json.dumps({"images": images}))
    return path


def test_of_a_file_with_splits_the_test_split_is_measured_and_the_others_are_not_even_encoded(tmp_path, monkeypatch):
    encoder = FakeEncoder()
    chosen = SimpleNamespace(config=encoder.config, fingerprint=encoder.fingerprint, open=lambda: encoder)
    monkeypatch.setattr(search_commands, "chosen_models", lambda *_: chosen)
    file = karpathys_file(tmp_path)

    def evaluate(*options):
        arguments = ["evaluate", str(file), "--rerank", "0", "--home", str(tmp_path / "var"), *options]
        return CliRunner().invoke(manage_module.cli, arguments)

    done = evaluate("--json")
    report = json.loads(done.stdout)
    assert done.stderr.splitlines()[0] == "Measured on the split test (2); left out: train (1)."
    assert report["splits"] == {"there": {"test": 2, "train": 1}, "measured": ["test"]} and report["images"] == 2
    assert [row["queries"] for row in report["results"]] == [4, 2]
    assert json.loads(evaluate("--json", "--split", "all").stdout)["images"] == 3
    refused = evaluate("--split", "val")
    assert refused.exit_code == 2 and refused.stderr.strip().endswith("name one of them with --split.")

    encoder.calls.clear()
    refused = evaluate("--protocol", "coco-5k")
    assert refused.stderr.splitlines()[-1].startswith("Error: The protocol coco-5k needs 5000 photos, and there are 2")
    assert not encoder.calls, "nothing is encoded for a protocol that can't be followed"


def test_hubs_are_looked_for(unsure):
    report = answer("status", "--hubs", **unsure)["hubs"]
    assert (report["queries"], report["k"], report["expected"]) == (80, 10, 40.0)
    assert "Hubs, by 80 captions of other photos" in manage("status", "--hubs", **unsure).stdout


def test_evaluate_leaves_files_that_compare_reads(unsure, tmp_path):
    files = [tmp_path / name for name in ("a.run", "a.qrels", "worst.html")]
    options = [part for option, path in zip(("--run", "--qrels", "--report"), files, strict=True) for part in (option, path)]
    report = answer("evaluate", gallery_of(unsure), "--rerank", "0,8", "--lang", "zh", *options, **unsure)
    compared = answer("compare", files[0], files[0], "--qrels", files[1], **unsure)
    recalls = {row["direction"]: row["R@1"] for row in report["results"] if row["rerank"] == 8}
    assert {row["direction"]: row["a"] for row in compared["results"] if row["measure"] == "R@1"} == recalls
    assert all(row["difference"] == 0 and row["p"] == 1 for row in compared["results"])
    assert "data:image/jpeg;base64," in files[2].read_text("utf-8")
    done = manage("evaluate", gallery_of(unsure), "--run", tmp_path / "no" / "a.run", **unsure)
    assert done.returncode == 2 and "Can't write" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_words_find_what_captions_say(unsure):
    result = answer("search", "猫 -火箭", "--mode", "lexical", "--where", "language = 'zh'", "--fold-duplicates", **unsure)
    assert names(result)[0] == "chelsea.png" and result["hits"][0]["lexical_rank"] == 1
    report = answer("evaluate", gallery_of(unsure), "--mode", "hybrid", "--lang", "en", "--rerank", 0, **unsure)
    assert [(row["direction"], row["queries"]) for row in report["results"]] == [("text_to_image", 40)]
    done = manage("evaluate", gallery_of(unsure), "--protocol", "coco-1k", **unsure)
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].endswith("measure with --protocol all.")


def test_evaluate_prints_intervals_ceilings_and_sums(unsure):
    done = manage("evaluate", gallery_of(unsure), "--rerank", "0,8", "--queries", 2, "--absent", 2, "--lang", "en", **unsure)
    assert done.returncode == 0, done.stderr
    for said in ("95 % interval", "ceiling", "rsum", "AUC"):
        assert said in done.stdout
    assert sum(line.startswith(("text_to_image", "image_to_text")) for line in done.stdout.splitlines()) == 4


def test_leaving_out_more_photos_than_there_are_is_one_line(unsure):
    done = manage("evaluate", gallery_of(unsure), "--absent", 11, **unsure)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith("and there are 20: --absent 10 is the most.")


def test_a_source_without_one_good_photo_is_an_error(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    done = manage("build-index", tmp_path / "photos", "--home", tmp_path / "home")
    assert done.returncode == 2 and "none of the 1 photos" in done.stderr


def test_serve_refuses_an_index_of_other_weights(home):
    with other_weights(home):
        done = manage("serve", "--home", home)
    assert done.returncode == 2 and "--rebuild" in done.stderr and "Traceback" not in done.stderr


def test_help_answers_without_loading_the_rooms():
    code = (
        "import sys, manage\n"
        "try: manage.cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'mindspore', 'faiss', 'pyarrow', 'sqlalchemy', 'flask', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("command", ["build-index", "download", "search", "evaluate", "serve", "status", "demo", "train"])
def test_help_says_what_is_read_and_written(command):
    text = " ".join(manage(command, "--help").stdout.split())
    assert "Reads" in text
    assert "Writes" in text or "writes nothing" in text or "is removed" in text


def test_a_python_without_the_requirements_is_told_which_one_has_them():
    done = subprocess.run([sys.executable, "-S", "manage.py", "status"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.count("\n") == 1
    assert "has no click: run `.venv/bin/python manage.py`" in done.stderr
