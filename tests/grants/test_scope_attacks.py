"""Scopes that a client may not have, at the token endpoint (RFC 6749 §3.3, §5.2)."""

import pytest
from sqlalchemy import func

from models import Token
from protocol.scopes import REQUIRE_USER
from tests.builders import a_client, a_machine, a_refresh_token, a_token, a_user, basic, refresh_request
from tests.statements import select

COUNT_TOKENS = select(func.count()).select_from(Token)
TOO_MUCH = {
    "not registered": "write",
    "one of two": "read write",
    "in other letters": "READ",
    "with a comma": "read,write",
    "with a tab": "read\twrite",
    "with a line break": "read\nwrite",
    "encoded twice": "read%20write",
    "a quote": 'read" write',
    "10,000 words": " ".join(f"s{number}" for number in range(10_000)),
    "10,000 times one word and another": "read " * 10_000 + "write",
}


@pytest.fixture
def ask(http):
    def ask(**body):
        return http.post(
            "/oauth/token", data={"grant_type": "client_credentials"} | body, auth=basic("robot")
        )

    return ask


@pytest.mark.threat("T023")
@pytest.mark.parametrize("scope", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_machine_gets_no_more_than_it_is_registered_for(ask, seed, rows, scope):
    seed(a_machine())
    assert ask(scope=scope).json["error"] in ("invalid_scope", "invalid_request")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T023")
def test_a_repeated_word_is_granted_once(ask, seed):
    seed(a_machine(scope="read write"))
    assert ask(scope="read  read read").json["scope"] == "read"


@pytest.mark.threat("T023", "T085")
@pytest.mark.parametrize("scope", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_refresh_gets_no_more_than_was_granted(http, seed, rows, scope):
    """Also not what the client is registered for by now."""
    token = a_refresh_token()
    seed(a_user(), a_client(scope="read write"), a_token(token, scope="read", access_token_scope="read"))
    answer = http.post("/oauth/token", data=refresh_request(token, scope=scope), auth=basic())
    assert answer.json["error"] in ("invalid_scope", "invalid_request")
    assert rows(select(Token.scope)) == [("read",)]


@pytest.mark.threat("T025")
@pytest.mark.parametrize("scope", sorted(REQUIRE_USER))
def test_a_machine_gets_no_scope_that_needs_a_person_though_it_is_registered(ask, seed, rows, scope):
    seed(a_machine(scope=f"read {scope}"))
    for asked in (scope, f"read {scope}"):
        assert ask(scope=asked).json["error"] == "invalid_scope"
    assert rows(COUNT_TOKENS) == [(0,)]
    assert ask().json["scope"] == "read"
