"""The pytest plugin of the installed package."""

import os

import pytest
import redis


@pytest.mark.parametrize("turn", [1, 2])
def test_starts_empty(tidewater, turn):
    client = redis.Redis(port=tidewater.port)
    assert client.dbsize() == 0
    client.set("left", turn)


def test_is_one_server(tidewater, tidewater_server):
    assert tidewater is tidewater_server


def test_directives_are_used(tidewater_server):
    assert redis.Redis(port=tidewater_server.port).config_get("databases")["databases"] == "4"


def test_without_the_function_fixture_things_stay(tidewater_server):
    redis.Redis(port=tidewater_server.port).set("stays", 1)


def test_things_stayed(tidewater_server):
    assert redis.Redis(port=tidewater_server.port).get("stays") == b"1"


def test_a_project_of_its_own(pytester):
    """With a password, without any conftest of ours; the server is gone afterwards."""
    pytester.makeconftest("""
        import pytest
        @pytest.fixture(scope="session")
        def tidewater_directives():
            return {"requirepass": "secret"}
    """)
    pytester.makepyfile("""
        import pathlib, redis
        def test_one(tidewater):
            assert redis.from_url(tidewater.url).set("k", 1)
            pathlib.Path("pid").write_text(str(tidewater.pid))
        def test_two(tidewater):
            assert redis.from_url(tidewater.url).dbsize() == 0
    """)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
    assert_gone(pytester)


def test_a_project_with_faults(pytester):
    """The function's fixture ends what the test before left."""
    pytester.makeconftest("""
        import pytest
        @pytest.fixture(scope="session")
        def tidewater_directives():
            return {"debug": True, "requirepass": "secret"}
    """)
    pytester.makepyfile("""
        import pathlib, pytest
        @pytest.mark.parametrize("turn", [1, 2])
        def test_one(tidewater, turn):
            assert tidewater.execute("DBSIZE") == 0
            tidewater.execute("SET", "k", 1)
            tidewater.faults.error("*", "ERR left behind")
            pathlib.Path("pid").write_text(str(tidewater.pid))
    """)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
    assert_gone(pytester)


def assert_gone(pytester):
    pid = (pytester.path / "pid").read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
