"""The page and the HTTP API."""

from .app import create_app
from .server import run

__all__ = ["create_app", "run"]
