"""What the shipped server leaves on disk and in its log at DEBUG after people and clients were there: nothing
to be used.

`test_secrets.py` plants more kinds and reads each column; this one reads the bytes of the files.
"""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from crypto.credentials import random_text
from models import db
from protocol import pkce
from tests.flows.browser_journey import PASSWORD, Browser, add_client, add_person
from tests.flows.test_secrets import spellings
from tests.live import SECRET_KEY, live_server

pytestmark = pytest.mark.long_on("mariadb")

CALLBACK = "https://app.example/cb"


def members(url):
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
def server(database_url, tmp_path):
    with live_server(database_url, tmp_path, log_level="DEBUG") as server:
        yield server


def plant(server):
    """Sign in, allow, exchange, use, refresh, repeat, fail: what was secret on the way, by kind."""
    add_person(server)
    client = add_client(server, "Notebook", "--redirect-uri", CALLBACK, "--scope", "profile")
    robot = add_client(server, "Robot", "--grant-type", "client_credentials")
    secrets = {
        "secret key": SECRET_KEY,
        "password": PASSWORD,
        "wrong password": "a wrong password that was typed",
        "code verifier": random_text(),
        "client secret": client["client_secret"],
        "machine's secret": robot["client_secret"],
        "wrong client secret": "ost_cs_" + random_text(),
    }
    request = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": CALLBACK,
        "code_challenge": pkce.s256(secrets["code verifier"]),
        "code_challenge_method": "S256",
    }
    address = requests.Request("GET", f"{server.issuer}/oauth/authorize", params=request).prepare().url
    auth = (client["client_id"], client["client_secret"])

    def token(auth=auth, **body):
        return requests.post(f"{server.issuer}/oauth/token", data=body, auth=auth, timeout=10).json()

    with Browser(server.issuer) as browser:
        browser.open(address)
        secrets["first cookie"] = browser.session.cookies["ostiary"]
        browser.sign_in(password=secrets["wrong password"])
        browser.sign_in()
        secrets["session cookie"] = browser.session.cookies["ostiary"]
        form = browser.page.form("Allow").fields
        secrets["ticket"], secrets["CSRF token"] = form["ticket"], form["csrf_token"]
        browser.press("Allow")
        secrets["code"] = members(browser.left_for)["code"]
        browser.open(address)
        secrets["waiting code"] = members(browser.left_for)["code"]
    exchange = {
        "grant_type": "authorization_code",
        "code": secrets["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": secrets["code verifier"],
    }
    assert (
        token((client["client_id"], secrets["wrong client secret"]), **exchange)["error"] == "invalid_client"
    )
    pair = token(**exchange)
    me = requests.get(
        f"{server.issuer}/api/me", headers={"Authorization": f"Bearer {pair['access_token']}"}, timeout=10
    )
    assert me.json()["name"] == "Ada"
    new = token(grant_type="refresh_token", refresh_token=pair["refresh_token"])
    assert (
        token(grant_type="refresh_token", refresh_token=pair["refresh_token"])["access_token"]
        == new["access_token"]
    )
    secrets |= {"old access token": pair["access_token"], "old refresh token": pair["refresh_token"]}
    secrets |= {"access token": new["access_token"], "refresh token": new["refresh_token"]}
    secrets["machine token"] = token(
        (robot["client_id"], robot["client_secret"]), grant_type="client_credentials"
    )["access_token"]
    return secrets


def on_disk(server):
    """All that the server keeps: the files of SQLite, its log of changes included, or each row of the others
    as text.
    """
    if server.database_url.startswith("sqlite"):
        return b"".join(path.read_bytes() for path in sorted(server.folder.glob("ostiary.sqlite3*")))
    values = [
        value
        for table in db.metadata.tables
        for row in server.rows(f"SELECT * FROM {table}")  # noqa: S608
        for value in row
    ]
    return b"\n".join(bytes(v) if isinstance(v, bytes | memoryview) else str(v).encode() for v in values)


@pytest.mark.threat("T040", "T155", "T157")
def test_nothing_to_be_used_is_left(server):
    secrets = plant(server)
    assert len(secrets) >= 15
    stored, logged = on_disk(server), server.log().encode()
    assert b"ada@example.com" in stored
    assert re.search(
        rb"INFO ostiary.events event=refused .*error=invalid_client .*request_id=[0-9a-f]{16}", logged
    )
    found = [
        (kind, place)
        for kind, secret in secrets.items()
        for place, text in (("database", stored), ("log", logged))
        if any(spelling in text for spelling in spellings(secret))
    ]
    assert found == []
