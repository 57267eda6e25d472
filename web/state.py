"""All that one application holds while it serves; nothing of it is shared by the applications of a process."""

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
CHANGE_PATIENCE_S = 30.0
_NAME = "panoptes"


@dataclass(eq=False)
class State:
    """`service` searches, `editor` changes collections (None: they can only be searched), `photos` are those that were sent to
    search with, `reader` reads what is sent, `changing` lets one change a collection at a time, for that has one writer, and
    `document` is the API's."""

    service: SearchService
    editor: Editor | None = None
    photos: KeptPhotos = field(default_factory=KeptPhotos)
    reader: UploadReader = field(default_factory=UploadReader)
    changing: AdmissionControl = field(default_factory=lambda: AdmissionControl(1, CHANGES_WAITING, CHANGE_PATIENCE_S))
    metrics: Metrics = field(init=False)
    document: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.service)

    @property
    def writing(self) -> Editor:
        """The editor; raises ReadOnly where there is none."""
        if self.editor is None:
            raise ReadOnly
        return self.editor

    def belongs_to(self, app: Flask) -> None:
        """Has `state` and `state_of` give this one for an application."""
        app.extensions[_NAME] = self


def state() -> State:
    """That of the application that answers now."""
    return state_of(current_app)


def state_of(app: Flask) -> State:
    """That of an application."""
    return app.extensions[_NAME]
