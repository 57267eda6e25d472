"""Queries in a language that the model doesn't know: notices, and translators."""

from __future__ import annotations

import json
import sys

import pytest

from search import Engine, Query
from search.errors import BadTranslator
from search.evaluation.evaluate import evaluate
from search.query.translation import NAMES, Notice, translate_query, translator
from search.report import evaluation_lines, result_lines
from tests.support.fakes import FakeConfig, FakeEncoder, FakeVocabulary
from tests.support.galleries import build_gallery, ids_by_name
from web import create_app
from web.pages.language_names import CHINESE_NAMES

CHINESE = FakeConfig(languages=("zh",))
WORDS = {"a red wall": "红色的墙", "blue": "蓝色"}


def dictionary(text: str, source: str, target: str) -> str:
    assert (source, target) == ("en", "zh")
    return WORDS[text]


@pytest.fixture
def gallery(tmp_path):
    return build_gallery(tmp_path, encoder=FakeEncoder(config=CHINESE))


def test_a_query_in_a_known_language_stays_as_it_is():
    assert translate_query("一只狗", CHINESE, dictionary).notices == []
    assert translate_query("a dog", FakeConfig(), dictionary).notices == []
    assert translate_query("a dog", FakeConfig(languages=("en",))).notices == []
    assert [one.code for one in translate_query("一只狗", FakeConfig(languages=("en",))).notices] == ["unknown_language"]


@pytest.mark.parametrize("text", ["2024", "😀", "...", "狗 dog", "DVD 光盘"])
def test_a_query_in_no_language_or_in_both_needs_no_notice(text):
    assert (
        translate_query(text, CHINESE, dictionary)
        == translate_query(text, CHINESE)
        == type(translate_query(text, CHINESE))(text)
    )


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [("собака", "ru", "Russian"), ("강아지", "ko", "Korean"), ("かわいい", "ja", "Japanese"), ("الكلب", "ar", "Arabic"),
     ("un perro en la playa", "es", "Spanish"), ("Hund", "de", "German"), ("chien", "fr", "French")],
)  # fmt: skip
def test_a_query_in_neither_english_nor_chinese_is_translated_or_has_a_notice(text, code, name):
    (notice,) = translate_query(text, FakeConfig()).notices
    assert notice.code == "unknown_language" and f"and the query is {name}:" in notice.sentence
    asked = []
    result = translate_query(text, FakeConfig(), lambda *given: asked.append(given) or "a dog")
    assert asked == [(text, code, "en")] and result.text == "a dog" and f"translated from {name}" in result.notices[0].sentence


def test_what_the_vocabulary_does_not_know_is_named():
    def notices(text, **options):
        return [
            (one.code, one.sentence)
            for one in translate_query(text, FakeConfig(), vocabulary=FakeVocabulary(), **options).notices
        ]

    assert notices("a dog") == []
    assert notices("🐶") == [("nothing_known", "fake knows nothing of 🐶: what it finds has nothing to do with the query.")]
    assert notices("🐶🐱 on grass") == [
        ("some_unknown", "fake does not know 🐶, 🐱: what it finds may not fit that part of the query.")
    ]
    assert "🤖, …:" in notices("a 🐶🐱🐭🐹🤖🦁")[0][1]
    assert [code for code, _ in notices("собака 🐶")] == ["unknown_language"]
    assert [code for code, _ in notices("собака", translate=lambda *_: "dog 🐶")] == ["translated", "some_unknown"]


def test_the_engine_passes_such_notices_on(gallery, tmp_path):
    from storage import Home

    assert [one.code for one in Engine(gallery, FakeEncoder(config=CHINESE)).search(Query(text="🐶 红色")).notices] == [
        "some_unknown"
    ]
    client = create_app(Home(tmp_path / "var"), FakeEncoder(config=CHINESE)).test_client()
    assert "完全不认识 🐶" in client.get("/?q=🐶&lang=zh").text and "knows nothing of 🐶" in client.get("/?q=🐶&lang=en").text
    assert "而你的查询是俄文" in client.get("/?q=собака&lang=zh").text


def test_without_a_translator_a_notice_names_the_language():
    result = translate_query("a red wall", CHINESE)
    (notice,) = result.notices
    assert result.text == "a red wall" and "trained on Chinese only, and the query is English" in notice.sentence


def test_with_a_translator_the_text_is_translated_and_a_notice_says_so():
    result = translate_query("a red wall", CHINESE, dictionary)
    assert result.text == "红色的墙" and 'searched for "红色的墙", translated from English' in result.notices[0].sentence


@pytest.mark.parametrize(
    "gives, says",
    [
        (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda *_: None, "AttributeError"),
        (lambda *_: " ", "empty"),
        (lambda *_: "长" * 3000, "3000 characters"),
        (lambda: "x", "TypeError"),
        (lambda *_: "\ud800", "Unicode"),
    ],
)
def test_a_failing_translator_gives_a_notice_and_the_query_stays_as_it_is(gives, says, caplog):
    result = translate_query("a red wall", CHINESE, gives)
    (notice,), (line,) = result.notices, caplog.messages
    assert result.text == "a red wall" and "the translator failed (" in notice.sentence and "\n" not in notice.sentence
    assert says in line and "\n" not in line


def test_a_long_error_message_of_a_translator_is_cut(caplog):
    def fail(*_):
        raise OSError("no network\n" * 500)

    assert len(translate_query("a dog", CHINESE, fail).notices[0].sentence) < 200
    assert len(caplog.text) < 500 and caplog.text.count("\n") == 1


def test_the_setting_names_a_callable(tmp_path, monkeypatch):
    (tmp_path / "my_words.py").write_text("def to_zh(text, source, target): return target + text\nnumber = 3\n")
    (tmp_path / "broken_words.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PANOPTES_TRANSLATOR", "my_words:to_zh")
    assert translator()("a", "en", "zh") == "zha"
    monkeypatch.delenv("PANOPTES_TRANSLATOR")
    assert translator() is None and translator(" ") is None
    for setting in ("my_words", ":to_zh", "my_words:", "nowhere:x", "my_words:other", "my_words:number", "broken_words:x"):
        with pytest.raises(BadTranslator) as error:
            translator(setting)
        assert repr(setting) in str(error.value) and "module:callable" in str(error.value) and "\n" not in str(error.value)
    sys.modules.pop("my_words", None)


def test_the_engine_finds_by_the_translation_and_keeps_the_query(gallery):
    engine = Engine(gallery, FakeEncoder(config=CHINESE), translate=dictionary)
    result = engine.search(Query(text="a red wall", top=1))
    answer = result.as_json()
    assert answer["query"] == "a red wall" and json.loads(json.dumps(answer)) == answer
    assert answer["hits"][0]["id"] == ids_by_name(gallery)["red"]
    assert next(result_lines(answer)) == answer["notices"][0]


def test_a_photo_has_no_language(gallery):
    engine = Engine(gallery, FakeEncoder(config=CHINESE), translate=dictionary)
    assert engine.search(Query(image_id=ids_by_name(gallery)["red"])).notices == []


@pytest.fixture
def pages(gallery, tmp_path):
    from storage import Home

    texts = []

    def noting(text, source, target):
        texts.append(text)
        return dictionary(text, source, target)

    app = create_app(Home(tmp_path / "var"), FakeEncoder(config=CHINESE), translate=noting)
    return app.test_client(), texts


def test_api_and_page_show_notices_in_the_language_of_the_interface(pages):
    client, texts = pages
    (notice,) = client.get("/api/v1/search?q=blue").json["notices"]
    assert notice == 'fake was trained on Chinese only: searched for "蓝色", translated from English.'
    assert "searched for “蓝色”, translated from English" in client.get("/?q=blue&lang=en").text
    assert "只用中文训练过：已从英文译为“蓝色”后搜索" in client.get("/?q=blue&lang=zh").text
    assert "the translator failed" in client.get("/?q=green&lang=en").text
    assert "data-about" not in client.get("/?q=蓝色").text
    assert texts == ["blue", "blue", "green"]  # the page asked the same in both languages of the interface


def test_neither_page_nor_api_shows_why_a_translator_failed(gallery, tmp_path):
    from storage import Home

    def fail(*_):
        raise OSError("<script>alert(1)</script> https://key@example.com")

    client = create_app(Home(tmp_path / "var"), FakeEncoder(config=CHINESE), translate=fail).test_client()
    page = client.get("/?q=green&lang=en").text
    answer = client.get("/api/v1/search?q=green").text
    assert "alert" not in page and "key@" not in page + answer and "failed (OSError)" in answer


def test_measurements_in_an_unknown_language_get_a_notice(gallery):
    report = evaluate(gallery.open_snapshot(), FakeEncoder(config=CHINESE), rerank=(0,))
    assert report["notices"] == [
        "fake was trained on Chinese only: its figures for English are those of a language it doesn't know."
    ]
    assert report["notices"][0] in list(evaluation_lines(report))
    assert evaluate(gallery.open_snapshot(), FakeEncoder(), rerank=(0,))["notices"] == []


def test_every_language_has_a_name_on_the_page():
    assert set(NAMES) == set(CHINESE_NAMES)


def test_every_notice_has_its_sentence():
    assert Notice("unknown_language", "m", ("xx", "zh"), "en").sentence.startswith("m was trained on xx and Chinese only")
