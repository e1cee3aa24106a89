"""Fixtures of the flows: the one Chromium, and the Node of the judges."""

from contextlib import ExitStack

import pytest

from tests.flows.chromium import ARGUMENTS, CHROMIUM, PATIENCE_MILLISECONDS
from tests.flows.judges import find_node, tell
from tests.live import ENGINES, live_server, new_database


@pytest.fixture(scope="session")
def chromium():
    """Start Chromium, for modules that have asked whether there is one. Tests use it by `new_profile`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def new_profile(chromium):
    """Return a function that opens a context of Chromium: a fresh profile, which the test leaves behind."""
    with ExitStack() as stack:

        def new_profile(**options):
            profile = stack.enter_context(chromium.new_context(**options))
            profile.set_default_timeout(PATIENCE_MILLISECONDS)
            return profile

        yield new_profile


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


@pytest.fixture(scope="session", autouse=True)
def outside_memory(integration):
    """Give each test of this folder the mark `integration`."""
