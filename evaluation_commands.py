"""The commands that measure: `manage.py evaluate` and `compare`; what they do lies in search/."""

from __future__ import annotations

from pathlib import Path

import click

from console import (
    COLLECTION,
    FORMATS,
    HOME,
    JSON,
    MODEL,
    MODES,
    RERANKER,
    bar,
    chosen_models,
    exit_with_failures,
    exit_without_images,
    index_source,
    integers,
    print_failures,
    say,
    temporary_folder,
)


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--rerank", default="0,32", show_default=True, help="How many candidates to re-rank, comma-separated.")
@click.option("--lang", default="en,zh", show_default=True, help="Languages of the captions, comma-separated.")
@click.option("--queries", type=click.IntRange(1), help="A seeded sample of N queries a row (default: all).")
@click.option("--absent", type=click.IntRange(0), default=0, show_default=True,
              help="Leave N photos a language out, and see whether \"nothing found\" can be told; 0 does not.")
@click.option("--mode", type=MODES, default="vector", show_default=True,
              help="As `search --mode`; by words, only text to image is measured, and the query's own caption is hidden.")
@click.option("--captions", type=click.Path(path_type=Path), multiple=True,
              help="A file in COCO's layout with more captions of MANIFEST's photos, as for build-index; several times.")
@click.option("--captions-lang", multiple=True, help="The language of --captions: once, or once for each.")
@click.option("--protocol", type=click.Choice(["all", "coco-5k", "coco-1k"]), default="all", show_default=True,
              help="coco-5k: the first 5,000 photos, five captions each; coco-1k: the mean over their five folds of 1,000.")
@click.option("--run", type=click.Path(path_type=Path), help="Write the rankings of the largest --rerank as a TREC run.")
@click.option("--qrels", type=click.Path(path_type=Path), help="Write the right answers as TREC qrels.")
@click.option("--report", "page", type=click.Path(path_type=Path), help="Write the worst queries as one page of HTML.")
@click.option("--format", "source_format", type=FORMATS, help="What MANIFEST is; detected where it isn't given.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def evaluate(manifest, rerank, lang, queries, absent, mode, captions, captions_lang, protocol, run, qrels, page, source_format,
             model, reranker, home, collection, as_json):
    """Measure recall of a model on MANIFEST, a source with captions.

    Reads MANIFEST (as build-index reads SOURCE) and indexes it in a temporary home, made inside HOME, which is removed: no
    collection is touched. Prints R@1, R@5 and R@10 (the share of queries with at least one right answer in the top k; a
    tie counts against the system) for text to image and image to text, by language, before and after re-ranking, each with
    its 95 % bootstrap interval, the most that re-ranking could reach, and the time that a query took.

    --run, --qrels and --report leave files behind: rankings and right answers in TREC's formats, which `compare` and the
    field's own tools read, and a page of the queries that went worst.

    --absent N asks for N photos that are left out of the index, and for N that stay, by one caption of each. It prints how
    well the two are told apart by the best match probability (the area under the ROC curve; by the best score where the
    weights are not calibrated), and how many of either are a strong match, a weak one, or nothing found.
    """
    from indexer import open_source
    from indexer.report import failures_json
    from search.evaluation import evaluate as measure
    from search.exports import Exports
    from search.report import evaluation_lines
    from storage import Home
    from storage.catalog import file_url

    depths, languages = integers(rerank, "--rerank"), [part.strip() for part in lang.split(",") if part.strip()]
    exports = Exports(run, qrels, page, max(depths))
    source = open_source(manifest, source_format, captions, captions_lang)
    encoder = chosen_models(home, model, reranker).open()
    with temporary_folder(home) as folder:
        temporary = Home(folder, catalog_url=file_url(folder.absolute() / "catalog.sqlite"))
        summary = index_source(source, None, False, None, temporary, collection, encoder)
        print_failures(summary)
        exit_without_images(summary)
        snapshot = temporary.collection(collection).open_snapshot()
        with bar("queries") as progress:
            report = measure(snapshot, encoder, rerank=depths, languages=languages, queries=queries, absent=absent,
                             mode=mode, protocol=protocol, keep=exports.keep if exports.wanted else None,
                             progress=lambda done, total: progress("queries", done, total))
        report["failures"] = failures_json(summary)
        say(report, evaluation_lines, as_json)
        exports.write(report, snapshot, encoder.config.name)
    exit_with_failures(summary)


@click.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--qrels", type=click.Path(path_type=Path), required=True, help="What `evaluate --qrels` wrote.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the test and of the intervals.")
@JSON
def compare(run_a, run_b, qrels, seed, as_json):
    """Say whether RUN_B finds more than RUN_A, by a paired test.

    Reads two runs that `evaluate --run` wrote, and the right answers; writes nothing. Prints R@1, R@5 and R@10 of both, their
    difference with a 95 % bootstrap interval, and p of a paired randomisation test in which the queries of a photo go together.
    """
    from search.comparison import compare as run
    from search.comparison import comparison_lines
    from search.trec import read_qrels, read_run

    say(run(read_run(run_a), read_run(run_b), read_qrels(qrels), seed), comparison_lines, as_json)
