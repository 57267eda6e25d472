"""Runs and judgements in TREC's formats, which the field's own tools read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np

from search.errors import BadRun, UnwritableFile
from search.evaluation.evaluate import Answer

Run = dict[str, dict[str, float]]
Qrels = dict[str, set[str]]


class Names:
    """What photos and captions are called in such files: the same from run to run, whatever ids a collection gave them.

    A photo is called by its path below the folder that all share, a caption `<photo>#<language><number>`, counted from 1, and
    the question for a photo's captions `<photo>#<language>`.
    """

    def __init__(self, snapshot) -> None:
        images, captions = snapshot.image_table(), snapshot.caption_table()
        uris = images["uri"].to_pylist()
        shared = os.path.commonprefix(uris).rpartition("/")[0]
        names = [quote(uri.removeprefix(shared).lstrip("/")) for uri in uris]
        self.images = dict(zip(images["image_id"].to_pylist(), names, strict=True))
        self.captions: dict[int, str] = {}
        counts: dict[str, int] = {}
        for row in captions.select(["caption_id", "image_id", "language"]).to_pylist():
            asked = f"{self.images[row['image_id']]}#{quote(row['language'])}"
            counts[asked] = counts.get(asked, 0) + 1
            self.captions[row["caption_id"]] = f"{asked}{counts[asked]}"

    def query(self, answer: Answer) -> str:
        """What the question is called."""
        asked = answer.question
        if asked.caption is not None:
            return self.captions[asked.caption.caption_id]
        return f"{self.images[asked.image_id]}#{quote(asked.language)}"

    def document(self, answer: Answer, own: int) -> str:
        """What one of the things that were searched is called."""
        return (self.images if answer.question.to == "images" else self.captions)[int(own)]


def run_lines(answers: Iterable[Answer], names: Names, tag: str) -> Iterator[str]:
    """`query Q0 document rank score tag`, a line each; scores to the last digit, so that ties stay ties."""
    for answer in answers:
        for rank, (own, score) in enumerate(zip(answer.ids, answer.scores, strict=True), 1):
            yield f"{names.query(answer)} Q0 {names.document(answer, own)} {rank} {float(score)!r} {tag}"


def qrels_lines(answers: Iterable[Answer], names: Names) -> Iterator[str]:
    """`query 0 document 1`, a line for each right answer."""
    for answer in answers:
        for own in answer.question.relevant:
            yield f"{names.query(answer)} 0 {names.document(answer, own)} 1"


def check_writable(path: Path) -> None:
    """Raises UnwritableFile where a file could not be written at `path`, before hours go into what it is to hold."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "that is a folder" if path.is_dir() else "there is no such folder, or it can't be written to"
        raise UnwritableFile(path, problem)


def write_text(path: Path, parts: Iterable[str]) -> None:
    """Writes a file, a line each; raises UnwritableFile."""
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{part}\n" for part in parts)
    except OSError as error:
        raise UnwritableFile(path, error.strerror or str(error)) from error


def read_run(path: Path) -> Run:
    """Scores by query and document; raises BadRun."""
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
    """The right answers of each query; raises BadRun."""
    qrels: Qrels = {}
    for number, fields in _fields(path, 4):
        if not fields[3].lstrip("-").isdigit():
            raise BadRun(path, number, f"{fields[3]!r} is no judgement")
        right = qrels.setdefault(fields[0], set())
        if int(fields[3]) > 0:
            right.add(fields[2])
    return {query: right for query, right in qrels.items() if right}


def _fields(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
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
