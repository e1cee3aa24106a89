"""Tenants in one real browser, three of which share an origin: each stays signed in or out by itself.

Skipped where Chromium or playwright is missing.
"""

import pytest

from tests.flows.browser_journey import EMAIL, PASSWORD, add_person
from tests.flows.chromium import CHROMIUM
from tests.flows.tenants import two_tenants

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

WAYS = 4  # home, acme, beta, and a second tenant below home's origin


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """Of four issuers, three of which share an origin; the same person is at each."""
    folder = tmp_path_factory.mktemp("tenants-chromium")
    with two_tenants(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as (server, tenants):
        server.flask("tenants", "add", "acme-2")
        add_person(server)
        for tenant in tenants.values():
            add_person(tenant)
        add_person(type(tenants["acme"])(server, "acme-2", f"{server.issuer}/t/acme-2"))
        yield [server.issuer, *(t.issuer for t in tenants.values()), f"{server.issuer}/t/acme-2"]
        assert "Traceback" not in server.log()


@pytest.fixture
def tab(new_profile):
    context = new_profile(java_script_enabled=False)
    yield context.new_page()
    context.close()


def sign_in(tab, address):
    tab.goto(f"{address}/login")
    tab.get_by_label("Email address").fill(EMAIL)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(f"{address}/**")


def is_signed_in(tab, address):
    tab.goto(f"{address}/account/")
    assert tab.url.startswith(f"{address}/")
    return "/login" not in tab.url


def test_one_browser_at_all_of_them(tab, addresses):
    assert len(addresses) == WAYS
    for number, address in enumerate(addresses):
        sign_in(tab, address)
        assert [is_signed_in(tab, other) for other in addresses] == [n <= number for n in range(WAYS)]
    left = list(addresses)
    for address in addresses:
        tab.goto(f"{address}/logout")
        tab.get_by_role("button", name="Sign out", exact=True).click()
        left.remove(address)
        assert [other for other in addresses if is_signed_in(tab, other)] == left


def test_each_has_cookies_of_its_own(tab, addresses):
    for address in addresses:
        sign_in(tab, address)
    cookies = tab.context.cookies()
    sessions = [
        c["name"] for c in cookies if not c["name"].endswith("-device") and "-browser-" not in c["name"]
    ]
    assert len(set(sessions)) == WAYS
    assert all(cookie["httpOnly"] and cookie["path"] == "/" for cookie in cookies)
