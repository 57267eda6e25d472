"""XMP to columns: of a packet in a photo, or of a sidecar `.xmp`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from indexer.metadata import values

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LARGEST = 4 << 20
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_NAMES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "exifEX": "http://cipa.jp/exif/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
}
_PREFIXES = {f"{{{address}}}": f"{prefix}:" for prefix, address in _NAMES.items()}
_PLACE = re.compile(r"(\d+)(?:,(\d+(?:\.\d+)?))?(?:,(\d+(?:\.\d+)?))?([NSEW])$")
_TAGS = ("dc:subject", "lr:hierarchicalSubject", "digiKam:TagsList", "MicrosoftPhoto:LastKeywordXMP", "mediapro:CatalogSets")
_TIMES = ("exif:DateTimeOriginal", "photoshop:DateCreated", "exif:DateTimeDigitized", "xmp:CreateDate")
_FACE = "mwg-rs:Name"

Properties = dict[str, list[str]]


def columns_of(content: bytes | str) -> dict[str, Any]:
    """The columns in XMP. Never raises: what is broken is left out.

    Entities are not unfolded: XMP that defines any is left out as a whole.
    """
    return _columns(_properties(content))


def _properties(content: bytes | str) -> Properties:
    """All properties by name, such as "dc:title", each with its values; of several languages the default comes first."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if isinstance(content, bytes) and content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace")
    packet = content.strip("\0 \t\r\n\ufeff") if isinstance(content, str) else content.strip(b"\0 \t\r\n")
    if not packet or len(packet) > LARGEST:
        return {}
    try:
        root = fromstring(packet, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    found: Properties = {}
    for rdf in root.iter(_RDF + "RDF"):
        for described in rdf:  # those further inside describe other files
            for name, written in _written(described):
                found.setdefault(name, []).extend(written)
        found[_FACE] = list(_faces(rdf))
    return found


def _faces(rdf: Element) -> Iterator[str]:
    """The names of the people in regions of the photo; they stand deep inside, in any of RDF's forms."""
    for element in rdf.iter():
        if _short(element.tag) == _FACE:
            yield element.text or ""
        yield from (value for name, value in element.attrib.items() if _short(name) == _FACE)


def _written(described: Element) -> Iterator[tuple[str, list[str]]]:
    for name, value in described.attrib.items():
        yield _short(name), [value]
    for child in described:
        yield _short(child.tag), _values(child)


def _values(element: Element) -> list[str]:
    items = [item for item in element.iter(_RDF + "li") if len(item) == 0]
    if not items:
        return [element.text or ""]
    ordered = sorted(items, key=lambda item: item.get(_LANGUAGE, "x-default") != "x-default")
    return [item.text or "" for item in ordered]


def _short(name: str) -> str:
    address, brace, local = name.partition("}")
    return _PREFIXES.get(address + brace, "?:") + local


def _columns(found: Properties) -> dict[str, Any]:
    def first(*names: str) -> str | None:
        return next((text for name in names for value in found.get(name, []) if (text := values.text(value))), None)

    people = [*found.get("Iptc4xmpExt:PersonInImage", []), *found.get(_FACE, [])]
    columns: dict[str, Any] = {
        "taken": next((time for name in _TIMES if (time := values.time(first(name)))), None),
        "camera": values.camera(first("tiff:Make"), first("tiff:Model")),
        "lens": first("exifEX:LensModel", "aux:Lens"),
        **values.place(_degrees(first("exif:GPSLatitude")), _degrees(first("exif:GPSLongitude"))),
        "altitude": _altitude(first("exif:GPSAltitude"), first("exif:GPSAltitudeRef")),
        "iso": values.whole(first("exifEX:PhotographicSensitivity", "exif:ISOSpeedRatings"), 1, 10_000_000),
        "aperture": values.number(_ratio(first("exif:FNumber")), 0.1, 1000, digits=2),
        "exposure": values.number(_ratio(first("exif:ExposureTime")), 1e-7, 1e6),
        "focal_length": values.number(_ratio(first("exif:FocalLength")), 0.1, 1e5, digits=2),
        "title": first("dc:title", "photoshop:Headline"),
        "description": values.description(first("dc:description")),
        "tags": values.tags([value for name in _TAGS for value in found.get(name, [])]),
        "rating": values.rating(first("xmp:Rating")),
        "creator": "; ".join(values.tags(found.get("dc:creator", []))),
        "people": values.tags(people),
    }
    return {name: value for name, value in columns.items() if value not in (None, [], "")}


def _ratio(value: str | None) -> float | None:
    """From "28/10" or "2.8"."""
    above, _, below = (value or "").partition("/")
    numerator, denominator = values.number(above), values.number(below or "1")
    return numerator / denominator if numerator is not None and denominator else None


def _altitude(value: str | None, below_sea: str | None) -> float | None:
    height = values.number(_ratio(value), -100_000, 100_000, digits=2)
    return -height if height and below_sea == "1" else height


def _degrees(value: str | None) -> float | None:
    """From "33,51.5S" or "33,51,30S"."""
    found = _PLACE.match(value or "")
    if found is None:
        return None
    degrees, minutes, seconds = (float(part or 0) for part in found.groups()[:3])
    if minutes > 60 or seconds > 60:
        return None
    total = degrees + minutes / 60 + seconds / 3600
    return -total if found[4] in "SW" else total
