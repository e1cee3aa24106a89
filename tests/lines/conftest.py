"""Everything here starts processes or opens files: no part of it belongs to `make test-fast`."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def outside_memory(integration):
    """Give each test of this folder the mark `integration`."""
