"""Fixtures for pytest, there as soon as the package is installed.

`tidewater_server` is one server for the whole run (with pytest-xdist, one a worker); `tidewater` is the same server, emptied
before the test. Override `tidewater_directives` in a conftest.py to set directives.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from . import Server, Value


@pytest.fixture(scope="session")
def tidewater_directives() -> dict[str, Value]:
    """The directives of the run's server: none."""
    return {}


@pytest.fixture(scope="session")
def tidewater_server(tidewater_directives: dict[str, Value]) -> Iterator[Server]:
    """A server that all tests of the run share. What a test leaves in it, the next one finds."""
    with Server(**tidewater_directives) as server:  # type: ignore[arg-type]
        yield server


@pytest.fixture
def tidewater(tidewater_server: Server) -> Server:
    """The run's server, without any key."""
    _flush(tidewater_server)
    return tidewater_server


def _flush(server: Server) -> None:
    """FLUSHALL by hand: a Redis client need not be installed, nor which one be known."""
    password = server._directives.get("requirepass", [""])[0].encode()
    requests = [[b"AUTH", password]] if password else []
    requests.append([b"FLUSHALL"])
    with socket.create_connection((server.host, server.port), timeout=30) as connection, connection.makefile("rb") as replies:
        for request in requests:
            words = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in request)
            connection.sendall(b"*%d\r\n%b" % (len(request), words))
            reply = replies.readline()
            if reply != b"+OK\r\n":
                raise RuntimeError(f"{request[0].decode()}: {reply.decode(errors='replace').strip() or 'no reply'}")
