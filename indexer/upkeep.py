"""Photos one by one: added by path, tried again, encoded again after damage, or checked against what is stored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from encoder.inputs.image_inputs import features_in
from indexer.build import KEEP, BuildSummary, Progress, build_index
from indexer.errors import IndexerError, MissingPhoto
from indexer.items import Failure, SourceCaption, SourceItem, printable
from indexer.photo_loader import Job, Photo, load_photo
from indexer.sources import open_source
from indexer.sources.base import Source
from storage.collection import Collection
from storage.errors import OtherWeights
from storage.home import Home
from storage.photo_uri import PhotoUri
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.status import failures

ADDED = Path("added")
LEAST_COSINE = 0.999
CHECKED_AT_ONCE = 64


def added_photos(home: Home, name: str, paths: Sequence[Path], captions: Sequence[SourceCaption]) -> Source:
    """Photos by path, each with these captions; one that the collection has keeps its own captions too. Raises MissingPhoto."""
    places = [PhotoUri(Path(os.path.abspath(path.expanduser()))) for path in paths]
    for place in places:
        if not place.path.is_file():
            raise MissingPhoto(printable(place.path))
    return captioned_photos(home, name, [place.uri for place in places], captions)


def captioned_photos(home: Home, name: str, uris: Sequence[str], captions: Sequence[SourceCaption]) -> Source:
    """The same by uri, of which nothing is looked at here."""
    exists = name in home.collection_names() and home.collection(name).manifest.version
    had = _recorded(home.collection(name), uris) if exists else {}
    items = []
    for uri in dict.fromkeys(uris):
        own, metadata = had.get(uri, ([], {}))
        told = {(caption.language, caption.text) for caption in own}
        new = [caption for caption in captions if (caption.language, caption.text) not in told]
        items.append(_item(uri, own + new, metadata))
    return Source(ADDED, items)


def retry_failures(home: Home, name: str, encoder, progress: Progress | None = None) -> dict:
    """Try every failed file again, as its source tells of it now; the answer of the command, as plain values.

    Raises what `build_index` raises.
    """
    failed: dict[str, list[str]] = {}
    for failure in home.catalog.failures(home.collection(name).name):
        failed.setdefault(failure.source, []).append(failure.uri)
    known = home.catalog.sources(name)
    for root, uris in failed.items():
        try:
            source = _part_of(root, uris, known.get(root, {}))
        except IndexerError:
            continue  # it stays listed
        build_index(home, name, source, encoder, progress=progress, missing=KEEP, partial=True)
        named = {_uri(item) for item in source} | {problem.uri for problem in source.problems}
        failing = {failure.uri for failure in home.catalog.failures(name)}  # another command may have indexed some meanwhile
        home.catalog.forget_files(name, [uri for uri in uris if uri not in named and uri in failing])
    return {"tried": sum(map(len, failed.values())), **failures(home, name)}


def encode_again(
    home: Home, name: str, encoder, lost: list[tuple[ImageRecord, list[CaptionRecord]]], progress: Progress | None = None
) -> int:
    """Encode photos whose segment was damaged, under new ids, with what their rows said; how many came back.

    What another command has indexed meanwhile is back already, and keeps what that said of it.
    """
    back = home.collection(name).open_rows().find([image.uri for image, _ in lost])
    by_source: dict[str, list[SourceItem]] = {}
    for image, captions in lost:
        if image.uri in back:
            continue
        item = _item(image.uri, [SourceCaption(c.language, c.text, c.origin) for c in captions], image.metadata)
        by_source.setdefault(image.source, []).append(item)
    runs = [
        build_index(home, name, Source(Path(root), items), encoder, progress=progress, missing=KEEP, partial=True)
        for root, items in by_source.items()
    ]
    return len(back) + sum(run.added for run in runs)


def check_sample(collection: Collection, encoder, size: int, seed: int = 0) -> tuple[dict, list[dict]]:
    """Encode some photos anew and compare with what is stored; what was found, and the problems as `verify` has them.

    Photos whose file is gone or has changed are skipped. Raises OtherWeights.
    """
    snapshot = collection.open_snapshot()
    if snapshot.model_fingerprint != encoder.fingerprint:
        raise OtherWeights(collection.name, snapshot.model_fingerprint, encoder.fingerprint)
    ids = snapshot.image_ids()
    chosen = np.random.default_rng(seed).permutation(ids)[:size]
    cosines: dict[int, float] = {}
    for start in range(0, len(chosen), CHECKED_AT_ONCE):
        cosines |= _cosines(snapshot, encoder, chosen[start : start + CHECKED_AT_ONCE])
    low = {image_id: cosine for image_id, cosine in cosines.items() if not cosine > LEAST_COSINE}
    problems = [
        {"where": "vectors", "what": f"image {image_id} encoded anew has a cosine of {cosine:.4f} to its vector"}
        for image_id, cosine in low.items()
    ]
    lowest = round(min(cosines.values()), 6) if cosines else None
    return {"checked": len(cosines), "skipped": len(chosen) - len(cosines), "lowest_cosine": lowest}, problems


def _cosines(snapshot, encoder, ids: np.ndarray) -> dict[int, float]:
    inputs = encoder.config.inputs
    read = {}
    for record in snapshot.images(ids):
        place = PhotoUri.at(record.uri)
        try:
            span = place.span()
        except OSError:
            continue
        photo = load_photo(Job(record.uri, inputs, None, features_in(record.metadata), str(place.path), span))
        if isinstance(photo, Photo) and photo.file.sha256 == record.sha256:
            read[record.image_id] = photo.pixels
    if not read:
        return {}
    new, stored = encoder.encode_images(np.stack(list(read.values()))).vectors, snapshot.image_vectors(list(read))
    lengths = np.linalg.norm(new, axis=1) * np.linalg.norm(stored, axis=1)
    return dict(zip(read, ((new * stored).sum(axis=1) / lengths).tolist(), strict=True))


def _recorded(collection: Collection, uris: list[str]) -> dict[str, tuple[list[SourceCaption], dict]]:
    """What the collection says of these photos, as far as it has them: captions and metadata."""
    rows = collection.open_rows()
    known = rows.find(uris)
    captions, records = rows.captions_of(list(known.values())), rows.images(list(known.values()))
    return {
        record.uri: ([SourceCaption(c.language, c.text, c.origin) for c in captions[record.image_id]], record.metadata)
        for record in records
    }


def _item(uri: str, captions: Sequence[SourceCaption] = (), metadata: dict | None = None) -> SourceItem:
    place = PhotoUri.at(uri)
    return SourceItem(place.path, list(captions), metadata or {}, place.member)


def _uri(item: SourceItem) -> str:
    return PhotoUri(item.uri, item.member).uri


def _part_of(root: str, failed: list[str], told: dict) -> Source:
    """The photos of a source that failed, or that something of theirs failed for: a text file, or a folder. It is opened as it
    was before, of which `told` tells. Raises IndexerError."""
    if root == str(ADDED):
        return Source(ADDED, [_item(uri) for uri in failed])
    source = open_source(root, told.get("format"), told.get("captions", ()), told.get("languages", ()))
    wanted = set(failed)
    folders = tuple(os.path.join(uri, "") for uri in failed)

    def concerned(uri: str) -> bool:
        return uri in wanted or os.path.splitext(uri)[0] + ".txt" in wanted or uri.startswith(folders)

    problems: list[Failure] = [problem for problem in source.problems if problem.uri in wanted]
    return Source(source.root, [item for item in source if concerned(_uri(item))], problems)


def added_summary(summary: BuildSummary, source: Source, home: Home, name: str) -> dict:
    """What `add` did: the ids by path, and what could not be read."""
    rows = home.collection(name).open_rows() if summary.version else None
    ids = rows.find([_uri(item) for item in source]) if rows else {}
    failed = [{"uri": f.uri, "reason": f.reason, "sentence": f.sentence} for f in summary.failures]
    return {"collection": name, "version": summary.version, "ids": ids, "failures": failed}


def added_lines(answer: dict) -> Iterable[str]:
    """One line a photo."""
    for uri, image_id in answer["ids"].items():
        yield f"{image_id}  {uri}"
    count = len(answer["ids"])
    yield f"{count} photo{'' if count == 1 else 's'} added to {answer['collection']}, version {answer['version']}"
