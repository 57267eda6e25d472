"""What a newcomer sees: `manage.py demo` in a process of its own, with the shipped weights, and its page in a browser."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest

from indexer.gallery import sample_gallery
from tests.support.chromium import chromium, needs_chromium

ROOT = Path(__file__).parents[2]
LOADING_SECONDS = 240


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The demo's address, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    server = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--home", str(home), "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_ready(server, f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def wait_until_ready(server: subprocess.Popen, url: str) -> None:
    until = time.monotonic() + LOADING_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, server.stdout.read()
        try:
            with urllib.request.urlopen(url) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"{url} was not ready in {LOADING_SECONDS} s")


def get(url: str) -> dict:
    with urllib.request.urlopen(url) as response:
        return json.load(response)


@pytest.mark.parametrize("sentence", ["a cat", "一只猫"])
def test_the_api_finds_the_cat(address, sentence):
    hits = get(f"{address}/api/v1/search?q={quote(sentence)}&top=3")["hits"]
    assert "chelsea.png" in [Path(hit["uri"]).name for hit in hits]
    assert all(hit["match_logit"] is not None for hit in hits)


def test_a_photo_is_served_as_it_is(address, tmp_path):
    (hit,) = get(f"{address}/api/v1/search?q=coffee&top=1")["hits"]
    with urllib.request.urlopen(address + hit["image_url"]) as response:
        assert response.read() == Path(hit["uri"]).read_bytes()


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def new_page(browser):
    """Opens a page that knows of no other."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(browser.new_context(**options)).new_page()


@needs_chromium
@pytest.mark.parametrize(
    "sentence, name",
    [
        ("a cat", "chelsea.png"),
        ("一杯咖啡", "coffee.png"),
        ("红色摩托车", "motorcycle_left.png"),
    ],
)
def test_a_newcomer_types_a_sentence_and_sees_the_photo(address, new_page, sentence, name):
    page = new_page()
    page.goto(address)
    page.fill("#q", sentence)
    page.keyboard.press("Enter")
    page.wait_for_selector("body:not(.busy) [data-results] img")
    first = page.locator(".tile").evaluate_all("tiles => tiles.slice(0, 3).map(tile => Number(tile.dataset.id))")
    assert page.locator(".tile img").first.evaluate("img => img.decode().then(() => img.naturalWidth)") > 0
    assert id_of(address, name) in first


@needs_chromium
def test_a_newcomer_gives_a_photo_and_finds_its_like(address, new_page, tmp_path):
    manifest = sample_gallery(tmp_path)
    page = new_page()
    page.goto(address)
    page.locator("[data-by-photo] summary").first.click()
    page.locator("input[type=file]").first.set_input_files(manifest.parent / "motorcycle_right.png")
    page.wait_for_selector("body:not(.busy) [data-results] img")
    first = page.locator(".tile").evaluate_all("tiles => tiles.slice(0, 2).map(tile => Number(tile.dataset.id))")
    assert set(first) == {id_of(address, "motorcycle_left.png"), id_of(address, "motorcycle_right.png")}


VIEWS = [
    ("page", "/?q=a+cat+looks+at+you", {"viewport": {"width": 1280, "height": 860}}),
    ("start-zh", "/?lang=zh", {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"}),
    ("photo", "/photo/{cat}?q=a+cat+looks+at+you", {"viewport": {"width": 1280, "height": 860}}),
    ("collection", "/collection", {"viewport": {"width": 1280, "height": 860}}),
    ("phone", "/?q=一只猫&lang=zh&where=width+>+height", {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}),
]


@needs_chromium
@pytest.mark.parametrize(("name", "path", "options"), VIEWS, ids=[view[0] for view in VIEWS])
def test_the_main_views_as_pictures(address, new_page, tmp_path, name, path, options):
    """With PANOPTES_SCREENSHOTS=docs they are those of the documentation."""
    target = Path(os.environ.get("PANOPTES_SCREENSHOTS", tmp_path)) / f"{name}.jpg"
    page = new_page(**options)
    page.goto(address + path.format(cat=id_of(address, "chelsea.png")), wait_until="networkidle")
    page.screenshot(path=target, type="jpeg", quality=72)
    assert page.evaluate("[...document.images].filter(i => i.loading !== 'lazy').every(i => i.naturalWidth > 0)")
    assert 10_000 < target.stat().st_size < 250_000


def id_of(address: str, name: str) -> int:
    hits = get(f"{address}/api/v1/search?q=photo&top=20&rerank=0")["hits"]
    return next(hit["id"] for hit in hits if hit["uri"].endswith(name))
