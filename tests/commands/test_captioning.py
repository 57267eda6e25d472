"""`evaluate --captioning`: captions of a file, measured against those of people by the real command."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from search import commands as search_commands
from tests.support.commands import answer, manage

PEOPLE = {
    "a.png": {"en": ["a small boat on a calm lake", "someone rows a boat at dawn"], "zh": ["湖上有一条小船", "小船在湖上"]},
    "b.png": {"en": ["three goats climb a steep rock", "goats on a rock"], "zh": ["山羊在爬山"]},
    "c.png": {"en": ["an old clock above a red door"]},
}
WRITTEN = [
    {"image_id": "a", "caption": "a goat on a boat"},
    {"image": "b.png", "caption": "goats on a rock"},
    {"image": "c.png", "caption": "a clock above a red door"},
    {"image_id": 7, "caption": "a cow"},
    {"image_id": "a", "caption": "湖上的小船"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioned")
    lines = [json.dumps({"image": name, "captions": captions}, ensure_ascii=False) for name, captions in PEOPLE.items()]
    (folder / "val.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "written.json").write_text(json.dumps(WRITTEN), "utf-8")
    for name in PEOPLE:
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def evaluate(folder, *options):
    return ["evaluate", "--captioning", folder / "val.jsonl", "--home", folder, *options]


def test_a_file_is_measured_in_both_languages(folder):
    report = answer(*evaluate(folder, "--captions-file", folder / "written.json"))
    assert [(row["language"], row["tokens"], row["images"]) for row in report["results"]] == [
        ("en", "words", 3),
        ("zh", "characters", 2),
        ("zh", "words", 2),
    ]
    assert all(0 < row["BLEU-4"] < 100 and row["CIDEr"] > 0 for row in report["results"][:1])
    english = report["wording"][0]
    assert (english["captions"], english["distinct"], english["hallucinates"]) == (3, 3, 33.33)
    said = " ".join(report["notices"])
    assert (
        "1 caption names no photo" in said
        and "1 photo has no written caption in zh" in said
        and "no captions of people" in said
    )
    assert report["failures"] == [] and [one["why"] for one in report["unused"]] == []
    assert not list(folder.glob("evaluate-*")) and not (folder / "collections").exists()


def test_the_table_has_a_line_for_each_row_and_each_notice(folder):
    done = manage(*evaluate(folder, "--captions-file", folder / "written.json", "--lang", "en"))
    assert done.returncode == 0, done.stderr
    for said in (
        "BLEU-4",
        "ROUGE-L",
        "CIDEr",
        "name one not there",
        "such as 7: not measured",
        "1 caption is in zh: not measured",
    ):
        assert said in done.stdout


def test_without_a_file_the_model_writes(folder):
    done = manage("evaluate", "--captioning", folder / "val.jsonl", "--home", folder, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(row["language"], row["captions"], row["empty"]) for row in report["wording"]] == [("en", 3, 0), ("zh", 2, 0)]
    assert all(row["BLEU-1"] < 100 for row in report["results"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--captioning", "--captioner", "nowhere"], "There is no model 'nowhere'"),
        (["--captioning", "--captions-file", "nowhere.json"], "can't be read (No such file or directory): take a JSON list"),
        (["--captioning", "--captions-file", "manage.py"], "manage.py: is not JSON: take a JSON list"),
    ],
)
def test_what_cannot_be_measured_is_one_line(folder, options, says):
    done = manage("evaluate", folder / "val.jsonl", "--home", folder, *options)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--captioning", "--rerank", "8"], "--captioning takes no --rerank"),
        (["--captioning", "--report", "worst.html"], "--captioning takes no --report"),
        (["--captioning", "--captions-file", "written.json", "--model", "opt-mini"], "--captioning takes no --model"),
        (["--captions-file", "written.json"], "--captions-file needs --captioning"),
    ],
)
def test_options_that_say_nothing_here_are_refused(options, says):
    done = CliRunner().invoke(search_commands.evaluate, ["val.jsonl", *options])
    assert done.exit_code == 2 and says in done.output


def test_a_line_that_is_not_json_is_listed_and_the_others_are_measured(folder):
    manifest = folder / "with-gap.jsonl"
    manifest.write_text((folder / "val.jsonl").read_text("utf-8") + "\n{oops", "utf-8")
    done = manage("evaluate", "--captioning", manifest, "--captions-file", folder / "written.json", "--home", folder)
    assert done.returncode == 3 and "line 4: not JSON" in done.stderr and "3 images" in done.stdout
