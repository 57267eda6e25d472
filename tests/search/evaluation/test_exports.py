"""The files of an evaluation, read by other tools: TREC's formats by ir_measures, the page by an HTML parser."""

from __future__ import annotations

import html.parser
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from ir_measures import Success
from scipy.stats import binomtest

from search.errors import BadRun, NothingToMeasure, UnwritableFile
from search.evaluation.evaluate import evaluate
from search.evaluation.exports import Exports
from search.evaluation.significance import compare, compare_hits, comparison_lines
from search.evaluation.trec import Names, read_qrels, read_run
from tests.support.fakes import FakeEncoder
from tests.support.galleries import Shot, build_gallery


class DimEncoder(FakeEncoder):
    """Sees colours, with noise."""

    def _vectors(self, colours):
        noise = [np.random.default_rng(int(sum(colour))).standard_normal(3) * 60 for colour in colours]
        return super()._vectors(np.asarray(colours) + np.array(noise).reshape(-1, 3))


def shots(count=30):
    return [
        Shot(
            f"a folder/{i}.png",
            (8 * i, 255 - 8 * i, 60),
            captions=[("en", f"<b>number {i}</b> & more"), ("en", "red"), ("zh", f"第 {i} 张")],
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    encoder = DimEncoder()
    snapshot = build_gallery(folder, shots(), encoder).open_snapshot()
    exports = Exports(folder / "a.run", folder / "a.qrels", folder / "a.html", 4)
    report = evaluate(snapshot, encoder, rerank=(0, 4), keep=exports.keep)
    exports.write(report, snapshot, "a model")
    return folder, report


@pytest.mark.parametrize("k", [1, 5, 10])
def test_another_tool_reads_the_same_recall_from_the_files(exported, k):
    folder, report = exported
    run = list(ir_measures.read_trec_run(str(folder / "a.run")))
    qrels = list(ir_measures.read_trec_qrels(str(folder / "a.qrels")))
    by_query = {m.query_id: m.value for m in ir_measures.iter_calc([Success @ k], qrels, run)}

    assert len(by_query) == 60 + 30 + 30 + 30
    compared = compare(read_run(folder / "a.run"), read_run(folder / "a.run"), read_qrels(folder / "a.qrels"), rounds=10)
    for row in (one for one in report["results"] if one["rerank"] == 4):
        (ours,) = (
            one
            for one in compared["results"]
            if (one["direction"], one["language"], one["measure"]) == (row["direction"], row["language"], f"R@{k}")
        )
        assert ours["a"] == ours["b"] == row[f"R@{k}"]
    sentences = [value for name, value in by_query.items() if "#zh" in name and name[-1].isdigit()]
    (row,) = (
        one
        for one in report["results"]
        if one["rerank"] == 4 and (one["language"], one["direction"]) == ("zh", "text_to_image")
    )
    assert 100 * np.mean(sentences) == pytest.approx(row[f"R@{k}"], abs=0.01)


def test_names_do_not_depend_on_ids(exported):
    lines = (exported[0] / "a.qrels").read_text().splitlines()
    assert "7.png#en1 0 7.png 1" in lines and "7.png#zh 0 7.png#zh1 1" in lines
    first = (exported[0] / "a.run").read_text().splitlines()[0].split()
    assert len(first) == 6 and first[1] == "Q0" and first[3] == "1" and first[5] == "a-model-vector-4"


def test_names_have_no_blanks_and_begin_below_the_shared_folder(tmp_path):
    shots = [Shot("one/a b.png", "red", captions=[("en", "red")]), Shot("one/c/#1.png", "blue")]
    names = Names(build_gallery(tmp_path, shots).open_snapshot())
    assert list(names.images.values()) == ["a%20b.png", "c/%231.png"] and names.captions == {1: "a%20b.png#en1"}
    assert list(Names(build_gallery(tmp_path / "alone", shots[:1]).open_snapshot()).images.values()) == ["a%20b.png"]


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_of_failures_needs_no_other_file_and_is_escaped(exported):
    page = Page((exported[0] / "a.html").read_text("utf-8"))
    assert "b" not in page.tags and "script" not in page.tags and "<b>number" in page.text and "</b> & more" in page.text
    assert page.sources and all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert page.tags.count("section") <= 30 * 4 and "text to image, en" in page.text and "image to text, zh" in page.text


def test_the_worst_queries_come_first_and_rank_1_is_no_failure(exported):
    text = (exported[0] / "a.html").read_text("utf-8")
    part = text[text.index("text to image, zh") : text.index("image to text")]
    ranks = [int(piece.split("<")[0]) for piece in part.split('rank">rank ')[1:]]
    assert ranks == sorted(ranks, reverse=True) and all(rank > 1 for rank in ranks)


@pytest.mark.parametrize("path", ["nowhere/a.run", "."])
def test_an_unwritable_path_is_refused_before_anything_is_measured(tmp_path, path):
    with pytest.raises(UnwritableFile, match="Can't write"):
        Exports(None, tmp_path / path, None, 0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("q Q0 d 1 0.5", "line 1: 5 fields, where 6 are needed"),
        ("\nq Q0 d 1 high tag", "line 2: 'high' is no score"),
        ("q Q0 d 1 nan tag", "'nan' is no score"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
    ],
)
def test_a_run_that_cannot_be_read_names_the_line(tmp_path, content, problem):
    path = tmp_path / "bad.run"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadRun) as raised:
        read_run(path)
    assert problem in str(raised.value) and str(path) in str(raised.value)
    with pytest.raises(BadRun, match="No such file"):
        read_qrels(tmp_path / "missing")


def test_a_judgement_of_0_is_not_relevant(tmp_path):
    path = tmp_path / "a.qrels"
    path.write_text("q 0 d 0\np 0 d 1\np 0 e 2\n")
    assert read_qrels(path) == {"p": {"d", "e"}}
    path.write_text("q 0 d yes\n")
    with pytest.raises(BadRun, match="'yes' is no judgement"):
        read_qrels(path)
    with pytest.raises(NothingToMeasure):
        compare({}, {}, {})


def test_the_randomisation_test_of_single_queries_agrees_with_the_sign_test():
    a = np.array([True] * 12 + [False] * 28)
    b = np.array([True] * 10 + [False] * 2 + [True] * 11 + [False] * 17)

    result = compare_hits(a, b, np.arange(40), rounds=4000)

    assert (result["better"], result["worse"], result["difference"]) == (11, 2, 22.5)
    assert result["p"] == pytest.approx(binomtest(2, 13).pvalue, abs=0.01)
    assert result["difference_ci"][0] > 0 and result == compare_hits(a, b, np.arange(40), rounds=4000)


def test_queries_of_one_photo_are_not_counted_as_independent():
    a, b = np.zeros(40, bool), np.ones(40, bool)
    b[20:] = False
    single, grouped = (compare_hits(a, b, groups, rounds=2000)["p"] for groups in (np.arange(40), np.arange(40) // 20))
    assert single < 0.001 and grouped > 0.3


def test_equal_runs_do_not_differ():
    a = np.array([True, False, True])
    result = compare_hits(a, a, np.arange(3), rounds=100)
    assert (result["difference"], result["difference_ci"], result["p"]) == (0.0, [0.0, 0.0], 1.0)


def test_runs_of_other_tools_are_compared_as_a_whole():
    qrels = {"1": {"d"}, "2": {"e"}}
    report = compare({"1": {"d": 2.0, "e": 1.0}}, {"1": {"d": 2.0, "e": 2.0}, "2": {"e": 1.0}}, qrels, rounds=50)
    assert [(row["direction"], row["measure"], row["a"], row["b"]) for row in report["results"]] == [
        (None, "R@1", 50.0, 50.0), (None, "R@5", 50.0, 100.0), (None, "R@10", 50.0, 100.0),
    ]  # fmt: skip
    assert any("+50.0" in line for line in comparison_lines(report))


def test_lexical_evaluation_hides_the_querys_own_caption(tmp_path):
    """Each photo has one caption that no other has: were it not hidden, words would find every photo."""
    encoder = FakeEncoder()
    one = [Shot(f"{i}.png", (i, i, i), captions=[("en", f"word{i}")]) for i in range(12)]
    two = [Shot(f"{i}.png", (i, i, i), captions=[("en", f"word{i} here"), ("en", f"word{i} there")]) for i in range(12)]

    hidden = evaluate(build_gallery(tmp_path / "one", one, encoder).open_snapshot(), encoder, rerank=(0,), mode="lexical")
    found = evaluate(build_gallery(tmp_path / "two", two, encoder).open_snapshot(), encoder, rerank=(0,), mode="lexical")
    both = evaluate(build_gallery(tmp_path / "three", two, encoder).open_snapshot(), encoder, rerank=(0, 3), mode="hybrid")

    assert [row["R@10"] for row in hidden["results"]] == [0.0] and [row["R@1"] for row in found["results"]] == [100.0]
    assert [(row["direction"], row["rerank"]) for row in both["results"]] == [("text_to_image", 0), ("text_to_image", 3)]
    assert found["rsum"] == [] and found["mode"] == "lexical"


def test_files_are_written_at_their_paths(exported):
    assert {Path(path).name for path in exported[0].glob("a.*")} == {"a.run", "a.qrels", "a.html"}
