"""Evaluation of filters: the images or captions that fit, found from the columns before any vector is compared.

A row without a value in a column fits no comparison with it. `not` inverts that; `!=` is the opposite of `=`, and `not in` of
`in`. If a row has several values, as with tags, one that fits is enough.

A column is null in a row where there is no value: the key is missing, or holds null, an empty list or an empty object, or
nothing but these inside. A list is its members; an object has a value if one of its keys has, however deep.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce

import numpy as np
import pyarrow as pa

from storage.arrow_compute import pc
from storage.errors import BadFilter
from storage.filtering.columns import Columns, Kind, Of, Values, columns_of, no_values, texts_as_times
from storage.filtering.grammar import BoolOp, Column, Compare, Expression, In, IsNull, Match, Not, Value, parse_filter
from storage.snapshot import Snapshot

_COMPARE = {"=": pc.equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}
_KIND_NAMES = {"text": "text", "number": "numbers", "truth": "true or false", "date": "dates", "nested": "objects"}
YEARS = range(1000, 9999)


def ids_where(snapshot: Snapshot, expression: str, of: Of = "images") -> np.ndarray:
    """Find the living images, or captions, that fit a filter.

    Args:
        snapshot: What is filtered.
        expression: A filter such as "width >= 640 and album = 'summer'" (see `storage.filtering.grammar`).
        of: "images" or "captions"; a caption has its photo's columns too.

    Returns:
        Their ids, int64, sorted upwards.

    Raises:
        BadFilter: The expression can't be read, there is no such column, or a column holds no such values.
    """
    parsed = parse_filter(expression)
    columns = columns_of(snapshot, of)
    return columns.ids[_Evaluation(columns, expression).rows(parsed)]


class _Evaluation:
    """One filter over the columns of one version. Every result is bool [n], one value a row."""

    def __init__(self, columns: Columns, text: str) -> None:
        self._columns, self._text = columns, text

    def rows(self, expression: Expression) -> np.ndarray:
        """The rows that fit the expression."""
        match expression:
            case BoolOp(parts, every):
                combine = np.logical_and if every else np.logical_or
                return reduce(combine, [self.rows(part) for part in parts])
            case Not(part):
                return ~self.rows(part)
            case IsNull(column):
                return ~reduce(
                    np.logical_or,
                    [self._hits(values, None) for values in self._kinds(column).values()],
                    np.zeros(len(self._columns.ids), bool),
                )
            case Match(column, how, text):
                return self._matching(column, how, text)
            case In(column, values):
                return reduce(np.logical_or, [self._compared(Compare(column, "=", value)) for value in values])
            case Compare():
                return self._compared(expression)

    def _compared(self, comparison: Compare) -> np.ndarray:
        if isinstance(comparison.other, Column):
            return self._of_two_columns(comparison.column, comparison.operator, comparison.other)
        column, operator, value = (
            comparison.column,
            comparison.operator,
            self._date_if_year(comparison.column, comparison.other),
        )
        if value.kind == "truth" and operator != "=":
            raise BadFilter(self._text, value.at, "true and false are compared with = or != only")
        values = self._of_kind(column, "text" if value.kind == "date" else value.kind, value.at, value.kind)
        if values is None:
            return np.zeros(len(self._columns.ids), bool)
        if value.kind == "date":
            return self._hits(values, _in_period(texts_as_times(values.values), operator, value))
        return self._hits(values, _COMPARE[operator](values.values, _scalar(value, values.values.type)))

    def _date_if_year(self, column: Column, value: Value) -> Value:
        """A number such as 2024 as that year, where the column holds dates and no numbers."""
        kinds, year = self._kinds(column), value.value
        if value.kind != "number" or not isinstance(year, int) or year not in YEARS or {*kinds} != {"text"}:
            return value
        if pc.all(pc.is_null(texts_as_times(kinds["text"].values))).as_py():
            return value
        return Value("date", (datetime(year, 1, 1), datetime(year + 1, 1, 1)), value.at)

    def _matching(self, column: Column, how: str, text: str) -> np.ndarray:
        values = self._of_kind(column, "text", column.at, "text")
        if values is None:
            return np.zeros(len(self._columns.ids), bool)
        match = pc.match_like if how == "like" else pc.match_substring
        return self._hits(values, match(values.values, text, ignore_case=True))

    def _of_two_columns(self, left: Column, operator: str, right: Column) -> np.ndarray:
        left_kinds, right_kinds = self._kinds(left), self._kinds(right)
        comparable: list[Kind] = ["number", "text"]
        shared: list[Kind] = [kind for kind in comparable if kind in left_kinds and kind in right_kinds]
        if not shared and not no_values(left_kinds) and not no_values(right_kinds):
            raise BadFilter(self._text, right.at, f"{left.name} and {right.name} hold nothing of one kind")
        hits = np.zeros(len(self._columns.ids), bool)
        for kind in shared:
            left_values, right_values = self._one_a_row(left, left_kinds[kind]), self._one_a_row(right, right_kinds[kind])
            fits = _COMPARE[operator](left_values, right_values)
            hits |= pc.fill_null(fits, False).to_numpy(zero_copy_only=False)
        return hits

    def _one_a_row(self, column: Column, values: Values) -> pa.Array:
        """The values of a column, one a row; null if a row has none."""
        if len(np.unique(values.rows)) < len(values.rows):
            raise BadFilter(self._text, column.at, f"{column.name} holds several values a row: compare it with a value")
        positions = np.full(len(self._columns.ids), -1)
        positions[values.rows] = np.arange(len(values.rows))
        return _joined(values.values).take(pa.array(positions, mask=positions < 0))

    def _hits(self, values: Values, mask: pa.Array | pa.ChunkedArray | None) -> np.ndarray:
        """The rows with at least one value that the mask, bool [values] with nulls, selects; None selects all values."""
        hits = np.zeros(len(self._columns.ids), bool)
        if mask is None:
            hits[values.rows] = True
        else:
            hits[values.rows[pc.fill_null(mask, False).to_numpy(zero_copy_only=False)]] = True
        return hits

    def _of_kind(self, column: Column, kind: Kind, at: int, operand: str) -> Values | None:
        """The values of one kind in a column; None if the column is empty.

        Args:
            column: The column.
            kind: The kind of values.
            at: The position of the operand, for an error.
            operand: The operand's kind, for an error.

        Raises:
            BadFilter: The column holds other kinds only.
        """
        kinds = self._kinds(column)
        if kind in kinds or no_values(kinds):
            return kinds.get(kind)
        held = " and ".join(_KIND_NAMES[one] for one in kinds)
        raise BadFilter(self._text, at, f"{column.name} holds {held}, which can't be compared with {_KIND_NAMES[operand]}")

    def _kinds(self, column: Column) -> dict[Kind, Values]:
        kinds = self._columns.find(column.name)
        if kinds is None:
            others = self._columns.suggestion(column.name)
            raise BadFilter(self._text, column.at, f"no column is called {column.name}: {others}")
        return kinds


def _scalar(value: Value, held: pa.DataType) -> pa.Scalar:
    if value.kind == "number" and (isinstance(value.value, float) or pa.types.is_floating(held)):
        return pa.scalar(float(value.value), pa.float64())
    return pa.scalar(value.value, pa.int64() if value.kind == "number" else None)


def _in_period(times: pa.Array, operator: str, date: Value) -> pa.Array:
    """The times that stand in a relation to a period: bool [times], null for a null."""
    start, end = (pa.scalar(moment, pa.timestamp("us")) for moment in date.value)
    if operator == "=":
        return pc.and_kleene(pc.greater_equal(times, start), pc.less(times, end))
    before = {"<": (pc.less, start), "<=": (pc.less, end), ">": (pc.greater_equal, end), ">=": (pc.greater_equal, start)}
    compare, edge = before[operator]
    return compare(times, edge)


def _joined(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
