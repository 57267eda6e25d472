"""Languages are told by script and words. What may be English is English, above all among captions."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.inputs.languages import bank_language, language_of, query_language
from encoder.inputs.word_lists import COUNTED, LISTED, RAREST, frequencies, frequency

SCRIPTS = {
    "собака на пляже": "ru", "пес біжить": "uk", "강아지": "ko", "韓國의 강아지": "ko", "かわいい": "ja",
    "イヌ": "ja", "犬が走る": "ja",
    "ｲﾇ": "ja", "الكلب": "ar", "سگ پشمالو در چمن": "fa", "สุนัข": "th", "σκύλος": "el", "כלב": "he", "कुत्ता": "hi", "ძაღლი": "ka",
    "შავი კატა": "ka", "ውሻ": "am", "ꦱꦺꦒꦮꦺꦴꦤ꧀": "und", "一只狗": "zh", "一隻狗": "zh", "东京 2024": "zh", "DVD 光盘": "zh",
    "優の良品": "zh",
    "ㄍㄡˇ": "zh",
}  # fmt: skip
FOREIGN = {
    "es": ["perro", "un niño", "el gato negro", "un perro en la playa", "una mujer camina por la calle", "coche rojo"],
    "fr": ["chien", "la plage", "le chat noir", "un chien sur la plage", "deux enfants jouent au football", "voiture rouge"],
    "de": ["Hund", "Katze", "zwei Hunde", "ein Hund am Strand", "das Mädchen trägt ein blaues Kleid", "weißes Pferd"],
    "it": ["gatto", "due cani", "il gatto nero", "un cane sulla spiaggia", "una donna cammina per strada", "macchina rossa"],
    "pt": ["criança", "dois cachorros", "o gato preto", "um cachorro na praia", "uma mulher anda na rua", "carro vermelho"],
    "nl": ["hond", "twee honden", "het strand", "een hond op het strand", "een vrouw loopt over straat", "spelende kinderen"],
    "vi": ["con chó trên bãi biển"], "pl": ["mała dziewczynka"], "sv": ["en hund på stranden"], "tr": ["kırmızı araba"],
}  # fmt: skip
ENGLISH = [
    "a dog", "dog", "two dogs play on the beach", "the quick brown fox", "a café in Paris", "café", "the Eiffel Tower",
    "a piñata", "pyjamas", "grey colour", "a jalapeño pizza", "sushi", "kind", "strand", "boom", "a chihuahua and a dachshund",
    "A man in Łódź walks his dog", "El Niño on the coast", "taco", "t-shirt", "rock 'n' roll", "asdfgh", "DSC0012",
    "la la land",
    "a VW bus", "DVD", "LCD", "the boy's kite", "man 's hat", "frisbees", "dog собака cat bird", "ＤＯＧ", "a μ on the wall",
]  # fmt: skip


@pytest.mark.parametrize(("text", "language"), SCRIPTS.items())
def test_a_script_tells_the_language(text, language):
    assert query_language(text) == language and language_of(text) == language


@pytest.mark.parametrize(("language", "text"), [(language, text) for language, texts in FOREIGN.items() for text in texts])
def test_words_in_latin_letters_tell_the_language(text, language):
    assert query_language(text) == language


@pytest.mark.parametrize("text", ENGLISH)
def test_what_may_be_english_is_english(text):
    assert query_language(text) == "en" and language_of(text) == "en"


@pytest.mark.parametrize("text", ["", "2024", "😀", "...", "1 + 1"])
def test_a_query_without_letters_is_in_no_language(text):
    assert query_language(text) is None and bank_language(text) is None and language_of(text) == "en"


def test_a_caption_needs_three_words_to_be_in_another_language():
    assert [language_of(text) for text in ("perro", "el perro", "un perro en la playa")] == ["en", "en", "es"]


def test_words_that_the_vocabulary_has_are_english_without_a_look_into_lists():
    code = (
        "import sys; from encoder.inputs.languages import query_language as q; "
        "print(q('a corgi', lambda word: True), q('a man and his woman'), 'encoder.inputs.word_lists' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["en", "en", "False"]
    assert query_language("perro", lambda word: True) == "en"
    assert query_language("un perro", lambda word: True) == "es"  # "un" is no English word, whatever the vocabulary has


def test_the_bank_has_two_languages():
    assert [bank_language(text) for text in ("狗", "a dog", "собака", "perro", "17")] == ["zh", "en", "en", "en", None]


@given(st.text())
def test_any_text_has_a_language(text):
    assert (query_language(text) is None) == (not any(map(str.isalpha, text))) and language_of(text)


def test_words_are_found_wherever_they_stand_in_a_list():
    assert -4 < frequency("perro", "es") < -3 and frequency("perro", "en") == RAREST < LISTED <= frequency("alp", "en")
    assert all(frequency(word, "en") > RAREST for word in ("a", "dog", "zebra", "it's"))
    assert frequency("het", "nl") > -3 and frequency("über", "de") > -5 and frequency("útil", "es") > -6
    for word in ("", "zzzzzz", "'", "\udcff", "狗"):
        assert set(frequencies(word).values()) == {RAREST}


def test_british_spellings_and_accents_are_english():
    for word in ("colour", "pyjamas", "grey", "organise", "centre", "aluminium", "café"):
        assert frequency(word, "en") > -7, word
    assert set(COUNTED) == set(frequencies("dog"))
