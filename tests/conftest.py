"""Tests keep MindSpore's compiled graphs in a folder of their own, shared by every process of one run; none is timed."""

import os
import tempfile

from hypothesis import settings

_graphs = tempfile.TemporaryDirectory(prefix="panoptes-test-graphs-")
os.environ["PANOPTES_CACHE"] = _graphs.name
for name in ("PANOPTES_HOME", "PANOPTES_CATALOG", "PANOPTES_MODEL", "PANOPTES_DEVICE", "PANOPTES_DATA"):
    os.environ.pop(name, None)

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
