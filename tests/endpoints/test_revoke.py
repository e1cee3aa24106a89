"""`POST /oauth/revoke` (RFC 7009): any token of a family ends it, and 200 is said when that is stored."""

import sqlite3

import pytest
from sqlalchemy import event, func
from sqlalchemy.exc import OperationalError

from crypto.credentials import RefreshToken, digest
from models import Token, db
from tests.builders import (
    CLIENT_SECRET,
    a_client,
    a_machine,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    refresh_request,
)
from tests.statements import select

ACCESS_TOKEN = "ost_at_" + "a" * 43
COUNT_TOKENS = select(func.count()).select_from(Token)


@pytest.fixture
def revoke(http):
    def revoke(token, auth=None, **more):
        return http.post("/oauth/revoke", data={"token": token} | more, auth=auth or basic())

    return revoke


@pytest.fixture
def family(seed):
    """The current refresh token of user 1 at "web"; its access token is ACCESS_TOKEN."""
    token = a_refresh_token()
    seed(a_user(), a_client(), a_token(token, access_token_digest=digest(ACCESS_TOKEN)))
    return token


@pytest.mark.threat("T091")
def test_a_refresh_token_ends_the_sign_in(revoke, family, rows, http):
    answer = revoke(family)
    assert (answer.status_code, answer.json) == (200, {})
    assert answer.headers["Cache-Control"] == "no-store"
    assert rows(COUNT_TOKENS) == [(0,)]
    assert http.get("/api/me", headers={"Authorization": f"Bearer {ACCESS_TOKEN}"}).status_code == 401


@pytest.mark.threat("T091")
def test_an_access_token_ends_the_sign_in_too(revoke, family, rows):
    assert revoke(ACCESS_TOKEN).status_code == 200
    assert rows(COUNT_TOKENS) == [(0,)]


def test_an_ancestor_ends_the_sign_in_too(revoke, family, http, rows):
    http.post("/oauth/token", data=refresh_request(family), auth=basic())
    assert revoke(family).status_code == 200
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T091")
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "something else", ""])
def test_a_hint_does_not_matter(revoke, family, rows, hint):
    assert revoke(family, token_type_hint=hint).status_code == 200
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T091")
@pytest.mark.parametrize("token", ["x", "ost_rt_" + "a" * 77, "ost_at_" + "b" * 43])
def test_an_unknown_token_is_200(revoke, family, rows, token):
    assert (revoke(token).status_code, rows(COUNT_TOKENS)) == (200, [(1,)])


def test_a_guess_with_the_right_family_ends_nothing(revoke, family, rows):
    forged = str(RefreshToken.parse(family)._replace(secret="x" * 43))
    assert (revoke(forged).status_code, rows(COUNT_TOKENS)) == (200, [(1,)])


@pytest.mark.threat("T090")
def test_another_clients_token_stays(revoke, family, seed, rows):
    seed(a_client(client_id="other"))
    for token in (family, ACCESS_TOKEN):
        answer = revoke(token, auth=basic("other"))
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")
    assert rows(COUNT_TOKENS) == [(1,)]


def test_other_devices_stay(revoke, family, seed, rows):
    seed(a_token(a_refresh_token(), slot=1))
    revoke(family)
    assert rows(select(Token.slot)) == [(1,)]


def test_a_machine_revokes_one_token_of_its_own(revoke, seed, rows):
    machine = {"client_id": "robot", "user_id": None, "slot": None}
    seed(a_machine(), a_token(access_token_digest=digest(ACCESS_TOKEN), **machine), a_token(**machine))
    assert revoke(ACCESS_TOKEN, auth=basic("robot")).status_code == 200
    assert rows(COUNT_TOKENS) == [(1,)]


def test_a_public_client_names_itself(http, seed, rows):
    token = a_refresh_token()
    seed(a_user(), a_public_client(), a_token(token, client_id="spa"))
    assert http.post("/oauth/revoke", data={"token": token, "client_id": "spa"}).status_code == 200
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T090")
@pytest.mark.parametrize("auth", [("web", "wrong"), ("nobody", CLIENT_SECRET)])
def test_wrong_authentication_is_401_and_revokes_nothing(revoke, family, rows, auth):
    answer = revoke(family, auth=auth)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.threat("T090")
def test_no_authentication_is_401_and_revokes_nothing(http, family, rows):
    assert http.post("/oauth/revoke", data={"token": family}).status_code == 401
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.threat("T054")
def test_a_malformed_request_is_refused(http, family):
    def error(**request):
        answer = http.post("/oauth/revoke", auth=basic(), **request)
        return answer.status_code, answer.json["error"]

    assert error(data={}) == (400, "invalid_request")
    assert error(data={"token": ""}) == (400, "invalid_request")
    assert error(data={"token": "a\0b"}) == (400, "invalid_request")
    assert error(data={"token": ["a", "b"]}) == (400, "invalid_request")
    assert error(json={"token": family}) == (400, "invalid_request")
    assert error(data={"token": family}, query_string={"token": family}) == (400, "invalid_request")
    assert http.get("/oauth/revoke").status_code == 405


def test_it_costs_at_most_four_statements(revoke, family, statements):
    statements.clear()
    revoke(family)
    sent = [sql for sql in statements if sql != "COMMIT"]
    assert len(sent) <= 4  # client, token, the lock, DELETE
    assert "end_user" in sent[-2] and sent[-1].startswith("DELETE FROM token")
    assert statements.count("COMMIT") == 1


@pytest.mark.threat("T087")
def test_200_is_not_said_without_effect(revoke, family, app, rows):
    def fail(connection):
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    with app.app_context():
        event.listen(db.engine, "commit", fail)
    answer = revoke(family)
    assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"]
    with app.app_context():
        event.remove(db.engine, "commit", fail)
    assert rows(COUNT_TOKENS) == [(1,)]
