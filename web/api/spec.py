"""Describes a view beside it: its parameters, answers and errors. The API's document is made of this (see `openapi`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from web.parameters import Parameter

JSON = "application/json"
View = TypeVar("View", bound=Callable)
_ATTRIBUTE = "description"


@dataclass(frozen=True)
class Answer:
    """One answer of a view.

    Attributes:
        status: Its HTTP status.
        meaning: A line for people.
        body: The type of its JSON, one of `schemas`; None: it is no JSON.
        media: Its media type; None: it has no body.
    """

    status: int
    meaning: str
    body: object = None
    media: str | None = JSON


@dataclass(frozen=True)
class Description:
    """The description of a view; see the arguments of `describe`."""

    answers: tuple[Answer, ...]
    takes: tuple[Parameter, ...]
    form: tuple[Parameter, ...]
    body: object
    problems: tuple[type[Exception], ...]
    operation: str | None


def describe(
    *answers: Answer,
    takes: tuple[Parameter, ...] = (),
    form: tuple[Parameter, ...] = (),
    body: object = None,
    problems: tuple[type[Exception], ...] = (),
    operation: str | None = None,
) -> Callable[[View], View]:
    """Put a view into the API's document, with the first line of its docstring as the summary: write that for users of the API.

    Args:
        answers: The answers that are no problem documents.
        takes: The parameters. Those that the route names are in the path, the others in the query.
        form: The fields of a form that is sent.
        body: The type of the JSON that is sent.
        problems: The errors that the view may raise: each has a status, and a docstring that says when it is raised. Errors
            that every view may raise (see `auth.refusals`) need not be named.
        operation: The operation's name for programs; None: the view's name.
    """

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, Description(answers, takes, form, body, problems, operation))
        return view

    return mark


def description_of(view: Callable) -> Description | None:
    """The description of a view; None if it has none."""
    return getattr(view, _ATTRIBUTE, None)
