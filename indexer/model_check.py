"""Checks that a source has what a model reads: photos, a detector's features, or both."""

from __future__ import annotations

from encoder.errors import UnreadableImage
from encoder.inputs.image_inputs import ImageInput, check, features_in, files_of
from indexer.errors import WrongModel
from indexer.sources.base import Source

REMEDIES = {
    "no_photo": ("a detector's features", "photos", "lay the photos beside them, or choose a model that reads features"),
    "no_features": (
        "photos",
        "a detector's features",
        "name their .npz files in a manifest, or lay them beside the photos and "
        "give --format regions, or choose a model that reads photos",
    ),
}


def check_model(source: Source, inputs: ImageInput) -> None:
    """Check that the model can read at least one item of the source.

    Args:
        source: the source.
        inputs: what the model reads of an image.

    Raises:
        WrongModel: it can read none of them. (If it can read some, the others become failures of the run.)
    """
    reasons = []
    for item in source:
        uri = str(item.uri)
        try:
            check(files_of(uri, features_in(item.metadata), inputs), inputs)
            return
        except UnreadableImage as error:
            reasons.append(error.reason)
    if reasons:
        raise WrongModel(source.root, *REMEDIES[reasons[0]])
