"""Neither the database nor the log at DEBUG holds anything that somebody could use: more than ten kinds of
secrets are planted.

Each is searched raw, in base64 (both alphabets), in hex and URL-encoded; binary columns are searched as
bytes.
"""

import io
import logging
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from models import AuthorizationCode, Token, db
from tests.builders import (
    AUTHORIZATION_REQUEST,
    CLIENT_SECRET,
    PASSWORD,
    SECRET_KEY,
    VERIFIER,
    a_client,
    a_machine,
    a_user,
    basic,
    code_request,
    refresh_request,
)
from tests.statements import select

AUTHORIZE = AUTHORIZATION_REQUEST | {
    "state": "the state of the client",
    "nonce": "the nonce of the client",
    "scope": "openid profile email",
}


def spellings(secret):
    """The bytes under which a secret could turn up."""
    raw = secret.encode()
    for text in (
        raw,
        b64encode(raw),
        urlsafe_b64encode(raw),
        raw.hex().encode(),
        quote(secret, safe="").encode(),
    ):
        yield text.rstrip(b"=")


def field(page, name):
    return re.search(rf'name="{name}"[^>]*value="([^"]+)"', page.text).group(1)


@pytest.fixture(autouse=True)
def log():
    """All that any library says at DEBUG, the SQL and its parameters included; on before the app makes its
    engine.
    """
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    loggers = [logging.getLogger(name) for name in ("", "sqlalchemy")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    yield text
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def dump(app):
    """Every value of every row of every table, as bytes."""

    def dump():
        values = []
        with app.app_context():
            for table in db.metadata.sorted_tables:
                for row in db.session.execute(select(table)):
                    values += [value if isinstance(value, bytes) else str(value).encode() for value in row]
        return b"\n".join(values)

    return dump


@pytest.fixture
def planted(http, seed):
    """Go through everything that handles a secret, the failures too; what was planted, by kind."""
    seed(a_user(), a_client(scope="openid profile email"), a_machine())
    secrets = {
        "state": AUTHORIZE["state"],
        "nonce": AUTHORIZE["nonce"],
        "secret key": SECRET_KEY,
        "password": PASSWORD,
        "wrong password": "a wrong password that was typed",
        "new password": "the password of a new account",
        "client secret": CLIENT_SECRET,
        "wrong client secret": "ost_cs_" + "w" * 43,
        "code verifier": VERIFIER,
    }
    page = http.get("/oauth/authorize", query_string=AUTHORIZE, follow_redirects=True)
    login = page.request.full_path
    secrets["ticket"] = parse_qs(urlsplit(page.request.args["next"]).query)["ticket"][0]
    secrets["cookie before sign-in"] = http.get_cookie("__Host-ostiary", domain="op.example").value
    for name in ("wrong password", "password"):
        form = {
            "email": "ada@example.com",
            "password": secrets[name],
            "csrf_token": field(page, "csrf_token"),
        }
        answer = http.post(login, data=form)
    page = http.get(answer.location)
    secrets["session cookie"] = http.get_cookie("__Host-ostiary", domain="op.example").value
    secrets["CSRF token"] = field(page, "csrf_token")
    [browser_id] = [cookie.value for cookie in http._cookies.values() if "-browser-" in cookie.key]
    secrets["browser id"] = browser_id.partition(".")[0]
    with http.session_transaction(base_url="https://op.example") as session:
        secrets["session id"] = session["_user_id"]
    form = {"csrf_token": secrets["CSRF token"], "ticket": field(page, "ticket"), "decision": "allow"}
    secrets["code"] = parse_qs(urlsplit(http.post("/oauth/authorize", data=form).location).query)["code"][0]
    secrets["waiting code"] = parse_qs(
        urlsplit(http.get("/oauth/authorize", query_string=AUTHORIZE).location).query
    )["code"][0]

    def token(data, **rest):
        return http.post("/oauth/token", data=data, **rest).json

    assert token(code_request(secrets["code"]), auth=basic(secret=secrets["wrong client secret"]))["error"]
    assert token(code_request(secrets["code"], code_verifier="x" * 43), auth=basic())["error"]
    pair = token(code_request(secrets["code"]), auth=basic())
    for number in range(3):
        secrets[f"access token {number}"], secrets[f"refresh token {number}"] = (
            pair["access_token"],
            pair["refresh_token"],
        )
        assert (
            http.get("/api/me", headers={"Authorization": f"Bearer {pair['access_token']}"}).status_code
            == 200
        )
        pair = token(refresh_request(pair["refresh_token"]), auth=basic())
    secrets["access token"], secrets["refresh token"] = pair["access_token"], pair["refresh_token"]
    # the clock may have gone on meanwhile
    again = token(refresh_request(secrets["refresh token 2"]), auth=basic())
    made_anew = {name: again[name] for name in ("expires_in", "id_token")}
    assert 595 <= again["expires_in"] <= 600 and again == pair | made_anew
    secrets["ID token"] = pair["id_token"]
    secrets["machine token"] = token({"grant_type": "client_credentials"}, auth=basic("robot"))[
        "access_token"
    ]
    page = http.get("/signup")
    form = {"name": "Eve", "email": "eve@example.com", "password": secrets["new password"]}
    assert http.post("/signup", data=form | {"csrf_token": field(page, "csrf_token")}).status_code == 303
    return secrets


@pytest.mark.threat("T040", "T155", "T157")
def test_no_secret_is_stored_or_logged(planted, dump, rows, log):
    assert len(planted) >= 10
    # something is there to be searched
    assert rows(select(Token.id)) and rows(select(AuthorizationCode.user_id))
    stored, logged = dump(), log.getvalue().encode()
    assert len(logged) > 10_000
    found = [
        (kind, place)
        for kind, secret in planted.items()
        for place, text in (("database", stored), ("log", logged))
        if any(spelling in text for spelling in spellings(secret))
    ]
    assert found == []


def test_the_search_finds_what_is_there(planted, dump, log):
    assert "INSERT INTO token" in log.getvalue()
    assert "ada@example.com" in log.getvalue()
    assert b"ada@example.com" in dump()
    assert any(spelling in b"-- " + PASSWORD.encode().hex().encode() for spelling in spellings(PASSWORD))


@pytest.mark.threat("T157")
def test_an_old_refresh_token_is_stolen_property_and_said_so(planted, http, log):
    """The log names the client and the reason, and no token."""
    answer = http.post("/oauth/token", data=refresh_request(planted["refresh token 0"]), auth=basic())
    assert answer.json["error"] == "invalid_grant"
    assert "a replaced refresh token was used again" in log.getvalue()
    assert planted["refresh token 0"] not in log.getvalue()
