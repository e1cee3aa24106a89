"""Apache with Debian's mod_auth_openidc as a relying party: the site of docs/relying-parties.md, driven by
Chromium.

An Apache of the test's own, on a free port, ended by its pid; what it protects is a server here that shows
which headers it got. It is `localhost` and Ostiary is `127.0.0.1`, so that to a browser they are two sites,
as they are in the world. Skipped where the module, Chromium or playwright is missing.
"""

import json
import re
import subprocess
import threading
import time
from base64 import urlsafe_b64decode
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from tests.flows.browser_journey import EMAIL, PASSWORD, add_person
from tests.flows.chromium import CHROMIUM
from tests.flows.recipes import APPLICATION, OSTIARY, block, recipe, register, replaced
from tests.live import free_port, live_server

APACHE = Path("/usr/sbin/apache2")
MODULES = Path("/usr/lib/apache2/modules")

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(
        not (APACHE.exists() and (MODULES / "mod_auth_openidc.so").exists()),
        reason="Debian's libapache2-mod-auth-openidc is not installed",
    ),
]

RECIPE = "Apache with mod_auth_openidc"
[LOGOUT] = re.findall(r"`(/oidc/callback\?logout=[^`]+)` signs out", recipe(RECIPE))
PKCE = "OIDCPKCEMethod S256"
FORM_POST = {PKCE: f"{PKCE}\nOIDCResponseMode form_post\nOIDCCookieSameSite Off"}
NAME = "Ada Škoda"
PATIENCE_SECONDS = 10
REFRESHED_BEFORE = 60  # seconds that are left of an access token: the recipe's

# What Debian's own files do around a site: modules, user and folders. `/` is the page that is not protected.
FRAME = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/apache.log
User www-data
Group www-data
StartServers 1
ProxyPassMatch "^/$" "http://127.0.0.1:{application_port}/welcome"
"""
LOADED = "mpm_event authn_core authz_core authz_user proxy proxy_http auth_openidc".split()


# ---- the application, and Apache before it -----------------------------------------------------------------


class Application(BaseHTTPRequestHandler):
    """Shows what Apache has told it in headers, and the cookies; at `/welcome` it only welcomes."""

    def do_GET(self):
        told = {name: value.encode("latin-1").decode() for name, value in self.headers.items()}
        shown = {name: value for name, value in told.items() if name.startswith("OIDC_") or name == "Cookie"}
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"welcome" if self.path.startswith("/welcome") else json.dumps(shown).encode())

    def log_message(self, *arguments):
        """Nothing: the test looks at the browser."""


@pytest.fixture(scope="module")
def application_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def ostiary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ostiary")
    with live_server(f"sqlite:///{folder / 'ostiary.sqlite3'}", folder) as server:
        add_person(server, name=NAME)
        yield server
        assert "Traceback" not in server.log()


class Site:
    """An Apache with the recipe's site. `url` is its address, `client` what Ostiary has registered for it."""

    def __init__(self, folder, ostiary, application_port, options, changes):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.protected = f"{self.url}/protected/"
        self.client = register(ostiary, RECIPE, self.url, *options)
        addresses = {
            APPLICATION: self.url,
            OSTIARY: ostiary.issuer,
            "http://127.0.0.1:9000": f"http://127.0.0.1:{application_port}",
        }
        keys = {name.upper(): self.client[name] for name in ("client_id", "client_secret")}
        site = replaced(block(RECIPE, "apache"), addresses | keys | {"PASSPHRASE": "p" * 32} | changes)
        modules = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in LOADED)
        frame = FRAME.format(folder=folder, port=self.port, application_port=application_port)
        (folder / "apache.conf").write_text(modules + frame + site)

    @property
    def logout_url(self):
        """The recipe's link that signs out."""
        return self.url + replaced(LOGOUT, {quote(APPLICATION, safe=""): quote(self.url, safe="")})

    @contextmanager
    def running(self):
        problems = self.folder / "start.log"
        command = [APACHE, "-DFOREGROUND", "-f", self.folder / "apache.conf", "-E", problems]
        process = subprocess.Popen(command, env={})  # no proxy of whoever runs this
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not self.answers():
                assert process.poll() is None and time.monotonic() < deadline, problems.read_text()
                time.sleep(0.02)
            yield self
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)

    def answers(self):
        try:
            return get(self.url).text == "welcome"
        except requests.ConnectionError:
            return False


def get(url, **headers):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, headers=headers, timeout=PATIENCE_SECONDS)


@pytest.fixture
def apache(tmp_path, ostiary, application_port):
    """A function that registers a client by the recipe with more options, and starts an Apache whose site is
    changed so.
    """
    with ExitStack() as stack:

        def apache(*options, **changes):
            return stack.enter_context(Site(tmp_path, ostiary, application_port, options, changes).running())

        yield apache


# ---- the person and the browser ----------------------------------------------------------------------------


@pytest.fixture
def new_tab(new_profile):
    """A function that opens a page of a fresh profile: without JavaScript, unless it is asked for."""
    return lambda **options: new_profile(**{"java_script_enabled": False} | options).new_page()


@pytest.fixture
def tab(new_tab):
    return new_tab()


def sign_in(tab, site):
    """To the protected page, through Ostiary's pages up to the decision; returns the authorization request's
    parameters.
    """
    with tab.expect_request("**/oauth/authorize?**") as request:
        tab.goto(site.protected)
    tab.get_by_label("Email address").fill(EMAIL)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    return parse_qs(urlsplit(request.value.url).query)


def decide(tab, decision):
    tab.get_by_role("button", name=decision, exact=True).click()


def told(tab, site):
    """What the application was told, of whoever looks at the protected page."""
    tab.wait_for_url(site.protected)
    return json.loads(tab.inner_text("body"))


def come_in(tab, site):
    sign_in(tab, site)
    decide(tab, "Allow")
    return told(tab, site)


def is_let_in(tab, site):
    """Whether the protected page shows itself, rather than lead to Ostiary; asked with this browser's
    cookies.
    """
    answer = tab.context.request.get(site.protected, max_redirects=0)
    assert answer.status in (200, 302)
    return answer.ok


def wait_until(happened):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def header_of(token):
    head = token.partition(".")[0]
    return json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))


# ---- signing in --------------------------------------------------------------------------------------------


def test_the_application_is_told_who_it_is(tab, apache, ostiary):
    site = apache()
    request = sign_in(tab, site)
    assert request["code_challenge_method"] == ["S256"]
    for words in ("Notes asks for access", NAME, EMAIL, "Know who you are", "See your name"):
        playwright.expect(tab.get_by_role("main")).to_contain_text(words)
    decide(tab, "Allow")
    person = told(tab, site)
    [sub] = [row["sub"] for row in ostiary.flask_json("users", "list") if row["email"] == EMAIL]
    expected = {
        "OIDC_CLAIM_sub": sub,
        "OIDC_CLAIM_email": EMAIL,
        "OIDC_CLAIM_email_verified": "1",
        "OIDC_CLAIM_name": NAME,
        "OIDC_CLAIM_iss": ostiary.issuer,
        "OIDC_CLAIM_aud": site.client["client_id"],
        "OIDC_CLAIM_nonce": request["nonce"][0],
    }
    assert {name: person[name] for name in expected} == expected
    assert "mod_auth_openidc_session" not in person.get("Cookie", "")
    answer = userinfo(ostiary, person["OIDC_access_token"])
    assert (answer.status_code, answer.json()["name"]) == (200, NAME)


def userinfo(ostiary, access_token):
    return get(f"{ostiary.issuer}/oauth/userinfo", Authorization=f"Bearer {access_token}")


def test_without_pkce_for_a_client_that_is_exempted(tab, apache):
    site = apache("--no-pkce", **{PKCE: ""})
    assert "code_challenge" not in sign_in(tab, site)
    decide(tab, "Allow")
    assert told(tab, site)["OIDC_CLAIM_email"] == EMAIL


def test_without_pkce_others_are_refused(apache):
    """Apache is told, and nobody is asked to sign in."""
    site = apache(**{PKCE: ""})
    answer = get(site.protected)
    back = parse_qs(urlsplit(answer.url).query)
    assert answer.url.startswith(f"{site.url}/oidc/callback?")
    assert back["error"] == ["invalid_request"]
    assert "code_challenge is missing" in back["error_description"][0]


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_id_tokens(tab, apache, alg):
    options = [] if alg == "RS256" else ["--set", f'id_token_signed_response_alg="{alg}"']
    site = apache(*options, **{PKCE: f"{PKCE}\nOIDCPassIDTokenAs claims serialized"})
    assert header_of(come_in(tab, site)["OIDC_id_token"])["alg"] == alg


@pytest.mark.parametrize("with_scripts", [True, False])
def test_form_post(new_tab, apache, with_scripts):
    site = apache(**FORM_POST)
    tab = new_tab(java_script_enabled=with_scripts)
    assert sign_in(tab, site)["response_mode"] == ["form_post"]
    decide(tab, "Allow")
    if not with_scripts:
        playwright.expect(tab.get_by_role("heading", name="Back to the application")).to_be_visible()
        decide(tab, "Continue")
    assert told(tab, site)["OIDC_CLAIM_email"] == EMAIL


def test_a_person_who_says_no(tab, apache):
    """By form_post, as the recipe says: the module takes an `error` beside an `iss` in its address for
    something else.
    """
    site = apache(**FORM_POST)
    sign_in(tab, site)
    decide(tab, "Deny")
    decide(tab, "Continue")
    tab.wait_for_url(f"{site.url}/oidc/callback")
    assert "access_denied" in tab.inner_text("body")
    assert not is_let_in(tab, site)


# ---- signing out -------------------------------------------------------------------------------------------


def test_signing_out_at_the_application(tab, apache, ostiary):
    site = apache()
    come_in(tab, site)
    tab.goto(site.logout_url)
    assert (tab.url, tab.inner_text("body")) == (f"{site.url}/", "welcome")
    tab.goto(ostiary.issuer)
    playwright.expect(tab.get_by_role("link", name="Sign in")).to_be_visible()
    assert not is_let_in(tab, site)
    tab.goto(site.protected)
    playwright.expect(tab.get_by_role("button", name="Sign in")).to_be_visible()


def test_signing_out_at_ostiary_ends_the_session_of_this_browser_at_the_application(new_tab, apache, ostiary):
    """By a notice from server to server, which names the session: another browser of the same
    person stays.
    """
    site = apache()
    here, elsewhere = new_tab(), new_tab()
    for tab in (here, elsewhere):
        sign_in(tab, site)
        if tab is here:
            decide(tab, "Allow")
        told(tab, site)
    here.goto(f"{ostiary.issuer}/logout")
    here.get_by_role("button", name="Sign out").click()
    playwright.expect(here.get_by_role("heading", name="You are signed out")).to_be_visible()
    wait_until(lambda: not is_let_in(here, site))
    assert is_let_in(elsewhere, site)
    notices = [
        row
        for row in ostiary.flask_json("logout-notices", "list")
        if row["client_id"] == site.client["client_id"]
    ]
    assert [notice["outcome"] for notice in notices] == ["answered 200"]


# ---- staying -----------------------------------------------------------------------------------------------


def test_access_tokens_are_renewed_in_time(tab, apache, ostiary):
    site = apache("--access-token-lifetime", str(REFRESHED_BEFORE + 1))
    first = come_in(tab, site)["OIDC_access_token"]

    def renewed():
        tab.goto(site.protected)
        return told(tab, site)["OIDC_access_token"]

    wait_until(lambda: renewed() != first)
    assert userinfo(ostiary, renewed()).status_code == 200
    assert userinfo(ostiary, first).status_code == 401
