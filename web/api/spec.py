"""What a view takes and answers, said beside it: the API's document is made of this (see `openapi`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from web.parameters import Parameter

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """One answer: its status, a line on it, its body's type as `schemas` have it (None: no JSON) and its media type (None: no
    body)."""

    status: int
    meaning: str
    body: object = None
    media: str | None = JSON


@dataclass(frozen=True)
class Description:
    """All that is said of a view; see `describe`."""

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
) -> Callable:
    """Puts a view into the API's document. Its docstring's first line is the summary, so that is for who asks.

    Args:
        answers: what it answers where all is well, and whatever else is no problem document.
        takes: its parameters; those that the route names are in the path, the others in the query.
        form: the fields of a form that is sent, where there is one.
        body: the type of the JSON that is sent, where there is some.
        problems: the errors it may raise: each has a status and a docstring that says when. Those that any view may raise
            (see `access.refusals`) need not be named.
        operation: its name for programs, if not the view's.
    """

    def mark(view: Callable) -> Callable:
        view.description = Description(answers, takes, form, body, problems, operation)
        return view

    return mark
