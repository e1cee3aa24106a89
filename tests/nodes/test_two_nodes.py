"""Two servers over one database, behind a proxy that deals connections in turn: what one has begun, the other
goes on with.

No memory is shared, no session sticks to a node: every request of a journey goes to another node than the one
before.
"""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import KeySet
from requests.auth import HTTPBasicAuth

from testing.races.scenarios import (
    one_code,
    one_refresh_token,
    revocations_against_refreshes,
    sign_ins_for_three_sessions,
)
from tests.builders import CHALLENGE, REDIRECT_URI, code_request, refresh_request
from tests.flows.browser_journey import EMAIL, Browser, add_client, add_person
from tests.flows.races import play
from tests.live import new_database
from tests.nodes.app_nodes import app_nodes
from tests.openid import AllNames

PATIENCE_SECONDS = 10
RACES = [
    pytest.param(one_refresh_token, 5),
    pytest.param(revocations_against_refreshes, 10),
    pytest.param(one_code, 20, marks=pytest.mark.whole_machine),
    pytest.param(sign_ins_for_three_sessions, 20, marks=pytest.mark.whole_machine),
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory, servers):
    folder = tmp_path_factory.mktemp("two_nodes")
    url = new_database("postgresql", folder, servers)
    with app_nodes([url, url], folder) as nodes:
        add_person(nodes)
        yield nodes
        assert "Traceback" not in nodes.log()


class Client:
    """A web client that says at which node it asks."""

    def __init__(self, nodes, alg):
        self.nodes = nodes
        members = ["--set", f'id_token_signed_response_alg="{alg}"']
        scopes = ["--scope", "openid", "--scope", "email"]
        self.registered = add_client(nodes, "Notebook", "--redirect-uri", REDIRECT_URI, *scopes, *members)
        self.auth = HTTPBasicAuth(self.registered["client_id"], self.registered["client_secret"])

    def authorization_url(self):
        parameters = {
            "response_type": "code",
            "client_id": self.registered["client_id"],
            "redirect_uri": REDIRECT_URI,
            "scope": "openid email",
            "nonce": "n",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return (
            requests.Request("GET", f"{self.nodes.issuer}/oauth/authorize", params=parameters).prepare().url
        )

    def ask(self, node, method, path, **options):
        """As through the proxy, which passes the issuer's name on; but to this node."""
        headers = {"Host": urlsplit(self.nodes.issuer).netloc} | options.pop("headers", {})
        url = f"http://127.0.0.1:{node.port}{path}"
        return requests.request(method, url, headers=headers, timeout=PATIENCE_SECONDS, **options)

    def post(self, node, path, body):
        answer = self.ask(node, "POST", path, data=body, auth=self.auth)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def me(self, node, token):
        return self.ask(node, "GET", "/api/me", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def browser(nodes):
    """Each of its requests is a connection of its own, and so comes to another node than the one before."""
    with Browser(nodes.issuer) as browser:
        browser.session.headers["Connection"] = "close"
        yield browser


@pytest.mark.parametrize("first", [0, 1])
def test_a_whole_journey(nodes, browser, first):
    one, other = nodes.nodes[first], nodes.nodes[1 - first]
    client = Client(nodes, ["ES256", "EdDSA"][first])
    browser.open(client.authorization_url())
    browser.sign_in()
    assert browser.page.headings == ["Notebook asks for access"]
    browser.press("Allow")
    code = parse_qs(urlsplit(browser.left_for).query)["code"][0]

    issued = client.post(one, "/oauth/token", code_request(code))
    assert client.me(other, issued["access_token"]).json()["email"] == EMAIL
    keys = KeySet.import_key_set(client.ask(other, "GET", "/oauth/jwks").json())
    claims = jwt.decode(issued["id_token"], keys, registry=AllNames(algorithms=["ES256", "EdDSA"])).claims
    assert claims["aud"] == client.registered["client_id"]

    renewed = client.post(other, "/oauth/token", refresh_request(issued["refresh_token"]))
    assert client.me(one, issued["access_token"]).status_code == 401
    assert client.post(one, "/oauth/introspect", {"token": renewed["access_token"]})["active"]

    client.post(one, "/oauth/revoke", {"token": renewed["refresh_token"]})
    assert client.me(other, renewed["access_token"]).status_code == 401
    assert not client.post(other, "/oauth/introspect", {"token": renewed["access_token"]})["active"]


def test_the_journeys_went_to_both(nodes, browser):
    """Otherwise the one above would prove what a single server does."""
    before = None
    while before != (before := nodes.answered()):  # a line is written after its answer: those of others too
        time.sleep(0.5)
    for _ in range(4):
        browser.open(f"{nodes.issuer}/login")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(nodes.answered()) < sum(before) + 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert nodes.answered() == [count + 2 for count in before]


def test_a_sign_out_at_one_is_one_at_the_other(nodes, browser):
    browser.open(f"{nodes.issuer}/login")
    browser.sign_in()
    cookies = browser.session.cookies.copy()
    browser.open(f"{nodes.issuer}/logout").press("Sign out")
    browser.session.cookies = cookies
    for _ in nodes.nodes:
        browser.open(f"{nodes.issuer}/account/")
        assert browser.page.title.startswith("Sign in")


@pytest.mark.parametrize(("race", "rounds"), RACES)
def test_race(nodes, race, rounds):
    play(nodes, race, rounds)
