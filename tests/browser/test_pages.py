"""The page in a real browser."""

from __future__ import annotations

import base64
import threading
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from storage import Home
from tests.support.captioners import ColourWriter
from tests.support.chromium import chromium, needs_chromium
from tests.support.fakes import FakeConfig, FakeEncoder, jpeg
from tests.support.galleries import Shot, build_gallery, ids_by_name
from tests.support.serving import serve
from web import create_app
from web.build_runner import CommandBuilds
from web.editing import HomeEditor

pytestmark = needs_chromium
LONG = "a very long caption about a panorama that goes on and on " * 4 + "x" * 120
SHOTS = [
    Shot("red.jpg", "red", (600, 400), [("en", "a red wall"), ("en", "it is red"), ("zh", "红色的墙")]),
    Shot("green.jpg", "green", (400, 600), [("en", "a green meadow"), ("zh", "绿色的草地")]),
    Shot("blue.png", "blue", (1600, 400), [("en", LONG), ("zh", "蓝色的天空" * 30)]),
    Shot("yellow.jpg", "yellow", (300, 300), [("en", "a yellow field")]),
    Shot("black.tiff", "black", (200, 900)),
    *[Shot(f"grey{i}.jpg", (i * 8,) * 3, (600, 400 + 10 * i), [("en", f"grey number {i}")]) for i in range(25)],
]
NAME_OF_FOCUSED = "(e => e.ariaLabel || e.title || e.innerText)(document.activeElement)"
FOCUS_IS_VISIBLE = """(e => e.id === "q" || getComputedStyle(e).outlineStyle !== "none")(document.activeElement)"""
WATCH_POLICY = "addEventListener('securitypolicyviolation', event => console.error('CSP', event.violatedDirective))"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return build_gallery(tmp_path_factory.mktemp("gallery"), SHOTS)


@pytest.fixture(scope="module")
def ids(gallery):
    return ids_by_name(gallery)


@pytest.fixture(scope="module")
def home(gallery):
    return Home(Path(gallery.folder).parent.parent)


@pytest.fixture(scope="module")
def address(home):
    return serve(create_app(home, FakeEncoder()))


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def tab(browser):
    """A tab for each language and with or without JavaScript, opened once: each would start a process of its own."""

    @cache
    def opened(locale, script):
        context = browser.new_context(locale=locale, java_script_enabled=script)
        context.set_default_timeout(30_000)
        if script:
            context.add_init_script(WATCH_POLICY)
        return context.new_page()

    return opened


@pytest.fixture
def open_page(tab, address):
    """Open a page of the site. At the end, no request may have left the machine, and no error may have happened."""
    watched, complaints = [], []

    def watch(page, expected):
        host = urlsplit(address).hostname

        def heard(message):
            if message.type in ("error", "warning") and not (expected and expected in message.text):
                complaints.append(message.text)

        heeds = {
            "request": lambda r: urlsplit(r.url).hostname in (host, None) or complaints.append(r.url),
            "console": heard,
            "pageerror": lambda error: complaints.append(str(error)),
        }
        for event, heed in heeds.items():
            page.on(event, heed)
            watched.append((page, event, heed))

    def open_one(path="/", base=None, expected=None, locale="en-GB", script=True, size=(1280, 900), **media):
        page = tab(locale, script)
        watch(page, expected)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(**{"color_scheme": "light", "reduced_motion": "reduce", **media})  # motion costs half a minute
        page.goto((base or address) + path, wait_until="load")
        return page

    yield open_one
    for page, event, heed in watched:
        page.remove_listener(event, heed)
    for page in {page for page, _, _ in watched}:
        forget_everything(page)
    assert complaints == []


def forget_everything(page) -> None:
    """Make the next page of this tab one that knows of nothing before it."""
    page.evaluate("localStorage.clear(); sessionStorage.clear()")
    page.context.clear_cookies()


def ask(page, sentence: str) -> None:
    page.get_by_role("searchbox").fill(sentence)
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_selector("body:not(.busy) [data-results]")


def shown(page) -> list[int]:
    return [int(tile.get_attribute("data-id")) for tile in page.locator("[data-results] > li").all()]


def widths(page) -> tuple[int, int]:
    return page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")


@pytest.mark.parametrize(("sentence", "first"), [("a green meadow", "green"), ("红色的东西", "red"), ("blue", "blue")])
def test_a_typed_sentence_shows_the_right_photo_first(open_page, ids, sentence, first):
    page = open_page()

    ask(page, sentence)

    assert shown(page)[0] == ids[first]
    assert page.get_by_role("searchbox").input_value() == sentence
    tile = page.locator("[data-results] > li").first
    assert "#1" in tile.inner_text() and "was #" in tile.inner_text() and "match" in tile.inner_text()
    page.reload()
    assert shown(page)[0] == ids[first]


def test_photos_stand_in_full_rows_at_their_true_ratio(open_page, ids):
    page = open_page("/?q=red&top=30")
    page.wait_for_load_state("networkidle")

    boxes = {name: page.locator(f"#p{ids[name]} .photo").bounding_box() for name in ("red", "green", "yellow", "grey3")}
    for name, (width, height) in {s.name.split(".")[0]: s.size for s in SHOTS if s.name[:-4] in boxes}.items():
        assert boxes[name]["width"] / boxes[name]["height"] == pytest.approx(width / height, rel=0.02), name
    all_boxes = [tile.bounding_box() for tile in page.locator(".tile .photo").all()]
    first_row = [box for box in all_boxes if abs(box["y"] - all_boxes[0]["y"]) < 2]
    assert len(first_row) >= 2
    assert max(box["height"] for box in first_row) - min(box["height"] for box in first_row) < 2
    main = page.locator("[data-results]").bounding_box()
    assert first_row[-1]["x"] + first_row[-1]["width"] == pytest.approx(main["x"] + main["width"], abs=2)


def test_nothing_moves_while_photos_arrive(open_page, ids):
    watch_shifts = """new Promise(done => {
        let sum = 0;
        new PerformanceObserver(list => list.getEntries().forEach(one => sum += one.value))
            .observe({type: "layout-shift", buffered: true});
        setTimeout(() => done(sum), 400); })"""
    page = open_page("/?q=red", reduced_motion="no-preference")
    page.wait_for_load_state("networkidle")

    assert page.evaluate(watch_shifts) < 0.05  # half of what counts as good; 0 unless the machine is very busy


@pytest.fixture(scope="module")
def unsure(home):
    """The address of a server whose weights find no match for any query."""
    return serve(create_app(home, FakeEncoder(config=FakeConfig(match_calibration=(1.0, 0.0, -9.0)))))


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_found_stands_above_dimmed_photos(open_page, unsure, scheme, script):
    page = open_page("/?q=red", base=unsure, color_scheme=scheme, script=script)

    heading = page.get_by_role("heading", name="Nothing found that fits. These come nearest.")
    first = page.locator("[data-results] > li").first
    assert heading.bounding_box()["y"] + heading.bounding_box()["height"] < first.bounding_box()["y"]
    if script:
        opacity = "e => getComputedStyle(e).opacity"
        assert float(first.locator(".photo img").evaluate(opacity)) < 1
        assert first.locator(".caption").first.evaluate(opacity) == "1"


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_found_fits_a_narrow_page_in_both_languages(open_page, unsure, width):
    for lang in ("en", "zh"):
        page = open_page(f"/?q=red&lang={lang}", base=unsure, size=(width, 740))
        scroll, client = widths(page)
        assert scroll <= client


def test_more_like_this(open_page, ids):
    page = open_page("/?q=yellow")

    tile = page.locator("[data-results] > li").first
    tile.hover()
    tile.get_by_role("link", name="More like this").click()
    page.wait_for_url("**/similar/*")

    assert ids["yellow"] not in shown(page)
    assert page.get_by_role("heading", name="Photos like this one").is_visible()
    page.get_by_role("link", name="Captions", exact=True).click()
    page.wait_for_selector(".sentence")
    assert page.locator(".sentence").first.inner_text() == "a yellow field"
    page.go_back()
    assert ids["yellow"] not in shown(page)


def test_a_result_opens_on_a_page_of_its_own_that_says_why_it_was_found(open_page, ids):
    page = open_page("/?q=green")

    page.locator("[data-results] > li .photo").first.click()
    page.wait_for_url(f"**/photo/{ids['green']}?*q=green*")

    assert page.evaluate("document.querySelector('figure img').naturalWidth") == 400
    why = page.get_by_role("region", name="Why it was found").inner_text()
    assert "In the end\t1\t" in why and "cross-modal encoder" in why
    assert page.get_by_text("a green meadow").first.is_visible() and page.get_by_text("绿色的草地").first.is_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**at=2*")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/photo/{ids['green']}?*")
    page.keyboard.press("Escape")
    page.wait_for_url("**/?q=green")
    page.goto(f"{page.url.split('/?')[0]}/photo/{ids['green']}")
    page.get_by_role("link", name="Original").click()
    page.wait_for_url(f"**/images/{ids['green']}")


def test_a_picked_photo_is_searched_with(open_page, ids):
    page = open_page()

    page.get_by_label("Search with a photo").click()
    page.set_input_files("input[type=file]", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": jpeg("blue")})
    page.wait_for_url("**/by-image/*")

    assert shown(page)[0] == ids["blue"]
    assert page.get_by_text("mine.jpg").is_visible()
    assert page.evaluate("document.querySelector('.asked-photo').naturalWidth") > 0


def test_words_and_a_photo_at_once(open_page, ids):
    page = open_page()

    page.get_by_role("searchbox").fill("5*green")
    page.get_by_label("Search with a photo").click()
    page.set_input_files("input[type=file]", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": jpeg("red")})
    page.wait_for_url("**/by-image/*q=5*")

    assert shown(page)[0] == ids["green"]
    assert page.get_by_role("searchbox").input_value() == "5*green"
    ask(page, "5*blue")
    page.wait_for_url("**/by-image/*q=5*blue*")
    assert shown(page)[0] == ids["blue"]
    page.get_by_role("link", name="Take the photo out of the search").click()
    page.wait_for_url("**/?q=5*blue")


@pytest.mark.parametrize("gesture", ["drop", "paste"])
def test_a_photo_can_be_dropped_and_pasted(open_page, ids, gesture):
    page = open_page("/?q=red")
    content = base64.b64encode(jpeg("green")).decode()

    page.evaluate(
        """([gesture, content]) => {
            const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "g.jpg", {type: "image/jpeg"}));
            if (gesture === "paste") return dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
            dispatchEvent(new DragEvent("dragenter", {dataTransfer: data}));
            if (document.querySelector("[data-drop]").hidden) throw new Error("no sign that it can be dropped");
            dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
        }""",
        [gesture, content],
    )
    page.wait_for_url("**/by-image/*")

    assert shown(page)[0] == ids["green"]


def test_a_file_that_is_no_photo_is_refused_before_it_is_sent(open_page):
    page = open_page()

    page.set_input_files("input[type=file]", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})

    page.get_by_text("That is not a photo.").wait_for()
    assert urlsplit(page.url).path == "/"


def test_everything_but_dropping_works_without_javascript(open_page, ids):
    page = open_page(script=False)

    ask(page, "a green meadow")
    assert shown(page)[0] == ids["green"]
    page.get_by_label("Search with a photo").click()
    page.set_input_files("input[type=file]", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": jpeg("red")})
    page.get_by_role("button", name="Find captions that fit").click()
    page.wait_for_url("**/by-image/*?to=captions")
    assert page.locator(".sentence").first.inner_text() in ("a red wall", "it is red", "红色的墙")
    page.goto(page.url.split("/by-image")[0] + "/?q=red")
    page.get_by_role("link", name="More", exact=True).click()
    page.wait_for_url("**cursor=*")
    assert len(shown(page)) == 6


def test_captions_can_be_chosen_at_the_start(open_page):
    page = open_page()

    page.get_by_text("Captions", exact=True).click()
    ask(page, "something green")

    assert page.locator(".sentence").first.inner_text() in ("a green meadow", "绿色的草地")
    ask(page, "something red")
    assert "to=captions" in page.url


def test_the_interface_in_chinese_and_back(open_page):
    page = open_page(locale="zh-CN")
    assert page.get_by_role("heading", name="说出画面，找到照片").is_visible()

    ask(page, "绿色")
    assert "张照片" in page.inner_text("[data-timing]")
    page.get_by_role("link", name="English").click()
    page.wait_for_url("**lang=en*")

    assert "photos" in page.inner_text("[data-timing]")
    assert page.get_by_role("searchbox").input_value() == "绿色"


@pytest.mark.parametrize(("scheme", "paper", "ink"), [("dark", (0, 0.15), (0.8, 1)), ("light", (0.9, 1), (0, 0.2))])
def test_dark_and_light(open_page, scheme, paper, ink):
    page = open_page("/?q=red", color_scheme=scheme)

    for name, (least, most) in (("backgroundColor", paper), ("color", ink)):
        colour = page.evaluate(f"getComputedStyle(document.body).{name}")
        assert least <= sum(int(part) for part in colour[4:-1].split(",")) / 765 <= most


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("path", ["/", "/?q=blue", "/?q=blue&to=captions", "/similar/1", "/?q=" + "w" * 300])
def test_no_sideways_scrolling_however_narrow(open_page, path, width):
    page = open_page(path, size=(width, 740))

    scroll, client = widths(page)
    assert scroll <= client
    page.get_by_label("Search with a photo").click()
    panel = page.locator("[data-photo-form]").bounding_box()
    assert panel["x"] >= 0 and panel["x"] + panel["width"] <= width
    assert widths(page)[0] <= client


def test_slash_goes_to_the_box_and_escape_leaves(open_page):
    page = open_page("/?q=red")
    focused = "document.activeElement.id"
    assert page.evaluate(focused) != "q"

    page.keyboard.press("/")
    assert page.evaluate(focused) == "q"
    page.keyboard.type("a/b")
    assert page.get_by_role("searchbox").input_value() == "a/b"
    page.keyboard.press("Escape")
    assert page.evaluate(focused) != "q"


def test_the_keyboard_reaches_everything_in_sight(open_page):
    page = open_page("/?q=red&top=2")
    names = []
    for _ in range(24):
        page.keyboard.press("Tab")
        names.append(page.evaluate(NAME_OF_FOCUSED))
        assert page.evaluate(FOCUS_IS_VISIBLE), names[-1]
        if names[-1].startswith("Next"):
            break

    assert names[0] == "Skip to the results"
    assert {"More like this", "Open the original photo", "Search with a photo"} <= set(names)


def test_a_waiting_page_goes_on_by_itself(open_page, home, ids):
    release = threading.Event()
    waiting = serve(create_app(home, lambda: release.wait(20) and FakeEncoder()))
    page = open_page("/?q=green", base=waiting, expected="503")
    assert page.get_by_role("heading", name="The model is waking up").is_visible()

    release.set()
    page.wait_for_selector("[data-results]")

    assert shown(page)[0] == ids["green"]


def test_an_error_is_a_page_too(open_page):
    page = open_page("/?q=red&top=many", expected="400")

    assert page.get_by_role("alert").get_by_text("top is 'many'").is_visible()
    ask(page, "green")


def scroll_to_the_end(page, count: int) -> None:
    for _ in range(40):
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(50)
        if len(shown(page)) >= count:
            return
    raise AssertionError(f"{len(shown(page))} photos after scrolling to the end")


def test_scrolling_goes_on_and_the_address_keeps_it(open_page):
    page = open_page("/?q=red", size=(700, 500))
    first = page.locator("[data-results] > li .photo").nth(3).bounding_box()

    scroll_to_the_end(page, len(SHOTS))
    whole = shown(page)

    assert len(set(whole)) == len(whole) == len(SHOTS)
    assert "top=30" in page.url and page.locator("[rel=next]").count() == 0
    last = page.locator("[data-results] > li").last
    ratio = last.locator(".photo").bounding_box()
    width, height = (int(last.locator("img").get_attribute(side)) for side in ("width", "height"))
    assert ratio["width"] / ratio["height"] == pytest.approx(min(max(width / height, 0.5), 3.2), rel=0.03)
    page.reload()
    assert shown(page) == whole
    page.locator("[data-results] > li .photo").nth(28).click()
    page.wait_for_url("**/photo/*")
    page.go_back()
    page.wait_for_selector("[data-results]")
    assert shown(page) == whole and page.locator("[data-results] > li").nth(28).is_visible()
    page.evaluate("scrollTo(0, 0)")
    assert page.locator("[data-results] > li .photo").nth(3).bounding_box() == pytest.approx(first, abs=1)


def test_a_filter_is_added_shown_as_a_chip_and_taken_away(open_page, ids):
    page = open_page("/?q=green")

    page.get_by_text("Filters", exact=True).click()
    page.get_by_role("link", name="Portrait").click()
    page.wait_for_url("**where=*")
    assert set(shown(page)) >= {ids["green"], ids["black"]} and ids["red"] not in shown(page)
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Only what fits this filter").fill("height > width and width >= 300")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**width*300*")
    assert ids["black"] not in shown(page)
    ask(page, "black")
    assert ids["black"] not in shown(page)
    page.get_by_role("link", name="Remove the filter width >= 300").click()
    page.wait_for_selector("[data-results]")
    assert ids["black"] in shown(page) and page.locator(".chips .chip").count() == 1


class ContraryReader(FakeEncoder):
    """An encoder whose match logits reverse the order."""

    def match(self, texts, tokens):
        return -super().match(texts, tokens)


NOTE_WHAT_SETTLES = """addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
    const ids = [...document.querySelectorAll(".settling [data-results] > li")].map(tile => Number(tile.dataset.id));
    if (ids.length) sessionStorage.settling = JSON.stringify([ids, document.querySelector("[data-notice]").textContent]);
}).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true}))"""


def test_first_results_show_at_once_and_settle_into_their_order(open_page, home):
    page = open_page(base=serve(create_app(home, ContraryReader())), reduced_motion="no-preference")
    page.add_init_script(NOTE_WHAT_SETTLES)
    page.reload()

    ask(page, "red")
    page.wait_for_url("**/?q=red")
    last = shown(page)
    first, notice = page.evaluate("JSON.parse(sessionStorage.settling)")

    assert set(first) <= set(range(1, len(SHOTS) + 1)) and len(first) == len(last) and first != last
    assert notice == "First results, putting them in order…"
    assert "was #" in page.locator("[data-results] > li").first.inner_text()
    page.go_back()
    page.wait_for_selector(".hero")


@pytest.mark.parametrize("key", ["ArrowDown", "Escape", "/"])
def test_keys_of_an_input_method_are_its_own(open_page, key):
    page = open_page("/?q=red")
    page.get_by_role("searchbox").focus()

    page.evaluate(
        """key => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", {key, isComposing: true, bubbles: true, cancelable: true}))""",
        key,
    )

    assert page.evaluate("document.activeElement.id") == "q"


def test_a_word_that_is_also_a_setting_is_searched_for(open_page):
    page = open_page()

    ask(page, "images")
    page.wait_for_url("**/?q=images")


def test_arrows_walk_over_the_photos_and_enter_opens(open_page):
    page = open_page("/?q=red")
    focused = "document.activeElement.closest('li')?.dataset.id"

    page.get_by_role("searchbox").press("ArrowDown")
    order = [str(one) for one in shown(page)]
    assert page.evaluate(focused) == order[0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(focused) == order[1]
    page.keyboard.press("ArrowDown")
    below = page.evaluate(focused)
    assert below not in order[:2]
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) in order[:3]
    page.keyboard.press("Enter")
    page.wait_for_url("**/photo/*")


def test_the_page_of_the_collection_shows_a_build_going_on(open_page, tmp_path):
    build_gallery(tmp_path, SHOTS[:5])
    own = Home(tmp_path / "var")
    run = own.catalog.start_run("default", "/photos/summer", 400)
    own.catalog.update_run(run, done=100)
    page = open_page("/collection", base=serve(create_app(own, FakeEncoder())))
    progress = page.get_by_role("progressbar", name="/photos/summer")
    assert float(progress.get_attribute("value")) == 0.25
    assert page.get_by_role("img", name="Captions by language: English 5, Chinese 3").is_visible()

    own.catalog.update_run(run, done=300)
    page.get_by_text("300 of 400 photos").wait_for()
    own.catalog.finish_run(run, "done", done=400, version=1)
    page.get_by_text("Nothing is being indexed.").wait_for()


AXE_PAGES = {
    "start": "/", "results": "/?q=red&where=width+>+300", "captions": "/?q=red&to=captions", "photo": "/photo/1?q=red",
    "collection": "/collection", "reference": "/api", "similar": "/similar/1",
}  # fmt: skip


AXE_RULES = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "dark": {"type": "rule", "values": ["color-contrast"]},  # nothing else depends on the colours
}


@pytest.mark.parametrize("path", AXE_PAGES.values(), ids=AXE_PAGES.keys())
def test_axe_finds_nothing_against_wcag_2_2_aa(open_page, path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(path)

    for scheme, rules in AXE_RULES.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = axe.run(page, options={"runOnly": rules}).response["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found] == [], scheme


@pytest.mark.parametrize("path", ["/photo/1?q=red", "/collection", "/api", "/?q=red&where=width+>+height+and+width+>+200"])
def test_other_pages_fit_a_phone(open_page, path):
    page = open_page(path, size=(360, 740))

    scroll, client = widths(page)
    assert scroll <= client


def test_a_photo_without_captions_shows_what_the_model_writes_until_somebody_says_it_better(open_page, tmp_path):
    own = build_gallery(tmp_path, [Shot("black.png", "black"), SHOTS[0]])
    home = Home(tmp_path / "var")
    app = create_app(home, FakeEncoder(), captioner=ColourWriter, editor=HomeEditor(home, CommandBuilds(home)))
    page = open_page(f"/photo/{ids_by_name(own)['black']}?lang=en", base=serve(app))
    assert page.locator("[data-written]").inner_text() == "a wall painted black"
    assert page.get_by_role("img", name="a wall painted black").count() == 1
    assert "written by fake" in page.locator(".fitting").inner_text()
    page.get_by_text("Make it a caption of your own").click()
    page.get_by_label("Caption", exact=True).fill("a night without stars")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/photo/3?lang=en")
    assert page.locator(".own-captions").inner_text() == "a night without stars"
    assert page.locator("[data-written]").count() == 0 and page.get_by_text("Have a caption written").count() == 1
