"""Fixtures of the flows: the one Chromium."""

import pytest

from tests.flows.chromium import ARGUMENTS, CHROMIUM


@pytest.fixture(scope="session")
def chromium():
    """For modules that have asked whether there is one. Each test opens a context of its own in it: a fresh profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
