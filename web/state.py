"""The state of one application while it serves. Applications in one process share nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Flask, current_app

from web.admission import AdmissionControl
from web.editing import Editor
from web.errors import ReadOnly
from web.service import SearchService
from web.serving.metrics import Metrics
from web.uploads import KeptPhotos, UploadReader

CHANGES_WAITING = 4
CHANGE_TIMEOUT_S = 30.0
_EXTENSION = "panoptes"


def _one_change_at_a_time() -> AdmissionControl:
    return AdmissionControl(1, CHANGES_WAITING, CHANGE_TIMEOUT_S)


@dataclass(eq=False)
class State:
    """The parts of one application.

    Attributes:
        service: Searches the collection.
        editor: Changes collections; None: they can only be searched.
        photos: The photos that were sent to search with.
        reader: Reads the photos that are sent.
        change_admission: Admits one change of a collection at a time, for a collection has one writer.
        metrics: The numbers for Prometheus.
        document: The API's OpenAPI document.
    """

    service: SearchService
    editor: Editor | None = None
    photos: KeptPhotos = field(default_factory=KeptPhotos)
    reader: UploadReader = field(default_factory=UploadReader)
    change_admission: AdmissionControl = field(default_factory=_one_change_at_a_time)
    metrics: Metrics = field(init=False)
    document: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.service)

    def required_editor(self) -> Editor:
        """The editor.

        Raises:
            ReadOnly: This server changes nothing.
        """
        if self.editor is None:
            raise ReadOnly
        return self.editor

    def attach_to(self, app: Flask) -> None:
        """Make this the state of an application."""
        app.extensions[_EXTENSION] = self


def state() -> State:
    """The state of the application that answers the present request."""
    return state_of(current_app)


def state_of(app: Flask) -> State:
    """The state of an application."""
    return app.extensions[_EXTENSION]
