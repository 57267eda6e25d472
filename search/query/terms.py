"""The query syntax: words, photos and captions, added up with weights and minus signs.

A text is one sentence unless a word begins with one of these signs:

    -people  -"red car"       avoid this word, or what is in quotation marks
    2*dog  0.5*"red car"      weigh it more, or less; -2*dog is possible too
    dog + cat                 a plus between blanks adds two terms; in a sentence it would mean both at once
    @17  @c17                 the photo, or the caption, with this id
    photo                     alone between signs: the photo that was given with the query, if there is one

The signs of other keyboards mean the same: full-width ones and other dashes (U+2212, U+2013 and so on) wherever the one above
would be a sign, and the quotation marks of other languages. Single ones quote too, a straight one only after a minus or a
weight, for elsewhere it is an apostrophe. The text of a term keeps the characters that were written.

A word after a minus or a weight begins with a letter and has only letters, digits, hyphens and apostrophes, up to the next
blank. In a quotation \\" and \\\\ are a quotation mark and a backslash. A backslash before a sign makes it a plain character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from search.errors import BadTerm

Kind = Literal["words", "photo", "image", "caption"]
LARGEST_WEIGHT = 100.0
MOST_TERMS = 32

_FOLDED = str.maketrans(
    {character: sign for sign, others in
     {"-": "－﹣−‐‑‒–—―", "*": "＊﹡∗", "+": "＋﹢", "@": "＠﹫", ".": "．", "c": "ｃ"}.items() for character in others}
    | {chr(ord("０") + digit): str(digit) for digit in range(10)}
)  # fmt: skip
"""One character for one, so that positions stay."""
_BACKSLASHES = "\\＼﹨"
_QUOTATION_MARKS = {
    '"': '"', "＂": '＂"', "“": "”“\"", "”": "”", "„": "“”„\"", "«": "»", "»": "«»", "‹": "›", "「": "」", "『": "』", "｢": "｣",
    "‘": "’‘'", "‚": "‘’",
}  # fmt: skip
"""What may end a quotation, by the mark that begins it."""
_APOSTROPHES = "'’"
_WEIGHT = r"\d+(?:\.\d+)?\*"


def _quotation_pattern(first: str, ends: str) -> str:
    """The pattern of a quotation; an apostrophe within a word does not end one in single marks."""
    apostrophes = "".join(one for one in ends if one in _APOSTROPHES)
    within = rf"|[{apostrophes}](?=\w)" if apostrophes else ""
    return rf"{first}(?:[^{ends}\\]|\\.{within})*[{ends}]"


_QUOTED = "|".join(
    [*map(_quotation_pattern, _QUOTATION_MARKS, _QUOTATION_MARKS.values()), "(?<=[-*])" + _quotation_pattern("'", "'’")]
)
_SIGNED = re.compile(
    rf"""(?P<minus>-)? (?:(?P<weight>\d+(?:\.\d+)?)\*)?
    (?: (?P<quoted>{_QUOTED}) | @(?P<caption>c?)(?P<id>[0-9]+) | (?P<word>[^\W\d_](?:[\w'’-]*\w)?) ) (?!\S)""",
    re.VERBOSE | re.DOTALL,
)
_OPEN_QUOTATION = re.compile(rf"(?:-(?:{_WEIGHT})?|{_WEIGHT})[{''.join(_QUOTATION_MARKS)}]")
_PLUS = re.compile(r"\+(?!\S)")
_CHUNK = re.compile(r"\S+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One part of a query.

    Attributes:
        kind: what it is.
        value: the text of "words", the id of an "image" or a "caption", None for the given "photo".
        weight: below 0 for what to avoid.
    """

    kind: Kind
    value: str | int | None = None
    weight: float = 1.0

    @property
    def text(self) -> str:
        """The text of words."""
        assert isinstance(self.value, str)  # by kind
        return self.value

    @property
    def id(self) -> int:
        """The id of an image or a caption."""
        assert isinstance(self.value, int)  # by kind
        return self.value

    def as_json(self) -> dict[str, object]:
        """Plain values, ready for `json.dumps`."""
        return {"kind": self.kind, "value": self.value, "weight": self.weight}


@dataclass(frozen=True)
class _Piece:
    """A piece of the text: a term, or text that belongs to a sentence with its neighbours, or a plus.

    Attributes:
        at: where it begins.
        text: what it says, if it is no term.
        term: the term that it is.
        plus: True for a plus between blanks; its text is the sign as it was written.
        stray: True for such a plus that has nothing to add.
        quoted: True for text in quotation marks.
    """

    at: int
    text: str = ""
    term: Term | None = None
    plus: bool = False
    stray: bool = False
    quoted: bool = False


def parse_terms(text: str, photo: bool = False, alone: bool = True) -> list[Term]:
    """Parse the terms of a query, at least one. A sentence without signs is one term with the same text.

    Args:
        text: not blank.
        photo: True if a photo was given with the query, which the text may name.
        alone: True if the query consists of the text only.

    Raises:
        BadTerm: a quotation has no end, a weight is out of range, there are too many terms, a plus has nothing to add, or
            there is only what to avoid. It names the position in the text.
    """
    pieces = _resolve_pluses(list(_pieces(text)))
    if all(piece.term is None and not piece.plus for piece in pieces):
        return [Term("words", _sentence(pieces, text))]
    terms = list(_terms(pieces, text))
    if photo:
        terms = [Term("photo", None, t.weight) if t.kind == "words" and t.value == "photo" else t for t in terms]
    if len(terms) > MOST_TERMS:
        raise BadTerm(text, 0, f"there are {len(terms)} terms, and {MOST_TERMS} is the most")
    if alone and all(term.weight < 0 for term in terms):
        raise BadTerm(
            text,
            pieces[0].at,
            "there is only what to avoid: add what to look for, or put a backslash before "
            "the minus to search for it as it stands",
        )
    return terms


def as_plain(text: str) -> str:
    """Write a query that means exactly this text, whatever signs it has."""
    try:
        plain = parse_terms(text) == [Term("words", text)]
    except BadTerm:
        plain = False
    return text if plain else _quotation(text)


def positive_words(terms: Iterable[Term]) -> str:
    """The words to look for, as one sentence; "" if there are none."""
    return " ".join(term.text for term in terms if term.kind == "words" and term.weight > 0)


def _pieces(text: str) -> Iterator[_Piece]:
    at, folded = 0, text.translate(_FOLDED)
    while chunk := _CHUNK.search(text, at):
        piece, at = _piece(text, folded, chunk.start(), chunk.end())
        yield piece


def _piece(text: str, folded: str, start: int, end: int) -> tuple[_Piece, int]:
    """The piece that begins at `start`, and where it ends. The next blank is at `end`; `folded` has the signs of ASCII."""
    if text[start] in _BACKSLASHES and _is_sign(folded, start + 1):
        return _Piece(start, text[start + 1 : end]), end
    if _PLUS.match(folded, start):
        return _Piece(start, text[start], plus=True), end
    signed = _SIGNED.match(folded, start)
    if signed is None:
        if _OPEN_QUOTATION.match(folded, start):
            raise BadTerm(text, start, "the quotation that begins here does not end before a blank")
        return _Piece(start, text[start:end]), end
    if signed["minus"] or signed["weight"] or signed["id"]:
        return _Piece(start, term=_term(signed, text)), signed.end()
    return _Piece(start, text[start : signed.end()], quoted=signed["quoted"] is not None), signed.end()


def _is_sign(folded: str, at: int) -> bool:
    """True if what begins at `at` would not be read as plain text."""
    while folded[at : at + 1] and folded[at] in _BACKSLASHES:
        at += 1
    if not folded[at : at + 1].strip():
        return False
    signed = _SIGNED.match(folded, at)
    return bool(_PLUS.match(folded, at) or _OPEN_QUOTATION.match(folded, at) or (signed and signed["word"] != signed[0]))


def _term(signed: re.Match, text: str) -> Term:
    weight = float(signed["weight"] or 1)
    if not 0 < weight <= LARGEST_WEIGHT:
        raise BadTerm(text, signed.start(), f"a weight lies above 0 and is at most {LARGEST_WEIGHT:g}")
    if signed["minus"]:
        weight = -weight
    if signed["id"]:
        return Term("caption" if signed["caption"] else "image", _id(signed, text), weight)
    quoted, word = (text[slice(*signed.span(group))] for group in ("quoted", "word"))
    words = word or _ESCAPED.sub(r"\1", quoted[1:-1])
    if not words.strip():
        raise BadTerm(text, signed.start(), "there is nothing in the quotation")
    return Term("words", words, weight)


def _id(signed: re.Match, text: str) -> int:
    if len(signed["id"]) > 18:
        raise BadTerm(text, signed.start(), "that is too large for an id")
    return int(signed["id"])


def _resolve_pluses(pieces: list[_Piece]) -> list[_Piece]:
    """Turn pluses that add nothing into text; in a query with other signs that is a mistake."""
    return [
        _Piece(piece.at, piece.text, stray=True) if piece.plus and not _adds_up(pieces, i) else piece
        for i, piece in enumerate(pieces)
    ]


def _adds_up(pieces: list[_Piece], at: int) -> bool:
    if at in (0, len(pieces) - 1):
        return False
    before, after = pieces[at - 1], pieces[at + 1]
    return not before.plus and not after.plus and not (before.text[-1:].isdigit() and after.text[:1].isdigit())


def _terms(pieces: list[_Piece], text: str) -> Iterator[Term]:
    """The terms; all text between two pluses is one sentence, at the position of its first word."""
    for group in _between_pluses(pieces):
        words = [piece for piece in group if piece.term is None]
        for piece in group:
            if piece.term is not None:
                yield piece.term
            elif piece is words[0]:
                stray = next((word for word in words if word.stray), None)
                if stray is not None:
                    raise BadTerm(text, stray.at, "this plus has nothing to add")
                yield Term("words", _sentence(words, None))


def _between_pluses(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    group: list[_Piece] = []
    for piece in pieces:
        if piece.plus:
            yield group
            group = []
        else:
            group.append(piece)
    yield group


def _sentence(words: list[_Piece], text: str | None) -> str:
    """Join words as they were written; a single quotation loses its marks."""
    if len(words) == 1 and words[0].quoted:
        inside = _ESCAPED.sub(r"\1", words[0].text[1:-1])
        return inside if inside.strip() else words[0].text
    joined = " ".join(piece.text for piece in words)
    return text if text is not None and joined.split() == text.split() else joined


def _quotation(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
