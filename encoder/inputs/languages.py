"""The language of a text, told by its script and, in Latin letters, by its words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from encoder.inputs.chinese import HAN

__all__ = ["UNDETERMINED", "bank_language", "language_of", "query_language"]

UNDETERMINED = "und"
"""The code of a language that can't be told."""
_LANGUAGES = {
    "ARABIC": "ar", "ARMENIAN": "hy", "BENGALI": "bn", "BOPOMOFO": "zh", "CYRILLIC": "ru", "DEVANAGARI": "hi", "ETHIOPIC": "am",
    "GEORGIAN": "ka", "GREEK": "el", "GUJARATI": "gu", "GURMUKHI": "pa", "HANGUL": "ko", "HEBREW": "he", "HIRAGANA": "ja",
    "KANNADA": "kn", "KATAKANA": "ja", "KHMER": "km", "LAO": "lo", "MALAYALAM": "ml", "MONGOLIAN": "mn", "MYANMAR": "my",
    "ORIYA": "or", "SINHALA": "si", "TAMIL": "ta", "TELUGU": "te", "THAI": "th", "TIBETAN": "bo",
}  # fmt: skip
"""The language that is most often written in a script, by the script's name in Unicode."""
_LETTERS = {
    "uk": "іїєґ", "be": "ў", "sr": "ђјљњћџ", "kk": "әқңұһ", "fa": "پچژگ", "ur": "ٹڈڑںے",
    "vi": "đơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "pl": "łąęśźż", "cs": "řěů", "tr": "ğışİ", "hu": "őű", "ro": "ățșţ", "da": "øæ", "sv": "å", "is": "ðþ", "lv": "āēģķļņ",
}  # fmt: skip
"""Letters by which a language is told among those of the same script."""
_ENGLISH = frozenset((
    "the", "and", "with", "their", "while", "through", "wearing", "she", "his", "from", "this", "that", "woman", "people",
    "standing", "sitting", "two", "three", "white", "blue", "green", "girl", "boy", "front", "behind", "around",
    "holding", "near", "playing", "walking", "riding", "looking", "child", "black", "water", "outside", "street",
))  # fmt: skip
"""Words that English sentences have and those of its neighbours have not. Two of them are enough."""
_FOREIGN = frozenset((
    "el", "la", "los", "las", "un", "una", "unos", "unas", "del", "al", "y", "con", "en", "de", "por", "para", "que",
    "le", "les", "une", "des", "du", "au", "aux", "et", "avec", "dans", "sur", "qui", "il", "lo", "gli", "uno", "di",
    "da", "che", "per", "der", "das", "ein", "eine", "einen", "auf", "mit", "und", "von", "im", "um", "uma", "na", "em",
    "com", "het", "een", "van", "op", "met", "te",
))  # fmt: skip
"""Words of which each is frequent in a neighbour of English. A model's vocabulary may well have them."""
_WORD = re.compile(r"(?<!['’])\b[^\W\d_]+(?:['’][^\W\d_]+)*")
_ABBREVIATION = re.compile(r"[b-df-hj-np-tv-xz]+")
FEWEST_WORDS = 3
"""Of a caption: with fewer words it is English, for a name or a title is easily taken for another language."""
SURE_LETTERS = 0.5
MARGIN, CAPTION_MARGIN, LISTED_MARGIN, ENGLISH_MARGIN = 1.0, 2.0, 2.0, 4.0
"""How many powers of ten likelier another language has to be than English: of a query, of a caption, of words that are in the
English list, and of words that are frequent there, as in la la land."""
ENGLISH_WORD, IN_ENGLISH_LIST = -6.5, -7.4
"""Decadic logarithms of frequencies: a single word above the first is English, one above the second is in the English list."""


def language_of(text: str) -> str:
    """The language of a caption: an ISO 639 code such as "en", or "und".

    It is told carefully, since another language is another caption: what may be English is.
    """
    by_script = _by_script(text)
    if by_script is not None:
        return by_script
    words = [word for word in dict.fromkeys(_words(text)) if len(word) > 1]
    if len(words) < FEWEST_WORDS or _is_plain_english(words):
        return "en"
    return _by_words(words, CAPTION_MARGIN)


def query_language(text: str, has_word: Callable[[str], bool] = lambda word: False) -> str | None:
    """The language of a query: an ISO 639 code; None if it has no letter (a number is in every language).

    Args:
        text: The query.
        has_word: Whether the model's vocabulary has a word as a whole. What consists of such words only is English, unless one
            of them is a frequent word of another language; then no list of words has to be read.
    """
    if not any(character.isalpha() for character in text):
        return None
    by_script = _by_script(text)
    if by_script is not None:
        return by_script
    words = _words(text)
    if _is_plain_english(words) or (not _FOREIGN & {*words} and all(map(has_word, words))):
        return "en"
    return _by_words(words, MARGIN)


def bank_language(text: str) -> str | None:
    """Whether a sentence is compared with the Chinese sentences of a query bank, "zh", or with the English ones, "en".

    None if it has no letter.
    """
    if not any(character.isalpha() for character in text):
        return None
    return "zh" if HAN.search(text) else "en"


def _by_script(text: str) -> str | None:
    """The language by script; None if the text is in Latin letters, or in none."""
    if text.isascii():
        return None
    scripts = Counter(_script(character) for character in unicodedata.normalize("NFKC", text) if character.isalpha())
    if HAN.search(text):
        kana = re.search("[\u3041-\u3096\u30a1-\u30fa]", text.replace("の", ""))  # Chinese signs have that one too
        return "ja" if kana else "ko" if scripts["HANGUL"] > scripts["CJK"] else "zh"
    script, count = max(scripts.items(), key=lambda item: item[1], default=("LATIN", 0))
    if script == "LATIN" or scripts["LATIN"] >= count:
        return None
    return _by_letters(text.lower()) or _LANGUAGES.get(script, UNDETERMINED)


def _script(character: str) -> str:
    return unicodedata.name(character, "LATIN").partition(" ")[0].partition("-")[0]


def _by_letters(text: str) -> str | None:
    return next((language for language, letters in _LETTERS.items() if not {*letters}.isdisjoint(text)), None)


def _words(text: str) -> list[str]:
    """The words of a text in lower case, without abbreviations, which have no language."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'"))
    return [word.removesuffix("'s") for word in found if not _ABBREVIATION.fullmatch(word)]


def _is_plain_english(words: Sequence[str]) -> bool:
    return len(_ENGLISH & {*words}) >= 2


def _by_words(words: Sequence[str], margin: float) -> str:
    """The likeliest language of words in Latin letters, each as likely as it is frequent; "en" unless another is by far."""
    from encoder.inputs.word_lists import OTHERS, frequency

    if not words:
        return "en"
    english = [frequency(word, "en") for word in words]
    strange = [word for word, known in zip(words, english, strict=True) if known < IN_ENGLISH_LIST]
    by_letters = _by_letters(" ".join(strange))
    if by_letters is not None and len(strange) >= SURE_LETTERS * len(words):
        return by_letters
    if min(english) > ENGLISH_WORD:
        if not _FOREIGN & {*words}:
            return "en"
        margin = ENGLISH_MARGIN
    elif not strange:
        margin = max(margin, LISTED_MARGIN)
    likely = {language: sum(frequency(word, language) for word in words) for language in OTHERS}
    best = max(OTHERS, key=lambda language: likely[language])
    return best if likely[best] - sum(english) > margin else "en"
