"""`grant_type=authorization_code` at the token endpoint (RFC 6749 §4.1.3, RFC 7636 §4.6)."""

import pytest
from sqlalchemy import func

from crypto.credentials import digest
from models import AuthorizationCode, Token
from protocol import clock
from store.codes import FAILURES
from tests.builders import (
    VERIFIER,
    a_client,
    a_code,
    a_public_client,
    a_token,
    a_user,
    basic,
    code_request,
)
from tests.statements import select

CODE = "ost_ac_" + "c" * 43
COUNT_TOKENS = select(func.count()).select_from(Token)
COUNT_CODES = select(func.count()).select_from(AuthorizationCode)


def exchange(http, auth=None, **changed):
    return http.post("/oauth/token", data=code_request(CODE, **changed), auth=auth or basic())


@pytest.mark.threat("T040")
def test_a_code_becomes_a_pair(http, seed, rows):
    seed(a_user(), a_client(), a_code(CODE))
    answer = exchange(http)
    assert answer.status_code == 200
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == 600
    assert answer.json["scope"] == "profile email"
    assert answer.json["access_token"].startswith("ost_at_")
    assert answer.json["refresh_token"].startswith("ost_rt_")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert rows(select(Token.user_id, Token.slot, Token.access_token_digest)) == [
        (1, 0, digest(answer.json["access_token"]))
    ]
    assert rows(COUNT_CODES) == [(0,)]


def test_statement_budget(http, seed, statements):
    seed(a_user(), a_client(), a_code(CODE))
    statements.clear()
    assert exchange(http).status_code == 200
    sent = [sql for sql in statements if sql not in ("COMMIT", "ROLLBACK")]
    assert len(sent) <= 5
    assert statements.count("COMMIT") == 1
    assert [sql.startswith("DELETE FROM token") for sql in sent].count(True) == 1
    assert sent[-2].startswith("DELETE FROM token")
    assert sent[-1].startswith("INSERT INTO token")


def test_a_thousand_old_tokens_cost_no_statement_more(http, seed, rows, statements):
    seed(a_user(), a_client(), a_code(CODE))
    seed(*(a_token(slot=slot) for slot in range(1000)))
    statements.clear()
    assert exchange(http).status_code == 200
    assert len([sql for sql in statements if sql != "COMMIT"]) <= 5
    assert sum(sql.startswith("DELETE FROM token") for sql in statements) == 1
    assert rows(COUNT_TOKENS) == [(1,)]


def test_a_sign_in_keeps_the_newest_and_takes_the_smallest_free_slot(http, seed, rows):
    seed(a_user(), a_client(max_sessions=3), a_code(CODE))
    now = clock.now_in_microseconds()
    seed(a_token(slot=0, issued_at=now - 3), a_token(slot=2, issued_at=now - 2))
    assert exchange(http).status_code == 200
    assert sorted(rows(select(Token.slot))) == [(0,), (1,), (2,)]


def test_a_sign_in_replaces_the_oldest_where_all_slots_are_taken(http, seed, rows):
    seed(a_user(), a_client(max_sessions=3), a_code(CODE))
    now = clock.now_in_microseconds()
    seed(*(a_token(slot=slot, issued_at=now - age) for slot, age in ((0, 10), (1, 30), (2, 20))))
    assert exchange(http).status_code == 200
    assert rows(select(Token.slot).where(Token.issued_at > now)) == [(1,)]
    assert rows(COUNT_TOKENS) == [(3,)]


def test_a_lowered_limit_counts_from_the_next_sign_in(http, seed, rows):
    seed(a_user(), a_client(max_sessions=2), a_code(CODE))
    now = clock.now_in_microseconds()
    seed(*(a_token(slot=slot, issued_at=now + slot - 10) for slot in range(5)))
    assert exchange(http).status_code == 200
    assert sorted(rows(select(Token.slot))) == [(0,), (4,)]


def test_other_pairs_are_left_alone(http, seed, rows):
    seed(
        a_user(),
        a_user(id=2, sub="b", email="b@example.com"),
        a_client(),
        a_client(client_id="other"),
        a_code(CODE),
    )
    seed(a_token(user_id=2), a_token(client_id="other"), a_token())
    assert exchange(http).status_code == 200
    assert rows(COUNT_TOKENS) == [(3,)]


@pytest.mark.threat("T032")
def test_a_replay_is_refused_and_ends_what_the_code_issued(http, seed, rows):
    seed(a_user(), a_client(), a_code(CODE))
    assert exchange(http).status_code == 200
    answer = exchange(http)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T032")
def test_a_replay_is_known_after_refreshes_too(http, seed, rows):
    seed(a_user(), a_client(), a_code(CODE))
    refresh_token = exchange(http).json["refresh_token"]
    for _ in range(3):
        body = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        refresh_token = http.post("/oauth/token", data=body, auth=basic()).json["refresh_token"]
    assert exchange(http).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T036", "T042")
@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": None},
        {"code_verifier": "short"},
        {"redirect_uri": "https://app.example/other"},
    ],
)
def test_a_code_with_anything_wrong_is_merely_refused(http, seed, rows, changed):
    """Before it is spent, and after: neither is the code burnt, nor the sign-in ended."""
    seed(a_user(), a_client(), a_code(CODE))
    assert exchange(http, **changed).json["error"] == "invalid_grant"
    assert rows(COUNT_CODES) == [(1,)]
    assert exchange(http).status_code == 200
    assert exchange(http, **changed).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.threat("T038")
@pytest.mark.parametrize(
    "changed", [{"code_verifier": "w" * 43}, {"redirect_uri": "https://app.example/other"}]
)
def test_mistakes_are_forgiven_but_guessing_burns_the_code(http, seed, rows, changed):
    seed(a_user(), a_client(), a_code(CODE))
    for _mistake in range(FAILURES - 1):
        assert exchange(http, **changed).json["error"] == "invalid_grant"
    assert rows(COUNT_CODES) == [(1,)]
    assert exchange(http, **changed).json["error"] == "invalid_grant"
    assert rows(COUNT_CODES) == [(0,)]
    assert exchange(http).json["error"] == "invalid_grant"


@pytest.mark.threat("T038")
def test_the_last_try_may_be_right(http, seed):
    seed(a_user(), a_client(), a_code(CODE))
    for _mistake in range(FAILURES - 1):
        exchange(http, code_verifier="w" * 43)
    assert exchange(http).status_code == 200


@pytest.mark.threat("T038")
def test_a_client_that_proves_nothing_burns_no_code(http, seed, rows):
    seed(a_user(), a_client(), a_client(client_id="other"), a_code(CODE))
    for _time in range(FAILURES + 1):
        assert exchange(http, auth=basic(secret="wrong")).status_code == 401
        assert exchange(http, auth=basic("other")).json["error"] == "invalid_grant"
    assert exchange(http).status_code == 200


@pytest.mark.threat("T033")
def test_the_code_of_another_client_is_refused_and_stays(http, seed, rows):
    seed(a_user(), a_client(), a_client(client_id="other"), a_code(CODE))
    assert exchange(http, auth=basic("other")).json["error"] == "invalid_grant"
    assert exchange(http).status_code == 200
    assert exchange(http, auth=basic("other")).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.threat("T035")
def test_an_expired_code_is_refused(http, seed):
    seed(a_user(), a_client(), a_code(CODE, expires_at=clock.now()))
    assert exchange(http).json["error"] == "invalid_grant"


@pytest.mark.threat("T039")
def test_a_disabled_person_gets_nothing(http, seed, rows):
    seed(a_user(disabled_at=1), a_client(), a_code(CODE))
    assert exchange(http).json["error"] == "invalid_grant"
    assert rows(COUNT_TOKENS) == [(0,)]


def test_the_redirect_uri_may_be_left_out_where_a_challenge_binds_the_code(http, seed):
    seed(a_user(), a_client(), a_code(CODE))
    assert exchange(http, redirect_uri=None).status_code == 200


@pytest.mark.threat("T036", "T043")
def test_the_redirect_uri_is_needed_without_a_challenge(http, seed):
    seed(a_user(), a_client(require_pkce=False), a_code(CODE, code_challenge=None))
    assert exchange(http, redirect_uri=None, code_verifier=None).json["error"] == "invalid_grant"
    assert exchange(http, code_verifier=VERIFIER).json["error"] == "invalid_grant"
    assert exchange(http, code_verifier=None).status_code == 200


def test_a_public_client_names_itself(http, seed):
    seed(a_user(), a_public_client(), a_code(CODE, client_id="spa"))
    answer = http.post("/oauth/token", data=code_request(CODE, client_id="spa"))
    assert answer.status_code == 200
    assert answer.json["refresh_token"]


def test_no_refresh_token_for_a_client_without_that_grant(http, seed, rows):
    seed(a_user(), a_client(grant_types=["authorization_code"]), a_code(CODE))
    assert "refresh_token" not in exchange(http).json
    assert rows(select(Token.family_digest, Token.refresh_token_digest)) == [(None, None)]


@pytest.mark.threat("T068")
def test_a_client_without_the_grant_is_refused(http, seed):
    seed(a_user(), a_client(grant_types=["client_credentials"]), a_code(CODE))
    assert exchange(http).json["error"] == "unauthorized_client"
