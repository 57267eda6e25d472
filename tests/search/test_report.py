"""The lines that commands print, made from their JSON."""

from __future__ import annotations

import pytest

from search import Engine, Query
from search.evaluation.evaluate import evaluate
from search.report import evaluation_lines, explanation_lines, percent, result_lines
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.galleries import Shot, build_gallery

ROW = {
    "direction": "text_to_image", "language": "en", "rerank": 32, "queries": 500,
    "R@1": 22.8, "R@1_ci": [19.2, 26.6], "R@5": 52.8, "R@5_ci": [48.1, 57.6], "R@10": 66.8, "R@10_ci": [62.0, 71.0],
    "ceiling": 84.25, "p50_ms": 220.04, "p95_ms": 409.1,
}  # fmt: skip
REPORT = {
    "images": 1000,
    "mode": "vector",
    "protocol": "all",
    "folds": 1,
    "results": [ROW],
    "rsum": [{"language": "en", "rerank": 32, "rsum": 284.6}],
}


def found(tmp_path, calibration):
    encoder = FakeEncoder(config=FakeConfig(match_calibration=calibration))
    return Engine(build_gallery(tmp_path, encoder=encoder), encoder).search(Query(text="red", top=2)).as_json()


@pytest.mark.parametrize(
    ("offset", "said", "chance"),
    [
        (2.0, "strong match", "match 95 % "),
        (-2.0, "weak match: these may not be what you mean", "match 27 % "),
        (-9.0, "nothing found: these come nearest", "match <1 % "),
    ],
)
def test_the_relevance_is_printed_above_the_hits(tmp_path, offset, said, chance):
    lines = list(result_lines(found(tmp_path, (1.0, 0.0, offset))))

    assert lines[0] == said
    assert lines[1].endswith("red.jpg") and chance in lines[2]
    assert lines[-2].startswith("2 hits, 6 re-ranked; milliseconds: encode ") and lines[-1].startswith("next page: --cursor ")


def test_a_filter_without_matches_is_named(tmp_path):
    engine = Engine(build_gallery(tmp_path), FakeEncoder())
    lines = list(result_lines(engine.search(Query(text="red", where="width > 9000")).as_json()))
    assert lines[0] == "nothing fits the filter: width > 9000" and lines[1].startswith("0 hits, ")


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.874, "87 %"), (0.0, "<1 %"), (0.004, "<1 %"), (0.0051, "1 %"), (0.99, "99 %"), (0.9951, ">99 %"), (1.0, ">99 %")],
)
def test_no_probability_is_shown_as_certain(probability, shown):
    assert percent(probability) == shown


def test_collapsed_duplicates_are_listed_below_the_hit_and_the_last_page_has_no_cursor(tmp_path):
    shots = [Shot(f"{i}.png", "red") for i in range(3)]
    result = Engine(build_gallery(tmp_path, shots), FakeEncoder()).search(Query(text="red", fold=1.0)).as_json()

    lines = list(result_lines(result))

    assert lines[2] == "     and 2 near-duplicates: 2, 3" and lines[-1].startswith("1 hit, ")


def test_the_terms_of_a_sum_are_printed_above_the_hits(tmp_path):
    result = Engine(build_gallery(tmp_path), FakeEncoder()).search(Query(text="2*red wall -snow + @1 -@c2")).as_json()

    assert next(result_lines(result)) == 'searched for 2 x "red", "wall", without "snow", photo 1, without caption 2'


def test_without_a_calibration_nothing_is_printed_above_the_hits(tmp_path):
    lines = list(result_lines(found(tmp_path, None)))

    assert lines[0].endswith("red.jpg") and "%" not in lines[1] and "match -0.0" in lines[1]


def test_every_recall_has_its_interval_and_a_reranked_row_its_ceiling():
    lines = list(evaluation_lines(REPORT))

    row = next(line for line in lines if line.startswith("text_to_image"))
    assert row.split() == [
        "text_to_image",
        "en",
        "32",
        "500",
        "22.8",
        "(19-27)",
        "52.8",
        "(48-58)",
        "66.8",
        "(62-71)",
        "84.2",
        "220.0",
        "409.1",
    ]
    header = next(line for line in lines if line.startswith("direction"))
    assert len(header) == len(row) and header.index("ceiling") + len("ceiling") == row.index("84.2") + 4


def test_the_first_stage_by_itself_has_no_ceiling():
    row = {key: value for key, value in ROW.items() if key != "ceiling"} | {"rerank": 0}

    lines = list(evaluation_lines(REPORT | {"results": [row, ROW]}))

    plain, reranked = (line for line in lines if line.startswith("text_to_image"))
    assert len(plain) == len(reranked) and "84.2" not in plain


def test_rsum_is_printed_by_language_and_depth():
    assert "  en        32   284.6" in evaluation_lines(REPORT)


def test_the_unanswerable_trial_is_printed_if_it_was_measured():
    shares = {"strong": 81.5, "weak": 12.0, "none": 6.5}
    row = {
        "language": "zh",
        "rerank": 32,
        "present": 200,
        "absent": 200,
        "auc": 0.8514,
        "auc_ci": [0.8139, 0.8871],
        "present_shares": shares,
        "absent_shares": None,
    }

    lines = list(evaluation_lines(REPORT | {"relevance": [row]}))

    assert lines[-2] == "  zh        32  AUC 0.851 (0.814-0.887)  200 present, 200 absent"
    assert lines[-1] == "    present strong 81.5 %, weak 12.0 %, none 6.5 %"
    assert not any("AUC" in line for line in evaluation_lines(REPORT))


def test_a_whole_evaluation_can_be_printed(tmp_path):
    encoder = FakeEncoder(config=FakeConfig(match_calibration=(1.0, 0.0, 0.0)))
    report = evaluate(build_gallery(tmp_path).open_snapshot(), encoder, rerank=(0, 4), absent=2)

    lines = list(evaluation_lines(report))

    assert sum("100.0 (100-100)" in line for line in lines) == 8
    assert sum(line.endswith("600.0") for line in lines) == 4
    assert sum("AUC 1.000 (1.000-1.000)" in line for line in lines) == 2


def test_maps_are_printed_side_by_side_in_any_script():
    maps = {"grid": [2, 3], "heat": [[0, 0.5, 1], [0.1, 0.3, 0.79]], "words": [
        {"word": "红色的公共汽车", "heat": [[1, 0, 0], [0, 0, 0]]},
        {"word": "incomprehensible", "heat": [[0, 0, 1], [0, 0, 0]]},
    ]}  # fmt: skip
    assert list(explanation_lines(maps)) == [
        "all of i 红色的公 incompre",
        "··▒▒██   ██····   ····██",
        "··░░▓▓   ······   ······",
    ]


def test_the_best_caption_is_printed_first(tmp_path):
    result = found(tmp_path, None)
    result["hits"][0]["best_caption"] = next(c["id"] for c in result["hits"][0]["captions"] if c["text"] == "all of it is red")
    assert [line.strip() for line in list(result_lines(result))[2:4]] == ["all of it is red", "a red wall"]
