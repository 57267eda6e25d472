"""The devices that a network runs on."""

from __future__ import annotations

import os

from encoder.errors import UnknownDevice

DEVICES = ("CPU", "Ascend")
"""The first is the default."""


def device_name(name: str | None = None) -> str:
    """The device to use: `name` (default: PANOPTES_DEVICE, or CPU).

    Raises:
        UnknownDevice: it is neither CPU nor Ascend.
    """
    name = name or os.environ.get("PANOPTES_DEVICE") or DEVICES[0]
    if name not in DEVICES:
        raise UnknownDevice(f"PANOPTES_DEVICE is {name!r}; set it to {' or '.join(DEVICES)}.")
    return name
