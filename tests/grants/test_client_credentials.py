"""`grant_type=client_credentials` (RFC 6749 §4.4): machines, whose tokens do not replace each other."""

import pytest
from sqlalchemy import func

from models import Token
from protocol import clock
from tests.builders import CLIENT_SECRET, a_client, a_machine, a_public_client, a_token, a_user, basic
from tests.statements import select

COUNT_TOKENS = select(func.count()).select_from(Token)


@pytest.fixture
def ask(http):
    def ask(client_id="robot", **body):
        return http.post(
            "/oauth/token", data={"grant_type": "client_credentials"} | body, auth=basic(client_id)
        )

    return ask


def test_a_machine_gets_a_token(ask, seed, rows):
    seed(a_machine())
    answer = ask()
    assert answer.status_code == 200
    assert answer.json["scope"] == "read"
    assert answer.json["expires_in"] == 600
    assert "refresh_token" not in answer.json
    assert rows(select(Token.client_id, Token.user_id, Token.slot)) == [("robot", None, None)]


def test_statement_budget(ask, seed, statements):
    seed(a_machine())
    statements.clear()
    assert ask().status_code == 200
    assert len([sql for sql in statements if sql != "COMMIT"]) <= 3
    assert statements.count("COMMIT") == 1


def test_only_this_clients_expired_machine_tokens_go(ask, seed, rows):
    seed(a_user(), a_client(), a_machine(), a_machine(client_id="other"))
    now = clock.now()
    expired = {"user_id": None, "slot": None, "access_token_expires_at": now}
    live = {"user_id": None, "slot": None, "access_token_expires_at": now + 5}
    seed(
        a_token(client_id="robot", **live),
        *(a_token(client_id="robot", **expired) for _ in range(3)),
        a_token(client_id="other", **expired),
        a_token(access_token_expires_at=now),  # a person's: its refresh token lives on
    )
    assert ask().status_code == 200
    assert sorted(rows(select(Token.client_id))) == [("other",), ("robot",), ("robot",), ("web",)]


def test_tokens_of_one_machine_live_side_by_side(ask, seed, rows):
    seed(a_machine())
    assert len({ask().json["access_token"] for _ in range(5)}) == 5
    assert rows(COUNT_TOKENS) == [(5,)]


@pytest.mark.threat("T025")
@pytest.mark.parametrize("scope", ["openid", "offline_access", "read offline_access", "profile", "email"])
def test_a_scope_that_needs_a_person_is_refused(ask, seed, rows, scope):
    seed(a_machine(scope="read profile email"))
    assert ask(scope=scope).json["error"] == "invalid_scope"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_an_omitted_scope_leaves_those_out(ask, seed):
    seed(a_machine(scope="profile read email"))
    assert ask().json["scope"] == "read"


@pytest.mark.threat("T023")
def test_an_unregistered_scope_is_refused(ask, seed):
    seed(a_machine())
    assert ask(scope="read write").json["error"] == "invalid_scope"


@pytest.mark.threat("T068")
def test_a_client_without_the_grant_is_refused(ask, seed):
    seed(a_client())
    assert ask("web").json["error"] == "unauthorized_client"


def test_a_public_client_cannot(http, seed):
    seed(a_public_client(grant_types=["client_credentials"]))
    answer = http.post("/oauth/token", data={"grant_type": "client_credentials", "client_id": "spa"})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


def test_the_clients_own_lifetime(http, seed):
    seed(a_machine(access_token_lifetime=30, token_endpoint_auth_method="client_secret_post"))
    body = {"grant_type": "client_credentials", "client_id": "robot", "client_secret": CLIENT_SECRET}
    assert http.post("/oauth/token", data=body).json["expires_in"] == 30
