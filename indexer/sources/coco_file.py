"""One file of COCO captions: {"images": [{"id", "file_name", ...}], "annotations": [{"image_id", "caption"}]}."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations
from indexer.items import Failure, check_text, one_line, printable, strict_json

IDS_NAMED = 5
Record = dict[str, Any]


class CocoFile:
    """The usable records of a COCO file, and its problems, counted by kind of record.

    Attributes:
        path: the file.
        images: the usable image records.
    """

    def __init__(self, path: Path):
        """Read and check the file.

        Raises:
            BadAnnotations: the file holds no lists of records.
        """
        self.path = path
        self._refused: dict[str, tuple[int, int, str]] = {}  # kind -> count, number of the first, why
        content = _content(path)
        self.images = self._usable(content.get("images", []), _check_image, "image")
        self._ambiguous = _ambiguous_ids(self.images)
        self._captions: dict[int | str, list[str]] = defaultdict(list)
        for annotation in self._usable(content["annotations"], _check_annotation, "annotation"):
            self._captions[annotation["image_id"]].append(annotation["caption"])

    @property
    def name(self) -> str:
        """The file's name, used as the captions' origin."""
        return printable(self.path.name)

    @property
    def image_ids(self) -> list[int | str]:
        """The ids of the images whose captions were not taken yet."""
        return list(self._captions)

    @property
    def has_bad_images(self) -> bool:
        """True if some image records could not be used."""
        return "image" in self._refused

    def take(self, image_id: int | str) -> list[str]:
        """Remove and return an image's captions; none if several images have this id.

        Captions that are never taken count as captions of unknown images.
        """
        captions = self._captions.pop(image_id, [])
        return [] if image_id in self._ambiguous else captions

    def problems(self) -> list[Failure]:
        """What could not be used. Call it when the captions of all known images were taken."""
        file = printable(self.path)
        sentences = [
            f"{count} {kind} records can't be used (the first is number {first}: {why})"
            for kind, (count, first, why) in self._refused.items()
        ]
        if self._ambiguous:
            sentences.append(
                f"{len(self._ambiguous)} ids are given to several images, whose captions were left out "
                f"({_some_ids(self._ambiguous)})"
            )
        if self._captions:
            count = sum(map(len, self._captions.values()))
            sentences.append(f"{count} captions are of images that are not there (image ids {_some_ids(self._captions)})")
        return [
            Failure(f"{file} ({number})", "bad_annotations", f"{file}: {sentence}.")
            for number, sentence in enumerate(sentences, 1)
        ]

    def _usable(self, records: object, check: Callable[[Record], None], kind: str) -> list[Record]:
        """The records that pass `check`; the others are counted under `kind`."""
        if not isinstance(records, list):
            raise BadAnnotations(self.path, f"not COCO captions (no list of {kind} records)")
        usable = []
        for number, record in enumerate(records, 1):
            try:
                check(record)
                usable.append(record)
            except (KeyError, TypeError, ValueError) as error:
                count, first, why = self._refused.get(kind, (0, number, one_line(f"{type(error).__name__}: {error}")))
                self._refused[kind] = count + 1, first, why
        return usable


def _content(path: Path) -> Record:
    try:
        content = strict_json(path.read_bytes())
    except OSError as error:
        raise BadAnnotations(path, f"can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(path, f"not JSON ({one_line(str(error))})") from error
    if not isinstance(content, dict) or "annotations" not in content:
        raise BadAnnotations(path, 'not COCO captions (no object with "annotations")')
    return content


def _ambiguous_ids(images: list[Record]) -> set[int | str]:
    """The ids that several image files share."""
    names: dict[int | str, set[str]] = defaultdict(set)
    for image in images:
        names[image["id"]].add(image["file_name"])
    return {image_id for image_id, files in names.items() if len(files) > 1}


def _check_image(record: Record) -> None:
    _check_id(record["id"])
    name = record["file_name"]
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError('"file_name" must be a file\'s name')
    check_text(record)


def _check_annotation(record: Record) -> None:
    _check_id(record["image_id"])
    if not isinstance(record["caption"], str):
        raise ValueError('"caption" must be text')
    check_text(record["caption"])


def _check_id(value: object) -> None:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError("an id must be a number or text")


def _some_ids(ids: Iterable[int | str]) -> str:
    """The first few ids, comma-separated."""
    ordered = sorted(map(str, ids))
    return ", ".join(map(one_line, ordered[:IDS_NAMED])) + (", ..." if len(ordered) > IDS_NAMED else "")
