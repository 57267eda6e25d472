"""The compile cache: whatever happens to the kept graphs, the numbers stay right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from encoder.model_folder import write_model
from tests.support.commands import ROOT
from tests.support.small_models import SMALLEST, random_weights, vocabulary

ENCODE = """
import sys
import numpy as np
from encoder import open_encoder

class Foreign:
    def __init__(self):
        from mindspore import Tensor, nn
        class Mine(nn.Cell):
            def construct(self, x):
                return x * 2 + 1
        self.cell, self.tensor = Mine(), Tensor
    def run(self, rows):
        assert self.cell(self.tensor(np.ones((rows, 5), np.float32))).asnumpy().max() == 3

folder, *steps = sys.argv[1:]
encoder = open_encoder(folder)
for number, step in enumerate(steps):
    if step == "foreign":
        Foreign().run(number + 1)
    elif step == "foreign-cached":
        import mindspore as ms
        ms.set_context(enable_compile_cache=True)
        Foreign().run(number + 1)
        ms.set_context(enable_compile_cache=False)
    else:
        print(step, encoder.encode_texts(["a dog on the beach"] * int(step)).vectors[-1, :4].round(4))
"""

ALL = ("8", "32")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder of the smallest network; MindSpore needs no exported graphs."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, SMALLEST, random_weights(SMALLEST), vocabulary())
    return folder


@pytest.fixture(scope="module")
def encode(model, tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "encode.py"
    script.write_text(ENCODE, encoding="utf-8")

    def run(cache, *steps, **environment) -> tuple[dict[str, str], list[str]]:
        """The encoded numbers by the number of sentences, and the warnings about the cache."""
        own = {"PANOPTES_CACHE": str(cache), "PYTHONPATH": str(ROOT), "PANOPTES_RUNTIME": "mindspore"}
        done = subprocess.run(
            [sys.executable, script, model, *steps],
            env=os.environ | own | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        warnings = [line for line in done.stderr.splitlines() if "kept graphs" in line]
        return dict(line.split(maxsplit=1) for line in done.stdout.splitlines()), warnings

    return run


@pytest.fixture(scope="module")
def filled_and_right(encode, tmp_path_factory):
    """A filled cache, and the numbers while it was filled: `test_if_the_cache_cannot_be_written...` gets them without one."""
    folder = tmp_path_factory.mktemp("filled")
    values, warnings = encode(folder, "8", "foreign", "32")
    assert set(values) == set(ALL) and not warnings
    return folder, values


@pytest.fixture(scope="module")
def filled(filled_and_right):
    return filled_and_right[0]


@pytest.fixture(scope="module")
def right(filled_and_right):
    return filled_and_right[1]


@pytest.fixture
def cache(filled, tmp_path):
    """A cache of all graphs, which were compiled between foreign ones."""
    return shutil.copytree(filled, tmp_path / "cache")


def kept(cache):
    """The folders of the graphs, by the size of the batch."""
    (folder,) = cache.glob("CPU-*")
    assert not (folder / "served").exists()
    return {path.name.split("-")[2].split("x")[0]: path for path in (folder / "kept").iterdir()}


def graph_in(folder):
    (path,) = folder.glob("*.mindir")
    return path


def test_each_graph_is_kept_once_under_its_name_and_no_foreign_one(encode, right, cache):
    """Not even the one of a program that switches the cache on for itself."""
    before = {name: graph_in(folder).stat().st_mtime_ns for name, folder in kept(cache).items()}
    assert set(before) == set(ALL)

    assert encode(cache, "32", "foreign", "foreign-cached", "8") == (right, [])

    assert {name: graph_in(folder).stat().st_mtime_ns for name, folder in kept(cache).items()} == before


def test_a_program_with_its_own_cache_keeps_it(encode, right, cache, tmp_path):
    own = tmp_path / "own"
    environment = {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(own)}
    for _ in range(2):
        assert encode(cache, "32", "foreign", "8", **environment) == (right, [])
        assert len(list(own.rglob("*.mindir"))) == 1


def test_swapped_graphs_are_refused_and_removed(encode, right, cache):
    folders = kept(cache)
    one, other = graph_in(folders["8"]), graph_in(folders["32"])
    kept_bytes = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept_bytes)

    values, warnings = encode(cache, *ALL)

    assert values == right
    assert len(warnings) == 1 and "Texts-8x" in warnings[0] and "is not what was written" in warnings[0]
    assert encode(cache, *ALL) == (right, [])


@pytest.mark.parametrize("name", ["record.json", "*.mindir"])
def test_a_graph_that_lost_a_file_is_not_served_and_all_are_removed(tmp_path, filled, capsys, name):
    """What happens then, as after any damage, is seen in `test_swapped_graphs_are_refused_and_removed`."""
    from encoder.runtime.graph_cache import GraphCache

    shutil.copytree(next(filled.glob("CPU-*")), tmp_path / "graphs")
    graph = next((tmp_path / "graphs" / "kept").glob("*Texts-32x*"))
    next(graph.glob(name)).unlink()

    assert GraphCache(tmp_path / "graphs")._serve(graph.name) == {}

    assert not (tmp_path / "graphs" / "kept").exists()
    (said,) = capsys.readouterr().err.splitlines()
    assert graph.name in said and "has lost a file" in said


def test_a_graph_that_fails_when_it_runs_is_compiled_anew(encode, right, cache):
    """The records were swapped too, so that only running the graph shows the mistake."""
    folders = kept(cache)
    for name in ("record.json", graph_in(folders["8"]).name):
        one, other = folders["8"] / name, folders["32"] / name
        kept_bytes = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(kept_bytes)

    values, warnings = encode(cache, *ALL)

    assert values == right and len(warnings) == 1
    assert encode(cache, *ALL) == (right, [])
    assert set(kept(cache)) == set(ALL)


@pytest.mark.parametrize("record", ["", "[]", "{}", json.dumps({"number": 0, "files": {}})])
def test_a_record_without_facts_is_refused(tmp_path, record):
    from encoder.runtime.graph_cache import CorruptGraph, _checked

    (tmp_path / "record.json").write_text(record)
    with pytest.raises(CorruptGraph):
        _checked(tmp_path)


def test_if_the_cache_cannot_be_written_everything_is_compiled(encode, right, tmp_path):
    (tmp_path / "file").write_text("")
    values, warnings = encode(tmp_path / "file" / "cache", *ALL)
    assert values == right
    assert len(warnings) == 1 and "Not a directory" in warnings[0]


def test_only_the_newest_folders_of_old_versions_stay(tmp_path):
    from encoder.runtime.graph_cache import remove_old_folders

    others = [tmp_path / f"CPU-{number:012x}" for number in range(5)]
    untouched = [tmp_path / "Ascend-000000000001", tmp_path / "CPU-mine", tmp_path / "photos"]
    for age, folder in enumerate([*others, *untouched]):
        folder.mkdir()
        os.utime(folder, (10**9 - age, 10**9 - age))
    used = tmp_path / "CPU-ffffffffffff"

    remove_old_folders(used, "CPU")

    assert {path for path in tmp_path.iterdir()} == {used, *others[:2], *untouched}
