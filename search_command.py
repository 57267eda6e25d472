"""`manage.py search`: a query answered here, or by a server; what it does lies in search/."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from click.core import ParameterSource

from console import COLLECTION, HOME, JSON, MODEL, MODES, RERANKER, chosen_models, naming_models, say


@click.command()
@click.argument("query", nargs=-1)
@click.option("--image", type=click.Path(path_type=Path), help="Search with this photo, alone or added to QUERY.")
@click.option("--to", type=click.Choice(["images", "captions"]), default="images", show_default=True, help="What to find.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many hits to print.")
@click.option("--rerank", type=click.IntRange(0), default=32, show_default=True,
              help="How many of the first stage's best the cross-modal encoder reads; 0 for none.")
@click.option("--budget-ms", type=click.IntRange(0), help="Re-rank only as many of these as can be read within so many "
              "milliseconds of the query's beginning.")
@click.option("--explain", is_flag=True, help="Show where in each photo the words are seen.")
@click.option("--mode", type=MODES, default="vector", show_default=True, help="Find by meaning, by the words of the captions, "
              "or by the ranks of both.")
@click.option("--where", help="Find only what fits this filter, e.g. \"width >= 640 and language = 'zh'\".")
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="How many hits to pass over.")
@click.option("--cursor", help="Go on where the page before ended: the cursor that it was printed with.")
@click.option("--fold-duplicates", is_flag=True, help="Show near-duplicates once, and say how many there are.")
@click.option("--duplicate-cosine", type=float, help="From which cosine on they are duplicates (default: 0.95; 1: only files "
              "that are the same).")
@click.option("--server", metavar="URL", help="Ask a running `serve`, such as http://127.0.0.1:8000, which need not be on this "
              "machine and has its model loaded.")
@MODEL
@RERANKER
@HOME
@COLLECTION
@JSON
def search(query, image, to, top, rerank, budget_ms, explain, mode, where, offset, cursor, fold_duplicates, duplicate_cosine,
           server, model, reranker, home, collection, as_json):
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
    query = " ".join(query)
    if server is not None:
        _check_options_for_server()
        asked = {"q": query or None, "to": to, "top": top, "rerank": rerank, "mode": mode, "where": where,
                 "budget_ms": budget_ms, "offset": offset or None, "cursor": cursor,
                 "fold_duplicates": duplicate_cosine or fold_duplicates}
        return _ask_server(server, asked, image, as_json)
    from search import Engine, Query
    from search.folding import SAME
    from search.photos import read_photo
    from search.report import result_lines
    from search.translation import translator
    from storage import Home

    chosen = chosen_models(home, model, reranker)
    pixels = read_photo(image, chosen.config) if image else None
    if fold_duplicates and duplicate_cosine is None:
        duplicate_cosine = SAME
    asked = Query(text=query or None, image=pixels, to=to, top=top, rerank=rerank, budget_ms=budget_ms, mode=mode, where=where,
                  offset=offset, cursor=cursor, fold=duplicate_cosine, label=str(image) if image else None)
    stored, translate = Home(home).collection(collection), translator()
    with naming_models(home):
        encoder = chosen.open()
        engine = Engine(stored, encoder, translate=translate, answers=0)
        if budget_ms is not None:
            engine = _paced(lambda: Engine(stored, encoder, translate=translate, answers=0), asked, encoder.match_batches)
        result = engine.search(asked).as_json()
        if explain:
            found = engine.explain(asked, [hit["id"] for hit in result["hits"]])
            result["hits"] = [hit | {"explanation": one.as_json()} for hit, one in zip(result["hits"], found, strict=True)]
    say(result, result_lines, as_json)


def _paced(open_engine, asked, sizes):
    """An engine that knows how long this query's pairs take to read, in batches of each of the sizes, when all is compiled."""
    for _ in ("compiles", "is timed"):
        engine = open_engine()
        for size in sizes:
            engine.search(dataclasses.replace(asked, budget_ms=None, rerank=min(size, asked.rerank)))
    return engine


def _check_options_for_server() -> None:
    """Raise UsageError for what a server would not be told of."""
    context = click.get_current_context()
    for name, why in (("explain", "ask its /api/v1/explain"), ("collection", "it searches its own"), ("home", "it has its own"),
                      ("model", "it has its own"), ("reranker", "it has its own")):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--server takes no --{name}: {why}.")


def _ask_server(server: str, parameters: dict, image: Path | None, as_json: bool) -> None:
    from search.photos import photo_bytes
    from search.report import result_lines
    from web.client import search as ask
    from web.client import token_of_environment

    photo = photo_bytes(image) if image else None
    say(ask(server, parameters, token_of_environment(), photo=photo), result_lines, as_json)
