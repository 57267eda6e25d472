"""The manifests of the latest versions, each in its own file, so that a collection can be rolled back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from storage.errors import BrokenManifest
from storage.files import make_folder, remove
from storage.manifest import Manifest

KEPT_VERSIONS = 5


class History:
    """The files `versions/<number>.json` of a collection: its current version and the latest before it.

    A manifest is written here before it is published: nobody has read one with a higher number than the current version.
    Segments and index files that these manifests name stay on disk.
    """

    def __init__(self, folder: Path):
        """`folder` is the collection's folder."""
        self._folder = folder / "versions"

    def manifests(self) -> list[Manifest]:
        """The manifests that can be read, newest first."""
        found = []
        for number in self._numbers():
            with suppress(BrokenManifest):
                found.append(Manifest.load(self._path(number)))
        return found

    def keep(self, manifest: Manifest) -> None:
        """Add a manifest. It is durable when this returns."""
        make_folder(self._folder)
        manifest.save(self._path(manifest.version))

    def agree_with(self, current: Manifest) -> None:
        """Forget versions above the current one, and add the current one, as after a killed run or a restored file."""
        for number in self._numbers():
            if number > current.version:
                self.forget(number)
        if current.version and not self._path(current.version).exists():
            self.keep(current)

    def prune(self, current: int, old: int) -> None:
        """Forget all versions but the current one and the latest `old` ones before it."""
        before = [number for number in self._numbers() if number < current]
        for number in before[old:]:
            self.forget(number)

    def forget(self, number: int) -> None:
        """Forget one version."""
        remove(self._path(number))

    def _numbers(self) -> list[int]:
        names = (path.stem for path in self._folder.glob("*.json"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"
