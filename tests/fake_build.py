"""`manage.py build-index` with the stand-in encoder, which takes PANOPTES_FAKE_SECONDS for each batch."""

import contextlib
import os
import signal
import sys
import threading

import indexer.filling
import manage
from tests.fakes import FakeEncoder

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
    indexer.filling.IMAGE_BATCH = 4
    manage.chosen_models = lambda *_: Chosen()
    manage.cli(["build-index", *sys.argv[1:]])
