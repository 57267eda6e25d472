"""An error's one line on the command line: what is wrong, and what to do."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from encoder.errors import (
    BadGraphs,
    CannotSearch,
    CannotWrite,
    DeviceLost,
    NoInt8Graphs,
    OtherEncoder,
    UnwrittenLanguage,
)
from indexer.errors import (
    AmbiguousSource,
    BadAnnotations,
    BadManifestLine,
    BadPattern,
    EmptySource,
    MismatchedLanguages,
    MissingSource,
    MostVanished,
    PhotosGone,
    SeveralSplits,
    UnknownColumns,
    UnknownFormat,
    UnknownSplit,
)
from manage import ROOMS_WITH_HINTS, Panoptes, error_line
from search.errors import (
    BadCaptionsFile,
    BadRun,
    ProxyReadsToken,
    Redirected,
    StaleIndex,
    TooFewForProtocol,
    TooFewPhotos,
    Unreachable,
)
from storage.errors import (
    BrokenIndex,
    BrokenManifest,
    BrokenSegment,
    BrokenTexts,
    CatalogError,
    EmptyCollection,
    NoSuchSource,
    OtherWeights,
    UnfinishedRun,
    UnknownCollection,
    UnknownId,
    UnknownVersion,
    UnusableHome,
)
from web.hints import message_of

HERE = Path("/here")


def _with_other(error):
    error.other_format = "folder"
    return error


EXAMPLES = [
    (
        BadGraphs(HERE, "there are none"),
        "can't be used (there are none): `python manage.py model export /here` makes",
    ),
    (CannotSearch(HERE), "it can't find or re-rank photos: name it with --captioner, beside a --model that searches"),
    (CannotWrite(HERE), "can't write captions: it is made for search: name a captioner with --captioner"),
    (
        OtherEncoder(HERE, "01", "23"),
        "reads what the model 01 keeps of a photo, not the model 23: name that model with --model",
    ),
    (UnwrittenLanguage("fr", ("zh",)), "doesn't write 'fr': it writes zh: give one of these with --lang, such as --lang zh"),
    (NoInt8Graphs(HERE, "are not there"), "are not there: `python manage.py model quantize /here --data MANIFEST` makes them"),
    (PhotosGone("walls", 3, "gone"), "what is stored of them (gone): put them back, or name a captioner of the"),
    (DeviceLost(1, -9), "on device 1 ended (exit code -9): run the same command again to go on; with fewer --devices"),
    (BrokenTexts(HERE, "cut"), "are damaged (cut): run `python manage.py repair`, then `python manage.py read-text`"),
    (BrokenIndex(HERE, "missing"), "The index /here is damaged (missing): restore that file, or run `python manage.py repair`"),
    (BrokenManifest(HERE, "no JSON"), "is damaged (no JSON): restore that file, or run `python manage.py repair`"),
    (BrokenSegment(HERE, "cut"), "is damaged (cut): restore that folder, or run `python manage.py repair`"),
    (CatalogError("sqlite:///a", "locked"), "can't be used (locked): check PANOPTES_CATALOG"),
    (EmptyCollection("walls"), "yet: run `python manage.py build-index SOURCE --collection walls`"),
    (NoSuchSource("walls", "/x", ["/y"]), "has no source /x (there are /y): name one as `python manage.py sources` lists it"),
    (OtherWeights("walls", "a+b", "a"), "than these (a): choose their model with --model and --reranker, or run"),
    (OtherWeights("walls", "a", "a+b"), "choose their model with --model and no --reranker, or run"),
    (UnfinishedRun("walls", 3), "3 photos encoded and not published: run the same build-index again"),
    (
        UnknownCollection("walls", []),
        "(there is none yet): make it with `python manage.py build-index SOURCE --collection w",
    ),
    (UnknownId("image", 7), "No image has the id 7 in this collection: ids come from"),
    (UnknownVersion(3, [1, 2]), "(there are 1, 2): `python manage.py versions` lists them"),
    (UnusableHome(HERE, "full"), "Can't write to /here (full): make room there or let it be written to, or name another"),
    (AmbiguousSource(HERE, ["a", "b"]), "2 manifests (a, b): name one, as in `python manage.py build-index /here/a`"),
    (
        _with_other(EmptySource(HERE, "photos", "MOV 2")),
        "(but MOV 2): put photos there, or name another source: or give",
    ),
    (EmptySource(HERE, "photos"), "The source /here holds no photo: put photos there, or name another source"),
    (
        _with_other(BadAnnotations(HERE, "not JSON")),
        "indexed): or give --format folder, which fits what is there.",
    ),
    (_with_other(BadManifestLine(HERE, 3, "no path")), "(nothing was indexed): or give --format folder, which fits"),
    (_with_other(UnknownFormat(HERE, "cut", "mend it")), "/here: cut: mend it, or give --format folder, which fits"),
    (BadPattern("!"), "'!' is no pattern in gitignore's syntax, such as *.bak or /old/: mend --exclude"),
    (
        UnknownColumns(HERE),
        "/here is no table with columns of a photo's name and a caption: name its columns with --image-column",
    ),
    (UnknownColumns(HERE, "foto"), "/here is no table with columns of 'foto': name its columns with --image-column"),
    (MismatchedLanguages(2, 3), "2 caption files and 3 languages: give --lang once"),
    (MissingSource(HERE), "The source /here does not exist: name a folder of photos"),
    (MostVanished("/here", 3, 4), "what was encoded is kept): if that is meant, add --drop-missing"),
    (UnknownFormat(HERE, "there is no format 'zip'"), "no format 'zip': give --format one of coco, manifest, folder"),
    (UnknownFormat(HERE, "it is a photo", "name its folder"), "it is a photo: name its folder"),
    (BadCaptionsFile(HERE, 3, "is no object"), "/here, entry 3: is no object: take a JSON list such as [{"),
    (
        SeveralSplits({"train": 6000, "val": 9}),
        "splits, train (6,000), val (9), and none is called test: choose with --split",
    ),
    (UnknownSplit("tst", {"test": 5000}), "no split 'tst' (the splits are test (5,000)): name one of them with --split"),
    (UnknownSplit("test", {}), "no split 'test' (its records name none): do without --split"),
    (BadRun(HERE, 3, "no number"), "/here, line 3: no number: take files that `evaluate --run FILE --qrels FILE` wrote"),
    (Redirected("http://a/x", "http://b/x"), "http://a sends the question on to http://b, which was not asked for: give that"),
    (ProxyReadsToken("http://a", "http://p:1"), "the proxy http://p:1 on the way could read it: ask by https://, or name"),
    (StaleIndex("a", "b"), "those in use are b: choose their model with --model, or run"),
    (StaleIndex("a+c", "b"), "choose their model with --model and their re-ranker with --reranker, or run"),
    (StaleIndex("a", "b+c"), "choose their model with --model and no --reranker, or run"),
    (StaleIndex("a", "b", "--model x"), "those in use are b: choose them with --model x, or run"),
    (TooFewForProtocol("coco-5k", 5000, 7), "there are 7: measure with --protocol all"),
    (TooFewPhotos(9, "en", 7), "there are 7: --absent 3 is the most"),
    (TooFewPhotos(9, "en", 1), "there are 1: do without --absent"),
    (Unreachable("http://a", "refused"), "Can't ask http://a (refused): check the address, and that `python manage.py serve`"),
]


@pytest.mark.parametrize(("error", "says"), EXAMPLES)
def test_the_line_says_what_is_wrong_and_what_to_do(error, says):
    line = error_line(error)
    assert says in line and "\n" not in line


def test_every_hint_has_an_example_here():
    hinted = {kind for room in ROOMS_WITH_HINTS for kind in import_module(f"{room}.hints").HINTS}
    assert hinted == {type(error) for error, _ in EXAMPLES}


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES])
def test_no_message_names_a_command_or_an_option(error):
    assert "manage.py" not in str(error) and " --" not in str(error)


@pytest.mark.parametrize("package", ["pathspec", "watchdog.events", "opencc", "spellchecker"])
def test_a_package_that_is_missing_is_one_line(package):
    def run():
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    group = Panoptes(commands={"run": click.Command("run", callback=run)})
    done = CliRunner().invoke(group, ["run"])
    assert done.exit_code == 2 and f"has no {package.partition('.')[0]}: run `" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["indexer.gone", None])
def test_a_module_of_ours_that_is_missing_is_a_fault(module):
    def run():
        raise ModuleNotFoundError("No module", name=module)

    done = CliRunner().invoke(Panoptes(commands={"run": click.Command("run", callback=run)}), ["run"])
    assert isinstance(done.exception, ModuleNotFoundError)


def test_an_error_without_a_hint_is_its_message():
    assert error_line(ValueError("odd")) == "odd"


def test_a_server_gives_other_hints():
    assert message_of(UnknownId("image", 7)) == (
        "No image has the id 7 in this collection: it may have been deleted; search again."
    )
    assert "--model" not in message_of(StaleIndex("a", "b"))
    assert message_of(UnfinishedRun("walls", 3)).endswith("build its source again to finish it.")


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES if type(error).__module__ == "encoder.errors"])
def test_an_error_of_an_encoding_process_arrives_whole(error):
    """Processes that encode send their errors through a pipe."""
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is type(error) and error_line(sent) == error_line(error)
