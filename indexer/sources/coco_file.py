"""One file of COCO captions: {"images": [{"id", "file_name", ...}], "annotations": [{"image_id", "caption"}]}."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from indexer.errors import BadAnnotations
from indexer.items import Failure, check_text, one_line, printable, strict_json

IDS_NAMED = 5


class CocoFile:
    """What can be used of a file: `images` are its good records, each id once or with one file name; captions are taken
    by image id. What can't be used is counted and told by `problems`, once a kind and not once a record."""

    def __init__(self, path: Path):
        """Raises BadAnnotations for a file that holds no such lists."""
        self.path, self._refused = path, {}
        content = _content(path)
        self.images = self._good(content.get("images", []), _check_image, "image")
        self._ambiguous = _given_twice(self.images)
        self._captions: dict[object, list[str]] = defaultdict(list)
        for annotation in self._good(content["annotations"], _check_annotation, "annotation"):
            self._captions[annotation["image_id"]].append(annotation["caption"])

    @property
    def name(self) -> str:
        """The file's name, as captions say where they are from."""
        return printable(self.path.name)

    @property
    def image_ids(self) -> list:
        """The ids that still have captions."""
        return list(self._captions)

    @property
    def hides_photos(self) -> bool:
        """Whether records of images could not be used."""
        return "image" in self._refused

    def take(self, image_id: int | str) -> list[str]:
        """The image's captions, once; none for an id of several images. What is never taken is of no known image."""
        captions = self._captions.pop(image_id, [])
        return [] if image_id in self._ambiguous else captions

    def problems(self) -> list[Failure]:
        """What could not be used, when all that is known has been taken."""
        file = printable(self.path)
        told = [
            f"{count} {kind} records can't be used (the first is number {first}: {why})"
            for kind, (count, first, why) in self._refused.items()
        ]
        if self._ambiguous:
            told.append(
                f"{len(self._ambiguous)} ids are given to several images, whose captions were left out "
                f"({_some(self._ambiguous)})"
            )
        if self._captions:
            count = sum(map(len, self._captions.values()))
            told.append(f"{count} captions are of images that are not there (image ids {_some(self._captions)})")
        return [Failure(f"{file} ({number})", "bad_annotations", f"{file}: {one}.") for number, one in enumerate(told, 1)]

    def _good(self, records: object, check, kind: str) -> list[dict]:
        if not isinstance(records, list):
            raise BadAnnotations(self.path, f"not COCO captions (no list of {kind} records)")
        good = []
        for number, record in enumerate(records, 1):
            try:
                check(record)
                good.append(record)
            except (KeyError, TypeError, ValueError) as error:
                count, first, why = self._refused.get(kind, (0, number, one_line(f"{type(error).__name__}: {error}")))
                self._refused[kind] = count + 1, first, why
        return good


def _content(path: Path) -> dict:
    try:
        content = strict_json(path.read_bytes())
    except OSError as error:
        raise BadAnnotations(path, f"can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(path, f"not JSON ({one_line(str(error))})") from error
    if not isinstance(content, dict) or "annotations" not in content:
        raise BadAnnotations(path, 'not COCO captions (no object with "annotations")')
    return content


def _given_twice(images: list[dict]) -> set:
    """The ids that several image files have."""
    names: dict[object, set[str]] = defaultdict(set)
    for image in images:
        names[image["id"]].add(image["file_name"])
    return {image_id for image_id, own in names.items() if len(own) > 1}


def _check_image(record: dict) -> None:
    _check_id(record["id"])
    name = record["file_name"]
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError('"file_name" must be a file\'s name')
    check_text(record)


def _check_annotation(record: dict) -> None:
    _check_id(record["image_id"])
    if not isinstance(record["caption"], str):
        raise ValueError('"caption" must be text')
    check_text(record["caption"])


def _check_id(value: object) -> None:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError("an id must be a number or text")


def _some(ids) -> str:
    ids = sorted(map(str, ids))
    return ", ".join(map(one_line, ids[:IDS_NAMED])) + (", ..." if len(ids) > IDS_NAMED else "")
