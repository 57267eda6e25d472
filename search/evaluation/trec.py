"""Runs and judgements in TREC's formats, which the field's tools read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from search.errors import BadRun, UnwritableFile
from search.evaluation.evaluate import Answer
from storage.snapshot import Snapshot

Run = dict[str, dict[str, float]]
"""Scores by query and document."""
Qrels = dict[str, set[str]]
"""The relevant documents of each query."""


class Names:
    """The names of photos, captions and queries in such files. They don't depend on the ids in a collection.

    The name of a photo is its path below the folder that all photos share. That of a caption, and of its query, is
    `<photo>#<language><number>`, counted from 1; a caption that a model wrote has none, for it is never measured. That of the
    query for a photo's captions is `<photo>#<language>`.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        images, captions = snapshot.image_table(), snapshot.caption_table()
        uris = images["uri"].to_pylist()
        shared = os.path.commonprefix(uris).rpartition("/")[0]
        names = [quote(uri.removeprefix(shared).lstrip("/")) for uri in uris]
        self.images = dict(zip(images["image_id"].to_pylist(), names, strict=True))
        self.captions: dict[int, str] = {}
        counts: dict[str, int] = {}
        people = np.isin(captions["caption_id"].to_numpy(), snapshot.caption_ids(generated=False))
        for row in captions.select(["caption_id", "image_id", "language"]).filter(pa.array(people)).to_pylist():
            name = f"{self.images[row['image_id']]}#{quote(row['language'])}"
            counts[name] = counts.get(name, 0) + 1
            self.captions[row["caption_id"]] = f"{name}{counts[name]}"

    def query(self, answer: Answer) -> str:
        """The name of an answer's query."""
        topic = answer.topic
        if topic.caption is not None:
            return self.captions[topic.caption.caption_id]
        return f"{self.images[topic.image_id]}#{quote(topic.language)}"

    def document(self, answer: Answer, item_id: int) -> str:
        """The name of an image or caption, whichever the answer's query searched."""
        return (self.images if answer.topic.to == "images" else self.captions)[int(item_id)]


def run_lines(answers: Iterable[Answer], names: Names, tag: str) -> Iterator[str]:
    """Lines `query Q0 document rank score tag`. Scores have all their digits, so that ties stay ties."""
    for answer in answers:
        for rank, (item_id, score) in enumerate(zip(answer.ids, answer.scores, strict=True), 1):
            yield f"{names.query(answer)} Q0 {names.document(answer, item_id)} {rank} {float(score)!r} {tag}"


def qrels_lines(answers: Iterable[Answer], names: Names) -> Iterator[str]:
    """Lines `query 0 document 1`, one for each relevant item."""
    for answer in answers:
        for item_id in answer.topic.relevant:
            yield f"{names.query(answer)} 0 {names.document(answer, item_id)} 1"


def check_writable(path: Path) -> None:
    """Check that a file can be written, before hours are spent on its content.

    Raises:
        UnwritableFile: it can't be written.
    """
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "that is a folder" if path.is_dir() else "there is no such folder, or it can't be written to"
        raise UnwritableFile(path, problem)


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Write a file, each part as a line.

    Raises:
        UnwritableFile: it can't be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{part}\n" for part in parts)
    except OSError as error:
        raise UnwritableFile(path, error.strerror or str(error)) from error


def read_run(path: Path) -> Run:
    """Read a run file.

    Raises:
        BadRun: it can't be read.
    """
    run: Run = {}
    for number, fields in _fields(path, 6):
        try:
            score = float(fields[4])
        except ValueError:
            score = np.nan
        if np.isnan(score):
            raise BadRun(path, number, f"{fields[4]!r} is no score")
        run.setdefault(fields[0], {})[fields[2]] = score
    return run


def read_qrels(path: Path) -> Qrels:
    """Read a qrels file; queries without a relevant document are left out.

    Raises:
        BadRun: it can't be read.
    """
    qrels: Qrels = {}
    for number, fields in _fields(path, 4):
        if not fields[3].lstrip("-").isdigit():
            raise BadRun(path, number, f"{fields[3]!r} is no judgement")
        relevant = qrels.setdefault(fields[0], set())
        if int(fields[3]) > 0:
            relevant.add(fields[2])
    return {query: relevant for query, relevant in qrels.items() if relevant}


def _fields(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line that is not blank."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRun(path, None, getattr(error, "strerror", None) or "not text in UTF-8") from error
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if fields and len(fields) != count:
            raise BadRun(path, number, f"{len(fields)} fields, where {count} are needed")
        if fields:
            yield number, fields
