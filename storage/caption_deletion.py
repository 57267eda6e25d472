"""Deleting captions, and no image."""

from __future__ import annotations

from storage.filtering.evaluator import ids_where
from storage.home import Home
from storage.maintenance import Maintenance, changed
from storage.manifest import Manifest
from storage.snapshot import Snapshot


def delete_captions(home: Home, name: str, expression: str, drop_unfinished: bool = False) -> dict:
    """Delete the captions that fit a filter; their images stay.

    Args:
        home: The home.
        name: The collection's name.
        expression: A filter over captions, such as "origin like 'generated%'".
        drop_unfinished: Drop what an interrupted run had encoded.

    Returns:
        The report of the command, as JSON values.

    Raises:
        BadFilter: The filter can't be used; nothing is deleted.
        StorageError: What `changed` raises.
    """
    collection, deleted = home.collection(name), [0]
    ids_where(collection.open_snapshot(), expression, "captions")  # before an interrupted run's work is dropped

    def change(writer: Maintenance) -> Manifest:
        ids = ids_where(Snapshot(collection.folder, writer.manifest), expression, "captions")
        deleted[0] = len(ids)
        return writer.delete_captions(ids.tolist(), f"{len(ids)} captions deleted")

    report = changed(home, name, change, drop_unfinished)
    return {"deleted_captions": deleted[0], **report}
