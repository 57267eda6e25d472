"""`manage.py build-index` with the stand-in encoder, which takes PANOPTES_FAKE_SECONDS for each batch."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

import indexer.commands
import indexer.segment_filler
import manage
from tests.support.fakes import FakeEncoder

SECONDS = float(os.environ.get("PANOPTES_FAKE_SECONDS", 0))
stopped = threading.Event()


class SlowEncoder(FakeEncoder):
    """Takes so many seconds a batch."""

    def encode_images(self, images):
        stopped.wait(SECONDS)
        return super().encode_images(images)


class Chosen:
    @contextlib.contextmanager
    def opened(self, device, devices):
        yield SlowEncoder()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: (stopped.set(), sys.exit(143)))  # or the batch would be waited for
    indexer.segment_filler.IMAGE_BATCH = 4
    indexer.commands.chosen_models = lambda *_: Chosen()
    manage.cli(["build-index", *sys.argv[1:]])
