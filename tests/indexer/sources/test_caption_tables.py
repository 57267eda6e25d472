"""Tests of tables of captions, as people have them: found by themselves, or given with --captions."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import open_source
from indexer.errors import BadAnnotations, UnknownColumns
from indexer.sources.record_files import Columns
from indexer.sources.text_tables import form_of, table_rows
from tests.support.fakes import save_photo


@pytest.fixture
def photos(tmp_path):
    """Three photos: 1.jpg and 2.jpg in a folder, 3.jpg in another one."""
    for name in ("Images/1.jpg", "Images/2.jpg", "more/3.jpg"):
        save_photo(tmp_path / "photos" / name)
    return tmp_path / "photos"


def said(source):
    return {item.uri.name: [(caption.language, caption.text) for caption in item.captions] for item in source}


def fits(path, **options):
    """The captions of a table given with --captions, by photo."""
    source = open_source(path.parent.parent / "photos", captions=[path], **options)
    return {name: [text for _, text in captions] for name, captions in said(source).items()}


TABLES = {
    "flickr8k": ("captions.txt", "image,caption\n1.jpg,A dog , running .\n"
                 "1.jpg,\"Two, no \"\"three\"\" dogs\"\n2.jpg,一只狗\n"),
    "flickr8k tokens": ("Flickr8k.token.txt", "1.jpg#0\tA dog , running .\n1.jpg#1\tTwo, no \"three\" dogs\n2.jpg#0\t一只狗\n"),
    "flickr30k": ("results.csv", "image_name| comment_number| comment\n1.jpg| 0| A dog , running .\n1.jpg| 1| Two, no "
                  "\"three\" dogs\n2.jpg| 0| 一只狗\n"),
    "tsv": ("x.tsv", "caption\tfile_name\nA dog , running .\tImages/1.jpg\n"
            "Two, no \"three\" dogs\tImages/1.jpg\n一只狗\t2.jpg\n"),
    "excel": ("x.csv", "name;text\r\n1;A dog , running .\r\n1;\"Two, no \"\"three\"\" dogs\"\r\n2;一只狗\r\n"),
    "without a header": ("x.csv", "1.jpg,\"A dog , running .\"\n1.jpg,\"Two, no \"\"three\"\" dogs\"\n2.jpg,一只狗\n"),
    "json lines": ("x.jsonl", '{"image": "1.jpg", "caption": ["A dog , running .", "Two, no \\"three\\" dogs"]}\n'
                   '{"file_name": "2.jpg", "text": "一只狗"}\n'),
    "json list": ("x.json", json.dumps([{"image": "1.jpg", "caption": ["A dog , running .", "Two, no \"three\" dogs"]},
                                        {"image": "2.jpg", "caption": "一只狗"}])),
    "coco": ("annotations.json", json.dumps({
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": [{"image_id": 1, "caption": "A dog , running ."}, {"image_id": 1, "caption": "Two, no \"three\" dogs"},
                        {"image_id": 2, "caption": "一只狗"}]})),
}  # fmt: skip
EXPECTED = {"1.jpg": [("en", "A dog , running ."), ("en", 'Two, no "three" dogs')], "2.jpg": [("zh", "一只狗")], "3.jpg": []}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_table_at_the_top_of_a_folder_is_found(photos, kind, encoding):
    name, content = TABLES[kind]
    if encoding != "utf-8" and name.endswith(".jsonl"):
        pytest.skip("JSON Lines are UTF-8")
    (photos / name).write_bytes(content.encode(encoding))
    source = open_source(photos)
    if kind == "without a header":  # it may be anything
        assert [one["why"] for one in source.unused.as_json()] == ["captions_not_read"]
        return
    assert (said(source), source.problems, source.unused.as_json()) == (EXPECTED, [], [])


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_given_with_captions_to_any_source(tmp_path, photos, kind):
    name, content = TABLES[kind]
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert said(open_source(photos, captions=[tmp_path / name])) == EXPECTED
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps({"image": f"photos/Images/{n}.jpg"}) for n in (1, 2)))
    expected = {name: captions for name, captions in EXPECTED.items() if name != "3.jpg"}
    assert said(open_source(tmp_path / "list.jsonl", captions=[tmp_path / name])) == expected


def test_parquet_is_a_table_too(tmp_path, photos):
    pq.write_table(pa.table({"image": ["1.jpg", "2.jpg"], "caption": ["A dog", "狗"]}), tmp_path / "x.parquet")
    assert said(open_source(photos, captions=[tmp_path / "x.parquet"]))["2.jpg"] == [("zh", "狗")]


def test_columns_by_name(tmp_path, photos):
    table = tmp_path / "x.csv"
    table.write_text("nr,foto,titel,caption\n7,1.jpg,ein Hund,no\n8,2.jpg,,no\n")
    with pytest.raises(UnknownColumns, match="no table with columns of a photo's name and a caption"):
        open_source(photos, captions=[table])
    with pytest.raises(UnknownColumns, match="'foto' and 'title'"):
        open_source(photos, captions=[table], columns=Columns("foto", "title"))
    source = open_source(photos, captions=[table], languages=["de"], columns=Columns("foto", "titel"))
    assert said(source) == {"1.jpg": [("de", "ein Hund")], "2.jpg": [], "3.jpg": []}
    assert (source.options["image_column"], source.options["caption_column"]) == ("foto", "titel")


def test_an_id_may_be_that_of_a_row(photos):
    (photos / "x.csv").write_text("id,caption\n1,A dog\n")
    assert said(open_source(photos))["1.jpg"] == []
    assert said(open_source(photos, captions=[photos / "x.csv"]))["1.jpg"] == [("en", "A dog")]


def test_several_columns_of_captions_and_a_language(tmp_path, photos):
    (tmp_path / "x.csv").write_text("image,caption_en,caption_zh,caption,language\n1.jpg,A dog,狗,ein Hund,de\n")
    assert said(open_source(photos, captions=[tmp_path / "x.csv"]))["1.jpg"] == [
        ("de", "ein Hund"),
        ("en", "A dog"),
        ("zh", "狗"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        '1.jpg,"A dog\n2.jpg,A cat\n3.jpg,A bird\n',
        '1.jpg\n2.jpg,A cat\n3.jpg,A bird\n',
        ',A dog\n2.jpg,A cat\n3.jpg,A bird\n',
        '2.jpg,A cat\n1.jpg,"A dog\nthat is never closed\n3.jpg,A bird\n',
    ],
)  # fmt: skip
def test_a_bad_row_never_takes_its_neighbours_along(tmp_path, photos, rows):
    (tmp_path / "x.csv").write_text("image,caption\n" + rows)
    source = open_source(photos, captions=[tmp_path / "x.csv"])
    assert said(source) == {"1.jpg": [], "2.jpg": [("en", "A cat")], "3.jpg": [("en", "A bird")]}
    assert len(source.problems) == (0 if rows.startswith("1.jpg\n") else 1)
    assert all("1 rows can't be used" in problem.sentence for problem in source.problems)


def test_after_a_quote_that_is_never_closed_rows_are_read_even_if_photos_have_no_ending(tmp_path, photos):
    rows = "".join(f"{number},more\n" for number in range(4, 300))
    (tmp_path / "x.csv").write_text(f'image,caption\n1,"A dog\n2,A cat\n3,A bird\n{rows}')
    source = open_source(photos, captions=[tmp_path / "x.csv"])
    assert said(source) == {"1.jpg": [], "2.jpg": [("en", "A cat")], "3.jpg": [("en", "A bird")]}
    assert "296 captions are of photos that are not there" in source.problems[1].sentence


def test_other_columns_keep_their_names(tmp_path):
    save_photo(tmp_path / "1.jpg")
    (tmp_path / "metadata.csv").write_text("File_Name,Caption,Label Name,lang\n1.jpg,A dog,Pet,de\n")
    (item,) = open_source(tmp_path)
    assert (item.metadata, [(one.language, one.text) for one in item.captions]) == ({"Label Name": "Pet"}, [("de", "A dog")])


def test_a_quoted_caption_may_hold_lines_and_unquoted_commas_stay(tmp_path, photos):
    (tmp_path / "x.csv").write_text('image,caption\n1.jpg,"A dog\nin two lines"\n2.jpg,A cat, asleep\n3.jpg,A 12" pizza\n')
    assert said(open_source(photos, captions=[tmp_path / "x.csv"])) == {
        "1.jpg": [("en", "A dog\nin two lines")],
        "2.jpg": [("en", "A cat, asleep")],
        "3.jpg": [("en", 'A 12" pizza')],
    }


def test_quotes_of_flickr30k_belong_to_the_sentence(tmp_path, photos):
    rows = '1.jpg| 0| " A dog\n1.jpg| 1| A sign says "Stop\n2.jpg| 4   a broken row\n2.jpg| 0| A cat\n'
    (tmp_path / "results.csv").write_text("image_name| comment_number| comment\n" + rows)
    source = open_source(photos, captions=[tmp_path / "results.csv"])
    assert said(source)["1.jpg"] == [("en", '" A dog'), ("en", 'A sign says "Stop')]
    assert said(source)["2.jpg"] == [("en", "A cat")]


# Which photo is meant


@pytest.mark.parametrize(
    "name", ["1.jpg", "Images/1.jpg", "Images\\1.jpg", "/old/Images/1.jpg", "./Images/1.jpg", "1", "1.JPG", "1.png", "1.jpg#0"]
)
def test_a_photo_may_be_named_in_many_ways(tmp_path, photos, name):
    (tmp_path / "x.tsv").write_text(f"image\tcaption\n{name}\tA dog\n")
    assert said(open_source(photos, captions=[tmp_path / "x.tsv"]))["1.jpg"] == [("en", "A dog")]


def test_same_names_in_two_folders_are_told_apart_by_their_folder_or_not_at_all(tmp_path, photos):
    save_photo(photos / "more" / "1.jpg")
    (tmp_path / "x.csv").write_text("image,caption\nmore/1.jpg,mine\n1.jpg,whose?\nImages/1.jpg,other\nold/1.jpg,whose?\n")
    source = open_source(photos, captions=[tmp_path / "x.csv"])
    by_path = {str(item.uri.relative_to(photos)): [caption.text for caption in item.captions] for item in source}
    assert by_path == {"Images/1.jpg": ["other"], "more/1.jpg": ["mine"], "Images/2.jpg": [], "more/3.jpg": []}
    (problem,) = source.problems
    assert problem.sentence.endswith("x.csv: 2 captions may be of several photos and are nobody's (1.jpg, old/1.jpg).")


@pytest.mark.parametrize("rows", ["train/1.jpg,red\nval/1.jpg,blue\n", "1.png,red\n1.gif,blue\n"])
def test_two_names_that_mean_one_photo_only_somehow_mean_none(tmp_path, photos, rows):
    (tmp_path / "x.csv").write_text("image,caption\n2.jpg,sure\n" + rows)
    source = open_source(photos, captions=[tmp_path / "x.csv"])
    assert said(source) == {"1.jpg": [], "2.jpg": [("en", "sure")], "3.jpg": []}
    assert [problem.sentence.partition(": ")[2][:21] for problem in source.problems] == ["2 captions may be of "]


def test_captions_of_photos_that_are_not_there_are_a_problem_of_a_given_table_only(tmp_path, photos):
    content = "image,caption\n1.jpg,A dog\ngone.jpg,gone\n"
    (tmp_path / "x.csv").write_text(content)
    (problem,) = open_source(photos, captions=[tmp_path / "x.csv"]).problems
    assert problem.sentence.endswith("x.csv: 1 captions are of photos that are not there (gone.jpg).")
    (photos / "captions.csv").write_text(content)
    assert open_source(photos).problems == []


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "image\n1.jpg\n", "image,rating\n1.jpg,5\n", "image,caption\nx.jpg,A\n"])
def test_a_table_of_other_things_is_no_table_of_captions(tmp_path, photos, content):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises((UnknownColumns, BadAnnotations)):
        open_source(photos, captions=[tmp_path / "x.csv"])
    (photos / "x.csv").write_text(content)
    (counted,) = open_source(photos).unused.as_json()
    wanted = ("caption_of_no_photo", "x.csv") if "x.jpg" in content else ("other_kind", "CSV")
    assert (counted["why"], counted["kind"], counted["count"]) == (*wanted, 1)


def test_text_in_another_encoding_is_refused(tmp_path, photos):
    (photos / "captions.csv").write_bytes("image,caption\n1.jpg,红色的墙\n".encode("gb18030"))
    with pytest.raises(BadAnnotations, match=r"captions.csv: it is no UTF-8 text; save it as UTF-8"):
        open_source(photos, captions=[photos / "captions.csv"])
    assert [one["why"] for one in open_source(photos).unused.as_json()] == ["captions_not_read"]


# Hugging Face's imagefolder


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_imagefolder_with_splits(tmp_path, kind):
    for split, text in (("train", "a red wall"), ("test", "a blue wall")):
        for name in ("1.jpg", "sub/2.jpg", "3.jpg"):
            save_photo(tmp_path / split / name)
        records = [{"file_name": "1.jpg", "text": text, "label": 3}, {"file_name": "sub/2.jpg", "text": "狗", "label": 4}]
        path = tmp_path / split / f"metadata.{kind}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(records), path)
        elif kind == "jsonl":
            path.write_text("\n".join(map(json.dumps, records)))
        else:
            path.write_text(f"file_name,text,label\n1.jpg,{text},3\nsub/2.jpg,狗,4\n")
    source = open_source(tmp_path)
    found = {str(item.uri.relative_to(tmp_path)): ([one.text for one in item.captions], item.metadata) for item in source}
    three, four = ("3", "4") if kind == "csv" else (3, 4)
    assert found == {
        "test/1.jpg": (["a blue wall"], {"label": three}),
        "test/sub/2.jpg": (["狗"], {"label": four}),
        "test/3.jpg": ([], {}),
        "train/1.jpg": (["a red wall"], {"label": three}),
        "train/sub/2.jpg": (["狗"], {"label": four}),
        "train/3.jpg": ([], {}),
    }
    assert (source.format, source.problems, source.unused.as_json()) == ("folder", [], [])


# Any content


@given(st.text(alphabet=st.sampled_from('a,;|\t"\n\r 1.jpg狗\0'), max_size=60))
def test_any_table_gives_records_or_reasons(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"image,caption\n" + content.encode())
    form = form_of(path)
    for number, record in table_rows(path, form) if form else ():
        assert number > 1 and (isinstance(record, ValueError) or record["image"])


@given(st.lists(st.text(alphabet=st.sampled_from('ab,"\n 狗'), min_size=1, max_size=9), min_size=1, max_size=5))
def test_what_the_csv_module_writes_comes_back(tmp_path_factory, texts):
    import csv

    path = tmp_path_factory.getbasetemp() / "written.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["image", "caption"], *([f"{number}.jpg", text] for number, text in enumerate(texts))])
    form = form_of(path)
    assert form is not None
    found = [record for _, record in table_rows(path, form)]
    assert found == [
        {"image": f"{number}.jpg", **({"caption": text.strip()} if text.strip() else {})} for number, text in enumerate(texts)
    ]


def test_captions_of_photos_that_are_not_there_are_counted(tmp_path):
    save_photo(tmp_path / "1.png")
    (tmp_path / "captions.csv").write_text("image,caption\n1.png,a wall\ngone.png,a door\ngone.png,a gate\n")
    (tmp_path / "other captions.csv").write_text("image,caption\nelsewhere.png,a door\n")
    source = open_source(tmp_path)
    assert [one.text for item in source for one in item.captions] == ["a wall"] and source.problems == []
    counted = [(one["why"], one["kind"], one["count"]) for one in source.unused.as_json()]
    assert counted == [("caption_of_no_photo", "captions.csv", 2), ("caption_of_no_photo", "other captions.csv", 1)]
