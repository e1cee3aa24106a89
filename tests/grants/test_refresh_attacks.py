"""Refresh tokens in the wrong hands, at the wrong client, or after their time (RFC 6749 §6, §10.4; RFC 9700
§4.14).
"""

import pytest
from sqlalchemy import func

from models import Token
from protocol import clock
from protocol.registered_client import NEVER
from tests.builders import a_client, a_public_client, a_refresh_token, a_token, a_user, basic, refresh_request
from tests.statements import select

COUNT_TOKENS = select(func.count()).select_from(Token)


@pytest.fixture
def refresh(http):
    def refresh(refresh_token, auth=None, **changed):
        return http.post("/oauth/token", data=refresh_request(refresh_token, **changed), auth=auth)

    return refresh


@pytest.fixture
def presented(seed):
    """The current refresh token of user 1 at "web"."""
    token = a_refresh_token()
    seed(a_user(), a_client(), a_token(token))
    return token


@pytest.mark.threat("T068")
def test_a_client_without_the_grant_is_refused_and_its_family_stays(refresh, seed, rows):
    token = a_refresh_token()
    seed(a_user(), a_client(grant_types=["authorization_code"]), a_token(token))
    assert refresh(token, basic()).json["error"] == "unauthorized_client"
    assert rows(COUNT_TOKENS) == [(1,)]


@pytest.mark.threat("T082")
@pytest.mark.parametrize(
    ("auth", "body"),
    [
        (None, {}),
        (None, {"client_id": "web"}),
        (None, {"client_id": "web", "client_secret": ""}),
        (None, {"client_id": "web", "client_secret": "wrong"}),
        (("web", ""), {}),
        (("web", "wrong"), {}),
        (("nobody", "x"), {}),
    ],
)
def test_without_the_clients_proof_it_is_worth_nothing(refresh, presented, rows, auth, body):
    before = rows(select(Token.__table__))
    answer = refresh(presented, auth, **body)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert rows(select(Token.__table__)) == before
    assert refresh(presented, basic()).status_code == 200


@pytest.mark.threat("T082")
def test_a_public_client_cannot_take_over_anothers(refresh, presented, seed, rows):
    seed(a_public_client())
    before = rows(select(Token.__table__))
    assert refresh(presented, client_id="spa").json["error"] == "invalid_grant"
    assert rows(select(Token.__table__)) == before


@pytest.mark.threat("T086")
def test_it_lives_for_thirty_days_unused(refresh, seed, sleep):
    token = a_refresh_token()
    seed(a_user(), a_client(), a_token(token))
    current = refresh(token, basic()).json["refresh_token"]
    sleep(30 * 86_400 - 1)
    current = refresh(current, basic()).json["refresh_token"]
    sleep(30 * 86_400)
    assert refresh(current, basic()).json["error"] == "invalid_grant"


@pytest.mark.threat("T086")
@pytest.mark.parametrize("idle_lifetime", [None, NEVER])
def test_no_refresh_carries_a_sign_in_past_its_absolute_end(refresh, seed, sleep, idle_lifetime):
    token = a_refresh_token()
    end = clock.now() + 100
    seed(a_user(), a_client(refresh_token_idle_lifetime=idle_lifetime), a_token(token, family_expires_at=end))
    for _time in range(3):
        sleep(33)
        token = refresh(token, basic()).json["refresh_token"]
    sleep(1)
    assert refresh(token, basic()).json["error"] == "invalid_grant"
