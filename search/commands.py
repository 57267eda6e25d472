"""The commands search, evaluate, compare and status."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from encoder.commands import CAPTIONER, MODEL, RERANKER, chosen_models, models_of
from indexer.caption_commands import chosen_writer, write_all
from indexer.command_steps import exit_with_failures, exit_without_images, index_source, print_failures
from indexer.commands import FORMATS
from storage.console import COLLECTION, HOME, JSON, bar, integers, print_lines, say, temporary_folder

if TYPE_CHECKING:
    from encoder.api import CaptionWriter
    from encoder.selection import ModelSelection
    from indexer.items import Failure, SourceItem
    from indexer.sources.base import Source
    from search import Engine, Query

MODES = click.Choice(["vector", "lexical", "hybrid"])


@click.command()
@click.argument("query", nargs=-1)
@click.option("--image", type=click.Path(path_type=Path), help="Search with this photo, alone or added to QUERY.")
@click.option("--to", type=click.Choice(["images", "captions"]), default="images", show_default=True, help="What to find.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many hits to print.")
@click.option(
    "--rerank",
    type=click.IntRange(0),
    default=32,
    show_default=True,
    help="How many of the first stage's best the cross-modal encoder reads; 0 for none.",
)
@click.option(
    "--budget-ms",
    type=click.IntRange(0),
    help="Re-rank only as many of these as can be read within so many milliseconds of the query's beginning.",
)
@click.option("--explain", is_flag=True, help="Show where in each photo the words are seen.")
@click.option(
    "--mode",
    type=MODES,
    default="vector",
    show_default=True,
    help="Find by meaning, by the words of the captions, or by the ranks of both.",
)
@click.option("--where", help="Find only what fits this filter, e.g. \"width >= 640 and language = 'zh'\".")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="How many hits to pass over.")
@click.option("--cursor", help="Go on where the page before ended: the cursor that it was printed with.")
@click.option("--fold-duplicates", is_flag=True, help="Show near-duplicates once, and say how many there are.")
@click.option(
    "--duplicate-cosine",
    type=float,
    help="From which cosine on they are duplicates (default: 0.95; 1: only files that are the same).",
)
@click.option(
    "--server",
    metavar="URL",
    help="Ask a running `serve`, such as http://127.0.0.1:8000, which need not be on this machine and has its model loaded.",
)
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def search(
    query: tuple[str, ...],
    image: Path | None,
    to: str,
    top: int,
    rerank: int,
    budget_ms: int | None,
    explain: bool,
    mode: str,
    where: str | None,
    offset: int,
    cursor: str | None,
    fold_duplicates: bool,
    duplicate_cosine: float | None,
    server: str | None,
    model: str | None,
    reranker: str | None,
    home: Path,
    collection: str,
    as_json: bool,
) -> None:
    """Find photos (or captions) for QUERY, a sentence in English or Chinese, or for a photo.

    QUERY may add up several things: `beach sunset -people`, `2*dog + photo` with --image, `@17` for more like photo 17, @c17
    for what is like caption 17; docs/searching.md says how. Put -- before a QUERY that begins with a minus.

    Reads HOME/collections/COLLECTION; writes nothing. For a photo: --image FILE --to captions finds sentences that fit it,
    --image FILE --to images finds similar photos. Above the hits stands whether the best of those that were re-ranked is a
    strong match, a weak one, or nothing was found and these come nearest; weights without a calibration say nothing. Where
    the model doesn't know the sentence's language, a notice says so, and PANOPTES_TRANSLATOR=module:callable translates it.
    With --budget-ms the query is asked a few times before, so that all is compiled and the time is that of a running server.

    With --server no collection is read here: the server searches its own, and gets the photo of --image, and PANOPTES_TOKEN or
    PANOPTES_READ_TOKEN where it is set.
    """
    text = " ".join(query) or None
    shared: dict[str, Any] = {"to": to, "top": top, "rerank": rerank, "mode": mode, "where": where}
    shared |= {"budget_ms": budget_ms, "cursor": cursor}
    if server is not None:
        _check_options_for_server()
        folding = duplicate_cosine or fold_duplicates
        return _ask_server(server, {"q": text, "offset": offset or None, "fold_duplicates": folding} | shared, image, as_json)
    from search import Query
    from search.query.query_photo import read_photo
    from search.retrieval.near_duplicates import SAME

    models = chosen_models(home, model, reranker)
    pixels = read_photo(image, models.config) if image else None
    if fold_duplicates and duplicate_cosine is None:
        duplicate_cosine = SAME
    label = str(image) if image else None
    checked = Query(text=text, image=pixels, offset=offset, fold=duplicate_cosine, label=label, **shared)
    _search_here(checked, explain, models, home, collection, as_json)


def _search_here(query: Query, explain: bool, models: ModelSelection, home: Path, collection: str, as_json: bool) -> None:
    """Search a collection of this home, and print the result."""
    from search import Engine
    from search.query.translation import translator
    from search.report import result_lines
    from storage import Home

    stored, translate = Home(home).collection(collection), translator()
    with naming_models(home):
        encoder = models.open()

        def open_engine() -> Engine:
            return Engine(stored, encoder, translate=translate, answers=0)

        engine = open_engine()
        if query.budget_ms is not None:
            engine = _with_known_latency(open_engine, query, encoder.match_batches)
        result = engine.search(query).as_json()
        if explain:
            found = engine.explain(query, [hit["id"] for hit in result["hits"]])
            result["hits"] = [hit | {"explanation": one.as_json()} for hit, one in zip(result["hits"], found, strict=True)]
    say(result, result_lines, as_json)


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--rerank", default="0,32", show_default=True, help="How many candidates to re-rank, comma-separated.")
@click.option("--lang", default="en,zh", show_default=True, help="Languages of the captions, comma-separated.")
@click.option("--queries", type=click.IntRange(1), help="A seeded sample of N queries a row (default: all).")
@click.option(
    "--absent",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help='Leave N photos a language out, and see whether "nothing found" can be told; 0 does not.',
)
@click.option(
    "--mode",
    type=MODES,
    default="vector",
    show_default=True,
    help="As `search --mode`; by words, only text to image is measured, and the query's own caption is hidden.",
)
@click.option(
    "--captions",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A file in COCO's layout with more captions of MANIFEST's photos, as for build-index; several times.",
)
@click.option("--captions-lang", multiple=True, help="The language of --captions: once, or once for each.")
@click.option(
    "--protocol",
    type=click.Choice(["all", "coco-5k", "coco-1k"]),
    default="all",
    show_default=True,
    help="coco-5k: the first 5,000 photos, five captions each; coco-1k: the mean over their five folds of 1,000.",
)
@click.option(
    "--with-generated",
    "words",
    flag_value="both",
    help="Write a caption of each photo first; their words count too (--mode lexical or hybrid).",
)
@click.option("--only-generated", "words", flag_value="generated", help="The same, and people's captions are queries alone.")
@CAPTIONER
@click.option(
    "--split",
    "splits",
    multiple=True,
    help='Only photos whose records name this split; several times; "all" for all. Default: test, if there are several.',
)
@click.option("--run", type=click.Path(path_type=Path), help="Write the rankings of the largest --rerank as a TREC run.")
@click.option("--qrels", type=click.Path(path_type=Path), help="Write the right answers as TREC qrels.")
@click.option("--report", "page", type=click.Path(path_type=Path), help="Write the worst queries as one page of HTML.")
@click.option("--captioning", is_flag=True, help="Measure written captions of MANIFEST's photos against those of people.")
@click.option(
    "--captions-file",
    type=click.Path(path_type=Path),
    help="With --captioning: measure these captions: a JSON list of objects with `image_id` and `caption`, as of COCO.",
)
@click.option("--format", "source_format", type=FORMATS, help="What MANIFEST is; detected where it isn't given.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def evaluate(
    manifest: Path,
    rerank: str,
    lang: str,
    queries: int | None,
    absent: int,
    mode: str,
    captions: tuple[Path, ...],
    captions_lang: tuple[str, ...],
    protocol: str,
    words: str | None,
    captioner: str | None,
    splits: tuple[str, ...],
    run: Path | None,
    qrels: Path | None,
    page: Path | None,
    captioning: bool,
    captions_file: Path | None,
    source_format: str | None,
    model: str | None,
    reranker: str | None,
    home: Path,
    collection: str,
    as_json: bool,
) -> None:
    """Measure recall of a model on MANIFEST, a source with captions.

    Reads MANIFEST (as build-index reads SOURCE) and indexes it in a temporary home, made inside HOME, which is removed: no
    collection is touched. Prints R@1, R@5 and R@10 (the share of queries with at least one right answer in the top k; a
    tie counts against the system) for text to image and image to text, by language, before and after re-ranking, each with
    its 95 % bootstrap interval, the most that re-ranking could reach, and the time that a query took.

    Of a MANIFEST with several splits, as Karpathy's dataset_coco.json, the photos of one are measured: those of test, or
    of --split. The others are neither indexed nor searched.

    --run, --qrels and --report leave files behind: rankings and right answers in TREC's formats, which `compare` and the
    field's own tools read, and a page of the queries that went worst.

    --absent N asks for N photos that are left out of the index, and for N that stay, by one caption of each. It prints how
    well the two are told apart by the best match probability (the area under the ROC curve; by the best score where the
    weights are not calibrated), and how many of either are a strong match, a weak one, or nothing found.

    --captioning measures captions that a model writes, or wrote in --captions-file, and indexes nothing: BLEU, ROUGE-L and
    CIDEr against MANIFEST's captions, how many repeat a word, and how many name what isn't in the photo; docs/evaluating.md
    says how.
    """
    from indexer import open_source
    from indexer.report import failures_json
    from search.evaluation.evaluate import evaluate as measure
    from search.evaluation.exports import Exports
    from search.evaluation.protocols import check_size
    from search.report import evaluation_lines
    from storage import Home
    from storage.catalog.catalog import file_url

    if words is not None and mode == "vector":
        raise click.UsageError("written captions count as words: give --mode lexical or hybrid")
    _check_options_for_captioning(captioning, captions_file)
    depths, languages = integers(rerank, "--rerank"), [part.strip() for part in lang.split(",") if part.strip()]
    exports = Exports(run, qrels, page, max(depths))
    source, in_splits = _measured_part(open_source(manifest, source_format, captions, captions_lang), splits)
    if captioning:
        what = captions_file or chosen_writer(home, model, None, captioner)
        return _evaluate_captions(source, in_splits, what, languages, as_json)
    check_size(protocol, len(source))  # now, and not after they were all encoded
    encoder = chosen_models(home, model, reranker).open()
    with temporary_folder(home) as folder:
        temporary = Home(folder, catalog_url=file_url(folder.absolute() / "catalog.sqlite"))
        summary = index_source(source, None, False, None, temporary, collection, encoder, embedded_captions=False)
        print_failures(summary.failures)
        exit_without_images(summary)
        if words is not None:
            write_all(temporary, collection, encoder, chosen_writer(home, model, reranker, captioner), languages)
        snapshot = temporary.collection(collection).open_snapshot()
        with bar("queries") as progress:
            report = measure(
                snapshot,
                encoder,
                rerank=depths,
                languages=languages,
                queries=queries,
                absent=absent,
                mode=mode,
                protocol=protocol,
                keep=exports.keep if exports.wanted else None,
                progress=lambda done, total: progress("queries", done, total),
                words=words or "people",
            )
        report |= {"splits": in_splits, "failures": failures_json(summary.failures)}
        say(report, evaluation_lines, as_json)
        exports.write(report, snapshot, encoder.config.name)
    exit_with_failures(summary)


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--qrels", type=click.Path(path_type=Path), required=True, help="What `evaluate --qrels` wrote.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the test and of the intervals.")
@JSON
def compare(run_a: Path, run_b: Path, qrels: Path, seed: int, as_json: bool) -> None:
    """Say whether RUN_B finds more than RUN_A, by a paired test.

    Reads two runs that `evaluate --run` wrote, and the right answers; writes nothing. Prints R@1, R@5 and R@10 of both, their
    difference with a 95 % bootstrap interval, and p of a paired randomisation test in which the queries of a photo go together.
    """
    from search.evaluation.significance import compare as run
    from search.evaluation.significance import comparison_lines
    from search.evaluation.trec import read_qrels, read_run

    say(run(read_run(run_a), read_run(run_b), read_qrels(qrels), seed), comparison_lines, as_json)


@click.command()
@click.option("--hubs", is_flag=True, help="Also find photos that turn up for queries that have nothing to do with them.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def status(hubs: bool, model: str | None, reranker: str | None, home: Path, collection: str, as_json: bool) -> None:
    """Say what a collection holds, which photos could not be read, and whether the model in use made its index.

    Reads HOME/collections/COLLECTION and the catalog; writes nothing.
    """
    from storage import Home
    from storage.status import status as status_of

    report = status_of(Home(home), collection)
    in_use = chosen_models(home, model, reranker).fingerprint
    report |= {"model_in_use": in_use, "searchable": report["model_fingerprint"] == in_use}
    if hubs:
        from search.evaluation.hubness import measure_hubness

        report["hubs"] = measure_hubness(Home(home).collection(collection).open_snapshot())
    say(report, _status_lines, as_json)


def _measured_part(source: Source, asked: Sequence[str]) -> tuple[Source, dict[str, Any]]:
    """The photos of a source that `evaluate` measures on, and its splits as JSON; says which of several were taken.

    Raises:
        UnknownSplit, SeveralSplits: see `indexer.sources.splits.chosen_splits`.
    """
    from indexer.sources.splits import chosen_splits, in_splits, splits_line, splits_of

    there = splits_of(source)
    measured = chosen_splits(there, asked)
    if len(there) > 1:
        click.echo(splits_line(there, measured), err=True)
    part = source if len(measured) == len(there) else in_splits(source, measured)
    return part, {"there": there, "measured": measured}


@contextlib.contextmanager
def naming_models(home: Path) -> Iterator[None]:
    """Let StaleIndex name the models of the home that made the index, if any did."""
    from search import StaleIndex

    try:
        yield
    except StaleIndex as error:
        raise StaleIndex(error.made_by, error.in_use, models_of(home).made_by(error.made_by)) from error


def _with_known_latency(open_engine: Callable[[], Engine], query: Query, sizes: Sequence[int]) -> Engine:
    """Open an engine that has measured how long this query's pairs take, in batches of each size."""

    def measured() -> Engine:
        engine = open_engine()
        for size in sizes:
            engine.search(dataclasses.replace(query, budget_ms=None, rerank=min(size, query.rerank)))
        return engine

    measured()  # all is compiled now, so that the next one measures only the work
    return measured()


def _evaluate_captions(
    source: Source, in_splits: dict[str, Any], written: Path | CaptionWriter, languages: Sequence[str], as_json: bool
) -> None:
    """Measure the captions of a file, or those that a captioner writes now, against those of a source."""
    from indexer.report import failures_json
    from search.evaluation.captioning.evaluate import evaluate_captions, evaluate_file
    from search.evaluation.captioning.report import captioning_lines
    from storage.status import unused_lines

    unused, failures = source.unused.as_json(), list(source.problems)
    if isinstance(written, Path):
        report = evaluate_file(written, list(source), source.root, languages)
    else:
        photos = list(source)
        captions, unread = _captions_of(photos, written, languages, as_json)
        failures += unread
        report = evaluate_captions(photos, captions, list(captions))
    print_failures(failures)
    print_lines(unused_lines(unused), err=True)
    report |= {"splits": in_splits, "failures": failures_json(failures), "unused": unused}
    say(report, captioning_lines, as_json)
    if failures:
        sys.exit(3)


def _captions_of(
    photos: list[SourceItem], writer: CaptionWriter, languages: Sequence[str], quiet: bool
) -> tuple[dict[str, dict[int, str]], list[Failure]]:
    """What a captioner writes, by language and position; and the photos that can't be read."""
    from indexer.captioning import captions_of_items
    from indexer.items import Failure
    from search.evaluation.captioning.evaluate import check_languages

    measured = check_languages(languages, photos)
    captions: dict[str, dict[int, str]] = {language: {} for language in measured}
    failures = []
    with bar("captions", quiet) as progress:
        for position, one in enumerate(captions_of_items(writer, photos, measured)):
            progress("captions", position + 1, len(photos))
            if isinstance(one, Failure):
                failures.append(one)
                continue
            for language, caption in one.items():
                captions[language][position] = caption.text
    return captions, failures


def _check_options_for_captioning(captioning: bool, captions_file: Path | None) -> None:
    """Raise UsageError for an option that says nothing here."""
    if captions_file is not None and not captioning:
        raise click.UsageError("--captions-file needs --captioning.")
    context = click.get_current_context()
    retrieval = (
        ["rerank", "queries", "absent", "mode", "protocol", "words", "run", "qrels", "page", "reranker"] if captioning else []
    )
    for name in [*retrieval, *(["model", "captioner"] if captions_file else [])]:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            shown = {"page": "report", "words": "with-generated and no --only-generated"}.get(name, name)
            raise click.UsageError(f"--captioning takes no --{shown}.")


def _check_options_for_server() -> None:
    """Raise UsageError for an option that a server would not be told."""
    context = click.get_current_context()
    for name, why in (
        ("explain", "ask its /api/v1/explain"),
        ("collection", "it searches its own"),
        ("home", "it has its own"),
        ("model", "it has its own"),
        ("reranker", "it has its own"),
    ):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--server takes no --{name}: {why}.")


def _ask_server(server: str, parameters: dict[str, Any], image: Path | None, as_json: bool) -> None:
    from search import remote
    from search.query.query_photo import photo_bytes
    from search.report import result_lines

    photo = photo_bytes(image) if image else None
    say(remote.search(server, parameters, remote.token_of_environment(), photo=photo), result_lines, as_json)


def _status_lines(report: dict) -> Iterator[str]:
    from search.evaluation.hubness import hub_lines
    from storage.status import status_lines

    yield from status_lines(report)
    if "hubs" in report:
        yield from hub_lines(report["hubs"])


COMMANDS = [search, evaluate, compare, status]
