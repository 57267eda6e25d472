"""The index files of a version: exact search while it is fast enough, else an approximate index that was measured."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from storage.errors import BrokenIndex
from storage.files import give_back, remove, sha256_of
from storage.vector_index.approximate import ApproximateIndex
from storage.vector_index.base import VectorIndex
from storage.vector_index.flat import FaissFlatIndex
from storage.vector_index.flat_file import write_flat
from storage.vector_index.tuning import WANTED_RECALL, K, cheapest, lists_for, recall

DESCRIPTION = "index.json"
CHUNK = 16384
QUERIES = 400
TIMED_QUERIES = 15
TRAINING_VECTORS_A_LIST = 64
SEED = 0


@dataclass(frozen=True)
class IndexBudget:
    """What a search may cost.

    Attributes:
        max_ms: Milliseconds of the first stage for one query.
        max_bytes: Bytes of both indexes in memory; None: as many as exact search needs.
    """

    max_ms: float = 100.0
    max_bytes: int | None = None

    @classmethod
    def of(cls, max_ms: float | None, gigabytes: float | None) -> IndexBudget | None:
        """Make a budget of what is given and defaults for the rest; None if nothing is given."""
        given = {"max_ms": max_ms, "max_bytes": gigabytes and int(gigabytes * 1e9)}
        given = {name: value for name, value in given.items() if value is not None}
        return cls(**given) if given else None


@dataclass(frozen=True)
class IndexChoice:
    """What an index is, and why.

    Attributes:
        kind: "exact" or "approximate".
        why: The reason, in words.
        factory: The FAISS factory string.
        effort: nprobe or efSearch of an approximate index.
        recall: 10-recall@10 against exact search, on held-out queries.
        queries: The number of held-out queries. They are of the other kind: captions for photos, photos for captions.
        ms: Milliseconds of the fastest of a few queries, on the machine that wrote the index.
        exact_ms: The same of exact search.
    """

    kind: str
    why: str
    factory: str = "SQfp16"
    effort: int = 0
    recall: float = 1.0
    queries: int = 0
    ms: float = 0.0
    exact_ms: float = 0.0


class VectorRows:
    """The living rows of one kind (images or captions) in some segments, read chunk by chunk."""

    def __init__(self, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]):
        """Take one part for each segment: ids int64 [n], vectors [n, D], and the rows that are alive, int64 [a]."""
        self._parts = parts
        self.count = sum(len(rows) for _, _, rows in self._parts)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All ids int64 [c] and vectors [c, D], in parts."""
        for ids, vectors, rows in self._parts:
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                yield ids[part], vectors[part]
            give_back(vectors)

    def vectors(self) -> Iterator[np.ndarray]:
        """All vectors [c, D], in parts."""
        return (vectors for _, vectors in self.chunks())

    def ids(self) -> Iterator[np.ndarray]:
        """All ids int64 [c], in parts."""
        return (ids[rows] for ids, _, rows in self._parts)

    def sample(self, most: int) -> np.ndarray:
        """Choose up to `most` vectors, float32 [s, D], in random order; the same ones each time."""
        rng = np.random.default_rng(SEED)
        chosen = np.sort(rng.choice(self.count, min(most, self.count), replace=False))
        if not self._parts:
            return np.empty((0, 0), np.float32)
        positions = np.argsort(rng.permutation(len(chosen)))
        sample, before, taken = np.empty((len(chosen), self._parts[0][1].shape[1]), np.float32), 0, 0
        for _, vectors, rows in self._parts:
            end = np.searchsorted(chosen, before + len(rows))
            sample[positions[taken:end]] = vectors[rows[chosen[taken:end] - before]]
            before, taken = before + len(rows), end
        return sample


def write_indexes(folder: Path, dim: int, images: VectorRows, captions: VectorRows, budget: IndexBudget) -> None:
    """Write both index files and their description into an existing folder.

    Args:
        folder: The folder.
        dim: D, the width of every vector.
        images: The rows of images.
        captions: The rows of captions.
        budget: What a search may cost.

    Raises:
        OSError: A file can't be written.
    """
    fits = budget.max_bytes is None or 2 * dim * (images.count + captions.count) <= budget.max_bytes
    choices = {}
    for name, rows, others in (("images", images, captions), ("captions", captions, images)):
        path = folder / f"{name}.faiss"
        write_flat(path, dim, rows.count, rows.vectors(), rows.ids())
        choice = _choose_index(path, rows, others, budget, fits)
        choices[name] = asdict(choice)
    sums = {name: sha256_of(folder / f"{name}.faiss") for name, one in choices.items() if one["kind"] == "approximate"}
    content = {"budget": asdict(budget), **choices, "sha256": sums}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_choices(folder: Path) -> dict[str, dict]:
    """What `write_indexes` chose: an `IndexChoice` as JSON values, by "images" and "captions".

    It is empty for an index that was written before choices were recorded.

    Raises:
        BrokenIndex: The description is damaged.
    """
    description = _read_description(folder)
    return {name: asdict(choice) for name, choice in description.choices.items()} if description else {}


def recorded_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each approximate index as it was written, by "images" and "captions".

    There is none for an index that was written before sums were recorded, or if the description is damaged. An exact index
    needs none: it is compared with the segments vector by vector.
    """
    try:
        return json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")).get("sha256", {})
    except (OSError, ValueError, AttributeError):
        return {}


def read_budget(folder: Path) -> IndexBudget:
    """The budget that a version was written with; the default one if the index doesn't say, or is damaged."""
    try:
        description = _read_description(folder)
    except BrokenIndex:
        return IndexBudget()
    return description.budget if description else IndexBudget()


@dataclass(frozen=True)
class _Description:
    budget: IndexBudget
    choices: dict[str, IndexChoice]


def _read_description(folder: Path) -> _Description | None:
    """What index.json says; None if there is no such file."""
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        choices = {name: IndexChoice(**content[name]) for name in ("images", "captions")}
        return _Description(IndexBudget(**content["budget"]), choices)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BrokenIndex(path, f"{type(error).__name__}: {error}") from error


def open_index(folder: Path, name: str, choices: dict[str, dict]) -> FaissFlatIndex | ApproximateIndex:
    """Open an index.

    Args:
        folder: The folder of a version's index files.
        name: "images" or "captions".
        choices: What `read_choices` gives for this folder.

    Raises:
        BrokenIndex: The file is missing or damaged.
    """
    path = folder / f"{name}.faiss"
    if choices.get(name, {}).get("kind") == "approximate":
        return ApproximateIndex.open(path, choices[name]["effort"])
    return FaissFlatIndex.open(path)


def _choose_index(path: Path, rows: VectorRows, others: VectorRows, budget: IndexBudget, fits: bool) -> IndexChoice:
    """Decide whether the exact index at `path` stays.

    An approximate index replaces it if exact search is over the budget and the approximate one finds as much for less.
    """
    exact, other = FaissFlatIndex.open(path), path.with_suffix(".other")
    queries = others.sample(2 * QUERIES)
    exact_ms = _least_ms(exact, queries[:TIMED_QUERIES] if len(queries) else rows.sample(TIMED_QUERIES))
    if not rows.count or (exact_ms <= budget.max_ms and fits):
        return IndexChoice("exact", "within the budget", exact_ms=exact_ms, ms=exact_ms)
    if len(queries) < QUERIES // 4:
        return IndexChoice("exact", "too few queries to measure anything else with", exact_ms=exact_ms, ms=exact_ms)
    codes = "SQfp16" if fits else "SQ8"
    factory = codes if exact_ms <= budget.max_ms else f"IVF{lists_for(rows.count)},{codes}"
    choice = tuned_index(other, factory, rows, exact, queries, exact_ms)[1]
    why = f"{factory} finds only {choice.recall:.4f} of it" if choice.recall < WANTED_RECALL else f"{factory} is no faster"
    if choice.recall < WANTED_RECALL or (fits and choice.ms >= exact_ms):
        remove(other)
        return IndexChoice("exact", why, exact_ms=exact_ms, ms=exact_ms)
    os.replace(other, path)
    return choice


def tuned_index(
    path: Path, factory: str, rows: VectorRows, exact: FaissFlatIndex, queries: np.ndarray, exact_ms: float = 0.0
) -> tuple[ApproximateIndex, IndexChoice]:
    """Build an approximate index, and tune and measure it.

    Its effort is the least one that finds enough for the first half of the queries; its recall is measured on the second
    half.

    Args:
        path: Where the index is written.
        factory: The FAISS factory string.
        rows: What is indexed.
        exact: An exact index of the same rows.
        queries: Float [q, D], never vectors of the index itself.
        exact_ms: Milliseconds of exact search, for the `IndexChoice`.
    """
    empty = ApproximateIndex(exact.dim, factory)
    empty.train(rows.sample(TRAINING_VECTORS_A_LIST * lists_for(rows.count)))
    empty.write(path, rows.chunks)
    del empty
    index, half = ApproximateIndex.open(path, 0), len(queries) // 2
    expected = exact.search(queries, K)[1]
    effort = cheapest(index.efforts, lambda value: index.search(queries[:half], K, effort=value)[1], expected[:half])
    index.effort = index.efforts[-1] if effort is None else effort
    measured = recall(index.search(queries[half:], K)[1], expected[half:])
    choice = IndexChoice(
        "approximate",
        "exact search is over the budget",
        factory,
        index.effort,
        round(measured, 4),
        len(queries) - half,
        _least_ms(index, queries[half : half + TIMED_QUERIES]),
        exact_ms,
    )
    return index, choice


def _least_ms(index: VectorIndex, queries: np.ndarray) -> float:
    """Milliseconds of the fastest query, run one at a time; 0 without queries.

    The fastest is taken, because other work on the machine only makes a query slower.
    """
    if not len(queries):
        return 0.0
    index.search(queries[:1], K)
    seconds = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], K)
        seconds.append(time.perf_counter() - started)
    return round(1000 * min(seconds), 2)
