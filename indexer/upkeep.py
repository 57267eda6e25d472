"""Work on single photos: add them by path, try failures again, encode damaged ones again, check stored vectors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.inputs.image_inputs import features_in
from indexer.build import KEEP, BuildSummary, Progress, build_index
from indexer.errors import IndexerError, MissingPhoto
from indexer.items import Failure, SourceCaption, SourceItem, captions_of_source, printable, with_generated_captions
from indexer.photo_loader import Job, Photo, load_photo
from indexer.sources import reopen_source
from indexer.sources.base import Source
from indexer.sources.text_pairing import names_of_photo
from storage.collection import Collection
from storage.errors import OtherWeights
from storage.home import Home
from storage.photo_uri import PhotoUri
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.segments.segment_set import SegmentSet
from storage.status import failures

if TYPE_CHECKING:
    from encoder.api import BulkEncoder

ADDED = Path("added")
MIN_COSINE = 0.999
CHECKED_AT_ONCE = 64


def added_photos(home: Home, name: str, paths: Sequence[Path], captions: Sequence[SourceCaption]) -> Source:
    """A source of photos by path. A photo that the collection has keeps the captions it has.

    Args:
        home: the home that has the collection.
        name: the collection's name.
        paths: the photos.
        captions: captions for each of them.

    Raises:
        MissingPhoto: a path is no file.
    """
    photo_uris = [PhotoUri(Path(os.path.abspath(path.expanduser()))) for path in paths]
    for photo_uri in photo_uris:
        if not photo_uri.path.is_file():
            raise MissingPhoto(printable(photo_uri.path))
    return captioned_photos(home, name, [photo_uri.uri for photo_uri in photo_uris], captions)


def captioned_photos(home: Home, name: str, uris: Sequence[str], captions: Sequence[SourceCaption]) -> Source:
    """A source as `added_photos` makes it, of photos by uri. It is not checked that they exist."""
    exists = name in home.collection_names() and home.collection(name).manifest.version
    recorded = _recorded(home.collection(name), uris) if exists else {}
    items = []
    for uri in dict.fromkeys(uris):
        own, metadata = recorded.get(uri, ([], {}))
        known = {(caption.language, caption.text) for caption in own}
        new = [caption for caption in captions if (caption.language, caption.text) not in known]
        items.append(_item(uri, own + new, metadata))
    return Source(ADDED, items)


def retry_failures(home: Home, name: str, encoder: BulkEncoder, progress: Progress | None = None) -> dict[str, Any]:
    """Try every failed file again, with what its source says of it now. Raises what `build_index` raises.

    Returns:
        The command's answer, as JSON values.
    """
    failed: dict[str, list[str]] = {}
    for failure in home.catalog.failures(home.collection(name).name):
        failed.setdefault(failure.source, []).append(failure.uri)
    known = home.catalog.sources(name)
    for root, uris in failed.items():
        try:
            source = _part_of(root, uris, known.get(root, {}))
        except IndexerError:
            continue  # its failures stay listed
        build_index(home, name, source, encoder, progress=progress, missing=KEEP, partial=True)
        named = {_uri(item) for item in source} | {problem.uri for problem in source.problems}
        failing = {failure.uri for failure in home.catalog.failures(name)}  # another command may have indexed some meanwhile
        home.catalog.forget_files(name, [uri for uri in uris if uri not in named and uri in failing])
    return {"tried": sum(map(len, failed.values())), **failures(home, name)}


def kept_exclusions(home: Home, name: str, path: Path) -> list[str]:
    """The patterns with which a source was last indexed.

    Args:
        home: the home that has the collection.
        name: the collection's name.
        path: the source, or the folder whose manifest it is.
    """
    folder = os.path.abspath(path.expanduser())
    known = home.catalog.sources(name)
    near = [root for root in known if root == folder or (os.path.dirname(root) == folder and os.path.isfile(root))]
    return list(known[near[0]].get("exclude", ())) if near else []


def encode_again(
    home: Home,
    name: str,
    encoder: BulkEncoder,
    lost: list[tuple[ImageRecord, list[CaptionRecord]]],
    progress: Progress | None = None,
) -> int:
    """Encode photos whose segment was damaged, under new ids, with the captions and metadata that they had.

    A photo that another command has indexed in the meantime is left as it is.

    Args:
        home: the home that has the collection.
        name: the collection's name.
        encoder: the collection's encoder.
        lost: the records of the photos, each with its captions.
        progress: called with how far each run is.

    Returns:
        How many of the photos are in the collection again.
    """
    back = home.collection(name).open_rows().find([image.uri for image, _ in lost])
    by_source: dict[str, list[SourceItem]] = {}
    for image, captions in lost:
        if image.uri in back:
            continue
        item = with_generated_captions(_item(image.uri, captions_of_source(captions), image.metadata), captions)
        by_source.setdefault(image.source, []).append(item)
    runs = [
        build_index(home, name, Source(Path(root), items), encoder, progress=progress, missing=KEEP, partial=True)
        for root, items in by_source.items()
    ]
    return len(back) + sum(run.added for run in runs)


def check_sample(
    collection: Collection, encoder: BulkEncoder, size: int, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Encode a random sample of photos again and compare the vectors with the stored ones.

    Photos whose file is gone or has changed are skipped.

    Args:
        collection: the collection.
        encoder: its encoder.
        size: how many photos to take.
        seed: of the random sample.

    Returns:
        The counts and the lowest cosine, as JSON values; and the problems in the form of `storage.verification.verify`.

    Raises:
        OtherWeights: the collection was encoded by another model.
    """
    snapshot = collection.open_snapshot()
    if snapshot.model_fingerprint != encoder.fingerprint:
        raise OtherWeights(collection.name, snapshot.model_fingerprint, encoder.fingerprint)
    ids = snapshot.image_ids()
    sample = np.random.default_rng(seed).permutation(ids)[:size]
    cosines: dict[int, float] = {}
    for start in range(0, len(sample), CHECKED_AT_ONCE):
        cosines |= _cosines(snapshot, encoder, sample[start : start + CHECKED_AT_ONCE])
    low = {image_id: cosine for image_id, cosine in cosines.items() if not cosine > MIN_COSINE}  # NaN is low too
    problems = [
        {"where": "vectors", "what": f"image {image_id} encoded anew has a cosine of {cosine:.4f} to its vector"}
        for image_id, cosine in low.items()
    ]
    lowest = round(min(cosines.values()), 6) if cosines else None
    return {"checked": len(cosines), "skipped": len(sample) - len(cosines), "lowest_cosine": lowest}, problems


def _cosines(rows: SegmentSet, encoder: BulkEncoder, ids: np.ndarray) -> dict[int, float]:
    """The cosine of each image's new vector to its stored one, by image id, for the photos that are unchanged."""
    inputs = encoder.config.inputs
    pixels: dict[int, np.ndarray] = {}
    for record in rows.images(ids):
        photo_uri = PhotoUri.at(record.uri)
        try:
            part = photo_uri.part()
        except OSError:
            continue
        photo = load_photo(Job(record.uri, inputs, None, features_in(record.metadata), str(photo_uri.path), part))
        if isinstance(photo, Photo) and photo.file.sha256 == record.sha256:
            pixels[record.image_id] = photo.pixels
    if not pixels:
        return {}
    new, stored = encoder.encode_images(np.stack(list(pixels.values()))).vectors, rows.image_vectors(list(pixels))
    lengths = np.linalg.norm(new, axis=1) * np.linalg.norm(stored, axis=1)
    return dict(zip(pixels, ((new * stored).sum(axis=1) / lengths).tolist(), strict=True))


def _recorded(collection: Collection, uris: Sequence[str]) -> dict[str, tuple[list[SourceCaption], dict[str, Any]]]:
    """The captions and metadata that the collection has of these photos, by uri; unknown photos are left out."""
    rows = collection.open_rows()
    known = rows.find(uris)
    captions, records = rows.captions_of(list(known.values())), rows.images(list(known.values()))
    return {record.uri: (captions_of_source(captions[record.image_id]), record.metadata) for record in records}


def _item(uri: str, captions: Sequence[SourceCaption] = (), metadata: dict[str, Any] | None = None) -> SourceItem:
    photo_uri = PhotoUri.at(uri)
    return SourceItem(photo_uri.path, list(captions), metadata or {}, photo_uri.member)


def _uri(item: SourceItem) -> str:
    return PhotoUri(item.uri, item.member).uri


def _part_of(root: str, failed: list[str], options: dict[str, Any]) -> Source:
    """The photos of a source that failed, or whose text file or folder failed.

    Args:
        root: the source's path.
        failed: the uris of the failures.
        options: how the source was opened before; it is opened in the same way.

    Raises:
        IndexerError: the source can't be opened any more.
    """
    if root == str(ADDED):
        return Source(ADDED, [_item(uri) for uri in failed])
    source = reopen_source(root, options)
    wanted = set(failed)
    texts = {name for uri in failed for name in names_of_photo(uri)}
    folders = tuple(os.path.join(uri, "") for uri in failed)

    def is_affected(uri: str) -> bool:
        return uri in wanted or not texts.isdisjoint(names_of_photo(uri)[:2]) or uri.startswith(folders)

    problems: list[Failure] = [problem for problem in source.problems if problem.uri in wanted]
    return Source(source.root, [item for item in source if is_affected(_uri(item))], problems)


def added_summary(summary: BuildSummary, source: Source, home: Home, name: str) -> dict[str, Any]:
    """What `add` did, as JSON values: the ids by uri, and the failures."""
    rows = home.collection(name).open_rows() if summary.version else None
    ids = rows.find([_uri(item) for item in source]) if rows else {}
    failed = [{"uri": f.uri, "reason": f.reason, "sentence": f.sentence} for f in summary.failures]
    return {"collection": name, "version": summary.version, "ids": ids, "failures": failed}


def added_lines(answer: dict[str, Any]) -> Iterable[str]:
    """The lines of `added_summary`: one for each photo, then the total."""
    for uri, image_id in answer["ids"].items():
        yield f"{image_id}  {uri}"
    count = len(answer["ids"])
    yield f"{count} photo{'' if count == 1 else 's'} added to {answer['collection']}, version {answer['version']}"
