from __future__ import annotations

import json

import pytest

from search.errors import NothingToMeasure
from search.evaluation.captioning.evaluate import check_languages, evaluate_captions, references_in
from search.evaluation.captioning.measure import MEASURES, SHARES
from search.evaluation.captioning.report import captioning_lines
from tests.search.evaluation.captioning.examples import PHOTOS, shot

ENGLISH = {0: "a boat on a lake", 1: "goats on a rock", 2: "a clock above a door"}
CHINESE = {0: "湖上的小船", 1: "山羊在爬山"}


def test_each_language_has_a_row_for_each_kind_of_token():
    report = evaluate_captions(PHOTOS, {"en": ENGLISH, "zh": CHINESE}, ["en", "zh"])
    rows = [(row["language"], row["tokens"], row["images"], row["references"]) for row in report["results"]]
    assert rows == [("en", "words", 3, 5), ("zh", "characters", 2, 3), ("zh", "words", 2, 3)]
    for row in report["results"]:
        for name in MEASURES:
            low, high = row[f"{name}_ci"]
            assert 0 <= low <= high and row[name] > 0
    assert json.loads(json.dumps(report)) == report


def test_the_shares_are_of_the_captions_that_are_not_empty():
    row = evaluate_captions(PHOTOS, {"en": {0: "a a a goat", 1: "", 2: "a clock"}}, ["en"])["wording"][0]
    assert (row["captions"], row["empty"], row["distinct"], row["mean_length"], row["length_in"]) == (2, 1, 2, 3.0, "words")
    assert [row[name] for name in SHARES] == [50, 100, 50]


def test_only_empty_captions_have_no_shares():
    row = evaluate_captions(PHOTOS, {"en": {0: "..."}}, ["en"])["wording"][0]
    assert row["captions"] == row["mean_length"] == 0 and [row[name] for name in SHARES] == [0, 0, 0]


def test_the_intervals_are_those_of_their_seed():
    photos, written = PHOTOS * 5, {i: text for i, text in enumerate([*ENGLISH.values(), "a boat", "a red rock"] * 3)}
    first, same, other = (evaluate_captions(photos, {"en": written}, ["en"], seed)["results"][0] for seed in (0, 0, 1))
    assert first == same and first["CIDEr_ci"] != other["CIDEr_ci"] and first["CIDEr"] == other["CIDEr"]


def test_a_photo_that_nothing_was_written_of_counts_as_one_with_an_empty_caption():
    missing = evaluate_captions(PHOTOS, {"en": {0: ENGLISH[0], 1: ENGLISH[1]}}, ["en"])
    empty = evaluate_captions(PHOTOS, {"en": {**ENGLISH, 2: ""}}, ["en"])
    assert missing["results"] == empty["results"] and missing["wording"] == empty["wording"]
    assert missing["notices"] == ["1 photo has no written caption in en, such as c.jpg: counted as empty"]
    assert empty["notices"] == []


def test_what_is_not_measured_is_said():
    report = evaluate_captions(PHOTOS, {"zh": CHINESE, "fr": {0: "un bateau"}}, ["en", "zh"])
    assert report["notices"] == [
        "nothing was written in en: not measured",
        "1 photo has no captions of people in zh, such as c.jpg: not measured",
        "1 caption is in fr: not measured",
    ]


def test_a_reference_without_a_word_is_none():
    photos = [*PHOTOS, shot("d.jpg", "..."), shot("e.jpg", "!", "a red door")]
    assert references_in("en", photos)[4] == ["a red door"] and 3 not in references_in("en", photos)


@pytest.mark.parametrize(
    ("languages", "says"), [(["fr"], "measured in en and zh, not in fr"), ([], "in no language: there are captions in en, zh")]
)
def test_languages_that_cannot_be_measured_are_told(languages, says):
    with pytest.raises(NothingToMeasure, match=says):
        check_languages(languages, PHOTOS)


def test_languages_without_captions_of_people_are_left_out():
    assert check_languages(["zh", "en", "zh"], PHOTOS) == ["zh", "en"]
    assert check_languages(["en", "zh"], [shot("a.jpg", "a boat")]) == ["en"]
    with pytest.raises(NothingToMeasure, match="No captions of people in zh: there are captions in en"):
        check_languages(["zh"], [shot("a.jpg", "a boat")])


def test_nothing_written_in_the_languages_is_told():
    with pytest.raises(NothingToMeasure, match="No written captions in zh: they are in en"):
        evaluate_captions(PHOTOS, {"en": ENGLISH}, ["zh"])


def test_lines_show_the_figures_and_the_notices():
    report = evaluate_captions(PHOTOS, {"en": {0: ENGLISH[0]}}, ["en"])
    text = "\n".join(captioning_lines(report))
    for said in ("BLEU-4", "ROUGE-L", "CIDEr", "95 % interval", "name one not there", "2 photos have no written caption in en"):
        assert said in text
    assert all(len(line) <= 128 for line in text.splitlines())
