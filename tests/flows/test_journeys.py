"""Whole journeys with the client libraries that people use: requests-oauthlib and Authlib's own client.

From the authorization request through the sign-in and consent pages to a token, its use and its refresh; on
each engine.
"""

import secrets

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import AccessDeniedError, BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as RequestsOAuthlibSession

from tests.flows.browser_journey import EMAIL, Browser, add_client, add_person
from tests.live import ENGINES, live_server, new_database

pytestmark = pytest.mark.long_on("mariadb")

CALLBACK = "https://app.example/cb"
SCOPES = ["profile", "email"]


@pytest.fixture(scope="module", params=ENGINES)
def server(request, tmp_path_factory, postgres):
    """One server for all journeys of an engine; each has a client of its own."""
    folder = tmp_path_factory.mktemp("journeys")
    with live_server(new_database(request.param, folder, postgres), folder) as server:
        add_person(server)
        server.flask("scopes", "add", "read", "--description", "Read your notes")
        yield server
        assert "Traceback" not in server.log()
        assert "bug:" not in server.log()


@pytest.fixture
def browser(server):
    with Browser(server.issuer) as browser:
        yield browser


@pytest.fixture(autouse=True)
def plain_http_to_loopback(monkeypatch):
    """Both libraries refuse http unless they are told that it is a test."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def metadata(server):
    """What a client knows of the server: its discovery document and nothing else."""
    return requests.get(f"{server.issuer}/.well-known/oauth-authorization-server", timeout=10).json()


def a_web_client(server, *more):
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    return add_client(server, "Notebook", "--redirect-uri", CALLBACK, *scopes, *more)


def decide(browser, authorization_url, button="Allow"):
    """The person's part: sign in if asked, read, decide. Returns the address that the browser was sent to."""
    browser.open(authorization_url)
    if browser.page.title.startswith("Sign in"):
        assert "to continue to Notebook at app.example" in browser.page.text
        browser.sign_in()
    assert browser.page.headings == ["Notebook asks for access"]
    browser.press(button)
    return browser.left_for


def who_am_i(session, server):
    return session.get(f"{server.issuer}/api/me", timeout=10)


def test_requests_oauthlib(server, browser, metadata):
    client = a_web_client(server)
    auth = HTTPBasicAuth(client["client_id"], client["client_secret"])
    with RequestsOAuthlibSession(
        client["client_id"], redirect_uri=CALLBACK, scope=SCOPES, pkce="S256"
    ) as session:
        url, _state = session.authorization_url(metadata["authorization_endpoint"])
        arrived_at = decide(browser, url)
        token = session.fetch_token(metadata["token_endpoint"], authorization_response=arrived_at, auth=auth)
        assert set(token["scope"]) == set(SCOPES)
        assert who_am_i(session, server).json()["email"] == EMAIL
        renewed = session.refresh_token(metadata["token_endpoint"], auth=auth)
        assert renewed["access_token"] != token["access_token"]
        assert renewed["refresh_token"] != token["refresh_token"]
        assert who_am_i(session, server).json()["name"] == "Ada"
        session.token = token
        assert who_am_i(session, server).status_code == 401


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_authlib(server, browser, metadata, method):
    client = a_web_client(server, "--auth-method", method)
    with AuthlibSession(
        client["client_id"],
        client.get("client_secret"),
        token_endpoint_auth_method=method,
        scope=SCOPES,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    ) as session:
        verifier = secrets.token_urlsafe(48)
        url, state = session.create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier
        )
        token = session.fetch_token(
            metadata["token_endpoint"],
            authorization_response=decide(browser, url),
            code_verifier=verifier,
            state=state,
        )
        assert token["expires_in"] == 600
        me = who_am_i(session, server).json()
        assert (me["email"], me["name"], me["client_id"]) == (EMAIL, "Ada", client["client_id"])
        renewed = session.refresh_token(metadata["token_endpoint"], refresh_token=token["refresh_token"])
        assert renewed["access_token"] != token["access_token"]
        assert who_am_i(session, server).json() == me


def test_a_machine_with_requests_oauthlib(server, metadata):
    client = add_client(server, "Robot", "--grant-type", "client_credentials", "--scope", "read")
    with RequestsOAuthlibSession(client=BackendApplicationClient(client["client_id"])) as session:
        token = session.fetch_token(
            metadata["token_endpoint"], client_id=client["client_id"], client_secret=client["client_secret"]
        )
        assert (token["scope"], "refresh_token" in token) == (["read"], False)
        answer = who_am_i(session, server)
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


def test_a_machine_with_authlib(server, metadata):
    client = add_client(server, "Robot", "--grant-type", "client_credentials", "--scope", "read")
    with AuthlibSession(client["client_id"], client["client_secret"], scope="read") as session:
        token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        assert (token["scope"], "refresh_token" in token) == ("read", False)
        assert who_am_i(session, server).status_code == 403


def test_a_second_visit_asks_nothing(server, browser, metadata):
    """The person is signed in and has allowed it before: the browser comes straight back."""
    client = a_web_client(server)
    with RequestsOAuthlibSession(
        client["client_id"], redirect_uri=CALLBACK, scope=SCOPES, pkce="S256"
    ) as session:
        decide(browser, session.authorization_url(metadata["authorization_endpoint"])[0])
        url, state = session.authorization_url(metadata["authorization_endpoint"])
        assert f"state={state}" in browser.open(url).left_for
        token = session.fetch_token(
            metadata["token_endpoint"],
            authorization_response=browser.left_for,
            client_secret=client["client_secret"],
        )
        assert token["access_token"]


def test_deny_reaches_the_client_as_an_error(server, browser, metadata):
    client = a_web_client(server)
    with RequestsOAuthlibSession(
        client["client_id"], redirect_uri=CALLBACK, scope=SCOPES, pkce="S256"
    ) as session:
        arrived_at = decide(browser, session.authorization_url(metadata["authorization_endpoint"])[0], "Deny")
        with pytest.raises(AccessDeniedError):
            session.fetch_token(metadata["token_endpoint"], authorization_response=arrived_at)


def test_a_new_person_signs_up_on_the_way(server, browser, metadata):
    client = a_web_client(server)
    email = f"grace-{secrets.token_hex(4)}@example.com"
    with RequestsOAuthlibSession(
        client["client_id"], redirect_uri=CALLBACK, scope=SCOPES, pkce="S256"
    ) as session:
        browser.open(session.authorization_url(metadata["authorization_endpoint"])[0])
        (link,) = [link["href"] for link in browser.page.all("a") if link["href"].startswith("/signup")]
        browser.open(server.issuer + link)
        browser.press("Create account", name="Grace", email=email, password="a ship in port is safe")
        browser.press("Allow")
        session.fetch_token(
            metadata["token_endpoint"],
            authorization_response=browser.left_for,
            client_secret=client["client_secret"],
        )
        assert who_am_i(session, server).json()["email"] == email
