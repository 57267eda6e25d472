"""The sample gallery: photographs that are part of scikit-image, with captions written for Panoptes."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

from indexer.errors import MissingGallery
from indexer.sources.base import Source
from storage.errors import UnusableHome
from storage.home import Home
from storage.status import only_from

CAPTIONS = Path(__file__).with_name("gallery.json")


def sample_gallery(folder: Path) -> Path:
    """Copy the photographs into `folder`, with a manifest of their captions. Nothing is downloaded.

    Returns:
        The manifest's path.

    Raises:
        MissingGallery: scikit-image isn't installed.
        UnusableHome: `folder` can't be written.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingGallery()
    try:
        return _copy_gallery(Path(spec.submodule_search_locations[0]) / "data", folder)
    except OSError as error:
        raise UnusableHome(folder, error.strerror or str(error)) from error


def _copy_gallery(photos: Path, folder: Path) -> Path:
    """Copy the photographs that are missing in `folder` or incomplete there, and write the manifest if it differs."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = json.loads(CAPTIONS.read_text(encoding="utf-8"))
    lines = []
    for name, texts in captions.items():
        target = folder / name
        if not target.exists() or target.stat().st_size != (photos / name).stat().st_size:
            shutil.copy2(photos / name, target)
        lines.append(json.dumps({"image": name, "captions": texts, "origin": "scikit-image"}, ensure_ascii=False))
    manifest = folder / "gallery.jsonl"
    text = "\n".join(lines) + "\n"
    if not manifest.exists() or manifest.read_text(encoding="utf-8") != text:
        manifest.write_text(text, encoding="utf-8")
    return manifest


def demo_collection(home: Home, wanted: str, source: Source) -> str:
    """The collection for a demo of `source`: `wanted`, or a collection of its own if `wanted` holds other photos."""
    if only_from(home, wanted, str(source.root)):
        return wanted
    return f"demo-{hashlib.sha256(str(source.root).encode()).hexdigest()[:8]}"
