"""Reads the text in a photo: RapidOCR, which runs PP-OCR's detection and recognition in ONNX Runtime. Chinese and English."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from PIL import Image

from encoder.inputs.languages import language_of
from indexer.errors import MissingTextRecognition
from storage.photo_texts import TextLine

LEAST_CONFIDENCE = 0.5
MOST_THREADS = 4
LEAST_SIDE = 10
"""In pixels; in a narrower photo nothing can be read."""
MOST_ELONGATED = 8
"""How many times as long as wide the picture is that recognition gets, at most."""


class TextReader:
    """Finds lines of text in photos and reads them. One thread at a time may use it.

    Opening it loads the models that the package contains, and downloads nothing.

    Raises:
        MissingTextRecognition: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise MissingTextRecognition(str(error)) from error
        threads = min(os.cpu_count() or 1, MOST_THREADS)
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": LEAST_CONFIDENCE,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)

    def read(self, photo: Image.Image) -> list[TextLine]:
        """The lines of text in an upright RGB photo, from top to bottom; those of a confidence below 0.5 are left out."""
        if min(photo.size) < LEAST_SIDE:
            return []
        found = self._engine(np.asarray(widened(photo))[:, :, ::-1])  # it reads BGR
        if found.boxes is None:
            return []
        return lines_from(found.boxes, found.txts, found.scores, photo.size)


def widened(photo: Image.Image) -> Image.Image:
    """A long photo with white beside it, or below it: what is on it stays where it is.

    Recognition enlarges the shorter side to 736 pixels: of a stripe, that would take all memory and many minutes.
    """
    width, height = (max(side, other // MOST_ELONGATED) for side, other in (photo.size, photo.size[::-1]))
    if (width, height) == photo.size:
        return photo
    canvas = Image.new("RGB", (width, height), "white")
    canvas.paste(photo)
    return canvas


def lines_from(boxes: np.ndarray, texts: tuple[str, ...], scores: tuple[float, ...], size: tuple[int, int]) -> list[TextLine]:
    """What the recognition gives as lines.

    Args:
        boxes: float [n, 4, 2], x and y of the corners in pixels, clockwise from where the text begins.
        texts: n texts.
        scores: n confidences.
        size: the photo's width and height in pixels.
    """
    relative = np.clip(np.asarray(boxes, np.float64) / np.array(size), 0, 1).reshape(len(texts), 8).round(5)
    return [
        TextLine(text.strip(), language_of(text), round(float(score), 4), tuple(box))
        for text, score, box in zip(texts, scores, relative.tolist(), strict=True)
        if text.strip()
    ]
