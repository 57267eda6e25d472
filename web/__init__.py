"""The page and the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web.app import create_app
    from web.serving.server import run

__all__ = [
    "create_app",
    "run",
]

_MODULES = {
    "create_app": "web.app",
    "run": "web.serving.server",
}


def __getattr__(name: str) -> object:
    """Import on first use: `--help` and worker processes must start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
