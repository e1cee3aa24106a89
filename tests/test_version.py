"""One number, wherever it is told."""

import re
import tomllib

import pytest

from config import VERSION
from tests.live import PROJECT


@pytest.mark.parametrize("path", ["pyproject.toml", "testing/plugin/pyproject.toml"])
def test_the_version_is_that_of_the_project(path):
    assert tomllib.loads((PROJECT / path).read_text())["project"]["version"] == VERSION


def test_the_version_has_a_section_in_the_changelog():
    sections = re.findall(r"^## (.*)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d", sections[1])


@pytest.mark.parametrize("path", ["docs/operating.md", "deploy/Containerfile"])
def test_what_operators_are_told_to_install_is_this_version(path):
    told = re.findall(r"(?:\bv|ostiary:)(\d+\.\d+\.\d+)\b", (PROJECT / path).read_text())
    assert told and set(told) == {VERSION}
