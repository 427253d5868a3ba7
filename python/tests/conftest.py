"""What the wheel's tests share."""

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def tidewater_directives():
    return {"databases": 4}
