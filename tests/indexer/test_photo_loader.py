"""Tests of reading photos, in this process and in worker processes."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import indexer.photo_pool
from encoder.inputs.image_inputs import PixelInput
from encoder.inputs.pixels import prepare
from indexer.cpu_scheduling import CpuTurns
from indexer.errors import WorkersUnavailable
from indexer.items import Failure
from indexer.photo_loader import FileState, Job, Photo, load_photo, make_thumbnail
from indexer.photo_pool import FEW_PHOTOS, LOOK_AHEAD, PhotoReader, default_workers
from tests.support.fakes import photo, save_photo


def opened(jpeg):
    return Image.open(io.BytesIO(jpeg))


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((48, 32), (48, 32)),
        ((512, 512), (512, 512)),
        ((1024, 512), (512, 256)),
        ((90, 3000), (15, 512)),
        ((4000, 1), (512, 1)),
    ],
)
def test_thumbnails_fit_512_pixels_and_keep_their_shape(size, shown):
    thumbnail = opened(make_thumbnail(photo("green", size)))
    assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("JPEG", "RGB", shown)


def test_a_photo_is_read_upright_with_size_pixels_thumbnail_and_file_state(tmp_path):
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    read = load_photo(Job(str(path), PixelInput(16)))
    assert isinstance(read, Photo)
    assert (read.width, read.height) == (20, 30)
    assert opened(read.thumbnail).size == (20, 30)
    assert (read.pixels.shape, read.pixels.dtype) == ((16, 16, 3), np.uint8)
    assert (read.file.bytes, read.file.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert len(read.file.sha256) == 64


def test_pixels_equal_those_of_prepare(tmp_path):
    path = save_photo(tmp_path / "a.png", (10, 200, 99))
    cropped = Job(str(path), PixelInput(16, "center_crop"))
    assert (load_photo(cropped).pixels == prepare(photo((10, 200, 99)), 16, "center_crop")).all()
    assert (load_photo(Job(str(path), PixelInput(16))).pixels == prepare(photo((10, 200, 99)), 16)).all()


def test_known_content_is_not_decoded(tmp_path):
    path = save_photo(tmp_path / "a.jpg")
    state = load_photo(Job(str(path), PixelInput(16))).file
    assert load_photo(Job(str(path), PixelInput(16), known_sha256=state.sha256)) == state
    assert isinstance(load_photo(Job(str(path), PixelInput(16), known_sha256="0" * 64)), Photo)


def make_bad_file(folder, kind):
    path = folder / f"{kind}.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "cut":
        noise = np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:700])
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"not a photo")
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "cut", "empty", "text"])
def test_a_bad_file_is_a_failure_and_never_an_error(tmp_path, kind):
    path = make_bad_file(tmp_path, kind)
    failure = load_photo(Job(str(path), PixelInput(16)))
    assert isinstance(failure, Failure)
    assert failure.uri == str(path)
    assert failure.reason
    assert str(path) in failure.sentence
    assert "\n" not in failure.sentence


def test_any_error_of_a_decoder_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("indexer.photo_loader.decode_sized", lambda *anything: 1 / 0)
    failure = load_photo(Job(str(save_photo(tmp_path / "a.jpg")), PixelInput(16)))
    assert (failure.reason, "ZeroDivisionError" in failure.sentence) == ("undecodable", True)


# Worker processes


@pytest.mark.parametrize("workers", [0, 2])
def test_each_job_gets_its_own_result_in_order(tmp_path, workers):
    """Bad files among good ones shift no result."""
    jobs = []
    for number in range(30):
        path = tmp_path / f"{number}.png"
        path.write_text("bad") if number % 4 == 1 else save_photo(path, (number * 8, 0, 0))
        jobs.append(Job(str(path), PixelInput(8)))
    with PhotoReader(workers) as reader:
        results = list(reader.read(jobs))
    assert [job for job, _ in results] == jobs
    for number, (_, result) in enumerate(results):
        assert isinstance(result, Failure) == (number % 4 == 1)
        if isinstance(result, Photo):
            assert (result.pixels == (number * 8, 0, 0)).all()


def test_a_bounded_number_of_photos_is_under_way(monkeypatch, tmp_path):
    path, taken = save_photo(tmp_path / "a.jpg"), 0

    def jobs():
        nonlocal taken
        for _ in range(3 * LOOK_AHEAD):
            taken += 1
            yield Job(str(path), PixelInput(8))

    with PhotoReader(1) as reader:
        results = reader.read(jobs())
        next(results)
        assert taken == LOOK_AHEAD


def kill_on_x(job):
    """Stands for a decoder that crashes its process."""
    if job.uri.endswith("x.jpg"):
        os._exit(1)
    return FileState(job.uri, 0, 0)


@pytest.mark.parametrize("turns", [None, CpuTurns()])
def test_a_photo_that_crashes_its_worker_is_found_and_the_others_are_read(monkeypatch, turns):
    monkeypatch.setattr(indexer.photo_pool, "load_photo", kill_on_x)
    uris = ["a.jpg", "b.jpg", "x.jpg", "c.jpg", "other x.jpg", "d.jpg"]
    with PhotoReader(2, turns) as reader:
        results = [result for _, result in reader.read(Job(uri, PixelInput(8)) for uri in uris)]
    reasons = [result.reason if isinstance(result, Failure) else result.sha256 for result in results]
    assert reasons == ["a.jpg", "b.jpg", "crashed", "c.jpg", "crashed", "d.jpg"]


def test_workers_that_do_not_start_are_an_error_and_not_bad_photos(monkeypatch):
    monkeypatch.setattr(indexer.photo_pool, "_begin_worker", os.abort)
    with PhotoReader(1) as reader, pytest.raises(WorkersUnavailable, match="workers=0"):
        list(reader.read([Job("a.jpg", PixelInput(8))]))


def test_few_photos_need_no_workers():
    processors = len(os.sched_getaffinity(0))
    assert default_workers(FEW_PHOTOS, beside_encoder=False) == default_workers(FEW_PHOTOS, beside_encoder=True) == 0
    assert default_workers(FEW_PHOTOS + 1, beside_encoder=False) == processors
    assert default_workers(FEW_PHOTOS + 1, beside_encoder=True) == max(1, processors // 2)


def test_workers_import_neither_network_nor_database():
    """Each worker pays for every import."""
    code = "import sys, indexer.photo_loader; print({'mindspore', 'faiss', 'sqlalchemy', 'pyarrow'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
