"""Tabs, double clicks and callbacks into applications, in a real Chromium.

Skipped where Chromium or playwright is missing.
"""

import random
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.builders import CHALLENGE
from tests.flows.browser_journey import EMAIL, PASSWORD, add_client, add_person
from tests.flows.chromium import CHROMIUM, PATIENCE_MILLISECONDS
from tests.live import live_server

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

APPLICATION = "claude://claude.ai/settings/connectors"
LATENCY_MILLISECONDS = 150


class Callback(BaseHTTPRequestHandler):
    """A client's server: it keeps what it was told, and leads on into an application at `/app`."""

    def do_GET(self):
        if self.path == "/favicon.ico":
            return self.send_error(404)
        self.server.told.append(
            {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        )
        is_app = self.path.startswith("/app")
        self.send_response(302 if is_app else 200)
        self.send_header("Location" if is_app else "Content-Type", APPLICATION if is_app else "text/html")
        self.end_headers()
        if not is_app:
            self.wfile.write(b"<!doctype html><title>arrived</title>")
        return None

    def log_message(self, *arguments):
        """Nothing: the test looks at the browser."""


@pytest.fixture
def callback():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Callback)
    server.told = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium-tabs")
    with live_server(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as server:
        add_person(server)
        add_person(server, email="bo@example.com", name="Bo")
        yield server


@pytest.fixture
def context(new_profile):
    """A fresh profile without JavaScript; a policy that is broken fails the test."""
    context = new_profile(java_script_enabled=False)
    messages = []
    context.on("console", lambda message: messages.append(message.text))
    yield context
    context.close()
    assert not [text for text in messages if "Content Security Policy" in text]


@pytest.fixture
def address(server, callback):
    """A function: the address of a new client's authorization request."""

    def address(name="Notebook", path="/cb", **changed):
        uri = f"http://127.0.0.1:{callback.server_port}{path}"
        client = add_client(server, name, "--redirect-uri", uri, "--scope", "profile", "--scope", "email")
        parameters = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": uri,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"{server.issuer}/oauth/authorize?{urlencode(parameters | changed)}"

    return address


def sign_in(tab, email=EMAIL, **click):
    tab.get_by_label("Email address").fill(email)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click(**click)


def slow_down(context, tab, milliseconds=LATENCY_MILLISECONDS):
    network = context.new_cdp_session(tab)
    network.send("Network.enable")
    slow = {"offline": False, "latency": milliseconds, "downloadThroughput": -1, "uploadThroughput": -1}
    network.send("Network.emulateNetworkConditions", slow)
    return network


def wait_until(tab, is_so):
    for _time in range(PATIENCE_MILLISECONDS // 50):
        if is_so():
            return
        tab.wait_for_timeout(50)
    raise AssertionError("it took too long")


def go_on(tab):
    """One step of a person who wants to get through; whether the tab has arrived."""
    tab.wait_for_load_state()
    if tab.title() == "arrived":
        return True
    button = tab.get_by_role("button", name="Allow", exact=True)
    link = tab.get_by_role("link", name="Stay with this account").or_(
        tab.get_by_role("link", name="Continue")
    )
    if button.count():
        button.click()
    elif link.count():
        link.first.click()
    else:
        sign_in(tab)
    return False


@pytest.mark.threat("T104")
def test_a_callback_that_leads_into_an_application(context, callback, address):
    tab = context.new_page()
    asked = []
    network = context.new_cdp_session(tab)
    network.send("Network.enable")
    network.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    tab.goto(address(path="/app", state="the state"))
    sign_in(tab)
    tab.get_by_role("button", name="Allow", exact=True).click(no_wait_after=True)
    for _time in range(100):
        if APPLICATION in asked:
            break
        tab.wait_for_timeout(50)
    assert APPLICATION in asked
    assert [told["state"] for told in callback.told] == ["the state"]


@pytest.mark.threat("T097")
@pytest.mark.parametrize("order", [0, 1])
def test_tabs_restored_at_once_are_finished_in_any_order(new_profile, callback, address, order):
    """Ten tabs of three clients, asked for before any answer with a cookie is there: the line is
    that slow.
    """
    addresses = [address(name) for name in ("Notebook", "Mail", "Calendar")]
    context = new_profile()
    tabs = [context.new_page() for _number in range(10)]
    lines = [slow_down(context, tab, 1_000) for tab in tabs]
    for number, tab in enumerate(tabs):
        url = f"{addresses[number % 3]}&state={number}"
        tab.evaluate("url => { setTimeout(() => location.assign(url), 0) }", url)
    wait_until(tabs[0], lambda: all(tab.title().startswith("Sign in") for tab in tabs))
    assert len([cookie for cookie in context.cookies() if "-browser-" in cookie["name"]]) == 10
    for line in lines:
        line.detach()
    random.Random(order).shuffle(tabs)  # noqa: S311 - an order, not a secret
    for tab in tabs:
        assert any(go_on(tab) for _step in range(8))
    assert sorted(int(told["state"]) for told in callback.told) == list(range(10))


# ---- each form, pressed twice on a slow line ---------------------------------------------------------------


def to_sign_in(tab, server, url):
    tab.goto(url)
    tab.get_by_label("Email address").fill(EMAIL)
    tab.get_by_label("Password").fill(PASSWORD)


def to_sign_up(tab, server, url):
    tab.goto(f"{server.issuer}/signup")
    tab.get_by_label("Your name").fill("Eve")
    tab.get_by_label("Email address").fill(f"eve-{secrets.token_hex(4)}@example.com")
    tab.get_by_label("Password").fill(PASSWORD)


def signed_in(tab, server):
    tab.goto(f"{server.issuer}/login")
    sign_in(tab)
    tab.get_by_role("heading", name="Hello, Ada").wait_for()


def to_consent(tab, server, url):
    signed_in(tab, server)
    tab.goto(f"{url}&prompt=consent")


def to_accounts(tab, server, url):
    signed_in(tab, server)
    tab.goto(f"{server.issuer}/login")
    sign_in(tab, email="bo@example.com")
    tab.get_by_role("heading", name="Hello, Bo").wait_for()
    tab.goto(f"{server.issuer}/accounts")


def to_account(path):
    def to_page(tab, server, url):
        to_consent(tab, server, url)
        tab.get_by_role("button", name="Allow", exact=True).click()
        tab.wait_for_url("**/cb?**")
        tab.goto(f"{server.issuer}{path}")

    return to_page


FORMS = {
    "sign in": (to_sign_in, "Sign in", "Notebook asks for access"),
    "sign up": (to_sign_up, "Create account", "Hello, Eve"),
    "allow": (to_consent, "Allow", None),
    "deny": (to_consent, "Deny", None),
    "choose an account": (to_accounts, "Ada ada@example.com", "Hello, Ada"),
    "remove access": (to_account("/account/applications"), "Remove access", "Applications that you allowed"),
    "sign out everywhere": (to_account("/account/sessions"), "Sign out everywhere", "You are signed out"),
    "sign out for a client": (to_account("/oauth/logout"), "Sign out", "You are signed out"),
    "sign out": (to_account("/logout"), "Sign out", "You are signed out"),
}


@pytest.mark.parametrize("pause", [0, 100, 250])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_that_is_pressed_twice(context, callback, server, address, form, pause):
    to_page, button, heading = form
    tab = context.new_page()
    to_page(tab, server, address())
    told = len(callback.told)
    slow_down(context, tab)
    named = tab.get_by_role("button", name=button, exact=True).or_(
        tab.get_by_role("button", name=f"{button} of")
    )
    named.first.scroll_into_view_if_needed()
    box = named.first.bounding_box()
    at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.click(*at)
    tab.wait_for_timeout(pause)
    tab.mouse.click(*at)
    if heading is None:
        playwright.expect(tab).to_have_title("arrived", timeout=PATIENCE_MILLISECONDS)
        answers = {answer.get("code", answer.get("error")) for answer in callback.told[told:]}
        assert len(answers) == 1 and None not in answers
    else:
        tab.get_by_role("heading", name=heading).wait_for()
        assert "out of date" not in tab.content()
