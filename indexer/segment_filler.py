"""From photos that were read to segments on disk: full batches into the encoder, written behind, segments of bounded size."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np

from indexer.cpu_scheduling import CpuTurns
from indexer.items import SourceItem
from indexer.known_images import Known, arrays_of
from indexer.photo_loader import Photo
from indexer.pipeline import OrderedPipeline
from storage.segments.builder import SegmentBuilder
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.writer import Writer

IMAGE_BATCH = 16
TEXT_BATCH = 256
SEGMENT_IMAGES = 4096


@dataclass(frozen=True)
class Entry:
    """A photo that is ready to be encoded, with its ids. `twin` holds the same content, encoded before."""

    image_id: int
    uri: str
    caption_ids: list[int]
    item: SourceItem
    source: str
    photo: Photo
    twin: Known | None = None

    def image_record(self) -> ImageRecord:
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
        )

    def caption_records(self) -> list[CaptionRecord]:
        return [
            CaptionRecord(caption_id, self.image_id, caption.language, caption.text, caption.origin)
            for caption_id, caption in zip(self.caption_ids, self.item.captions, strict=True)
        ]


class SegmentFiller:
    """Takes entries one by one. A batch is written, and durable, while the next one is encoded, and a segment that an
    interrupted run began is gone on with: what comes out doesn't depend on interruptions. `encoded` counts the photos that go
    through the encoder.

    Of the segment only the conveyor's taking thread knows, between the first entry and the end.
    """

    def __init__(self, writer: Writer, encoder, turns: CpuTurns | None = None):
        self._writer, self._encoder = writer, encoder
        self._turn = turns.encode if turns else nullcontext
        self._entries: list[Entry] = []
        self._segment: SegmentBuilder | None = writer.unfinished
        self._captions: list[CaptionRecord] = self._segment.waiting if self._segment else []
        self._images = self._segment.image_count if self._segment else 0
        self._conveyor = OrderedPipeline(getattr(encoder, "devices", 1))
        self._written = self._told = 0
        self.encoded = 0

    def add(self, entry: Entry) -> int:
        """Take an entry; the number of entries that became durable since this was last said."""
        self._entries.append(entry)
        if len(self._entries) >= IMAGE_BATCH:
            self._put_images()
        return self._news()

    def finish(self) -> int:
        """Encode all that was taken and finish the last segment; the number of entries that became durable by it."""
        self._put_images()
        self._finish_segment()
        self._conveyor.drain()
        self._conveyor.stop()
        return self._news()

    def suspend(self) -> None:
        """Stop here: the batches that were written stay for the next run."""
        self._conveyor.stop()
        if self._segment is not None:
            self._segment.suspend()
            self._segment = None

    def _news(self) -> int:
        told, self._told = self._told, self._written
        return self._told - told

    def _put_images(self) -> None:
        entries, self._entries = self._entries, []
        if not entries:
            return
        if self._images and self._images + IMAGE_BATCH > SEGMENT_IMAGES:
            self._finish_segment()
        self._images += len(entries)
        self._captions += [caption for entry in entries for caption in entry.caption_records()]
        self.encoded += sum(entry.twin is None for entry in entries)
        self._conveyor.put(partial(self._image_arrays, entries), partial(self._write_images, entries))
        self._put_captions(at_least=TEXT_BATCH)

    def _put_captions(self, at_least: int) -> None:
        """Encode full batches, down to fewer than `at_least` captions that still wait."""
        while len(self._captions) >= at_least:
            batch, self._captions = self._captions[:TEXT_BATCH], self._captions[TEXT_BATCH:]
            self._conveyor.put(partial(self._caption_vectors, batch), partial(self._write_captions, batch))

    def _finish_segment(self) -> None:
        self._put_captions(at_least=1)
        if self._images:
            self._images = 0
            self._conveyor.put(lambda: None, self._end_segment)

    def _image_arrays(self, entries: list[Entry]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [n, D] and tokens float16 [n, L, H]; content that was encoded before is only copied."""
        config = self._encoder.config
        vectors = np.empty((len(entries), config.dim), np.float32)
        tokens = np.empty((len(entries), *config.token_shape), np.float16)
        new = np.array([entry.twin is None for entry in entries])
        if new.any():
            pixels = np.stack([entry.photo.pixels for entry in entries if entry.twin is None])
            with self._turn():
                encodings = self._encoder.encode_images(pixels)
            vectors[new], tokens[new] = encodings.vectors, encodings.tokens
        if not new.all():
            vectors[~new], tokens[~new] = arrays_of([entry.twin for entry in entries if entry.twin is not None])
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
        self._segment.finish()
        self._segment = None

    def _open_segment(self) -> SegmentBuilder:
        if self._segment is None:
            config = self._encoder.config
            self._segment = self._writer.begin_segment(config.dim, tuple(config.token_shape))
        return self._segment
