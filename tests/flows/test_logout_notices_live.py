"""Back-channel logout on a real server: a person signs out, and every client hears of it, whatever the others
do.
"""

import json
import re
import time
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.builders import CHALLENGE, PASSWORD, VERIFIER
from tests.live import ENGINES, live_server, new_database
from tests.receiver import receiving

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

EMAIL = "ada@example.com"
POLL_SECONDS = 12  # the longest pause of a worker that looks for what is due
RECEIPT_SECONDS = 10


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(params=ENGINES)
def server(request, tmp_path, postgres):
    with live_server(new_database(request.param, tmp_path, postgres), tmp_path) as server:
        server.flask("users", "add", EMAIL, "--password-stdin", input=PASSWORD)
        yield server


class LiveClient:
    """A registered client; `answers` says how its logout endpoint does."""

    def __init__(self, server, receiver, answers):
        self.issuer = server.issuer
        self.path = answers
        self.redirect_uri = receiver.url("200/callback")
        registered = server.flask_json(
            *("clients", "add", answers, "--redirect-uri", self.redirect_uri, "--scope", "openid"),
            *(
                "--auth-method",
                "client_secret_post",
                "--set",
                f'backchannel_logout_uri="{receiver.url(answers)}"',
            ),
        )
        self.credentials = {name: registered[name] for name in ("client_id", "client_secret")}

    @property
    def client_id(self):
        return self.credentials["client_id"]

    def ask_for_tokens(self, **body):
        """The JSON of the answer, whatever its status."""
        request = Request(f"{self.issuer}/oauth/token", urlencode(body | self.credentials).encode())
        try:
            with urlopen(request, timeout=20) as answer:
                return parsed(answer)
        except HTTPError as refused:
            with refused:
                return parsed(refused)


def parsed(answer):
    return json.loads(answer.read())


class LiveBrowser:
    """A browser in which Ada has signed in."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self.post("/login", self.get("/login"), email=EMAIL, password=PASSWORD)

    def get(self, path):
        with self.opener.open(self.issuer + path, timeout=20) as page:
            return page.url, page.read().decode()

    def post(self, path, page, **form):
        [csrf_token] = set(re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page[1]))
        body = urlencode(form | {"csrf_token": csrf_token}).encode()
        with self.opener.open(self.issuer + path, body, timeout=20) as answer:
            return answer.url, answer.read().decode()

    def go_to(self, client):
        """Through consent to the client and back; the tokens that it got."""
        request = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uri,
            "scope": "openid",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        page = self.get("/oauth/authorize?" + urlencode(request))
        if ticket := re.search(r'name="ticket" value="([^"]+)"', page[1]):
            page = self.post("/oauth/authorize", page, ticket=ticket.group(1), decision="allow")
        [code] = parse_qs(urlsplit(page[0]).query)["code"]
        exchange = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        return client.ask_for_tokens(**exchange, redirect_uri=client.redirect_uri)

    def sign_out(self):
        return self.post("/logout", self.get("/logout"))


def find_receipt(server, client):
    """What the operator is told of the one notice to a client."""
    [receipt] = (
        row for row in server.flask_json("logout-notices", "list") if row["client_id"] == client.client_id
    )
    return receipt


def wait_for_receipt(server, client):
    """The same when the attempt has ended: the client has its token a moment before it is written down that
    it has.
    """
    deadline = time.monotonic() + RECEIPT_SECONDS
    while (receipt := find_receipt(server, client))["state"] == "waiting" and time.monotonic() < deadline:
        time.sleep(0.1)
    return receipt


@pytest.mark.threat("T114")
def test_who_signs_out_does_so_everywhere(server, receiver):
    dead, well = LiveClient(server, receiver, "hang"), LiveClient(server, receiver, "204")
    browser = LiveBrowser(server.issuer)
    browser.go_to(dead)
    tokens = browser.go_to(well)

    started = time.monotonic()
    browser.sign_out()
    answered = time.monotonic() - started
    [received] = receiver.wait_for("204")
    assert answered < 2
    assert received.at - started < 2

    with urlopen(f"{server.issuer}/oauth/jwks", timeout=20) as keys:
        key_set = KeySet.import_key_set(parsed(keys))
    told = jwt.decode(received.token, key_set, algorithms=["RS256"]).claims
    known = jwt.decode(tokens["id_token"], key_set, algorithms=["RS256"]).claims
    assert {name: told[name] for name in ("iss", "sub", "aud", "sid")} == {
        name: known[name] for name in ("iss", "sub", "aud", "sid")
    }
    refused = well.ask_for_tokens(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused["error"] == "invalid_grant"

    receipt = wait_for_receipt(server, well)
    assert (receipt["state"], receipt["outcome"]) == ("delivered", "answered 204")
    assert find_receipt(server, dead)["state"] == "waiting"
    assert len(receiver.at("hang")) == 1
    assert received.token.rpartition(".")[2] not in server.log()

    stopping = time.monotonic()
    server.stop()
    assert time.monotonic() - stopping < 10
    assert "Traceback" not in server.log()


@pytest.mark.long
@pytest.mark.threat("T114")
def test_workers_deliver_what_a_command_has_written(server, receiver):
    client = LiveClient(server, receiver, "200")
    LiveBrowser(server.issuer).go_to(client)
    ended = server.flask_json("users", "sign-out", EMAIL)
    assert ended["notices"] == 1
    assert len(receiver.wait_for("200", seconds=POLL_SECONDS + 3)) == 1
    receipt = wait_for_receipt(server, client)
    assert (receipt["state"], receipt["attempts"]) == ("delivered", 1)


@pytest.mark.long
@pytest.mark.threat("T114")
def test_a_server_that_starts_delivers_what_the_last_one_left(tmp_path, postgres, receiver):
    with live_server(new_database("sqlite", tmp_path, postgres), tmp_path) as server:
        server.flask("users", "add", EMAIL, "--password-stdin", input=PASSWORD)
        client = LiveClient(server, receiver, "200")
        LiveBrowser(server.issuer).go_to(client)
        server.stop()
        server.flask("users", "remove", EMAIL)
        assert receiver.at("200") == []
        server.start()
        assert len(receiver.wait_for("200", seconds=3)) == 1
