"""Small collections on disk, of photos of one colour each, for the tests of search and of the page."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from encoder.inputs.pixels import prepare
from storage import CaptionRecord, Collection, Home, ImageRecord, SegmentData
from tests.support.fakes import FakeEncoder, jpeg, photo


@dataclass(frozen=True)
class Shot:
    """One photo of a gallery: the file's name, its colour, (width, height), and (language, text) of each caption."""

    name: str
    colour: str | tuple[int, int, int]
    size: tuple[int, int] = (96, 64)
    captions: list[tuple[str, str]] = field(default_factory=list)


COLOURFUL = [
    Shot("red.jpg", "red", (96, 64), [("en", "a red wall"), ("en", "all of it is red"), ("zh", "红色的墙")]),
    Shot("green.jpg", "green", (64, 96), [("en", "a green meadow"), ("zh", "绿色的草地")]),
    Shot("blue.png", "blue", (160, 64), [("en", "the blue sky"), ("zh", "蓝色的天空")]),
    Shot("yellow.jpg", "yellow", (64, 64), [("en", "a yellow field"), ("zh", "黄色的田野")]),
    Shot("white.jpg", "white", (96, 64), [("en", "white snow")]),
    Shot("black.jpg", "black", (96, 64), []),
]


def build_gallery(
    folder: Path, shots: Sequence[Shot] = COLOURFUL, encoder: FakeEncoder | None = None, name: str = "default"
) -> Collection:
    """Writes the photos to `folder/photos` and publishes them in the collection `name` of the home `folder/var`."""
    encoder = encoder or FakeEncoder()
    collection = Home(folder / "var").create_collection(name)
    with collection.writer(encoder.fingerprint) as writer:
        ids = [writer.new_image_id() for _ in shots]
        images = [_image(folder, image_id, shot) for image_id, shot in zip(ids, shots, strict=True)]
        captions = [
            CaptionRecord(writer.new_caption_id(), image_id, language, text, "gallery")
            for image_id, shot in zip(ids, shots, strict=True)
            for language, text in shot.captions
        ]
        side = encoder.config.image_size
        encoded = encoder.encode_images(np.stack([prepare(photo(s.colour, s.size), side) for s in shots]))
        sentences = encoder.encode_texts([caption.text for caption in captions]).vectors
        thumbnails = [jpeg(shot.colour, shot.size) for shot in shots]
        writer.add_segment(SegmentData(images, encoded.vectors, encoded.tokens, thumbnails, captions, sentences))
        writer.publish()
    return collection


def ids_by_name(collection: Collection) -> dict[str, int]:
    """The id of each photo by its file's name without ending, such as "red"."""
    snapshot = collection.open_snapshot()
    return {Path(image.uri).stem: image.image_id for image in snapshot.images(snapshot.image_ids())}


def _image(folder: Path, image_id: int, shot: Shot) -> ImageRecord:
    path = folder / "photos" / shot.name
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(shot.colour, shot.size).save(path)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    width, height = shot.size
    return ImageRecord(image_id, str(path), sha256, width, height, len(content), str(path.parent), {"name": shot.name})
