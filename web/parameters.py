"""The parameters of requests: how each is read, its limits, and what the API's document says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from werkzeug.datastructures import MultiDict

from encoder.inputs.image_formats import READABLE
from search.query import cursor
from search.query.query import LARGEST_ID, LONGEST_TEXT, MODES, TARGETS
from search.retrieval.near_duplicates import SAME
from storage.filtering import grammar
from storage.home import NAME
from web.errors import BadParameter
from web.limits import LARGEST_UPLOAD_MB

MOST_TOP = 500
MOST_OFFSET = 10**9
MOST_LISTED = 500


@dataclass(frozen=True)
class Parameter:
    """A parameter of a request.

    Attributes:
        name: The name in the request.
        meaning: A line for people.
        required: True if a request needs it. The view checks that, with an error of its own.
        example: A value, for the document.
    """

    name: str
    meaning: str
    required: bool = field(default=False, kw_only=True)
    example: str | None = field(default=None, kw_only=True)

    @property
    def schema(self) -> dict:
        """The values that are allowed, as a JSON Schema."""
        return {}


@dataclass(frozen=True)
class Text(Parameter):
    """Text. Its limits are for the document; who uses the text checks them."""

    longest: int | None = None
    pattern: str | None = None

    def read(self, values: Mapping[str, str]) -> str | None:
        """The text without blanks around it; None if there is none."""
        return values.get(self.name, "").strip() or None

    @property
    def schema(self) -> dict:
        limits = {"maxLength": self.longest, "pattern": self.pattern}
        return {"type": "string"} | {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class Code(Text):
    """Text that must match the pattern."""

    def read(self, values: Mapping[str, str]) -> str | None:
        """The code; None if there is none.

        Raises:
            BadParameter: It does not match the pattern.
        """
        code = super().read(values)
        if code is not None and self.pattern is not None and not re.fullmatch(self.pattern, code):
            raise BadParameter(f"{self.name} is {code[:40]!r}: it must be a code such as {self.example}.")
        return code


@dataclass(frozen=True)
class Texts(Parameter):
    """A field that may be there several times: at most `most` texts of at most `longest` characters."""

    most: int = 100
    longest: int = LONGEST_TEXT

    def read(self, values: MultiDict) -> list[str]:
        """The texts that aren't blank, without blanks around them.

        Raises:
            BadParameter: There are too many, or one is too long.
        """
        texts = [text for text in map(str.strip, values.getlist(self.name)) if text]
        if len(texts) > self.most:
            raise BadParameter(f"{self.name} is there {len(texts)} times: {self.most} is the most.")
        if (longest := max(map(len, texts), default=0)) > self.longest:
            raise BadParameter(f"A {self.name} is {longest} characters long: {self.longest} is the most.")
        return texts

    @property
    def schema(self) -> dict:
        return {"type": "array", "maxItems": self.most, "items": {"type": "string", "maxLength": self.longest}}


@dataclass(frozen=True)
class Choice(Parameter):
    """One of several words; the first is the default. `search.Query` refuses other words."""

    options: tuple[str, ...]

    def read(self, values: Mapping[str, str]) -> str:
        """The word, unchecked."""
        return values.get(self.name, self.options[0])

    @property
    def schema(self) -> dict:
        return {"enum": list(self.options), "default": self.options[0]}


@dataclass(frozen=True)
class Integer(Parameter):
    """A whole number from `least` to `most`."""

    least: int = 0
    most: int = LARGEST_ID

    def read(self, values: Mapping[str, str]) -> int | None:
        """The number; None if nothing is given.

        Raises:
            BadParameter: It is no whole number, or out of range.
        """
        raw = values.get(self.name, "").strip()
        if not raw:
            return None
        number = int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= 19 else None
        if number is None or not self.least <= number <= self.most:
            shown = raw if len(raw) <= 40 else f"{raw[:40]}..."
            raise BadParameter(f"{self.name} is {shown!r}: it must be a whole number from {self.least} to {self.most}.")
        return number

    @property
    def schema(self) -> dict:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class IntegerWithDefault(Integer):
    """A whole number from `least` to `most` that has a default."""

    default: int = 0

    def read(self, values: Mapping[str, str], default: int | None = None) -> int:
        """The number; `default`, or else the parameter's own default, if nothing is given.

        Raises:
            BadParameter: It is no whole number, or out of range.
        """
        number = super().read(values)
        if number is None:
            return self.default if default is None else default
        return number

    @property
    def schema(self) -> dict:
        return super().schema | {"default": self.default}


@dataclass(frozen=True)
class Cosine(Parameter):
    """A cosine above 0, or "true" for the usual threshold."""

    def read(self, values: Mapping[str, str]) -> float | None:
        """The cosine; SAME for "true", None for "false" or nothing.

        Raises:
            BadParameter: It is none of these.
        """
        raw = values.get(self.name, "").strip().lower()
        if raw in ("", "false"):
            return None
        if raw == "true":
            return SAME
        number = float(raw) if re.fullmatch(r"[01](\.[0-9]{1,9})?", raw) else 0.0
        if not 0 < number <= 1:
            raise BadParameter(f"{self.name} is {raw[:40]!r}: it must be true, false, or a cosine above 0 and at most 1.")
        return number

    @property
    def schema(self) -> dict:
        return {"anyOf": [{"type": "boolean"}, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}], "default": False}


@dataclass(frozen=True)
class File(Parameter):
    """A file in a form; `uploads` reads it."""

    @property
    def schema(self) -> dict:
        return {"type": "string", "format": "binary"}


Q = Text(
    "q",
    "A sentence in either language, or terms with signs, such as `beach -people` or `2*dog + @17`.",
    LONGEST_TEXT,
    example="a dog on the beach",
)
IMAGE_ID = Integer(
    "image_id", "A photo of the collection, added to q where both are given: finds what is like it, and leaves itself out."
)
TO = Choice("to", "What to find", TARGETS)
TOP = IntegerWithDefault("top", "How many hits at most", 1, MOST_TOP, 10)
RERANK = IntegerWithDefault(
    "rerank", "How many of the first stage's best the cross-modal encoder reads; 0 for none", 0, 256, 32
)
BUDGET = Integer(
    "budget_ms",
    "Re-rank only as many of these as can be read within so many milliseconds of the query's "
    "beginning. Not with an offset: the cursor remembers how many these were.",
    0,
    60_000,
)
MODE = Choice("mode", "Find by meaning, by the words of the captions, or by the ranks of both", MODES)
WHERE = Text("where", "A filter on what may be found, such as `width >= 640 and language = 'zh'`", grammar.LONGEST)
OFFSET = IntegerWithDefault("offset", "How many hits to pass over", 0, MOST_OFFSET, 0)
CURSOR = Text("cursor", "Instead of an offset: the cursor of the page before", cursor.LONGEST)
FOLD = Cosine("fold_duplicates", "Show near-duplicates once: true, or the cosine from which on two count as one")
OPTIONS = (TO, TOP, RERANK, BUDGET, MODE, WHERE, OFFSET, CURSOR, FOLD)
"""The options of every search."""

IMAGE = File("image", f"A photo of at most {LARGEST_UPLOAD_MB} MB: {READABLE}", required=True)
ADDED_WORDS = Text("q", "Words that are added to the photo, which they may call `photo`, as in `2*snow + photo`", LONGEST_TEXT)
ADDED_PHOTO = Integer("image_id", "A photo of the collection that is added to the photo")
SENTENCE = Text(
    "q",
    "A sentence in either language, or terms with signs, of which the words to look for are read.",
    LONGEST_TEXT,
    required=True,
    example="a dog on the beach",
)
PHOTO_ID = Integer("id", "A photo of the collection", required=True)
NAME_IN_PATH = Text("name", "The name of a collection", pattern=f"^{NAME.pattern}$")
PHOTO_IN_PATH = Integer("image_id", "A photo of the collection")
CAPTIONS = Texts("caption", "A sentence about the photo; may be there several times")
LANGUAGE = Code(
    "lang",
    "The language of the captions, told by their script where it isn't given",
    pattern="^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})?$",
    example="en",
)
RUN_IN_PATH = Integer("run_id", "An index run of the collection")
LIMIT = IntegerWithDefault("limit", "How many at most", 1, MOST_LISTED, 20)
LIKE = Integer("like", "A photo of the collection, for the page")
AT = IntegerWithDefault("at", "The rank that a photo was found at, for the page", 1, MOST_OFFSET, 1)


def search_options(values: Mapping[str, str], top: int | None = None) -> dict:
    """The keyword arguments of a `search.Query` that a request of the page gives.

    Args:
        values: The request's parameters.
        top: The default of `top`; None for the API's.

    Raises:
        BadParameter: One can't be read, or is out of range.
    """
    return {
        "to": TO.read(values),
        "top": TOP.read(values, top),
        "rerank": RERANK.read(values),
        "mode": MODE.read(values),
        "where": WHERE.read(values),
        "offset": OFFSET.read(values),
        "cursor": CURSOR.read(values),
        "fold": FOLD.read(values),
    }


def api_options(values: Mapping[str, str]) -> dict:
    """The keyword arguments of a `search.Query` that an API request gives: also `budget_ms`, which needs paging by cursor.

    Raises:
        BadParameter: One can't be read, or is out of range.
    """
    return search_options(values) | {"budget_ms": BUDGET.read(values)}
