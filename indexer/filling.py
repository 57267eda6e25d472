"""From photos that were read to segments on disk: full batches into the encoder, segments of bounded size."""

from dataclasses import dataclass

import numpy as np

from indexer.items import SourceItem
from indexer.known import Known, arrays_of
from indexer.photos import Photo
from storage.records import CaptionRecord, ImageRecord
from storage.segments import SegmentBuilder
from storage.writer import Writer

IMAGE_BATCH = 64
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
    """Takes entries one by one. Each batch is durable when it was encoded, and a segment that an interrupted run began is
    gone on with: what comes out doesn't depend on interruptions. `encoded` counts the photos that went through the
    encoder."""

    def __init__(self, writer: Writer, encoder):
        self._writer, self._encoder = writer, encoder
        self._entries: list[Entry] = []
        self._segment: SegmentBuilder | None = writer.unfinished
        self._captions: list[CaptionRecord] = self._segment.waiting if self._segment else []
        self.encoded = 0

    def add(self, entry: Entry) -> int:
        """Take an entry; the number of entries whose photos were encoded by this call."""
        self._entries.append(entry)
        return self._encode_images() if len(self._entries) >= IMAGE_BATCH else 0

    def finish(self) -> int:
        """Encode all that was taken and finish the last segment; the number of entries encoded by this call."""
        done = self._encode_images()
        self._finish_segment()
        return done

    def suspend(self) -> None:
        """Stop here: the batches that were encoded stay for the next run."""
        if self._segment is not None:
            self._segment.suspend()
            self._segment = None

    def _finish_segment(self) -> None:
        self._encode_captions(at_least=1)
        if self._segment is not None:
            self._segment.finish()
            self._segment = None

    def _encode_images(self) -> int:
        entries, self._entries = self._entries, []
        if not entries:
            return 0
        if self._segment is not None and self._segment.image_count + IMAGE_BATCH > SEGMENT_IMAGES:
            self._finish_segment()
        vectors, tokens = self._image_arrays(entries)
        thumbnails = [entry.photo.thumbnail for entry in entries]
        captions = [caption for entry in entries for caption in entry.caption_records()]
        self._open_segment().add_images([entry.image_record() for entry in entries], vectors, tokens, thumbnails, captions)
        self._captions += captions
        self._encode_captions(at_least=TEXT_BATCH)
        return len(entries)

    def _image_arrays(self, entries: list[Entry]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 [n, D] and tokens float16 [n, L, H]; content that was encoded before is only copied."""
        config = self._encoder.config
        vectors = np.empty((len(entries), config.dim), np.float32)
        tokens = np.empty((len(entries), *config.token_shape), np.float16)
        new = np.array([entry.twin is None for entry in entries])
        if new.any():
            pixels = np.stack([entry.photo.pixels for entry in entries if entry.twin is None])
            encodings = self._encoder.encode_images(pixels)
            vectors[new], tokens[new] = encodings.vectors, encodings.tokens
            self.encoded += len(pixels)
        if not new.all():
            vectors[~new], tokens[~new] = arrays_of([entry.twin for entry in entries if entry.twin is not None])
        return vectors, tokens

    def _encode_captions(self, at_least: int) -> None:
        """Encode full batches, down to fewer than `at_least` captions that still wait."""
        while len(self._captions) >= at_least:
            batch, self._captions = self._captions[:TEXT_BATCH], self._captions[TEXT_BATCH:]
            vectors = self._encoder.encode_texts([caption.text for caption in batch]).vectors
            self._open_segment().add_captions(batch, vectors)

    def _open_segment(self) -> SegmentBuilder:
        if self._segment is None:
            config = self._encoder.config
            self._segment = self._writer.begin_segment(config.dim, tuple(config.token_shape))
        return self._segment
