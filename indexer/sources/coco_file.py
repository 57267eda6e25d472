"""One file of COCO captions: {"images": [{"id", "file_name", ...}], "annotations": [{"image_id", "caption"}]}."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations
from indexer.items import Failure, SourceCaption, captions_from, check_text, one_line, printable
from indexer.sources.record_files import read_json_file
from indexer.sources.records import Sentence, record_sentences

IDS_NAMED = 5
Record = dict[str, Any]


class CocoFile:
    """The usable records of a COCO file, and its problems, counted by kind of record.

    Attributes:
        path: the file.
        images: the usable image records.
    """

    def __init__(self, path: Path, content: object = None):
        """Read and check the file.

        Args:
            path: the file.
            content: its content, if it was read already.

        Raises:
            BadAnnotations: the file can't be read, or holds no lists of records.
        """
        self.path = path
        self._refused: dict[str, tuple[int, int, str]] = {}  # kind -> count, number of the first, why
        content = read_json_file(path) if content is None else content
        if not isinstance(content, dict) or not is_coco(content):
            raise BadAnnotations(path, 'not COCO captions (no object with "annotations")')
        self.images = self._usable(content.get("images", []), _check_image, "image")
        self._ambiguous = _ambiguous_ids(self.images)
        self._captions: dict[int | str, list[Sentence]] = defaultdict(list)
        self._read_captions(content["annotations"])

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

    def captions_of(self, image_id: int | str, language: str | None = None) -> list[SourceCaption]:
        """An image's captions; none if several images have this id.

        Args:
            image_id: the image.
            language: the language of captions that don't say theirs; None detects it by script.
        """
        own = [] if image_id in self._ambiguous else self._captions.get(image_id, [])
        return [one for said, text in own for one in captions_from([text], self.name, said or language)]

    def take(self, image_id: int | str) -> None:
        """Note that an image's captions were used. Others count as captions of unknown images."""
        self._captions.pop(image_id, None)

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

    def _read_captions(self, records: object) -> None:
        def check(record: Record) -> None:
            _check_id(record["image_id"])
            captions = record_sentences({key: value for key, value in record.items() if key not in ("image_id", "id")})
            if not captions:
                raise ValueError('"caption" must be text')
            self._captions[record["image_id"]] += captions

        self._usable(records, check, "annotation")

    def _usable(self, records: object, check: Callable[[Record], None], kind: str) -> list[Record]:
        """The records that pass `check`; the others are counted under `kind`."""
        if not isinstance(records, list):
            raise BadAnnotations(self.path, f"not COCO captions (no list of {kind} records)")
        usable = []
        for number, record in enumerate(records, 1):
            try:
                check(record)
                usable.append(record)
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                count, first, why = self._refused.get(kind, (0, number, one_line(f"{type(error).__name__}: {error}")))
                self._refused[kind] = count + 1, first, why
        return usable


def is_coco(content: object) -> bool:
    """True for the content of a file in COCO's layout."""
    return isinstance(content, dict) and "annotations" in content


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


def _check_id(value: object) -> None:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError("an id must be a number or text")


def _some_ids(ids: Iterable[int | str]) -> str:
    """The first few ids, comma-separated."""
    ordered = sorted(map(str, ids))
    return ", ".join(map(one_line, ordered[:IDS_NAMED])) + (", ..." if len(ordered) > IDS_NAMED else "")
