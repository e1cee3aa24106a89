"""For how long a refresh may be repeated, and by whom: a client that proves itself, or anybody who has the
token.
"""

import pytest

from crypto.credentials import digest
from database.tenancy import HOME
from models import Client, Token, db
from tests.builders import (
    CLIENT_SECRET,
    a_client,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    refresh_request,
)
from tests.statements import select

FAMILIES = select(Token.id)


@pytest.fixture
def wait(stopped_clock):
    """A function that lets so many seconds pass, to the microsecond."""
    stopped_clock.tick = 0
    return stopped_clock.sleep


@pytest.fixture
def begin(seed, http, wait):
    """Store a client with a sign-in, and return a function that presents its first refresh token."""

    def begin(client):
        token, client_id, is_public = a_refresh_token(), client.client_id, client.is_public
        auth = None if is_public else basic(client_id)
        seed(a_user(), client, a_token(token, client_id=client_id))
        body = refresh_request(token, **({"client_id": client_id} if is_public else {}))
        return lambda **more: http.post("/oauth/token", data=body | more, auth=auth)

    return begin


@pytest.fixture
def use(http):
    return lambda answer: http.get(
        "/api/me", headers={"Authorization": f"Bearer {answer.json['access_token']}"}
    )


def pair(answer):
    assert answer.status_code == 200, answer.json
    return answer.json["access_token"], answer.json["refresh_token"]


def logged(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "ostiary.oauth" and record.levelno >= 30
    ]


THEFT = "a replaced refresh token was used again, its family ends: client_id={}"
LATE = "a refresh was repeated after the leeway: client_id={} seconds={}"


@pytest.mark.threat("T083")
@pytest.mark.parametrize("seconds", [5, 29])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_public_client_gets_the_same_pair_within_its_leeway(begin, wait, use, caplog, seconds, is_used):
    """What was used meanwhile keeps its seal for just as long: the mark of use knows whose leeway counts."""
    present = begin(a_public_client())
    first = present()
    wait(seconds - 1)
    if is_used:
        assert use(first).status_code == 200
    wait(1)
    assert pair(present()) == pair(first)
    assert logged(caplog) == []


@pytest.mark.threat("T083")
@pytest.mark.parametrize("seconds", [30, 31, 3_600, 80_000])
def test_a_patient_thief_of_a_public_clients_token_is_found(begin, wait, use, rows, caplog, seconds):
    """The thief refreshes first and uses nothing; the owner's repeat then ends all that came of it."""
    present = begin(a_public_client())
    thiefs = present()
    wait(seconds)
    assert present().json["error"] == "invalid_grant"
    assert rows(FAMILIES) == []
    assert use(thiefs).status_code == 401
    assert logged(caplog) == [THEFT.format("spa")]


def test_each_late_repeat_of_a_client_that_proves_itself_is_logged(begin, wait, caplog):
    present = begin(a_client())
    first = present()
    wait(9)
    assert pair(present()) == pair(first)
    assert logged(caplog) == []
    wait(2)
    assert pair(present()) == pair(first)
    wait(500)
    assert pair(present()) == pair(first)
    wait(3_000)
    assert pair(present()) != pair(first)  # its access token has died: a fresh pair in its place
    assert logged(caplog) == [LATE.format("web", seconds) for seconds in (11, 511, 3_511)]


@pytest.mark.parametrize(
    ("client", "own"),
    [
        (a_client, {"refresh_leeway": 100, "refresh_retry_lifetime": 0}),
        (a_client, {"refresh_leeway": 0, "refresh_retry_lifetime": 100}),
        (a_public_client, {"refresh_leeway": 100}),
        (a_public_client, {"refresh_leeway": 100, "refresh_retry_lifetime": 3_600}),
    ],
)
def test_a_client_may_have_its_own(begin, wait, rows, client, own):
    present = begin(client(**own))
    first = present()
    wait(99)
    assert pair(present()) == pair(first)
    wait(1)
    assert present().json["error"] == "invalid_grant"
    assert rows(FAMILIES) == []


@pytest.mark.parametrize("client", [a_client, a_public_client])
def test_a_client_may_be_strict_alone(begin, rows, client):
    present = begin(client(refresh_leeway=0, refresh_retry_lifetime=0))
    assert present().status_code == 200
    assert rows(select(Token.sealed_pair)) == [(None,)]
    assert present().json["error"] == "invalid_grant"
    assert rows(FAMILIES) == []


def test_a_use_after_a_clients_own_leeway_erases_the_seal(begin, wait, use, rows):
    present = begin(a_client(refresh_leeway=3))
    first = present()
    wait(4)
    assert use(first).status_code == 200
    assert rows(select(Token.sealed_pair)) == [(None,)]


def test_a_proof_at_the_second_request_alone_is_not_enough(begin, wait, http, app, rows):
    """A client that was public when it refreshed, and is no more: it is refused, and nothing ends."""
    present = begin(a_public_client())
    present()
    with app.app_context():
        client = db.session.get(Client, (HOME, "spa"))
        client.token_endpoint_auth_method, client.client_secret_digest = (
            "client_secret_post",
            digest(CLIENT_SECRET),
        )
        db.session.commit()
    wait(3_600)
    answer = present(client_secret=CLIENT_SECRET)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert len(rows(FAMILIES)) == 1
