"""The language of filters, such as `width >= 640 and album = 'summer'`: from the text to an expression, without any data.

expression = condition, combined with `and`, `or`, `not` and parentheses
condition  = column (= | != | < | <= | > | >=) (value | column)
           | column [not] in (value, ...)       column [not] like 'a%_'
           | column [not] contains 'text'       column is [not] null
value      = 'text' or "text" (the quotation mark doubled inside)   640  -1.5  2MB   true  false
           | 2024  2024-05  2024-05-01  2024-05-01 12:30   (dates: all of that month, day or minute)
column     = name, or `any name` in backticks (a backtick doubled inside)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast
from typing import Literal as OneOf

import lark

from storage.errors import BadFilter

LONGEST = 2000
UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9}

_GRAMMAR = r"""
?expression: conjunction (_OR conjunction)*            -> any_of
?conjunction: condition (_AND condition)*              -> all_of
?condition: _NOT condition                             -> negation
    | "(" expression ")"                               -> inside
    | column OPERATOR (value | column)                 -> comparison
    | column _NOT _IN "(" value ("," value)* ")"       -> not_member
    | column _IN "(" value ("," value)* ")"            -> member
    | column _NOT MATCHER string                       -> no_match
    | column MATCHER string                            -> match
    | column _IS _NOT _NULL                            -> known
    | column _IS _NULL                                 -> unknown
column: NAME | QUOTED_NAME
?value: string | NUMBER -> number | TRUTH -> truth | DATE -> date
string: STRING
OPERATOR: "==" | "=" | "!=" | "<>" | "<=" | "<" | ">=" | ">"
MATCHER.3: /(like|contains)\b/i
TRUTH.3: /(true|false)\b/i
_AND.3: /and\b/i
_OR.3: /or\b/i
_NOT.3: /not\b/i
_IN.3: /in\b/i
_IS.3: /is\b/i
_NULL.3: /null\b/i
DATE.2: /\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?)?(?![\w-])/
NUMBER.1: /-?\d+(\.\d+)?([eE][+-]?\d+)?([kKmMgG][bB])?(?![\w.])/
STRING: /'(?:[^']|'')*'|"(?:[^"]|"")*"/
NAME: /[^\W\d]\w*(\.\w+)*/
QUOTED_NAME: /`(?:[^`]|``)+`/
%import common.WS
%ignore WS
"""
_TERMINAL_NAMES = {
    "NAME": "a column", "QUOTED_NAME": "a column", "STRING": "a text in quotation marks", "NUMBER": "a number",
    "DATE": "a date", "TRUTH": "true or false", "OPERATOR": "a comparison", "MATCHER": "like or contains", "LPAR": "'('",
    "RPAR": "')'", "COMMA": "','", "_AND": "and", "_OR": "or", "_NOT": "not", "_IN": "in", "_IS": "is", "_NULL": "null",
    "$END": "the end",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column as it was named, and its position in the text."""

    name: str
    at: int


@dataclass(frozen=True)
class Value:
    """What a column is compared with, and its position in the text.

    `value` is a str, a number, or a bool. For a date it is the period [start, end) that the date names, two datetimes without
    a zone.
    """

    kind: OneOf["text", "number", "truth", "date"]
    value: Any
    at: int


@dataclass(frozen=True)
class Compare:
    """A comparison; `operator` is one of = < <= > >=."""

    column: Column
    operator: str
    other: Value | Column


@dataclass(frozen=True)
class In:
    """The column has one of the values."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Match:
    """The column has such a text, whatever the case of its letters.

    `how` is "like", where % stands for any text and _ for any character, or "contains".
    """

    column: Column
    how: str
    text: str


@dataclass(frozen=True)
class IsNull:
    """The column has no value."""

    column: Column


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Expression


@dataclass(frozen=True)
class BoolOp:
    """All parts hold (`every`), or at least one of them."""

    parts: tuple[Expression, ...]
    every: bool


Expression = Compare | In | Match | IsNull | Not | BoolOp


def parse_filter(text: str) -> Expression:
    """Parse a filter.

    Raises:
        BadFilter: The text is no filter; the error names the position.
    """
    if not text.strip():
        raise BadFilter(text, 0, "it is empty")
    if len(text) > LONGEST:
        raise BadFilter(text, LONGEST, f"it has {len(text)} characters, and {LONGEST} is the most")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadFilter(text, 0, "it is not valid Unicode")
    try:
        return cast(Expression, _parser().parse(text))  # made by the transformer; lark declares a tree
    except _NoSuchDate as error:
        raise BadFilter(text, error.at, "there is no such date") from error
    except lark.UnexpectedToken as error:
        at = len(text) if error.token.type == "$END" else _position(error.token)
        raise BadFilter(text, at, f"expected {_joined_names(error.accepts)}") from error
    except lark.UnexpectedCharacters as error:
        raise BadFilter(text, error.pos_in_stream, f"expected {_joined_names(error.allowed)}") from error


class _NoSuchDate(Exception):
    """A text looks like a date and is none; `at` is its position."""

    def __init__(self, at: int) -> None:
        self.at = at


class _Builder(lark.Transformer):
    """Makes an expression from the parts that the grammar found, from the inside out."""

    def any_of(self, parts: list[Expression]) -> Expression:
        return parts[0] if len(parts) == 1 else BoolOp(tuple(parts), every=False)

    def all_of(self, parts: list[Expression]) -> Expression:
        return parts[0] if len(parts) == 1 else BoolOp(tuple(parts), every=True)

    def negation(self, parts: list[Expression]) -> Expression:
        return _negated(parts[0])

    def inside(self, parts: list[Expression]) -> Expression:
        return parts[0]

    def comparison(self, parts: tuple[Column, lark.Token, Value | Column]) -> Expression:
        column, operator, other = parts
        if operator in ("!=", "<>"):
            return Not(Compare(column, "=", other))
        return Compare(column, "=" if operator == "==" else str(operator), other)

    def member(self, parts: list[Any]) -> In:
        return In(parts[0], tuple(parts[1:]))

    def not_member(self, parts: list[Any]) -> Not:
        return Not(self.member(parts))

    def match(self, parts: tuple[Column, lark.Token, Value]) -> Match:
        column, how, text = parts
        return Match(column, how.lower(), text.value)

    def no_match(self, parts: tuple[Column, lark.Token, Value]) -> Not:
        return Not(self.match(parts))

    def unknown(self, parts: list[Column]) -> IsNull:
        return IsNull(parts[0])

    def known(self, parts: list[Column]) -> Not:
        return Not(IsNull(parts[0]))

    def column(self, parts: list[lark.Token]) -> Column:
        (token,) = parts
        name = token[1:-1].replace("``", "`") if token.type == "QUOTED_NAME" else str(token)
        return Column(name, _position(token))

    def string(self, parts: list[lark.Token]) -> Value:
        (token,) = parts
        mark = token[0]
        return Value("text", token[1:-1].replace(2 * mark, mark), _position(token))

    def number(self, parts: list[lark.Token]) -> Value:
        (token,) = parts
        return Value("number", _number(token.lower()), _position(token))

    def truth(self, parts: list[lark.Token]) -> Value:
        (token,) = parts
        return Value("truth", token.lower() == "true", _position(token))

    def date(self, parts: list[lark.Token]) -> Value:
        (token,) = parts
        try:
            return Value("date", _period(str(token)), _position(token))
        except (ValueError, OverflowError) as error:
            raise _NoSuchDate(_position(token)) from error


@cache
def _parser() -> lark.Lark:
    return lark.Lark(_GRAMMAR, start="expression", parser="lalr", transformer=_Builder(), maybe_placeholders=False)


def _position(token: lark.Token) -> int:
    assert token.start_pos is not None  # only a token that no text was read for has none
    return token.start_pos


def _negated(part: Expression) -> Expression:
    return part.part if isinstance(part, Not) else Not(part)


def _number(token: str) -> int | float:
    """An int if the number is written without a point or an exponent and fits 64 bits, else a float."""
    unit = UNITS.get(token[-2:])
    digits = token[:-2] if unit else token
    whole = float(digits) * (unit or 1)
    if not whole.is_integer() or abs(whole) >= 2**63 or any(sign in digits for sign in ".e"):
        return whole
    return int(digits) * (unit or 1)


def _period(token: str) -> tuple[datetime, datetime]:
    """The start of a month, day, minute or second, and the start of the next one."""
    if len(token) == 7:
        start = datetime.fromisoformat(f"{token}-01")
        return start, (start.replace(day=28) + timedelta(4)).replace(day=1)
    start = datetime.fromisoformat(token)
    return start, start + {10: timedelta(1), 16: timedelta(minutes=1)}.get(len(token), timedelta(seconds=1))


def _joined_names(terminals: Iterable[str] | None) -> str:
    """The terminals in words, such as "a column, not or '('"."""
    if not terminals:
        return "nothing more"
    ordered = sorted(terminals, key=list(_TERMINAL_NAMES).index)
    names = list(dict.fromkeys(_TERMINAL_NAMES[name] for name in ordered))
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
