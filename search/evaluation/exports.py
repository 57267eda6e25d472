"""The files that an evaluation leaves behind, where they are asked for."""

from __future__ import annotations

from pathlib import Path

from search.evaluation.evaluate import Answer
from search.evaluation.failures_page import failures_page
from search.evaluation.trec import Names, check_writable, qrels_lines, run_lines, write_text


class Exports:
    """A run, its qrels and a page of failures, each at its path or None. Keeps the answers of one K for them."""

    def __init__(self, run: Path | None, qrels: Path | None, page: Path | None, rerank: int) -> None:
        """Raises UnwritableFile."""
        self._run, self._qrels, self._page, self._rerank = run, qrels, page, rerank
        self._answers: list[Answer] = []
        for path in (run, qrels, page):
            if path is not None:
                check_writable(path)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to write."""
        return any(path is not None for path in (self._run, self._qrels, self._page))

    def keep(self, answer: Answer) -> None:
        """For `evaluation.evaluate(keep=...)`."""
        if answer.rerank == self._rerank:
            self._answers.append(answer)

    def write(self, report: dict, snapshot, model: str) -> None:
        """Writes what is wanted; raises UnwritableFile.

        Args:
            report: what the evaluation gave.
            model: its name, for the run's tag.
        """
        names = Names(snapshot)
        tag = "-".join(f"{model} {report['mode']} {self._rerank}".split())
        if self._run is not None:
            write_text(self._run, run_lines(self._answers, names, tag))
        if self._qrels is not None:
            write_text(self._qrels, qrels_lines(self._answers, names))
        if self._page is not None:
            write_text(self._page, [failures_page(report, self._answers, snapshot)])
