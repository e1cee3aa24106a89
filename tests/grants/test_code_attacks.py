"""Codes that somebody else has, that are bent, or that come late (RFC 6749 §4.1.2, §10.5; RFC 9700 §4.5)."""

import pytest
from sqlalchemy import func

from models import AuthorizationCode, Token
from tests.builders import a_client, a_code, a_user, basic, code_request, refresh_request
from tests.pages.steps import answer_to_client, ask, press, sign_in
from tests.statements import select

CODE = "ost_ac_" + "cD" * 21 + "e"
COUNT_CODES = select(func.count()).select_from(AuthorizationCode)
COUNT_TOKENS = select(func.count()).select_from(Token)


@pytest.fixture
def exchange(http, seed):
    seed(a_user(), a_client(), a_code(CODE))
    return lambda code=CODE, **changed: http.post(
        "/oauth/token", data=code_request(code, **changed), auth=basic()
    )


@pytest.mark.threat("T032")
@pytest.mark.parametrize("seconds", [0, 1, 30, 300])
def test_a_replay_ends_both_tokens_also_when_it_comes_late(exchange, http, sleep, seconds):
    pair = exchange().json
    sleep(seconds)
    assert exchange().json["error"] == "invalid_grant"
    assert http.get("/api/me", headers={"Authorization": f"Bearer {pair['access_token']}"}).status_code == 401
    refreshed = http.post("/oauth/token", data=refresh_request(pair["refresh_token"]), auth=basic())
    assert refreshed.json["error"] == "invalid_grant"


@pytest.mark.threat("T035")
@pytest.mark.parametrize(("seconds", "status"), [(59, 200), (60, 400), (61, 400), (3_600, 400)])
def test_a_code_lives_for_a_minute(http, seed, sleep, rows, seconds, status):
    seed(a_user(), a_client())
    sign_in(http)
    code = answer_to_client(press(http, ask(http), "Allow"))["code"][0]
    sleep(seconds)
    answer = http.post("/oauth/token", data=code_request(code), auth=basic())
    assert answer.status_code == status
    if status == 400:
        assert answer.json["error"] == "invalid_grant"
        assert rows(COUNT_TOKENS) == [(0,)]


@pytest.mark.threat("T037")
@pytest.mark.parametrize(
    "bent",
    [
        CODE.swapcase(),
        CODE.lower(),
        CODE + " ",
        " " + CODE,
        CODE[:-1],
        CODE[1:],
        CODE.removeprefix("ost_ac_"),
        "x" + CODE,
        CODE + "x",
        CODE + "=",
        CODE * 2,
        CODE.replace("ost_ac_", "ost_rt_"),
        CODE + "%00",
        CODE + "%",
        "_" * len(CODE),
        "'; DELETE FROM authorization_code; --",
    ],
)
def test_a_bent_code_is_no_code(exchange, rows, bent):
    assert exchange(bent).json["error"] == "invalid_grant"
    assert rows(COUNT_CODES) == [(1,)]
    assert exchange().status_code == 200


@pytest.mark.threat("T037")
@pytest.mark.parametrize(
    "bent", [CODE + "\0", "\0" + CODE, CODE[:9] + "\0" + CODE[9:], CODE + "\n", CODE + "\u00e9", CODE * 100]
)
def test_one_with_characters_that_no_code_has_is_a_malformed_request(exchange, rows, bent):
    answer = exchange(bent)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
    assert rows(COUNT_CODES) == [(1,)]


@pytest.mark.threat("T040")
def test_a_code_that_nobody_spent_is_gone_after_its_life(http, seed, sleep, rows):
    """The next code that is stored sweeps it."""
    seed(a_user(), a_client())
    sign_in(http)
    answer_to_client(press(http, ask(http), "Allow"))
    sleep(60)
    assert "code" in answer_to_client(ask(http))
    assert rows(COUNT_CODES) == [(1,)]


@pytest.mark.threat("T045")
@pytest.mark.parametrize(
    "verifier", ["v" * 42, "v" * 129, "v" * 42 + "+", "v" * 42 + "=", "v" * 42 + " ", "v" * 42 + "%", "v"]
)
def test_a_verifier_has_one_form(exchange, verifier):
    assert exchange(code_verifier=verifier).json["error"] == "invalid_grant"
    assert exchange().status_code == 200


@pytest.mark.threat("T045")
@pytest.mark.parametrize("verifier", ["v" * 42 + "\u00e9", "v" * 42 + "\n", "v" * 42 + "\0", "v" * 5_000])
def test_characters_that_no_verifier_has_are_a_malformed_request(exchange, verifier):
    assert exchange(code_verifier=verifier).json["error"] == "invalid_request"
    assert exchange().status_code == 200
