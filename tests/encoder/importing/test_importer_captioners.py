"""Checkpoints of the published captioners are told by names and shapes, and become models that write."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from encoder.captioner_config import OPT_CAP, V1_CAPTION, ZOO_CAPTION, CaptionerConfig, CaptioningConfig
from encoder.config import encoder_beside
from encoder.errors import BadCheckpoint, CannotSearch, CannotWrite, OtherEncoder, UnusableForm
from encoder.importing import published
from encoder.importing import published_captioners as captioners
from encoder.importing.importer import ImportReport, import_model
from encoder.model_folder import CAPTIONER, read_any_config, read_captioner_config, read_config, read_weights, write_model
from encoder.registry import ModelRegistry
from encoder.report import import_lines, list_lines, model_lines
from encoder.selection import ModelSelection, can_write, captioner_of
from tests.support.published_models import SMALL_PUBLISHED, write_published
from tests.support.published_single_stream import v1_shapes, v1_weights, write_single_stream, zoo_shapes, zoo_weights
from tests.support.small_captioners import (
    SMALL_CAP,
    SMALL_CAPTIONER,
    SMALL_V1_CAPTION,
    SMALL_ZOO_CAPTION,
    captioner_weights,
    published_captioner,
)
from tests.support.small_models import vocabulary

FORMS = {"V1": SMALL_V1_CAPTION, "ZOO": SMALL_ZOO_CAPTION, "V2": SMALL_CAP}


@pytest.fixture
def models(tmp_path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models")


def imported(models: ModelRegistry, tmp_path: Path, weights, name: str = "small", **options) -> ImportReport:
    return import_model(write_single_stream(tmp_path / "files", weights), models, name, **options)


def purpose(form: str) -> str | None:
    """What must be said of a small file: OPT-CAP is told by photos of 384 pixels."""
    return "captions" if form == "V2" else None


def as_imported(config: CaptioningConfig) -> CaptioningConfig:
    """The config of an import: no shape tells for how many steps the search goes on, and tables of texts are not read."""
    if isinstance(config, CaptionerConfig):
        return dataclasses.replace(config, caption_length=OPT_CAP.caption_length)
    base = ZOO_CAPTION if config.trunk.regions else V1_CAPTION
    positions = 512 if config.trunk.regions else config.trunk.max_positions
    trunk = dataclasses.replace(config.trunk, vocab_size=28996, max_positions=positions)
    return dataclasses.replace(config, caption_length=base.caption_length, trunk=trunk)


@pytest.mark.parametrize("form", FORMS)
def test_every_size_and_every_number_is_taken_over(models, tmp_path, form):
    weights = published_captioner(FORMS[form])
    report = imported(models, tmp_path, weights, purpose=purpose(form))
    kept = read_weights(models.path("small"))
    assert read_captioner_config(models.path("small")) == as_imported(FORMS[form])
    assert kept.keys() == captioner_weights(FORMS[form]).keys()
    for name, value in kept.items():
        np.testing.assert_array_equal(value, weights[name])
    assert (report.left_over, report.filled_in, report.taken) == ([], [], {})
    assert report.loaded + sum(report.ignored.values()) == len(weights)
    assert "it writes captions: name it with --captioner small" in "\n".join(import_lines(report.as_json()))


@pytest.mark.parametrize("form", ["V1", "ZOO"])
def test_both_spellings_of_the_decoder_make_the_same_model(models, tmp_path, form):
    one = imported(models, tmp_path, published_captioner(FORMS[form]), "one")
    other = imported(models, tmp_path, published_captioner(FORMS[form], own_spelling=True), "other")
    assert one.fingerprint == other.fingerprint and other.left_over == []


@pytest.mark.parametrize(
    "form, config, trunk, count", [("V1", V1_CAPTION, v1_shapes, 652), ("ZOO", ZOO_CAPTION, zoo_shapes, 458)]
)
def test_the_published_ones_are_told_whole(form, config, trunk, count):
    own = published.CAPTION_FORMS[form]
    read = own.shapes(config)
    file = {name: shape for name, shape in trunk(config.trunk).items() if not name.startswith("rank_output.")} | read
    found = {name: shape for name, shape in file.items() if own.ignored_because(name) is None}
    assert published.usable_form(file, Path("file.ckpt")) is own
    assert own.network(found) == (config, read)
    assert (len(file), len(read)) == (count + 15, count)


def test_the_published_opt_cap_is_told_whole():
    read = published.cap_shapes(OPT_CAP)
    assert published.usable_form(read, Path("file.ckpt")) is published.CAPTION_FORMS["V2"]
    assert (published.cap_config(read), len(read)) == (OPT_CAP, 461)


@pytest.mark.parametrize("side, patch, writes", [(384, 16, True), (224, 16, False), (480, 16, False), (336, 14, False)])
def test_opt_cap_is_told_by_its_photos_of_384_pixels(side, patch, writes):
    config = dataclasses.replace(OPT_CAP, image_size=side, patch_size=patch)
    shapes = published.v2_shapes(encoder_beside(config)) | published.cap_shapes(config)
    assert (published.usable_form(shapes, Path("file.ckpt")).purpose == "captions") == writes


def test_a_file_that_can_do_both_searches_unless_asked_to_write(models, tmp_path):
    both = published_captioner(SMALL_V1_CAPTION) | {
        name: value for name, value in v1_weights().items() if name.startswith("rank_output.")
    }
    assert not imported(models, tmp_path, both, "searches").as_json()["writes_captions"]
    assert imported(models, tmp_path, both, "writes", purpose="captions").as_json()["writes_captions"]


@pytest.mark.parametrize("weights", [v1_weights, zoo_weights])
def test_a_retrieval_file_can_t_write(models, tmp_path, weights):
    with pytest.raises(BadCheckpoint, match=r"captioning weights are not whole \(missing: txt_output\..*--for search"):
        imported(models, tmp_path, weights(), purpose="captions")
    assert models.names() == []


def test_a_captioner_without_a_head_can_t_search(models, tmp_path):
    with pytest.raises(BadCheckpoint, match="retrieval weights are not whole .* Nothing in it scores a pair"):
        imported(models, tmp_path, published_captioner(SMALL_ZOO_CAPTION), purpose="search")


def test_what_the_published_scripts_did_otherwise_is_a_model_of_its_own(models, tmp_path):
    for form in ("V1", "V2"):
        weights, options = published_captioner(FORMS[form]), {"purpose": purpose(form)}
        meant = imported(models, tmp_path, weights, f"{form}-meant", **options)
        published_one = imported(models, tmp_path, weights, f"{form}-published", published=True, **options)
        assert meant.fingerprint != published_one.fingerprint
    v1, v2 = (read_captioner_config(models.path(f"{form}-published")) for form in ("V1", "V2"))
    assert (v1, v2) == (captioners.as_published(as_imported(SMALL_V1_CAPTION)), captioners.as_published(as_imported(SMALL_CAP)))
    for weights in (published_captioner(SMALL_ZOO_CAPTION), v1_weights()):
        with pytest.raises(UnusableForm, match="one way only"):
            imported(models, tmp_path, weights, "zoo", published=True)
    with pytest.raises(UnusableForm, match="--compact"):
        imported(models, tmp_path, published_captioner(SMALL_ZOO_CAPTION), "zoo", compact=True)


def test_captioners_are_listed_and_described(models, tmp_path):
    imported(models, tmp_path, published_captioner(SMALL_ZOO_CAPTION), "zoo")
    imported(models, tmp_path, published_captioner(SMALL_CAP), "cap", purpose="captions")
    write_captioner(models.folder / "reads")
    lines = "\n".join(list_lines({"models": models.list()}))
    assert "30 regions, writes captions" in lines and "80 px, writes captions" in lines
    assert "writes of what 0000000000000000 keeps" in lines
    shown = {name: "\n".join(model_lines(models.describe(name))) for name in models.names()}
    assert "writes      captions in zh, of up to 30 pieces" in shown["zoo"] and "up to 30 regions of a detector" in shown["zoo"]
    assert "photos      80 px (center_crop)" in shown["cap"] and "kept" not in shown["cap"]
    assert "reads       what the model 0000000000000000 keeps of a photo" in shown["reads"]


def write_captioner(folder: Path, encoder: str = "0" * 16) -> Path:
    """Write a captioner that reads an encoder's tokens, without graphs."""
    config = dataclasses.replace(SMALL_CAPTIONER, encoder=encoder)
    write_model(folder, config, captioner_weights(config), vocabulary())
    return folder


def test_a_captioner_is_not_a_model_that_searches_nor_the_other_way_round(models, tmp_path):
    captioner = write_captioner(models.folder / "writes")
    other = write_published(tmp_path / "files")
    import_model(other, models, "searches")
    searches = models.path("searches")
    for chosen in ((captioner, None), (searches, captioner)):
        with pytest.raises(CannotSearch, match="writes captions: it can't find or re-rank photos"):
            ModelSelection(*chosen)
    with pytest.raises(CannotSearch):
        read_config(captioner)
    with pytest.raises(CannotWrite, match="can't write captions: it is made for search"):
        captioner_of(searches, ModelSelection(searches))
    assert can_write(captioner) and not can_write(searches)
    assert read_any_config(searches) == dataclasses.replace(SMALL_PUBLISHED, published_extras=False)


def test_a_captioner_is_chosen_by_itself_or_with_the_model_that_has_it(models, tmp_path, monkeypatch):
    import_model(write_published(tmp_path / "files"), models, "searches")
    searches = models.path("searches")
    inside = write_captioner(searches / CAPTIONER, models.fingerprint("searches"))
    apart = write_captioner(models.folder / "apart", models.fingerprint("searches"))
    stranger = write_captioner(models.folder / "stranger")
    chosen = ModelSelection(searches)
    for name, folder in ((None, inside), ("searches", inside), ("apart", apart)):
        found = captioner_of(models.chosen_captioner(name, "searches"), chosen)
        assert (found.folder, found.encoder, found.languages) == (folder, searches, ("en", "zh"))
        assert found.config == read_config(searches)
    monkeypatch.setenv("PANOPTES_CAPTIONER", "apart")
    assert models.chosen_captioner(None, None) == apart
    with pytest.raises(OtherEncoder, match="reads what the model 0000000000000000 keeps of a photo, not the model"):
        captioner_of(stranger, chosen)
