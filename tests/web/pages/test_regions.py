"""A collection of a detector's features, with photos or without, on the page and in the API."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from indexer import build_index, open_source
from search import Engine, Query, UnreadablePhoto
from search.evaluation.evaluate import evaluate
from search.query.query_photo import read_photo, read_stored
from search.report import result_lines
from storage import Home
from tests.support.fakes import FakeConfig, jpeg, save_photo
from tests.support.region_fakes import FakeRegionEncoder, save_features
from web import create_app


@pytest.fixture
def home(tmp_path):
    """Red without a photo, green with one, blue without a caption."""
    save_features(tmp_path / "f" / "red.npz", "red")
    (tmp_path / "f" / "red.txt").write_text("a red wall\n红色的墙\n", encoding="utf-8")
    save_features(tmp_path / "f" / "green.npz", "green")
    save_photo(tmp_path / "f" / "green.jpg", "green")
    (tmp_path / "f" / "green.txt").write_text("a green meadow\n")
    save_features(tmp_path / "f" / "blue.npz", "blue")
    home = Home(tmp_path / "home")
    build_index(home, "default", open_source(tmp_path / "f"), FakeRegionEncoder(), workers=0)
    return home


@pytest.fixture
def client(home):
    return create_app(home, FakeRegionEncoder()).test_client()


class _Images(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.alts, self.sources, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "img":
            self.alts.append(found.get("alt"))
            self.sources.append(found["src"])
        elif tag == "a":
            self.links.append(found.get("href"))


@pytest.mark.parametrize("address", ["/", "/?q=red", "/?q=a+green+meadow&to=captions", "/similar/1", "/similar/2?to=captions"])
def test_no_image_on_a_page_is_broken(client, address):
    page = client.get(address)
    assert page.status_code == 200
    for source in _Images(page.text).sources:
        assert client.get(source).status_code == 200


def test_an_image_without_a_photo_shows_its_name_and_its_regions(client):
    page = client.get("/?q=red").text
    seen = _Images(page)
    assert "What a detector saw in red" in seen.alts and "a green meadow" in seen.alts
    assert '<p class="caption file-name">blue</p>' in page and "a red wall" in page
    assert sum(link.startswith("/images/") for link in seen.links) == 1  # that of the only photo
    chinese = client.get("/?q=red&lang=zh").text
    assert "检测器在 red 中看到的区域" in chinese


def test_the_api_says_what_there_is_and_every_address_answers(client):
    hits = client.get("/api/v1/search?q=red").json["hits"]
    assert [hit["uri"].rsplit("/")[-1] for hit in hits][0] == "red.npz"
    assert {hit["uri"].rsplit("/")[-1]: hit["metadata"].keys() for hit in hits}["green.jpg"] == {"features"}
    for hit in hits:
        for address in (hit["thumbnail_url"], hit["image_url"]):
            answer = client.get(address)
            assert answer.status_code == 200 and Image.open(io.BytesIO(answer.data)).size[0] > 0


def test_a_photo_cannot_be_searched_with_and_one_line_says_so(client):
    sent = {"image": (io.BytesIO(jpeg("red")), "red.jpg")}
    answer = client.post("/api/v1/search", data=sent)
    assert answer.status_code == 400
    assert "fake-regions reads a detector's features" in answer.json["detail"] and "\n" not in answer.json["detail"]


def test_features_can_be_searched_with(home, tmp_path):
    config = FakeRegionEncoder().config
    engine = Engine(home.collection("default"), FakeRegionEncoder())
    query = read_photo(save_features(tmp_path / "query.npz", "blue"), config)
    hits = engine.search(Query(image=query, to="images")).as_json()["hits"]
    assert hits[0]["uri"].endswith("blue.npz")
    captions = engine.search(Query(image=query, to="captions")).as_json()["hits"]
    assert all(hit["match_logit"] is not None for hit in captions)
    beside = read_photo(tmp_path / "f" / "green.jpg", config)
    assert engine.search(Query(image=beside)).as_json()["hits"][0]["uri"].endswith("green.jpg")


@pytest.mark.parametrize("name", ["nowhere.npz", "torn.npz", "photo.jpg"])
def test_a_file_that_cannot_be_searched_with_is_an_error_of_one_line(tmp_path, name):
    (tmp_path / "torn.npz").write_bytes(b"PK\3\4")
    save_photo(tmp_path / "photo.jpg")
    with pytest.raises(UnreadablePhoto) as error:
        read_photo(tmp_path / name, FakeRegionEncoder().config)
    assert "\n" not in str(error.value) and name in str(error.value)


def test_a_model_of_photos_refuses_features_as_a_query(tmp_path):
    with pytest.raises(UnreadablePhoto, match="the model reads photos"):
        read_photo(save_features(tmp_path / "a.npz"), FakeConfig())


def test_recall_is_measured_on_features_too(home):
    report = evaluate(home.collection("default").open_snapshot(), FakeRegionEncoder(), rerank=(0, 2), languages=("en",))
    assert {(row["direction"], row["R@1"]) for row in report["results"]} == {("text_to_image", 100.0), ("image_to_text", 100.0)}


def test_the_command_line_prints_names(home):
    result = Engine(home.collection("default"), FakeRegionEncoder()).search(Query(text="red")).as_json()
    assert "red.npz" in "\n".join(result_lines(result)) and json.dumps(result)


def test_a_stored_image_whose_features_moved_is_a_line(home, tmp_path):
    (tmp_path / "f" / "blue.npz").rename(tmp_path / "elsewhere.npz")
    snapshot = home.collection("default").open_snapshot()
    records = {one.uri.rsplit("/")[-1]: one for one in snapshot.images(snapshot.image_ids())}
    with pytest.raises(UnreadablePhoto, match="does not exist"):
        read_stored(records["blue.npz"], FakeRegionEncoder().config)
    assert np.asarray(read_stored(records["green.jpg"], FakeRegionEncoder().config)).shape == (6, 16)
