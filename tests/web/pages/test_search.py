from __future__ import annotations

import io
import re

import pytest

from storage import Home
from tests.support.fakes import FakeConfig, FakeEncoder, jpeg
from tests.support.galleries import Shot, build_gallery, ids_by_name
from tests.support.parsed_pages import Found
from web import create_app
from web.pages.translations import _PHRASES

pytestmark = pytest.mark.usefixtures("one_decoder")
HOSTILE = "<img src=x onerror=alert(1)>\"'</style></script>{{7*7}}"


@pytest.fixture
def gallery(tmp_path):
    return build_gallery(tmp_path)


@pytest.fixture
def client(tmp_path, gallery):
    return create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()


def tile_ids(page: str) -> list[int]:
    return [int(tag["data-id"]) for tag in Found(page).all("li") if "data-id" in tag]


def send(client, content: bytes, name: str = "mine.jpg", **more):
    return client.post("/by-image", data={"image": (io.BytesIO(content), name), **more})


def test_the_start_shows_photos_and_sentences_to_try(client, gallery):
    page = client.get("/").text

    photos = [tag for tag in Found(page).all("img") if "/thumbnails/" in tag["src"]]
    assert len(photos) == 6
    assert "a red wall" in page and "绿色的草地" in page
    assert "6 photos" in page and "10 captions" in page


def test_a_sentence_shows_its_photo_first_with_ranks_and_scores(client, gallery):
    page = client.get("/?q=green").text

    green = ids_by_name(gallery)["green"]
    assert tile_ids(page)[0] == green
    image = next(tag for tag in Found(page).all("img") if tag["src"] == f"/thumbnails/{green}")
    assert (image["width"], image["height"]) == ("64", "96")
    for text in ("a green meadow", "绿色的草地", "#1", "was #1", "score", "match", f"/similar/{green}", f"/images/{green}"):
        assert text in page
    assert '<p class="caption" lang="zh">绿色的草地</p>' in page
    assert f"#p{green}{{--ratio:0.6667}}" in page


def test_the_timing_line(client):
    page = re.sub(r"<[^>]+>|\s+", " ", client.get("/?q=green").text)

    assert re.search(r"6 photos +[\d.]+ ms *: *encode [\d.]+", page)


def calibrated(tmp_path, offset):
    encoder = FakeEncoder(config=FakeConfig(match_calibration=(1.0, 0.0, offset)))
    return create_app(Home(tmp_path / "var"), encoder).test_client()


NOTHING = "Nothing found that fits. These come nearest."


@pytest.mark.parametrize("address", ["/?q=green", "/?q=green&to=images&offset=4", "/similar/1?to=captions"])
def test_if_nothing_fits_a_heading_says_so_and_the_nearest_are_marked(tmp_path, gallery, address):
    page = calibrated(tmp_path, -9.0).get(address).text

    assert f'<h2 class="nearest">{NOTHING}</h2>' in page
    assert re.search(r'<ol class="(grid|lines) only-near"', page) and tile_ids(page)
    assert "Strong match" not in page and "Weak match" not in page


def test_a_weak_match_has_a_hint_and_a_strong_one_needs_none(tmp_path, gallery):
    weak, strong = (calibrated(tmp_path, offset).get("/?q=green").text for offset in (-2.0, 2.0))

    assert "Weak match" in weak and "may not be what you mean" in weak
    assert "Strong match" in strong and "may not be what you mean" not in strong
    for page in (weak, strong):
        assert NOTHING not in page and "only-near" not in page


def test_a_hit_says_how_likely_it_is_a_match_and_its_logit_on_asking(tmp_path, gallery):
    page = calibrated(tmp_path, 2.0).get("/?q=green&rerank=2").text

    likely = re.findall(r'<span title="([^"]+)">match <data value="([\d.e-]+)">([^<]+)</data>', page)
    assert len(likely) == 2
    title, value, shown = likely[0]
    assert shown == f"{100 * float(value):.0f} %" == "95 %"
    assert "its raw logit is -0.0" in title


def test_relevance_is_shown_in_chinese_too(tmp_path, gallery):
    pages = [calibrated(tmp_path, offset).get("/?q=红&lang=zh").text for offset in (2.0, -2.0, -9.0)]

    assert "匹配度高" in pages[0] and "匹配度低" in pages[1] and "没有找到相符的结果" in pages[2]


def test_without_a_calibration_the_page_says_nothing_of_it(client):
    page = client.get("/?q=green").text

    assert NOTHING not in page and 'class="found' not in page and "only-near" not in page and "%</data>" not in page


def test_beyond_the_end_of_the_list_nothing_is_nearest(tmp_path, gallery):
    page = calibrated(tmp_path, -9.0).get("/?q=green&offset=100").text

    assert NOTHING not in page and "The list ends" in page


def test_captions_as_a_list(client, gallery):
    page = client.get("/?q=green&to=captions").text

    assert tile_ids(page) and '<p class="sentence" lang="en">a green meadow</p>' in page


def test_more_like_this(client, gallery):
    red = ids_by_name(gallery)["red"]

    page = client.get(f"/similar/{red}").text

    assert red not in tile_ids(page) and len(tile_ids(page)) == 5
    assert f'src="/thumbnails/{red}"' in page


def test_a_photo_that_is_sent_gets_an_address_of_its_own(client, gallery):
    sent = send(client, jpeg("blue"), name=f"{HOSTILE}.jpg")
    assert sent.status_code == 303

    page = client.get(sent.headers["Location"]).text

    assert tile_ids(page)[0] == ids_by_name(gallery)["blue"]
    preview = next(tag["src"] for tag in Found(page).all("img") if tag["src"].endswith("/preview.jpg"))
    assert client.get(preview).mimetype == "image/jpeg"
    assert "<img src=x" not in page
    captions = client.get(sent.headers["Location"] + "?to=captions").text
    assert "the blue sky" in captions


def test_a_photo_can_ask_for_captions_at_once(client):
    assert send(client, jpeg("blue"), to="captions").headers["Location"].endswith("?to=captions")


def test_a_photo_that_is_no_longer_kept_is_404(client):
    page = client.get("/by-image/never-given")

    assert page.status_code == 404 and "send it once more" in page.text


def test_only_the_last_photos_are_kept(client):
    first = send(client, jpeg("red")).headers["Location"]
    for _ in range(64):
        send(client, jpeg("blue"))

    assert client.get(first).status_code == 404


@pytest.mark.parametrize(("content", "status"), [(b"nothing like a photo", 400), (b"", 400), (bytes(2**20 + 1), 413)])
def test_a_bad_photo_is_a_page_with_the_error(client, monkeypatch, content, status):
    monkeypatch.setattr("web.uploads.LARGEST_UPLOAD", 2**20)
    response = send(client, content)

    assert response.status_code == status and response.mimetype == "text/html"
    assert "Traceback" not in response.text and 'role="alert"' in response.text


@pytest.mark.parametrize("address", ["/?q=red&top=many", "/?q=red&to=<b>", "/similar/4711", "/nothing", "/?q=" + "a" * 2001])
def test_a_bad_request_is_a_page_with_the_error(client, address):
    response = client.get(address)

    assert response.status_code in (400, 404) and 'role="alert"' in response.text
    assert "<b>" not in response.text.replace("<b ", "")


def test_pages_of_results(client):
    first = client.get("/?q=red&top=4").text
    after = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    second = client.get(after).text

    assert "1–4 of 6 photos" in first and "5–6 of 6 photos" in second
    assert len(set(tile_ids(first) + tile_ids(second))) == 6
    assert 'rel="prev"' in second and 'rel="next"' not in second
    assert client.get("/?q=red&offset=100").status_code == 200


def test_the_way_back_from_reranking(client):
    assert "rerank=0" in client.get("/?q=red").text
    plain = client.get("/?q=red&rerank=0").text
    assert "was #" not in plain and "Show re-ranked" in plain


@pytest.mark.parametrize(
    ("address", "accept", "language"),
    [
        ("/", "zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("/", "en-GB,en;q=0.9,zh;q=0.1", "en"),
        ("/", "fr", "en"),
        ("/?lang=zh", "en", "zh-CN"),
        ("/?lang=en", "zh", "en"),
        ("/?lang=xx", "zh", "zh-CN"),
    ],
)
def test_the_interface_speaks_the_browsers_language(client, address, accept, language):
    response = client.get(address, headers={"Accept-Language": accept})

    assert f'<html lang="{language}"' in response.text
    assert ("说出画面" in response.text) == (language == "zh-CN")
    assert "Accept-Language" in response.headers["Vary"]


def test_a_chosen_language_stays(client):
    page = client.get("/?q=红&lang=zh").text

    for tag in Found(page).all("a"):
        if tag["href"].startswith(("/similar/", "/?")) and "English" not in tag.get("title", ""):
            assert "lang=zh" in tag["href"], tag
    assert '<input type="hidden" name="lang" value="zh">' in page


def test_every_phrase_is_there_in_both_languages():
    for english, chinese in _PHRASES.values():
        assert english and chinese
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese))


def test_nothing_indexed_says_what_to_run(tmp_path):
    app = create_app(Home(tmp_path / "nowhere"), FakeEncoder(), collection="holiday")

    assert "python manage.py build-index PHOTOS --collection holiday" in app.test_client().get("/").text
    assert app.test_client().get("/?q=red").status_code == 404
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_collection_is_an_error_and_not_searched(tmp_path, gallery):
    for segment in (gallery.folder / "segments").glob("*/segment.json"):
        segment.write_text("{")
    client = create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()

    for address in ("/", "/?q=red"):
        response = client.get(address)
        assert response.status_code == 500 and "is damaged" in response.text and "manage.py repair" in response.text


def test_markup_in_captions_names_and_sentences_stays_text(tmp_path):
    shots = [Shot("a.jpg", "red", captions=[("en", HOSTILE), ("zh", HOSTILE)]), Shot("b.jpg", "blue")]
    build_gallery(tmp_path, shots)
    client = create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()

    addresses = [("/", {}), ("/", {"q": HOSTILE}), ("/", {"q": "red", "to": "captions"}), ("/", {"lang": HOSTILE})]
    for address, parameters in addresses:
        page = client.get(address, query_string=parameters).text
        assert "<img src=x" not in page and "49" not in re.sub(r"[\d.]*\d\.\d+|/\d+", "", page)
        assert not any(name.startswith("on") for _, attributes in Found(page).tags for name in attributes)


@pytest.mark.parametrize("address", ["/", "/?q=red", "/?q=red&to=captions", "/nothing", "/api/v1/status", "/healthz"])
def test_every_answer_carries_the_safe_headers(client, address):
    headers = client.get(address).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("address", ["/", "/?q=red", "/?q=red&to=captions", "/nothing"])
def test_pages_hold_nothing_inline_and_nothing_from_elsewhere(client, address):
    response = client.get(address)
    nonce = re.search(r"'nonce-([^']+)'", response.headers["Content-Security-Policy"])[1]

    found = Found(response.text)
    assert all(attributes.get("nonce") == nonce for attributes in found.all("style"))
    assert all("src" in attributes for attributes in found.all("script"))
    assert not any("style" in attributes for _, attributes in found.tags)
    addresses = [a[key] for _, a in found.tags for key in ("src", "href", "action", "srcset") if a.get(key)]
    assert all(one.startswith(("/", "#")) and not one.startswith("//") for one in addresses)


def test_a_nonce_is_used_once(client):
    policies = {client.get("/").headers["Content-Security-Policy"] for _ in range(3)}
    assert len(policies) == 3
