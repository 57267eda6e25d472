"""The measurement of written captions, on photos of which people wrote some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from search.errors import NothingToMeasure
from search.evaluation.captioning.measure import likeness, wording
from search.evaluation.captioning.photos import Photo, PhotoNames
from search.evaluation.captioning.results_file import read_results
from search.evaluation.captioning.tokens import TOKENIZERS

Written = Mapping[str, Mapping[int, str]]
"""Written captions by language and by the position of their photo."""


def evaluate_file(file: Path, photos: Sequence[Photo], root: Path, languages: Sequence[str], seed: int = 0) -> dict:
    """Measure the captions of a file in the format of COCO's results; returns and raises what `evaluate_captions` does.

    Args:
        file: the captions.
        photos: with the captions of people.
        root: of the source of the photos, below which the file may name them.
        languages: in which to measure.
        seed: of the intervals.

    Raises:
        BadCaptionsFile: the file can't be used.
    """
    measured = check_languages(languages, photos)
    results = read_results(file, PhotoNames(photos, root))
    report = evaluate_captions(photos, results.captions, measured, seed)
    report["notices"] += results.notices()
    return report


def check_languages(languages: Iterable[str], photos: Sequence[Photo]) -> list[str]:
    """Those of the languages in which there are captions of people.

    Raises:
        NothingToMeasure: captions are not measured in one of them, or people wrote none in any of them.
    """
    asked = list(dict.fromkeys(languages))
    unknown = [language for language in asked if language not in TOKENIZERS]
    if unknown:
        raise NothingToMeasure(f"Written captions are measured in {' and '.join(TOKENIZERS)}, not in {', '.join(unknown)}.")
    there = {caption.language for photo in photos for caption in photo.captions}
    found = [language for language in asked if language in there]
    if not found:
        raise NothingToMeasure(
            f"No captions of people in {', '.join(asked) or 'no language'}: "
            f"there are captions in {', '.join(sorted(there)) or 'no language'}."
        )
    return found


def references_in(language: str, photos: Sequence[Photo]) -> dict[int, list[str]]:
    """The captions of people that have a word, by the position of their photo; only of photos that have any."""
    tokenize = next(iter(TOKENIZERS[language].values()))
    references = {}
    for position, photo in enumerate(photos):
        texts = [caption.text for caption in photo.captions if caption.language == language and tokenize(caption.text)]
        if texts:
            references[position] = texts
    return references


def evaluate_captions(photos: Sequence[Photo], written: Written, languages: Sequence[str], seed: int = 0) -> dict:
    """Measure written captions in each language.

    Args:
        photos: with the captions of people.
        written: what is measured. A photo that has none in a language counts as one with an empty caption.
        languages: in which to measure; one in which nothing was written is passed over with a notice.
        seed: of the intervals.

    Returns:
        `{"images", "seed", "results": [row, ...], "wording": [row, ...], "notices": [sentence, ...]}`: for each language the
        rows of `measure.likeness` and the one of `measure.wording`.

    Raises:
        NothingToMeasure: nothing was written in any of the languages.
    """
    measured = [language for language in languages if written.get(language)]
    if not measured:
        raise NothingToMeasure(
            f"No written captions in {', '.join(languages)}: they are in {', '.join(sorted(written)) or 'no language'}."
        )
    report: dict = {"images": len(photos), "seed": seed, "results": [], "wording": [], "notices": []}
    for language in languages:
        if language in measured:
            references = references_in(language, photos)
            report["results"] += likeness(written[language], references, language, seed)
            report["wording"].append(wording(written[language], references, language, seed))
            report["notices"] += _gaps(photos, references, written[language], language)
        else:
            report["notices"].append(f"nothing was written in {language}: not measured")
    for language in sorted(set(written) - set(measured)):
        report["notices"].append(f"{_captions(len(written[language]))} in {language}: not measured")
    return report


def _gaps(
    photos: Sequence[Photo], references: Mapping[int, Sequence[str]], written: Mapping[int, str], language: str
) -> Iterable[str]:
    """Say which photos have captions of one kind only."""
    without = [position for position in range(len(photos)) if position not in references]
    if without:
        yield (
            f"{_photos(len(without))} no captions of people in {language}, such as {_name(photos[without[0]])}: not measured"
        )
    missing = [position for position in references if position not in written]
    if missing:
        yield (
            f"{_photos(len(missing))} no written caption in {language}, such as {_name(photos[missing[0]])}: counted as empty"
        )


def _photos(count: int) -> str:
    return "1 photo has" if count == 1 else f"{count} photos have"


def _captions(count: int) -> str:
    return "1 caption is" if count == 1 else f"{count} captions are"


def _name(photo: Photo) -> str:
    return photo.member or photo.uri.name
