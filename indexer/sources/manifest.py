"""A JSON Lines manifest: one object a line, with `image` or `features`, `captions` and any other keys."""

import json
import os
from pathlib import Path

from indexer.errors import BadManifestLine, EmptySource, MissingSource
from indexer.items import SourceCaption, SourceItem, captions_from, merged, strict_json
from indexer.sources.base import Source
from indexer.sources.regions import with_features

ORIGIN = "manifest"


class ManifestSource(Source):
    """Paths in `image` and in `features`, which may name an `.npz`, are relative to the manifest's own folder, wherever
    the program is run."""

    format = "manifest"

    def __init__(self, path: Path):
        """Reads and checks the whole file. Raises MissingSource, BadManifestLine or EmptySource."""
        try:
            lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        except OSError as error:
            raise MissingSource(path, f"can't be read ({error.strerror})") from error
        items = [_item(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
        if not items:
            raise EmptySource(path, 'lines such as {"image": "a.jpg", "captions": {"en": ["A dog."]}}')
        super().__init__(path, merged(items))


def _item(path: Path, number: int, line: bytes) -> SourceItem:
    """One line's photo. Raises BadManifestLine."""
    try:
        record = strict_json(line.decode("utf-8"))
        json.dumps(record, ensure_ascii=False).encode("utf-8")  # refuses halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON ({error})"
        raise BadManifestLine(path, number, problem) from error
    try:
        return _checked(path.parent, record)
    except ValueError as error:
        raise BadManifestLine(path, number, str(error)) from error


def _checked(folder: Path, record: object) -> SourceItem:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    record = with_features(folder, record)
    image = record.pop("image", None)
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise ValueError('"image" must be the path of a photo')
    captions = _captions(record.pop("captions", {}))
    return SourceItem(Path(os.path.abspath(folder / image)), captions, record)


def _captions(by_language: object) -> list[SourceCaption]:
    if not isinstance(by_language, dict):
        raise ValueError('"captions" must be an object such as {"en": ["A dog."], "zh": ["一只狗。"]}')
    captions = []
    for language, texts in by_language.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f'"captions" must hold a list of sentences for {language!r}')
        if not language.strip():
            raise ValueError('"captions" must name a language, such as "en" or "zh"')
        captions += captions_from(texts, ORIGIN, language.strip())
    return captions
