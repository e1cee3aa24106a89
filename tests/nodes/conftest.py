"""Fixtures: a folder for database servers that run as another user."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import do_without
from tests.nodes.cluster import galera, missing_for_galera


@contextmanager
def an_open_folder():
    """Everybody may enter it: under root database servers run as another user, and pytest's own folders are closed."""
    with tempfile.TemporaryDirectory(prefix="ostiary-nodes-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


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
