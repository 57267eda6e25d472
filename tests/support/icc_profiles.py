"""Colour profiles written by hand, and what their colours are in sRGB, counted independently of any library."""

from __future__ import annotations

import itertools
import struct

import numpy as np

DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)), 2.2
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 563 / 256
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)), 1.8
"""XYZ of red, green and blue, adapted to D50, and the exponent."""
_SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
_D50 = (0.9642, 1.0, 0.8249)

Space = tuple[tuple[tuple[float, float, float], ...], float]


def rgb_profile(space: Space) -> bytes:
    """The profile of a space of three primaries."""
    primaries, gamma = space
    tags = {b"wtpt": _xyz(_D50)}
    for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": _xyz(primary), name + b"TRC": _curve(gamma)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """The profile of a grey."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(_D50), b"kTRC": _curve(gamma)})


def ink_profile() -> bytes:
    """The profile of a press whose cyan is a green: L* 50, a* -50, b* 50; its other inks darken alone."""
    table = bytearray()
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        light = 0 if black else 50 if cyan else 60 if magenta or yellow else 100
        coloured = cyan and not black
        table += bytes((round(light * 2.55), 128 - 50 * coloured, 128 + 50 * coloured))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(0x10000 * (number % 4 == 0) for number in range(9)))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + identity * 4 + bytes(table) + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(_D50), b"A2B0": lut, b"A2B1": lut})


def in_srgb(colour: tuple[int, int, int], space: Space) -> np.ndarray:
    """A colour of a space in sRGB, from 0 to 255."""
    primaries, gamma = space
    linear = (np.array(colour) / 255) ** gamma @ np.array(primaries) @ np.linalg.inv(np.array(_SRGB))
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"made for a test"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 12 + 67)
    tags = {b"desc": described, b"cprt": b"text" + bytes(4) + b"none\0"} | tags
    at, entries, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, own in tags.items():
        entries += name + struct.pack(">II", at + len(content), len(own))
        content += own + bytes(-len(own) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", at + len(content), bytes(4), 0x02400000, kind, space, connection, bytes(12), b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">3i", *(round(v * 65536) for v in _D50)).ljust(60, b"\0") + struct.pack(
        ">I", len(tags)
    ) + entries + content  # fmt: skip
