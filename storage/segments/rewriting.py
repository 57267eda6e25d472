"""A segment without some of its captions: only its small files are written anew, the large ones are linked."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import make_folder, move_into_place, remove, sha256_of
from storage.segments.builder import DESCRIPTION, FORMAT
from storage.segments.reader import Segment

CAPTION_FILES = ("captions.parquet", "caption_ids.npy", "caption_vectors.npy")


def without_captions(segment: Segment, gone: np.ndarray, temporary: Path, final: Path) -> str:
    """Make a segment with the same images, under the same ids, and with those captions that are not in `gone`.

    Vectors, tokens and thumbnails of the images are the same files on disk, where the file system has hard links.

    Args:
        segment: The segment.
        gone: The ids of captions to leave out, int64.
        temporary: The folder to write to; what is there is removed.
        final: The folder's name at the end. Nobody reads it before a publication names it.

    Returns:
        The name of the new segment.
    """
    remove(temporary)
    make_folder(temporary)
    kept = np.flatnonzero(~np.isin(segment.caption_ids, gone))
    ids = segment.caption_ids[kept]
    pq.write_table(segment.captions.take(pa.array(kept)), temporary / "captions.parquet", compression="zstd")
    np.save(temporary / "caption_ids.npy", ids)
    np.save(temporary / "caption_vectors.npy", np.asarray(segment.caption_vectors[kept]))
    files = dict(segment.info.files)
    for name in files:
        if name in CAPTION_FILES:
            path = temporary / name
            files[name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        else:
            _link(segment.folder / name, temporary / name)
    info = replace(segment.info, captions=len(ids), last_caption_id=int(ids.max(initial=0)), files=files)
    text = json.dumps({"format": FORMAT, **asdict(info)}, indent=1) + "\n"
    (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
    move_into_place(temporary, final)
    return final.name


def _link(existing: Path, new: Path) -> None:
    """Give a file another name; copy it where the file system has no links."""
    try:
        os.link(existing, new)
    except OSError:
        shutil.copyfile(existing, new)
