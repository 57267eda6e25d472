"""Encodes photos and captions in full batches, and writes them to segments of bounded size."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from indexer.cpu_scheduling import CpuTurns
from indexer.items import SourceItem
from indexer.known_images import KnownImage, arrays_of
from indexer.photo_loader import Photo
from indexer.pipeline import OrderedPipeline
from storage.segments.builder import SegmentBuilder
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.writer import Writer

if TYPE_CHECKING:
    from encoder.api import BulkEncoder

IMAGE_BATCH = 16
TEXT_BATCH = 256
SEGMENT_IMAGES = 4096


@dataclass(frozen=True)
class Entry:
    """A photo that is ready to be encoded.

    Attributes:
        image_id: its id.
        uri: where it is.
        caption_ids: the ids of its captions, in the order of `item.captions`.
        item: what its source says of it.
        source: the source's absolute path.
        photo: what was read of it.
        duplicate_of: a published image of the same content, whose arrays are copied; None if there is none.
    """

    image_id: int
    uri: str
    caption_ids: list[int]
    item: SourceItem
    source: str
    photo: Photo
    duplicate_of: KnownImage | None = None

    def image_record(self) -> ImageRecord:
        """The photo's record in the segment."""
        file, photo = self.photo.file, self.photo
        return ImageRecord(
            image_id=self.image_id,
            uri=self.uri,
            sha256=file.sha256,
            width=photo.width,
            height=photo.height,
            bytes=file.bytes,
            source=self.source,
            metadata=self.item.metadata,
            embedded=photo.embedded,
        )

    def caption_records(self) -> list[CaptionRecord]:
        """The records of its captions."""
        return [
            CaptionRecord(caption_id, self.image_id, caption.language, caption.text, caption.origin, caption.log_probability)
            for caption_id, caption in zip(self.caption_ids, self.item.captions, strict=True)
        ]


class SegmentFiller:
    """Takes entries one by one, encodes them and writes them.

    A batch is written, and durable, while the next one is encoded. A segment that an interrupted run began is continued, so the
    result does not depend on interruptions. Between the first entry and the end, only the pipeline's consumer thread uses the
    segment.

    Attributes:
        encoded: the number of photos that went to the encoder.
    """

    def __init__(self, writer: Writer, encoder: BulkEncoder, turns: CpuTurns | None = None):
        """Continue the writer's unfinished segment, if it has one.

        Args:
            writer: the collection's writer.
            encoder: encodes photos and captions.
            turns: lets encoding and reading take turns; None lets them run side by side.
        """
        self._writer, self._encoder = writer, encoder
        self._turn = turns.encode if turns else nullcontext
        self._entries: list[Entry] = []
        self._segment: SegmentBuilder | None = writer.unfinished
        self._captions: list[CaptionRecord] = self._segment.waiting if self._segment else []
        self._images = self._segment.image_count if self._segment else 0
        self._pipeline = OrderedPipeline(getattr(encoder, "devices", 1))
        self._written = self._reported = 0
        self.encoded = 0

    def add(self, entry: Entry) -> int:
        """Take an entry.

        Returns:
            The number of entries that became durable since the last call.
        """
        self._entries.append(entry)
        if len(self._entries) >= IMAGE_BATCH:
            self._put_images()
        return self._newly_written()

    def finish(self) -> int:
        """Encode all that was taken and finish the last segment.

        Returns:
            The number of entries that became durable since the last call.
        """
        self._put_images()
        self._finish_segment()
        self._pipeline.drain()
        self._pipeline.stop()
        return self._newly_written()

    def suspend(self) -> None:
        """Stop here. The batches that were written stay for the next run."""
        self._pipeline.stop()
        if self._segment is not None:
            self._segment.suspend()
            self._segment = None

    def _newly_written(self) -> int:
        reported, self._reported = self._reported, self._written
        return self._reported - reported

    def _put_images(self) -> None:
        entries, self._entries = self._entries, []
        if not entries:
            return
        if self._images and self._images + IMAGE_BATCH > SEGMENT_IMAGES:
            self._finish_segment()
        self._images += len(entries)
        self._captions += [caption for entry in entries for caption in entry.caption_records()]
        self.encoded += sum(entry.duplicate_of is None for entry in entries)
        self._pipeline.put(partial(self._image_arrays, entries), partial(self._write_images, entries))
        self._put_captions(at_least=TEXT_BATCH)

    def _put_captions(self, at_least: int) -> None:
        """Encode batches of captions until fewer than `at_least` wait."""
        while len(self._captions) >= at_least:
            batch, self._captions = self._captions[:TEXT_BATCH], self._captions[TEXT_BATCH:]
            self._pipeline.put(partial(self._caption_vectors, batch), partial(self._write_captions, batch))

    def _finish_segment(self) -> None:
        self._put_captions(at_least=1)
        if self._images:
            self._images = 0
            self._pipeline.put(lambda: None, self._end_segment)

    def _image_arrays(self, entries: list[Entry]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [n, D] and tokens float16 [n, L, H]; those of a duplicate are copied, not computed."""
        config = self._encoder.config
        vectors = np.empty((len(entries), config.dim), np.float32)
        tokens = np.empty((len(entries), *config.token_shape), np.float16)
        new = np.array([entry.duplicate_of is None for entry in entries])
        if new.any():
            pixels = np.stack([entry.photo.pixels for entry in entries if entry.duplicate_of is None])
            with self._turn():
                encodings = self._encoder.encode_images(pixels)
            vectors[new], tokens[new] = encodings.vectors, encodings.tokens
        if not new.all():
            vectors[~new], tokens[~new] = arrays_of([entry.duplicate_of for entry in entries if entry.duplicate_of is not None])
        return vectors, tokens

    def _caption_vectors(self, captions: list[CaptionRecord]) -> np.ndarray:
        with self._turn():
            return self._encoder.encode_texts([caption.text for caption in captions]).vectors

    def _write_images(self, entries: list[Entry], arrays: tuple[np.ndarray, np.ndarray]) -> None:
        records = [entry.image_record() for entry in entries]
        captions = [caption for entry in entries for caption in entry.caption_records()]
        self._open_segment().add_images(records, *arrays, [entry.photo.thumbnail for entry in entries], captions)
        self._written += len(entries)

    def _write_captions(self, captions: list[CaptionRecord], vectors: np.ndarray) -> None:
        self._open_segment().add_captions(captions, vectors)

    def _end_segment(self, _: None) -> None:
        assert self._segment is not None, "a segment that has images is open"
        self._segment.finish()
        self._segment = None

    def _open_segment(self) -> SegmentBuilder:
        if self._segment is None:
            config = self._encoder.config
            self._segment = self._writer.begin_segment(config.dim, config.token_shape)
        return self._segment
