"""Writing segments: immutable folders of images with their captions, vectors, tokens and thumbnails."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import BrokenSegment, StorageError, UnreadableSegment, WrongShape
from storage.files import make_folder, move_into_place, remove, sha256_of
from storage.segments.journal import CaptionBatch, ImageBatch, Journal
from storage.segments.schemas import THUMBNAIL_SCHEMA, CaptionRecord, ImageRecord, captions_to_table, images_to_table
from storage.segments.token_file import TokenFile

FORMAT = 1
ADD, REBUILD, MERGE, CAPTION = "add", "rebuild", "merge", "caption"
DESCRIPTION = "segment.json"


@dataclass(frozen=True)
class SegmentData:
    """All of one segment in memory. Row i of every image array belongs to images[i].

    Attributes:
        images: n records.
        image_vectors: Float [n, D].
        tokens: Float16 [n, L, H].
        thumbnails: n JPEG files.
        captions: m records.
        caption_vectors: Float [m, D].
    """

    images: list[ImageRecord]
    image_vectors: np.ndarray
    tokens: np.ndarray
    thumbnails: list[bytes]
    captions: list[CaptionRecord]
    caption_vectors: np.ndarray


@dataclass(frozen=True)
class SegmentInfo:
    """What segment.json says.

    Attributes:
        fingerprint: The fingerprint of the encoder that made the vectors and tokens.
        dim: D, the width of every vector.
        token_shape: (L, H), the shape of one image's tokens.
        base_version: The version that was published when the segment was begun.
        purpose: "add" to the collection, "rebuild" it, "merge" (a copy of other segments), or "caption": captions alone, of
            images in other segments.
        images: The number of images.
        captions: The number of captions.
        last_image_id: The highest id of an image; 0 without any.
        last_caption_id: The highest id of a caption; 0 without any.
        files: By file name, its "bytes" and "sha256".
    """

    fingerprint: str
    dim: int
    token_shape: tuple[int, int]
    base_version: int
    purpose: str
    images: int = 0
    captions: int = 0
    last_image_id: int = 0
    last_caption_id: int = 0
    files: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> SegmentInfo:
        """Read segment.json.

        Raises:
            BrokenSegment: The file is missing, damaged or of another format.
            UnreadableSegment: The system refuses to read it at the moment.
        """
        try:
            content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if content.pop("format") != FORMAT:
                raise BrokenSegment(folder, "of another format")
            return cls.from_json(content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise segment_error(folder, error) from error

    @classmethod
    def from_json(cls, content: dict) -> SegmentInfo:
        """Read what `dataclasses.asdict` made, after it was JSON."""
        return cls(**{**content, "token_shape": tuple(content["token_shape"])})


def segment_error(folder: Path, error: Exception) -> StorageError:
    """The error to raise when a segment can't be read: a temporary cause must not look like damage."""
    temporary = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM)
    if isinstance(error, OSError) and error.errno in temporary:
        return UnreadableSegment(folder, error.strerror or str(error))
    return BrokenSegment(folder, (str(error).splitlines() or [type(error).__name__])[0])


class SegmentBuilder:
    """An unfinished segment under a temporary name. Tokens and thumbnails go to disk as they come.

    With a journal, what was added is durable when the call returns, and `continued` goes on after any interruption.
    """

    def __init__(self, temporary: Path, final: Path, info: SegmentInfo, journal: Journal | None = None):
        """Begin a segment.

        Args:
            temporary: The folder to write to; what is there is removed.
            final: The folder's name after `finish`.
            info: What the segment is; its counts and files are filled in by `finish`.
            journal: A new journal, if the segment must survive interruptions.
        """
        self._temporary, self._final, self._info, self._journal = temporary, final, info, journal
        self._closed = False
        remove(temporary)
        make_folder(temporary)
        self._images: list[ImageRecord] = []
        self._captions: list[CaptionRecord] = []
        self._waiting: dict[int, CaptionRecord] = {}
        self._image_vectors: list[np.ndarray] = []
        self._caption_vectors: list[np.ndarray] = []
        self._tokens = TokenFile(temporary / "image_tokens.npy", info.token_shape)
        self._thumbnails = pa.ipc.new_file(str(temporary / "thumbnails.arrow"), THUMBNAIL_SCHEMA)

    @classmethod
    def continued(cls, temporary: Path, final: Path, info: SegmentInfo, journal: Journal) -> SegmentBuilder:
        """Continue an interrupted segment from its journal."""
        builder = cls(temporary, final, info)
        for batch in journal.batches():
            builder._apply(batch)
        builder._journal = journal
        return builder

    @property
    def image_count(self) -> int:
        """The number of images added so far."""
        return len(self._images)

    @property
    def images(self) -> list[ImageRecord]:
        """The images added so far, in the order in which they were added."""
        return list(self._images)

    @property
    def captions(self) -> list[CaptionRecord]:
        """Their captions; those that have no vector yet come last."""
        return [*self._captions, *self.waiting]

    @property
    def waiting(self) -> list[CaptionRecord]:
        """Captions that were announced with their images and have no vector yet, in the order of their announcement."""
        return list(self._waiting.values())

    def add_images(
        self,
        images: list[ImageRecord],
        vectors: np.ndarray,
        tokens: np.ndarray,
        thumbnails: list[bytes],
        coming: Sequence[CaptionRecord] = (),
    ) -> None:
        """Append n images.

        Args:
            images: n records.
            vectors: Float [n, D].
            tokens: Float [n, L, H].
            thumbnails: n JPEG files.
            coming: Captions of these images that `add_captions` will add later.

        Raises:
            WrongShape: The arrays don't fit the segment or each other.
        """
        _check_shape("image vectors", vectors, (len(images), self._info.dim))
        _check_shape("tokens", tokens, (len(images), *self._info.token_shape))
        if len(thumbnails) != len(images):
            raise WrongShape(f"{len(thumbnails)} thumbnails for {len(images)} images")
        self._add(ImageBatch(images, vectors, tokens, thumbnails, list(coming)))

    def add_captions(self, captions: list[CaptionRecord], vectors: np.ndarray) -> None:
        """Append m captions of images of this segment (of others, if it holds captions alone), with vectors float [m, D].

        Raises:
            WrongShape: The vectors don't fit.
        """
        _check_shape("caption vectors", vectors, (len(captions), self._info.dim))
        self._add(CaptionBatch(captions, vectors))

    def _add(self, batch: ImageBatch | CaptionBatch) -> None:
        if self._journal is not None:
            self._journal.append(batch)
        self._apply(batch)

    def _apply(self, batch: ImageBatch | CaptionBatch) -> None:
        if isinstance(batch, ImageBatch):
            self._apply_images(batch)
            return
        self._captions += batch.captions
        self._caption_vectors.append(batch.vectors.astype(np.float16))
        for caption in batch.captions:
            self._waiting.pop(caption.caption_id, None)

    def _apply_images(self, batch: ImageBatch) -> None:
        ids = pa.array([image.image_id for image in batch.images], pa.int64())
        columns = [ids, pa.array(batch.thumbnails, pa.large_binary())]
        self._tokens.append(batch.tokens)
        self._thumbnails.write_batch(pa.record_batch(columns, schema=THUMBNAIL_SCHEMA))
        self._images += batch.images
        self._image_vectors.append(batch.vectors.astype(np.float16))
        self._waiting.update((caption.caption_id, caption) for caption in batch.coming)

    def finish(self) -> str:
        """Make the segment durable under its final name. Nobody reads it before a publication names it.

        Returns:
            The name of the segment.

        Raises:
            WrongShape: Ids are used twice, a caption belongs to no image here, or a caption has no vector.
        """
        image_ids = np.array([image.image_id for image in self._images], np.int64)
        caption_ids = np.array([caption.caption_id for caption in self._captions], np.int64)
        self._check_ids(image_ids, caption_ids)
        self._close()
        pq.write_table(images_to_table(self._images), self._temporary / "images.parquet", compression="zstd")
        pq.write_table(captions_to_table(self._captions), self._temporary / "captions.parquet", compression="zstd")
        self._save("image_ids", image_ids)
        self._save("caption_ids", caption_ids)
        self._save("image_vectors", _stacked(self._image_vectors, self._info.dim))
        self._save("caption_vectors", _stacked(self._caption_vectors, self._info.dim))
        self._describe(image_ids, caption_ids)
        move_into_place(self._temporary, self._final)
        if self._journal is not None:
            self._journal.remove()
        return self._final.name

    def suspend(self) -> None:
        """Stop here. What is in the journal stays for the next writer; without a journal nothing stays.

        A segment that is finished is left alone.
        """
        with suppress(OSError):  # a full disk refuses the last bytes too
            self._close()
        remove(self._temporary)

    def _close(self) -> None:
        if self._closed:  # Arrow would write its footer once more, into a segment that may have its name already
            return
        try:
            self._tokens.close()
        finally:
            self._thumbnails.close()
        self._closed = True

    def _save(self, name: str, array: np.ndarray) -> None:
        np.save(self._temporary / f"{name}.npy", array)

    def _check_ids(self, image_ids: np.ndarray, caption_ids: np.ndarray) -> None:
        for kind, ids in (("image", image_ids), ("caption", caption_ids)):
            if len(np.unique(ids)) != len(ids) or (len(ids) and ids.min() < 1):
                raise WrongShape(f"{kind} ids must be positive and different from each other")
        owners = np.array([caption.image_id for caption in self._captions], np.int64)
        if self._info.purpose == CAPTION:
            if len(image_ids):
                raise WrongShape("a segment of captions holds images")
        elif not np.isin(owners, image_ids).all():
            raise WrongShape("a caption belongs to an image outside its segment")
        if self._waiting:
            raise WrongShape(f"{len(self._waiting)} captions were announced and have no vector")

    def _describe(self, image_ids: np.ndarray, caption_ids: np.ndarray) -> None:
        files = {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in sorted(self._temporary.iterdir())
        }
        counted = {
            "images": len(image_ids),
            "captions": len(caption_ids),
            "last_image_id": int(image_ids.max(initial=0)),
            "last_caption_id": int(caption_ids.max(initial=0)),
            "files": files,
        }
        content = {"format": FORMAT, **asdict(self._info), **counted}
        (self._temporary / DESCRIPTION).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _check_shape(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise WrongShape(f"{what} of shape {array.shape} where {shape} is needed")


def _stacked(parts: list[np.ndarray], dim: int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty((0, dim), np.float16)
