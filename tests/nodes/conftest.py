"""Fixtures: a folder for database servers that run as another user."""

import pytest

from tests.live import do_without
from tests.nodes.cluster import galera, missing_for_galera
from tests.places import an_open_folder


@pytest.fixture
def open_folder():
    with an_open_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def cluster():
    """Three nodes, for all tests of a module."""
    if reason := missing_for_galera():
        do_without(reason)
    with an_open_folder() as folder, galera(folder) as cluster:
        yield cluster


@pytest.fixture(scope="session", autouse=True)
def outside_memory(integration):
    """Give each test of this folder the mark `integration`."""
