"""Where captions come from, as their origin tells. Imports nothing: worker processes need it."""

from __future__ import annotations

GENERATED = "generated:"
"""How the origin of a caption that a model wrote begins; the fingerprint of the model follows."""


def is_generated(origin: str) -> bool:
    """True if a model wrote the captions of this origin."""
    return origin.startswith(GENERATED)
