"""What photos say of themselves, in every format that can say it; and nothing, without an error, where it is broken."""

from __future__ import annotations

import io
import json
import struct
import time
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from indexer.embedded_metadata import read_metadata, read_takeout_sidecar, read_xmp_sidecar
from tests.support.commands import ROOT
from tests.support.raw_files import dng

PHOTO = Image.new("RGB", (48, 32), "teal")
OWN, GPS = 0x8769, 0x8825
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
  xmlns:lr="http://ns.adobe.com/lightroom/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
  xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
  xmp:Rating="4" tiff:Make="Canon" tiff:Model="Canon EOS R5" exif:GPSLatitude="33,51.5S" exif:GPSLongitude="151,12,36E"
  exif:DateTimeOriginal="2024-05-06T07:08:09.25+02:00" exif:FNumber="28/10">
 <dc:title><rdf:Alt><rdf:li xml:lang="de">Am Hafen</rdf:li><rdf:li xml:lang="x-default">At the harbour</rdf:li></rdf:Alt></dc:title>
 <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Boats &amp; 人</rdf:li></rdf:Alt></dc:description>
 <dc:subject><rdf:Bag><rdf:li>boats</rdf:li><rdf:li>Sydney</rdf:li></rdf:Bag></dc:subject>
 <lr:hierarchicalSubject><rdf:Bag><rdf:li>Places|Australia|Sydney</rdf:li></rdf:Bag></lr:hierarchicalSubject>
 <dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bo</rdf:li></rdf:Seq></dc:creator>
 <mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource">
   <mwg-rs:Name>Cleo</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type></rdf:li><rdf:li><rdf:Description mwg-rs:Name="Dan"/></rdf:li>
 </rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>
 <xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description><dc:title>of another file</dc:title></rdf:Description></rdf:li></rdf:Bag></xmpMM:Pantry>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""  # noqa: E501
IN_XMP = {
    "taken": "2024-05-06T07:08:09+02:00", "camera": "Canon EOS R5", "latitude": -33.858333, "longitude": 151.21,
    "aperture": 2.8, "title": "At the harbour", "description": "Boats & 人",
    "tags": ["boats", "Sydney", "Places/Australia/Sydney"],
    "rating": 4, "creator": "Ann; Bo", "people": ["Cleo", "Dan"],
}  # fmt: skip


def exif_of(main: dict | None = None, own: dict | None = None, gps: dict | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(OWN).update(own or {})
    exif.get_ifd(GPS).update(gps or {})
    return exif


FULL = exif_of(
    {0x010F: "NIKON CORPORATION", 0x0110: "NIKON D90", 0x010E: "A quay", 0x013B: "Eve"},
    {0x9003: "2009:08:07 06:05:04", 0x9011: "-03:30", 0xA434: "18-105mm f/3.5-5.6", 0x8827: 200, 0x829D: 5.6, 0x829A: 1 / 250,
     0x920A: 35.0},
    {1: "N", 2: (45.0, 30.0, 0.0), 3: "W", 4: (73.0, 33.0, 36.0), 5: b"\1", 6: 12.5},
)  # fmt: skip
IN_EXIF = {
    "taken": "2009-08-07T06:05:04-03:30", "camera": "NIKON D90", "lens": "18-105mm f/3.5-5.6", "latitude": 45.5,
    "longitude": -73.56, "altitude": -12.5, "iso": 200, "aperture": 5.6, "exposure": 0.004, "focal_length": 35.0,
    "description": "A quay", "creator": "Eve",
}  # fmt: skip


def saved(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    PHOTO.save(stream, kind, **options)
    return stream.getvalue()


def with_exif(*parts: dict) -> dict[str, Any]:
    return read_metadata(saved("JPEG", exif=exif_of(*parts)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_of_every_format(kind, tmp_path):
    content = saved(kind, exif=FULL.tobytes())
    assert read_metadata(content) == IN_EXIF
    path = tmp_path / "photo"
    path.write_bytes(content)
    assert read_metadata(path) == IN_EXIF


def png_with_xmp(packed: bool) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP, zip=packed)
    return saved("PNG", pnginfo=text)


def test_xmp_of_every_format():
    packet = XMP.encode()
    contents = [saved(kind, xmp=packet) for kind in ("JPEG", "WEBP", "AVIF")] + [png_with_xmp(False), png_with_xmp(True)]
    contents.append(saved("TIFF", tiffinfo={700: packet}))
    for content in contents:
        found = read_metadata(content)
        assert {name: found.get(name) for name in IN_XMP} == IN_XMP


def test_a_heic_of_a_phone():
    assert read_metadata(ROOT / "tests" / "data" / "heic" / "turned.heic") == {
        "taken": "2024-05-06T07:08:09+02:00", "camera": "Apple iPhone 15", "latitude": -33.85, "longitude": 151.21, "rating": 4,
    }  # fmt: skip


def test_a_raw_file_that_is_built_as_a_tiff():
    assert read_metadata(dng(PHOTO, make="NIKON CORPORATION"))["camera"] == "NIKON Model 1"


@pytest.mark.parametrize("start", [b"IIRO", b"IIRS", b"IIU\0"])
def test_a_raw_file_that_is_a_tiff_by_another_name(start):
    assert read_metadata(start + dng(PHOTO, make="OLYMPUS CORP")[4:])["camera"] == "OLYMPUS Model 1"


def test_a_raf_has_the_exif_of_its_preview():
    preview = saved("JPEG", exif=FULL)
    head = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 160, len(preview))
    assert read_metadata(head.ljust(160, b"\0") + preview) == IN_EXIF


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def test_a_cr3():
    directories = (
        exif_of({0x010F: "Canon", 0x0110: "Canon EOS R5"}),
        exif_of({0x9003: "2024:05:06 07:08:09", 0x829D: 2.8}),
        exif_of({1: "S", 2: (33.0, 51.0, 0.0), 3: "E", 4: (151.0, 12.0, 36.0)}),
    )
    parts = [box(name, one.tobytes()[6:]) for name, one in zip((b"CMT1", b"CMT2", b"CMT4"), directories, strict=True)]
    film = box(b"moov", box(b"uuid", bytes(16) + b"".join(parts)) + box(b"mvhd", bytes(20)))
    assert read_metadata(box(b"ftyp", b"crx \0\0\0\1crx isom") + film) == {
        "camera": "Canon EOS R5", "taken": "2024-05-06T07:08:09", "aperture": 2.8, "latitude": -33.85, "longitude": 151.21,
    }  # fmt: skip


def test_a_jpeg_xl():
    pixels = bytes(imagecodecs.jpegxl_encode(np.asarray(PHOTO), usecontainer=True))
    exif = FULL.tobytes().removeprefix(b"Exif\0\0")
    boxes = [
        struct.pack(">I4sI", len(exif) + 12, b"Exif", 0) + exif,
        struct.pack(">I4s", len(XMP.encode()) + 8, b"xml ") + XMP.encode(),
    ]
    found = read_metadata(pixels + b"".join(boxes))
    assert found["taken"] == IN_EXIF["taken"] and found["title"] == IN_XMP["title"]


def iptc(*records: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack(">BBBH", 0x1C, 2, name, len(value)) + value for name, value in records)


def jpeg_with_iptc(content: bytes) -> bytes:
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(content)) + content + b"\0" * (len(content) % 2)
    segment = b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0\x04abcd" + resource
    whole = saved("JPEG")
    return whole[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + whole[2:]


def test_iptc():
    content = iptc(
        (5, b"A title"),
        (25, "花".encode()),
        (25, b"caf\xe9"),
        (55, b"20240506"),
        (60, b"070809+0200"),
        (80, b"Ann"),
        (120, b"Said"),
    )
    assert read_metadata(jpeg_with_iptc(content)) == {
        "title": "A title", "tags": ["花", "café"], "taken": "2024-05-06T07:08:09+02:00", "creator": "Ann",
        "description": "Said",
    }  # fmt: skip


def test_what_people_wrote_counts_for_texts_and_what_the_camera_wrote_for_the_picture():
    both = saved("JPEG", exif=FULL, xmp=XMP.encode())
    found = read_metadata(both)
    assert (found["description"], found["creator"], found["title"]) == ("Boats & 人", "Ann; Bo", "At the harbour")
    assert (found["camera"], found["taken"], found["latitude"]) == ("NIKON D90", IN_EXIF["taken"], 45.5)


@pytest.mark.parametrize(
    "main, own, taken",
    [
        ({}, {0x9003: "2024:05:06 07:08:09"}, "2024-05-06T07:08:09"),
        ({}, {0x9003: "2024:05:06 07:08:09", 0x9011: "+05:45"}, "2024-05-06T07:08:09+05:45"),
        ({}, {0x9003: "2024:05:06 07:08:09", 0x9011: "   :  "}, "2024-05-06T07:08:09"),
        ({}, {0x9003: "0000:00:00 00:00:00", 0x9004: "2024:05:06 07:08:09", 0x9012: "Z"}, "2024-05-06T07:08:09+00:00"),
        ({0x0132: "2024:05:06 07:08:09"}, {0x9003: "    :  :     :  :  ", 0x9010: "-11:00"}, "2024-05-06T07:08:09-11:00"),
        ({0x0132: "2024:13:06 07:08:09"}, {}, None),
        ({0x0132: "2024:02:30 07:08:09"}, {0x9004: "soon"}, None),
        ({0x0132: "2024-05-06 07:08"}, {}, "2024-05-06T07:08:00"),
        ({0x0132: "1000:01:01 00:00:00"}, {}, None),
    ],
)
def test_when_it_was_taken(main, own, taken):
    assert with_exif(main, own).get("taken") == taken


@pytest.mark.parametrize(
    "make, model, camera",
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Apple", "iPhone 15 Pro", "Apple iPhone 15 Pro"),
        ("OLYMPUS IMAGING CORP.  ", "E-M10", "OLYMPUS E-M10"),
        ("EASTMAN KODAK COMPANY", "KODAK EASYSHARE", "KODAK EASYSHARE"),
        ("SONY", "ILCE-7M3\0\0", "SONY ILCE-7M3"),
        ("", "X100", "X100"),
        ("FUJIFILM", "", "FUJIFILM"),
    ],
)
def test_the_camera_s_make_is_not_said_twice(make, model, camera):
    assert with_exif({0x010F: make, 0x0110: model})["camera"] == camera


@pytest.mark.parametrize(
    "gps, place",
    [
        ({1: "S", 2: (33.0, 51.0, 0.0), 3: "E", 4: (151.0, 12.0, 36.0)}, (-33.85, 151.21)),
        ({1: "N", 2: (33.0, 51.0, 0.0), 3: "W", 4: (151.0, 12.0, 36.0)}, (33.85, -151.21)),
        ({1: "N", 2: (33.5, 0.0, 0.0), 3: "E", 4: (10.0, 30.0, 0.0)}, (33.5, 10.5)),
        ({1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (45.0, 0.0, 0.0), 3: "E", 4: (181.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (45.0, 75.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}, None),
        ({2: (45.0, 0.0, 0.0), 4: (10.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (45.0, 0.0, 0.0)}, None),
        ({1: "N", 2: 45.0, 3: "E", 4: 10.0}, None),
    ],
)
def test_where_it_was_taken(gps, place):
    found = with_exif({}, {}, gps)
    assert (found.get("latitude"), found.get("longitude")) == (place or (None, None))


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_every_place_comes_back(latitude, longitude):
    def sexagesimal(value: float) -> tuple[float, float, IFDRational]:
        degrees, rest = divmod(round(abs(value) * 3600 * 1000), 3600 * 1000)
        return float(degrees), float(rest // 60_000), IFDRational(rest % 60_000, 1000)

    gps = {
        1: "N" if latitude >= 0 else "S",
        2: sexagesimal(latitude),
        3: "E" if longitude >= 0 else "W",
        4: sexagesimal(longitude),
    }
    found = with_exif({}, {}, gps)
    if found:
        assert abs(found["latitude"] - latitude) < 2e-6 and abs(found["longitude"] - longitude) < 2e-6
    else:
        assert abs(latitude) < 1e-6 and abs(longitude) < 1e-6


def test_ratios_over_zero_are_left_out():
    none = IFDRational(0, 0)
    own = {0x829A: none, 0x829D: 5.6, 0x920A: IFDRational(35, 0)}
    assert with_exif({}, own, {1: "N", 2: (none, none, none), 3: "E", 4: (7.0, 0.0, 0.0), 6: none}) == {"aperture": 5.6}


def test_odd_values_of_exif():
    assert with_exif({}, {0x8827: 65535, 0x8832: 102_400})["iso"] == 102_400
    assert with_exif({}, {0x9202: 4.0})["aperture"] == 4.0
    assert with_exif({0x010E: "OLYMPUS DIGITAL CAMERA         "}) == {}
    assert with_exif({}, {0xA434: "----"}) == {}
    assert with_exif({0x4746: 5})["rating"] == 5 and with_exif({0x4746: 0}) == {} and with_exif({0x4746: 99}) == {}
    content = saved("JPEG", exif=exif_of({0x013B: "Jos.. ..."})).replace(b"Jos.. ...", "José 王".encode())
    assert read_metadata(content)["creator"] == "José 王"
    windows = {0x9C9E: "sea;boats;sea".encode("utf-16-le") + b"\0\0", 0x9C9B: "Title 花".encode("utf-16-le")}
    assert with_exif(windows) == {"tags": ["sea", "boats"], "title": "Title 花"}


def test_a_sidecar_is_read_as_a_packet_is():
    assert read_xmp_sidecar(XMP) == IN_XMP == read_xmp_sidecar(XMP.encode()) == read_xmp_sidecar(XMP.encode() + bytes(50))
    assert (
        read_xmp_sidecar(XMP.replace('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>', "").encode("utf-16")) == IN_XMP
    )


@pytest.mark.parametrize(
    "packet",
    [
        "", "<", "no XML", "<x/>", XMP[:600], XMP.replace("rdf-syntax", "other"),
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + XMP.split("?>", 1)[1],
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">' + XMP.split("?>", 1)[1],
        "<a>" * 20_000,
    ],
)  # fmt: skip
def test_broken_and_hostile_xmp_says_nothing(packet):
    assert read_xmp_sidecar(packet) == {} == read_metadata(saved("JPEG", xmp=packet.encode()[:60_000]))


@pytest.mark.parametrize(
    "wanted, written", [(4, "4"), (4, "4.0"), (-1, "-1"), (None, "0"), (None, "77"), (None, "NaN"), (None, "x")]
)
def test_ratings(wanted, written):
    assert read_xmp_sidecar(XMP.replace('Rating="4"', f'Rating="{written}"')).get("rating") == wanted


@pytest.mark.parametrize("written, taken", [("2024", "2024"), ("2024-05", "2024-05"), ("2024-05-06", "2024-05-06"), ("", None)])
def test_a_part_of_a_date_stays_a_part(written, taken):
    assert read_xmp_sidecar(XMP.replace("2024-05-06T07:08:09.25+02:00", written)).get("taken") == taken


TAKEOUT = {
    "title": "IMG_1.HEIC", "description": "On the beach", "photoTakenTime": {"timestamp": "1714972089", "formatted": "..."},
    "geoData": {"latitude": -33.85, "longitude": 151.21, "altitude": 3.0, "latitudeSpan": 0.0}, "favorited": True,
    "people": [{"name": "Ann"}, {"name": "Bo"}, {}],
}  # fmt: skip


def test_takeout():
    assert read_takeout_sidecar(json.dumps(TAKEOUT)) == {
        "title": "IMG_1.HEIC", "description": "On the beach", "taken": "2024-05-06T05:08:09+00:00", "latitude": -33.85,
        "longitude": 151.21, "altitude": 3.0, "people": ["Ann", "Bo"], "favorite": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "change, column, value",
    [
        ({"geoData": {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}}, "latitude", None),
        ({"geoData": {"latitude": 0.0, "longitude": 0.0}, "geoDataExif": {"latitude": 1.5, "longitude": 2.5}}, "latitude", 1.5),
        ({"photoTakenTime": {"timestamp": "-86400"}}, "taken", "1969-12-31T00:00:00+00:00"),
        ({"photoTakenTime": {"timestamp": "9" * 30}}, "taken", None),
        ({"photoTakenTime": "yesterday"}, "taken", None),
        ({"people": "Ann"}, "people", None),
        ({"people": [3, None, {"name": 4}]}, "people", None),
        ({"favorited": "yes"}, "favorite", None),
        ({"title": ["x"], "description": 5}, "title", None),
    ],
)
def test_takeout_that_is_broken(change, column, value):
    assert read_takeout_sidecar(json.dumps(TAKEOUT | change)).get(column) == value


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "[" * 100_000, '"x"', b"\xff\xfe", '{"photoTakenTime": {"timestamp": ' + "9" * 5000 + "}}"]
)
def test_what_is_no_takeout_says_nothing(content):
    assert read_takeout_sidecar(content) == {}


WHOLE = [
    saved("JPEG", exif=FULL, xmp=XMP.encode()), saved("TIFF", exif=FULL), saved("WEBP", exif=FULL, xmp=XMP.encode()),
    png_with_xmp(True), saved("PNG", exif=FULL), saved("AVIF", exif=FULL, xmp=XMP.encode()),
    jpeg_with_iptc(iptc((5, b"A"), (25, b"b"))),
    (ROOT / "tests" / "data" / "heic" / "turned.heic").read_bytes(), dng(PHOTO),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=8),
    st.none() | st.integers(0, 3000),
)
def test_broken_files_never_raise_and_say_only_columns(whole, changes, kept):
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    for name, value in read_metadata(bytes(data[:kept])).items():
        assert isinstance(value, list if name in ("tags", "people") else float | int | str)
        assert name != "latitude" or -90 <= value <= 90


@given(st.binary(max_size=300))
def test_any_bytes_say_nothing_or_columns(content):
    assert read_xmp_sidecar(content) == {} and read_takeout_sidecar(content) == {}
    assert isinstance(read_metadata(content), dict)


def test_a_file_that_is_not_there_says_nothing(tmp_path):
    assert read_metadata(tmp_path / "nowhere.jpg") == {} == read_metadata(tmp_path)


def test_it_is_cheap():
    content = saved("JPEG", exif=FULL)
    took = []
    for _ in range(20):
        start = time.perf_counter()
        read_metadata(content)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.002
