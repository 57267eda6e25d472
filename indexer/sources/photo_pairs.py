"""Files that a camera or phone writes beside a photo and that are the same photo again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from encoder.inputs.image_formats import MOTION_ENDINGS, PHOTO_ENDINGS, is_second_file
from indexer.sources.text_pairing import folded

_T = TypeVar("_T")
SECOND_ENDINGS = frozenset(ending for ending in PHOTO_ENDINGS if is_second_file(ending, PHOTO_ENDINGS))


def second_files(names: Sequence[str]) -> dict[str, str]:
    """The files that only hold another form of a photo, such as IMG_1.CR2 beside IMG_1.JPG, each with that photo.

    Args:
        names: of photos of one folder or tar file.
    """
    candidates = [name for name in names if _ending(name) in SECOND_ENDINGS]
    wanted = {_key(name) for name in candidates}
    of_key: dict[str, list[str]] = defaultdict(list)
    for name in names if wanted else ():
        if (key := _key(name)) in wanted:
            of_key[key].append(name)
    found = {}
    for name in candidates:
        group = of_key[_key(name)]
        if is_second_file(_ending(name), map(_ending, group)):
            found[name] = next(one for one in group if not is_second_file(_ending(one), map(_ending, group)))
    return found


def given_to_photos(found: dict[str, list[_T]], second: dict[str, str]) -> dict[str, list[_T]]:
    """What belongs to photos, by name, with what belongs to the files of `second_files` given to the photos themselves."""
    for name, photo in second.items():
        if name in found:
            own = found.setdefault(photo, [])
            own += [one for one in found.pop(name) if one not in own]
    return found


def is_motion(name: str) -> bool:
    """True for the name of a short film as phones keep it beside a photo."""
    return _ending(name) in MOTION_ENDINGS


def _key(name: str) -> str:
    return folded(os.path.splitext(name)[0])


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()
