"""The same form, sent several times at the same moment, on each engine: all answers lead to one place, its
work is done once.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from tests.builders import CHALLENGE
from tests.flows.browser_journey import EMAIL, PASSWORD, PATIENCE_SECONDS, Browser, add_client, add_person
from tests.live import live_server, new_database
from tests.nodes.app_nodes import app_nodes

pytestmark = pytest.mark.long_on("sqlite", "mariadb")

AT_ONCE = 5
TWICE = 2  # so many passwords are hashed at once; more are told to wait
REDIRECT_URI = "https://app.example/cb"
LIMITS = {"failed_sign_ins_per_address": 1000, "sign_ups_per_address": 1}


def request_address(server):
    client = add_client(server, "Web", "--redirect-uri", REDIRECT_URI, "--scope", "profile")
    parameters = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": REDIRECT_URI,
        "prompt": "consent",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"{server.issuer}/oauth/authorize?{urlencode(parameters)}"


def at_once(browser, button, times=AT_ONCE, **fields):
    """Where each answer leads. All are sent with the cookies from before the first."""
    form = browser.page.form(button)
    data, cookies = form.filled(button, **fields), browser.session.cookies.get_dict()
    barrier = threading.Barrier(times)

    def send(_number):
        barrier.wait(PATIENCE_SECONDS)
        headers = {"Origin": browser.site, "Sec-Fetch-Site": "same-origin"}
        with Browser(browser.site) as other:
            options = {
                "headers": headers,
                "cookies": cookies,
                "allow_redirects": False,
                "timeout": PATIENCE_SECONDS,
            }
            answer = other.session.post(form.url, data=data, **options)
            return (
                answer.status_code,
                answer.headers.get("Location"),
                sorted(answer.cookies.get_dict().items()),
            )

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(send, range(times)))


def one_place(answers):
    """The one that they all lead to, with the same cookies."""
    assert {status for status, _location, _cookies in answers} == {303}, answers
    assert len({location for _status, location, _cookies in answers}) == 1, answers
    return answers[0][1]


def count(server, table):
    return server.rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - a name of ours


def test_a_second_click_needs_no_second_place_for_a_hash(tmp_path):
    with live_server(
        f"sqlite:///{tmp_path / 'clicks.sqlite3'}", tmp_path, workers=1, password_hashes=1
    ) as server:
        add_person(server)
        for _time in range(5):
            with Browser(server.issuer) as browser:
                browser.open(f"{server.issuer}/login")
                assert one_place(at_once(browser, "Sign in", TWICE, email=EMAIL, password=PASSWORD)) == "/"
        assert count(server, "user_session") == 5


def test_each_form_at_once(database_url, tmp_path):
    with live_server(database_url, tmp_path, **LIMITS) as server:
        spend_a_day(server)


@pytest.mark.long
def test_each_form_at_two_nodes_at_once(tmp_path, servers):
    """A balancer deals the copies of a form out to two servers that share nothing but the rows."""
    url = new_database("postgresql", tmp_path, servers)
    with app_nodes([url, url], tmp_path, **LIMITS) as nodes:
        spend_a_day(nodes)
        assert all(answered > AT_ONCE for answered in nodes.answered())


def spend_a_day(server):
    """One person's whole day: signing up, signing in, allowing, taking back, another password,
    signing out.
    """
    add_person(server)
    site, address = server.issuer, request_address(server)
    with Browser(site) as browser:
        browser.open(f"{site}/signup")
        eve = {"name": "Eve", "email": "eve@example.com", "password": PASSWORD}
        assert one_place(at_once(browser, "Create account", TWICE, **eve)) == "/"
        assert (count(server, "end_user"), count(server, "user_session")) == (2, 1)
    with Browser(site) as browser:
        browser.open(address)
        assert one_place(at_once(browser, "Sign in", TWICE, email=EMAIL, password=PASSWORD)).startswith(
            "/oauth/authorize?"
        )
        assert count(server, "user_session") == 2
    with Browser(site) as browser:
        browser.open(f"{site}/login").sign_in().open(address)
        assert one_place(at_once(browser, "Deny")).startswith(f"{REDIRECT_URI}?error=access_denied")
        browser.open(address)
        assert one_place(at_once(browser, "Allow")).startswith(f"{REDIRECT_URI}?code=")
        assert (count(server, "authorization_code"), count(server, "consent")) == (1, 1)
        browser.open(f"{site}/account/applications")
        assert one_place(at_once(browser, "Remove access of Web")) == "/account/applications"
        assert (count(server, "authorization_code"), count(server, "consent")) == (0, 0)
        browser.open(f"{site}/account/sessions")
        assert one_place(at_once(browser, "Sign out everywhere else")) == "/account/sessions"
        browser.open(f"{site}/account/password")
        change = {"password": PASSWORD, "new_password": "another long password"}
        assert one_place(at_once(browser, "Change password", TWICE, **change)) == "/account/"
    with Browser(site) as browser:
        browser.open(f"{site}/login").sign_in(password="another long password").open(f"{site}/logout")
        assert one_place(at_once(browser, "Sign out")) == "/logout"
    assert " 500 " not in server.log() and "bug:" not in server.log()
    assert "Retry-After" not in server.log()
