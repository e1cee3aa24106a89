"""`GET /api/me`, and with it every bearer check (RFC 6750)."""

import pytest

from crypto.credentials import digest
from models import Token, User, db
from protocol import clock
from tests.builders import a_client, a_machine, a_token, a_user
from tests.statements import select, update

ACCESS_TOKEN = "ost_at_" + "a" * 43


@pytest.fixture
def me(http):
    return lambda token=ACCESS_TOKEN: http.get("/api/me", headers={"Authorization": f"Bearer {token}"})


def a_known_token(**changed):
    return a_token(access_token_digest=digest(ACCESS_TOKEN), **changed)


def test_who_the_token_is_about(me, seed):
    seed(a_user(), a_client(), a_known_token())
    answer = me()
    assert answer.status_code == 200
    assert answer.json == {
        "sub": "sub-of-ada",
        "name": "Ada",
        "email": "ada@example.com",
        "client_id": "web",
        "scope": "profile email",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(("scope", "members"), [("", set()), ("profile", {"name"}), ("email", {"email"})])
def test_name_and_email_as_the_scopes_allow(me, seed, scope, members):
    seed(a_user(), a_client(), a_known_token(access_token_scope=scope))
    assert set(me().json) == {"sub", "client_id", "scope"} | members


def test_it_costs_one_statement_after_the_first_use(me, seed, statements):
    seed(a_user(), a_client(), a_known_token())
    statements.clear()
    me()
    assert len([sql for sql in statements if sql != "COMMIT"]) == 2  # the first use is marked
    statements.clear()
    me()
    assert len([sql for sql in statements if sql != "COMMIT"]) == 1


def test_the_first_use_is_marked_once(me, seed, app, rows):
    seed(a_user(), a_client(), a_known_token())
    me()
    with app.app_context():
        db.session.execute(update(Token).values(used_at=1))
        db.session.commit()
    me()
    assert rows(select(Token.used_at)) == [(1,)]


def test_a_machines_token_is_403(me, seed, rows):
    seed(a_machine(), a_known_token(client_id="robot", user_id=None, slot=None))
    answer = me()
    assert (answer.status_code, answer.json["error"]) == (403, "insufficient_scope")
    assert rows(select(Token.used_at))[0][0] is not None


def test_no_token_is_401_without_an_error_code(http):
    answer = http.get("/api/me")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ostiary"'


@pytest.mark.parametrize("token", ["x", "ost_at_" + "b" * 43, "é", "a b", "a\tb", "'; DROP TABLE token; --"])
def test_a_wrong_token_is_401(me, seed, token):
    seed(a_user(), a_client(), a_known_token())
    answer = me(token)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert token not in answer.text or token in ("x", "é")


def test_an_expired_token_is_401(me, seed):
    seed(a_user(), a_client(), a_known_token(access_token_expires_at=clock.now()))
    assert me().status_code == 401


def test_the_token_of_a_disabled_person_is_401(me, seed, app):
    seed(a_user(), a_client(), a_known_token())
    assert me().status_code == 200
    with app.app_context():
        db.session.execute(update(User).values(disabled_at=1))
        db.session.commit()
    assert me().status_code == 401


def test_a_token_in_the_url_is_refused(http, seed):
    seed(a_user(), a_client(), a_known_token())
    answer = http.get("/api/me", query_string={"access_token": ACCESS_TOKEN})
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
