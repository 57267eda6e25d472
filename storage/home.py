"""The home: the folder of all collections and their catalog."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path

from sqlalchemy import URL

from storage.catalog.catalog import Catalog
from storage.collection import Collection
from storage.errors import InvalidName, UnknownCollection, UnusableHome
from storage.files import make_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Home:
    """Collections and their catalog in one folder. Nothing is created before something is written."""

    def __init__(self, path: str | Path, catalog_url: str | URL | None = None):
        """Name a home; nothing is opened.

        Args:
            path: The folder.
            catalog_url: A SQLAlchemy URL; None: the variable PANOPTES_CATALOG, and without that a SQLite file in the home.
        """
        self.path = Path(os.path.abspath(Path(path).expanduser()))
        self._catalog_url = catalog_url or os.environ.get("PANOPTES_CATALOG")

    @cached_property
    def catalog(self) -> Catalog:
        """The database of files, runs and versions. It is opened when it is first used."""
        return Catalog(self.path, self._catalog_url)

    def collection_names(self) -> list[str]:
        """The names of the collections, in alphabetical order."""
        folder = self.path / "collections"
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name))

    def collection(self, name: str) -> Collection:
        """An existing collection.

        Raises:
            UnknownCollection: There is none of that name.
            InvalidName: There can't be one of that name.
        """
        if not self._folder(name).is_dir():
            raise UnknownCollection(name, self.collection_names())
        return Collection(self._folder(name))

    def create_collection(self, name: str) -> Collection:
        """The collection of that name, new or existing.

        Raises:
            InvalidName: There can't be a collection of that name.
            UnusableHome: Its folder can't be made.
        """
        folder = self._folder(name)
        try:
            make_folder(folder / "segments")
        except OSError as error:
            raise UnusableHome(self.path, error.strerror or str(error)) from error
        return Collection(folder)

    def _folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise InvalidName(name)
        return self.path / "collections" / name
