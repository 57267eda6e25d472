"""The files that an evaluation writes on request: a run, its qrels, and a page of failures."""

from __future__ import annotations

from pathlib import Path

from search.evaluation.evaluate import Answer
from search.evaluation.failures_page import failures_page
from search.evaluation.trec import Names, check_writable, qrels_lines, run_lines, write_text
from storage.snapshot import Snapshot


class Exports:
    """Collects the answers that an evaluation gave with one number of re-ranked candidates, and writes them to files.

    Args:
        run: where to write the rankings; None for nowhere, as for the next two.
        qrels: where to write the relevant items.
        page: where to write the page of failures.
        rerank: the number of candidates that were re-ranked.

    Raises:
        UnwritableFile: a file can't be written.
    """

    def __init__(self, run: Path | None, qrels: Path | None, page: Path | None, rerank: int) -> None:
        self._run, self._qrels, self._page, self._rerank = run, qrels, page, rerank
        self._answers: list[Answer] = []
        for path in (run, qrels, page):
            if path is not None:
                check_writable(path)

    @property
    def wanted(self) -> bool:
        """True if there is a file to write."""
        return any(path is not None for path in (self._run, self._qrels, self._page))

    def keep(self, answer: Answer) -> None:
        """Collect an answer: for `evaluate(keep=...)`."""
        if answer.rerank == self._rerank:
            self._answers.append(answer)

    def write(self, report: dict, snapshot: Snapshot, model: str) -> None:
        """Write the files.

        Args:
            report: what `evaluate` returned.
            snapshot: what it measured.
            model: the model's name, for the run's tag.

        Raises:
            UnwritableFile: a file can't be written.
        """
        names = Names(snapshot)
        tag = "-".join(f"{model} {report['mode']} {self._rerank}".split())
        if self._run is not None:
            write_text(self._run, run_lines(self._answers, names, tag))
        if self._qrels is not None:
            write_text(self._qrels, qrels_lines(self._answers, names))
        if self._page is not None:
            write_text(self._page, [failures_page(report, self._answers, snapshot)])
