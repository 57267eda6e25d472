"""The real command on every kind of source, with small random weights."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.indexer.sources.test_captions import write_captions
from tests.indexer.sources.test_webdataset import write_shard
from tests.support.commands import answer, manage
from tests.support.fakes import jpeg, save_photo
from tests.support.small_models import SMALL_MINI, write_small_model


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_small_model(folder / "model", SMALL_MINI)
    return {"PANOPTES_MODEL": str(folder / "model")}


def test_chinese_captions_of_their_own_file_beside_coco(environment, tmp_path):
    images = [(number, f"{number:012d}.jpg") for number in (42, 285)]
    for _, name in images:
        save_photo(tmp_path / "coco" / "val2017" / name)
    write_captions(tmp_path / "coco" / "annotations" / "captions_val2017.json", images, [(42, "a dog"), (285, "a bear")])
    chinese = write_captions(tmp_path / "zh.json", images, [(285, "熊"), (285, "棕熊")])
    other = write_captions(tmp_path / "fr.json", [], [(42, "un chien"), (7, "rien")])
    done = manage(
        "build-index",
        tmp_path / "coco",
        "--captions",
        chinese,
        "--lang",
        "zh",
        "--captions",
        other,
        "--lang",
        "fr",
        "--max-ms",
        5000,
        "--home",
        tmp_path / "home",
        **environment,
    )
    assert done.returncode == 3, done.stderr
    assert "2 images and 5 captions" in done.stdout and "1 captions are of images that are not there" in done.stderr
    report = answer("status", "--home", tmp_path / "home", **environment)
    assert (report["captions"], report["languages"]) == (5, ["en", "fr", "zh"])
    assert {name: choice["kind"] for name, choice in report["index"].items()} == {"images": "exact", "captions": "exact"}
    wrong = manage("build-index", tmp_path / "coco", "--captions", chinese, "--lang", "zh", "--lang", "en", **environment)
    assert wrong.returncode == 2 and wrong.stderr.startswith("Error: There are 1 caption files and 2 languages")


def test_an_evaluation_asks_with_captions_of_another_file_too(environment, tmp_path):
    images = [(number, f"{number:012d}.jpg") for number in (42, 285)]
    for (_, name), colour in zip(images, ("red", "blue"), strict=True):
        save_photo(tmp_path / "coco" / "val2017" / name, colour)
    write_captions(tmp_path / "coco" / "annotations" / "captions_val2017.json", images, [(42, "a dog"), (285, "a bear")])
    chinese = write_captions(tmp_path / "zh.json", images, [(285, "熊"), (285, "棕熊"), (42, "狗")])
    report = answer(
        "evaluate",
        tmp_path / "coco",
        "--captions",
        chinese,
        "--captions-lang",
        "zh",
        "--rerank",
        "0",
        "--home",
        tmp_path / "home",
        **environment,
    )
    asked = {(row["direction"], row["language"]): row["queries"] for row in report["results"]}
    assert asked == {("text_to_image", "en"): 2, ("text_to_image", "zh"): 3,
                     ("image_to_text", "en"): 2, ("image_to_text", "zh"): 2}  # fmt: skip


def test_shards_and_parquet(environment, tmp_path):
    shard = write_shard(tmp_path / "shards" / "0.tar", ("a.jpg", jpeg("red")), ("a.txt", "a red wall"), ("b.jpg", jpeg("blue")))
    save_photo(tmp_path / "c.jpg", "green")
    pq.write_table(pa.table({"image": ["c.jpg", None], "caption": ["a green wall", "x"]}), tmp_path / "m.parquet")
    home = {**environment, "PANOPTES_HOME": str(tmp_path / "home")}
    assert manage("build-index", tmp_path / "shards", **home).returncode == 0
    done = manage("build-index", tmp_path / "m.parquet", **home)
    assert done.returncode == 3 and "m.parquet, row 2: " in done.stderr
    found = {hit["uri"] for hit in answer("search", "a red wall", "--top", 3, **home)["hits"]}
    assert found == {f"tar://{shard}!a.jpg", f"tar://{shard}!b.jpg", str(tmp_path / "c.jpg")}


def test_a_folder_as_people_have_it(environment, tmp_path):
    photos = tmp_path / "photos"
    for name in ("Images/1.jpg", "Images/2.jpg", "old/3.jpg", "@eaDir/1.jpg"):
        save_photo(photos / name)
    (photos / "captions.txt").write_text("image,caption\n1.jpg,A child in a pink dress .\n")
    (photos / "film.mov").write_text("x")
    (photos / "Images" / "said.csv").write_text("image,caption\nelsewhere.jpg,A dog\n")
    (tmp_path / "more.csv").write_text("foto;titel\n2;ein Hund\n")
    home = ["--home", tmp_path / "home"]
    more = ["--captions", tmp_path / "more.csv", "--lang", "de", "--image-column", "foto", "--caption-column", "titel"]
    done = manage("build-index", photos, *home, *more, "--exclude", "/old/", **environment)
    assert done.returncode == 0, done.stderr
    assert "2 images and 2 captions" in done.stdout and "2 files or folders were excluded: /old/ 1, @eaDir 1" in done.stdout
    assert f"Images/said.csv looks like captions and was not read: --captions {photos}/Images/said.csv\n" in done.stdout
    report = answer("status", *home, **environment)
    assert {one["kind"] for one in report["unused"]} == {"Images/said.csv", "/old/", "@eaDir", "MOV"}
    again = answer("build-index", photos, *home, **environment)
    assert (again["images"], again["captions"], len(again["unused"])) == (2, 1, 4)
    assert answer("build-index", photos, *home, "--exclude", "", **environment)["images"] == 3
    wrong = manage("build-index", photos, *home, "--captions", tmp_path / "more.csv", **environment)
    assert wrong.returncode == 2 and "name its columns with --image-column and --caption-column" in wrong.stderr
