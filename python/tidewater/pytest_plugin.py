"""Fixtures for pytest, there as soon as the package is installed.

`tidewater_server` is one server for the whole run (with pytest-xdist, one a worker); `tidewater` is the same server, emptied
and without faults before the test. Override `tidewater_directives` in a conftest.py to set directives.
"""

from __future__ import annotations

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
    """The run's server, without any key and without faults."""
    if tidewater_server.debug_allowed:
        tidewater_server.faults.clear()
    tidewater_server.flush()
    return tidewater_server
