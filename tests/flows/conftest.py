"""Fixtures of the flows: the one Chromium, and the Node of the judges."""

import pytest

from tests.flows.chromium import ARGUMENTS, CHROMIUM
from tests.flows.judges import find_node


@pytest.fixture(scope="session")
def chromium():
    """For modules that have asked whether there is one.

    Each test opens a context of its own in it: a fresh profile.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def node():
    """The Node to run the scripts of `tests/node/` with, its packages installed."""
    return find_node()
