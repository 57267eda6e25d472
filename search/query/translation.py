"""Queries in a language that the model was not trained on: say so, or translate them with a translator that is plugged in."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from encoder.inputs.languages import query_language
from search.errors import BadTranslator
from search.query.query import clean

if TYPE_CHECKING:
    from encoder.api import EncoderConfig, Vocabulary

log = logging.getLogger(__name__)
Translate = Callable[[str, str, str], str]
"""(text, source, target) -> translated text; source and target are language codes such as "en"."""

SETTING = "PANOPTES_TRANSLATOR"
NAMES = {
    "am": "Amharic", "ar": "Arabic", "be": "Belarusian", "bn": "Bengali", "bo": "Tibetan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian", "fr": "French", "gu": "Gujarati",
    "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "hy": "Armenian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "km": "Khmer", "kn": "Kannada", "ko": "Korean", "lo": "Lao", "lv": "Latvian",
    "ml": "Malayalam", "mn": "Mongolian", "my": "Burmese", "nl": "Dutch", "or": "Odia", "pa": "Punjabi", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "si": "Sinhala", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "und": "another language", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
LONGEST_PROBLEM = 200
MOST_UNKNOWN = 5
"""How many unknown words a notice names."""
SENTENCES = {
    "unknown_language": "{model} was trained on {known} only, and the query is {language}: what it finds may have little to do "
    "with it. Ask in {known}, or name a translator in " + SETTING + ".",
    "translated": '{model} was trained on {known} only: searched for "{text}", translated from {language}.',
    "translator_failed": "{model} was trained on {known} only, the query is {language}, and the translator failed ({kind}): "
    "searched for the query as it is.",
    "nothing_known": "{model} knows nothing of {words}: what it finds has nothing to do with the query.",
    "some_unknown": "{model} does not know {words}: what it finds may not fit that part of the query.",
    "measured": "{model} was trained on {known} only: its figures for {language} are those of a language it doesn't know.",
}


@dataclass(frozen=True)
class Notice:
    """Something that the user should know about an answer.

    Attributes:
        code: a key of SENTENCES.
        model: the name of the model.
        known: codes of the languages that the model was trained on.
        language: the code of the query's language; "" where it says nothing of languages.
        values: what else the sentence needs.
    """

    code: str
    model: str
    known: tuple[str, ...]
    language: str
    values: dict[str, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The notice in English."""
        known = " and ".join(NAMES.get(code, code) for code in self.known)
        return SENTENCES[self.code].format(
            model=self.model, known=known, language=NAMES.get(self.language, self.language), **self.values
        )


@dataclass(frozen=True)
class TranslatedQuery:
    """The text to search for, and the notices about it."""

    text: str
    notices: list[Notice] = field(default_factory=list)


def translator(setting: str | None = None) -> Translate | None:
    """Load the callable that PANOPTES_TRANSLATOR names as module:callable; None if it is not set.

    Args:
        setting: instead of the variable's value.

    Raises:
        BadTranslator: there is no such callable.
    """
    setting = os.environ.get(SETTING, "") if setting is None else setting
    if not setting.strip():
        return None
    module, _, name = setting.strip().partition(":")
    if not module or not name:
        raise BadTranslator(setting, "that is not module:callable")
    try:
        loaded: Translate = getattr(importlib.import_module(module), name)
    except Exception as error:  # somebody else's module may fail in any way when it is imported
        raise BadTranslator(setting, f"that can't be loaded ({_one_line(error)})") from error
    if not callable(loaded):
        raise BadTranslator(setting, "that can't be called")
    return loaded


def translate_query(
    text: str, config: EncoderConfig, translate: Translate | None = None, vocabulary: Vocabulary | None = None
) -> TranslatedQuery:
    """Choose what to search for: the text, or its translation if the model was not trained on its language.

    A query is answered even if the translator fails: then with the text as it is, and a notice. There is a notice, too, about
    what the vocabulary, where it is given, doesn't know.
    """
    language = query_language(text, vocabulary.has_word) if vocabulary is not None else query_language(text)
    if language is None or language in config.languages or not config.languages:
        return TranslatedQuery(text, _unknown(text, config, vocabulary))

    def notice(code: str, **values: str) -> list[Notice]:
        return [Notice(code, config.name, tuple(config.languages), language, values)]

    if translate is None:
        return TranslatedQuery(text, notice("unknown_language"))
    try:
        translated = clean(translate(text, language, config.languages[0]))
    except Exception as error:  # somebody else's code; only the log may tell what it said
        log.warning("The translator failed on %r: %s", text, _one_line(error))
        return TranslatedQuery(text, notice("translator_failed", kind=type(error).__name__))
    return TranslatedQuery(translated, notice("translated", text=translated) + _unknown(translated, config, vocabulary))


def _unknown(text: str, config: EncoderConfig, vocabulary: Vocabulary | None) -> list[Notice]:
    """A notice about what the vocabulary doesn't know, if there is any such thing."""
    parts, all_of_it = ([], False) if vocabulary is None else vocabulary.unknown_in(text)
    if not parts:
        return []
    words = ", ".join(parts[:MOST_UNKNOWN]) + (", …" if len(parts) > MOST_UNKNOWN else "")
    code = "nothing_known" if all_of_it else "some_unknown"
    return [Notice(code, config.name, tuple(config.languages), "", {"words": words})]


def measured_notices(languages: Iterable[str], config: EncoderConfig) -> list[Notice]:
    """The notices about measurements in these languages, one for each that the model was not trained on."""
    return [Notice("measured", config.name, tuple(config.languages), one) for one in languages if one not in config.languages]


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": .")[:LONGEST_PROBLEM]
