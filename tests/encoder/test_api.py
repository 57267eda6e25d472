"""Every encoder, also the stand-ins of the tests, has the calls of the port."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from encoder import api
from encoder.config import OptConfig
from encoder.runtime.encoder import OptEncoder
from encoder.runtime.multi_device import MultiDeviceEncoder
from encoder.runtime.pair import PairedConfig, PairedEncoder
from encoder.runtime.reranker import Reranker
from encoder.single_stream_config import SingleStreamConfig
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.region_fakes import FakeRegionConfig, FakeRegionEncoder

if TYPE_CHECKING:  # checked by basedpyright, never run

    def _encoders(
        one: OptEncoder, reranker: Reranker, pair: PairedEncoder, fake: FakeEncoder, regions: FakeRegionEncoder
    ) -> list[api.Encoder]:
        return [one, reranker, pair, fake, regions]

    def _bulk_encoders(encoder: api.Encoder, devices: MultiDeviceEncoder) -> list[api.BulkEncoder]:
        return [encoder, devices]

    def _configs(
        one: OptConfig, reranker: SingleStreamConfig, pair: PairedConfig, fake: FakeConfig, regions: FakeRegionConfig
    ) -> list[api.EncoderConfig]:
        return [one, reranker, pair, fake, regions]


CALLS = ["encode_images", "encode_texts", "match", "explain", "spans", "warm_up"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [OptEncoder, Reranker, PairedEncoder, FakeEncoder, FakeRegionEncoder])
def test_an_encoder_has_the_parameters_of_the_port(kind: type, call: str) -> None:
    assert _parameters(kind, call) == _parameters(api.Encoder, call)


@pytest.mark.parametrize("call", ["encode_images", "encode_texts"])
def test_several_devices_have_the_calls_that_indexing_needs(call: str) -> None:
    assert _parameters(MultiDeviceEncoder, call) == _parameters(api.BulkEncoder, call)


def _parameters(kind: type, call: str) -> list[str]:
    return list(inspect.signature(getattr(kind, call)).parameters)
