"""Fixtures of the flows: the one Chromium, and the Node of the judges."""

import pytest

from tests.flows.chromium import ARGUMENTS, CHROMIUM
from tests.flows.judges import find_node, tell
from tests.live import ENGINES, live_server, new_database


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


@pytest.fixture(scope="module", params=ENGINES)
def judged_server(request, tmp_path_factory, postgres, node):
    folder = tmp_path_factory.mktemp("strangers")
    with live_server(new_database(request.param, folder, postgres), folder) as server:
        yield server
        assert "Traceback" not in server.log()
        assert "bug:" not in server.log()


@pytest.fixture(scope="module")
def reports(request, node, judged_server, clients, tmp_path_factory):
    """What each script of the module told of its steps. clients: its own fixture."""
    return tell(node, request.module.SCRIPTS, judged_server, clients, tmp_path_factory.mktemp("node"))
