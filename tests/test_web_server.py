"""Where the server can't listen is told in one line."""

import socket

import pytest
from flask import Flask

from web import run
from web.errors import PortTaken


def test_a_port_in_use_is_told_before_anything_is_announced():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken, match="--port"):
        run(Flask("nothing"), port=taken.getsockname()[1], listening=lambda: pytest.fail("it listens"))


def test_a_host_that_is_none_is_told():
    with pytest.raises(PortTaken, match="--host"):
        run(Flask("nothing"), host="not a host")
