"""The code flow in a real Chromium: what the Content-Security-Policy and the cookies let a browser do (CSP
Level 3, form-action).

A form's policy covers the redirects that answer it, so a page that works by HTTP may still be stuck in a
browser: after Allow, after Deny, and after a sign-in whose remembered consent answers at once. Skipped where
Chromium or playwright is missing.
"""

import ipaddress
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.builders import CHALLENGE, VERIFIER
from tests.flows.browser_journey import EMAIL, PASSWORD, add_client, add_person
from tests.flows.chromium import CHROMIUM, PATIENCE_MILLISECONDS
from tests.live import live_server

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [pytest.mark.long, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

SIZES = {"phone": (360, 740), "desktop": (1280, 860)}
TAP_TARGET = 44  # pixels


class Callback(BaseHTTPRequestHandler):
    """A client's server: says "arrived", at `/hop` only after a redirect to another origin of its own."""

    def do_GET(self):
        if self.path.startswith("/hop"):
            self.send_response(302)
            self.send_header(
                "Location", f"http://localhost:{self.server.server_port}/cb?{urlsplit(self.path).query}"
            )
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>arrived</title>")

    def log_message(self, *arguments):
        """Nothing: the test looks at the browser."""


class LoopbackServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host):
        self.address_family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        super().__init__((host, 0), Callback)


@pytest.fixture(scope="module")
def callbacks():
    """The port of a client's server on each loopback address."""
    servers = {host: LoopbackServer(host) for host in ("127.0.0.1", "::1")}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {host: server.server_port for host, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    with live_server(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as server:
        add_person(server)
        yield server


@pytest.fixture
def tab(new_profile):
    """A page of a fresh profile without JavaScript; a message of the console (a policy broken, say) fails the
    test.
    """
    context = new_profile(java_script_enabled=False)
    tab = context.new_page()
    messages = []
    tab.on("console", lambda message: messages.append(message.text))
    yield tab
    context.close()
    assert not [text for text in messages if "favicon" not in text]


@pytest.fixture
def authorization_url(server, callbacks):
    """A function that registers a client and gives the address of its authorization request."""

    def authorization_url(host="127.0.0.1", path="/cb"):
        literal = f"[{host}]" if ":" in host else host
        scopes = ("--scope", "profile", "--scope", "email")
        client = add_client(server, "Notebook", "--redirect-uri", f"http://{literal}{path}", *scopes)
        parameters = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": f"http://{literal}:{callbacks[host]}{path}",
            "state": "the state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"{server.issuer}/oauth/authorize?{urlencode(parameters)}"

    return authorization_url


def sign_in(tab):
    tab.get_by_label("Email address").fill(EMAIL)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()


def decide(tab, button):
    tab.get_by_role("button", name=button, exact=True).click()


def arrival(tab):
    """The members that the browser brought to the client's page."""
    tab.wait_for_url("**/cb?**", timeout=PATIENCE_MILLISECONDS)
    assert tab.title() == "arrived"
    return {name: values[0] for name, values in parse_qs(urlsplit(tab.url).query).items()}


def test_allow_leads_to_the_client(tab, server, authorization_url):
    tab.goto(authorization_url())
    sign_in(tab)
    decide(tab, "Allow")
    members = arrival(tab)
    assert members["code"].startswith("ost_ac_")
    assert (members["state"], members["iss"]) == ("the state", server.issuer)


def test_deny_leads_to_the_client(tab, authorization_url):
    tab.goto(authorization_url())
    sign_in(tab)
    decide(tab, "Deny")
    assert arrival(tab)["error"] == "access_denied"


def test_a_sign_in_with_a_remembered_consent_leads_to_the_client(tab, server, authorization_url):
    """The sign-in form's answer is a chain of redirects that ends outside."""
    url = authorization_url()
    tab.goto(url)
    sign_in(tab)
    decide(tab, "Allow")
    arrival(tab)
    tab.goto(f"{server.issuer}/logout")
    tab.get_by_role("button", name="Sign out").click()
    tab.get_by_role("heading", name="You are signed out").wait_for()
    tab.goto(url)
    sign_in(tab)
    assert "code" in arrival(tab)
    tab.goto(url)  # and when the person is signed in, without any page
    assert "code" in arrival(tab)


@pytest.mark.threat("T104")
def test_a_client_on_ipv6_loopback(tab, authorization_url):
    """An IPv6 address cannot be written in a policy."""
    tab.goto(authorization_url(host="::1"))
    sign_in(tab)
    decide(tab, "Allow")
    assert "code" in arrival(tab)


@pytest.mark.threat("T104")
def test_a_client_that_redirects_on_to_another_origin_of_its_own(tab, authorization_url):
    """As an API that takes the code does for its front end: the policy still covers that redirect."""
    tab.goto(authorization_url(path="/hop"))
    sign_in(tab)
    decide(tab, "Allow")
    assert "code" in arrival(tab)
    assert urlsplit(tab.url).hostname == "localhost"


def test_another_account_goes_on_with_the_request(tab, server, authorization_url):
    add_person(server, email="bo@example.com", name="Bo")
    tab.goto(authorization_url())
    sign_in(tab)
    tab.get_by_role("link", name="Use another account").click()
    tab.get_by_label("Email address").fill("bo@example.com")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_text("bo@example.com").wait_for()
    decide(tab, "Allow")
    assert "code" in arrival(tab)


def test_the_keyboard_is_enough(tab, authorization_url):
    tab.goto(authorization_url())
    playwright.expect(tab.get_by_label("Email address")).to_be_focused()
    tab.keyboard.type(EMAIL)
    tab.keyboard.press("Tab")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Allow", exact=True).wait_for()
    tab.keyboard.press("Tab")  # the link to the home page
    tab.keyboard.press("Tab")
    allow = tab.get_by_role("button", name="Allow", exact=True)
    playwright.expect(allow).to_be_focused()
    playwright.expect(allow).to_have_css("outline-style", "solid")
    tab.keyboard.press("Enter")
    assert "code" in arrival(tab)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_pages_fit_and_can_be_tapped(new_profile, server, authorization_url, size, scheme):
    width, height = size
    tab = new_profile(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()

    def check(name):
        tab.wait_for_load_state("load")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        targets = tab.eval_on_selector_all(
            "a, button, input:not([type=hidden])", "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(targets) >= TAP_TARGET, name
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(20, 25, 26)") == (scheme == "dark"), name

    for path in ("/", "/login", "/signup", "/logout", "/nothing"):
        tab.goto(server.issuer + path)
        check(path)
    tab.goto(authorization_url())
    check("sign-in for a client")
    sign_in(tab)
    tab.get_by_role("button", name="Allow", exact=True).wait_for()
    check("consent")
    tab.goto(server.issuer)
    check("home")


# ---- a client whose code runs in the page ------------------------------------------------------------------

FETCH = """async ({url, body, bearer}) => {
    const options = body ? {method: "POST", body: new URLSearchParams(body)} : {};
    if (bearer) options.headers = {Authorization: "Bearer " + bearer};
    try {
        const answer = await fetch(url, options);
        return {status: answer.status, json: await answer.json()};
    } catch (error) {
        return {refused: error.name};
    }
}"""


@pytest.fixture
def script_tab(new_profile):
    """A page of a fresh profile in which the client's own JavaScript runs."""
    return new_profile().new_page()


def fetching(tab, server):
    """A function that lets the page in `tab` fetch from the server; its status and JSON, or that it may not
    read them.
    """

    def fetch(path, bearer=None, **body):
        return tab.evaluate(FETCH, {"url": server.issuer + path, "body": body or None, "bearer": bearer})

    return fetch


def test_a_page_of_a_registered_origin_does_everything_itself(script_tab, server, callbacks):
    redirect_uri = f"http://127.0.0.1:{callbacks['127.0.0.1']}/cb"
    client_id = add_client(
        server, "SPA", "--redirect-uri", redirect_uri, "--auth-method", "none", "--scope", "email"
    )["client_id"]
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    script_tab.goto(f"{server.issuer}/oauth/authorize?{urlencode(parameters)}")
    sign_in(script_tab)
    decide(script_tab, "Allow")
    playwright.expect(script_tab).to_have_title("arrived")
    code = parse_qs(urlsplit(script_tab.url).query)["code"][0]

    fetch = fetching(script_tab, server)
    exchange = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": VERIFIER,
    }
    pair = fetch("/oauth/token", client_id=client_id, **exchange)
    assert pair["status"] == 200
    refresh = {
        "grant_type": "refresh_token",
        "refresh_token": pair["json"]["refresh_token"],
        "client_id": client_id,
    }
    pair = fetch("/oauth/token", **refresh)
    assert pair["status"] == 200
    assert fetch("/api/me", bearer=pair["json"]["access_token"])["json"]["email"] == EMAIL
    assert fetch("/oauth/token", client_id=client_id, grant_type="bogus") == {
        "status": 400,
        "json": {"error": "unsupported_grant_type", "error_description": "this grant_type is not supported"},
    }
    revocation = {"token": pair["json"]["refresh_token"], "client_id": client_id}
    assert fetch("/oauth/revoke", **revocation) == {"status": 200, "json": {}}
    assert fetch("/api/me", bearer=pair["json"]["access_token"])["status"] == 401


@pytest.mark.threat("T106")
def test_a_page_of_another_origin_reads_nothing_but_metadata(script_tab, server, callbacks):
    script_tab.goto(f"http://localhost:{callbacks['127.0.0.1']}/elsewhere")
    fetch = fetching(script_tab, server)
    assert fetch("/.well-known/oauth-authorization-server")["json"]["issuer"] == server.issuer
    for answer in (
        fetch("/oauth/token", grant_type="client_credentials"),
        fetch("/oauth/revoke", client_id="x"),
        fetch("/oauth/introspect", client_id="x"),
        fetch("/api/me", bearer="ost_at_x"),
        fetch("/login"),
    ):
        assert answer == {"refused": "TypeError"}
