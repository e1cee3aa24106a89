"""One number, wherever it is told."""

import tomllib

from tests.live import PROJECT
from version import VERSION


def test_the_version_is_that_of_the_project():
    assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"] == VERSION
