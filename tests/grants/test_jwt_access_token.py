"""Access tokens that are JWTs (RFC 9068), for a client that was registered so: good for who verifies, and for
who asks.
"""

import pytest

from config import Settings
from crypto import credentials
from models import Token
from protocol import clock
from tests.builders import ISSUER, SECRET_KEY, a_machine, a_user, basic, refresh_request
from tests.openid import an_openid_client, refresh, sign_in_at_client, userinfo, verified
from tests.pages.steps import sign_in
from tests.statements import select

JWT = {"access_token_format": "jwt"}


@pytest.fixture
def ada(http, seed, sleep):
    seed(a_user(), an_openid_client(extra_metadata=JWT), a_machine(extra_metadata=JWT))
    seed(an_openid_client(client_id="api", grant_types=[], redirect_uris=[], is_resource_server=True))
    sign_in(http)
    return http


def test_what_it_says(ada):
    tokens = sign_in_at_client(ada, scope="openid email")
    header, said = verified(ada, tokens["access_token"], "at+jwt")
    assert header["alg"] == "RS256"
    assert len(said.pop("jti")) == 22
    assert said == {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": "sub-of-ada",
        "client_id": "web",
        "iat": clock.now(),
        "exp": clock.now() + 600,
        "scope": "openid email",
        "auth_time": clock.now(),
        "acr": "urn:ostiary:acr:password",
    }
    assert tokens["expires_in"] == 600


def test_one_of_a_machine(ada):
    tokens = ada.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot")).json
    said = verified(ada, tokens["access_token"], "at+jwt")[1]
    assert (said["sub"], said["client_id"], said["scope"]) == ("robot", "robot", "read")


def test_the_server_itself_takes_it_and_can_end_it(ada, rows):
    tokens = sign_in_at_client(ada)
    assert userinfo(ada, tokens).json["sub"] == "sub-of-ada"
    answer = ada.post("/oauth/introspect", data={"token": tokens["access_token"]}, auth=basic("api"))
    assert answer.json["active"] is True and answer.json["sub"] == "sub-of-ada"
    assert rows(select(Token.access_token_digest)) == [(credentials.digest(tokens["access_token"]),)]
    ada.post("/oauth/revoke", data={"token": tokens["access_token"]}, auth=basic())
    assert userinfo(ada, tokens).status_code == 401


def test_a_pairwise_subject(http, seed):
    seed(
        a_user(),
        an_openid_client(
            extra_metadata=JWT | {"subject_type": "pairwise", "id_token_signed_response_alg": "ES256"}
        ),
    )
    sign_in(http)
    tokens = sign_in_at_client(http)
    header, said = verified(http, tokens["access_token"], "at+jwt")
    assert header["alg"] == "ES256"
    assert said["sub"] == verified(http, tokens["id_token"])[1]["sub"] != "sub-of-ada"


@pytest.mark.threat("T135")
def test_it_is_no_id_token(ada):
    token = sign_in_at_client(ada)["access_token"]
    assert ada.get("/oauth/logout", query_string={"id_token_hint": token}).status_code == 400
    answer = ada.get("/oauth/authorize", query_string={"client_id": "web", "id_token_hint": token})
    assert answer.status_code == 400 or "error=invalid_request" in answer.headers["Location"]


def test_a_repeat_within_the_leeway_gets_the_same(ada, sleep):
    first = sign_in_at_client(ada)
    renewed = refresh(ada, first)
    sleep(9)
    repeated = refresh(ada, first)
    assert (repeated["access_token"], repeated["expires_in"]) == (renewed["access_token"], 591)


def test_after_it_a_repeat_is_a_theft(ada, sleep, rows):
    """Nobody sees whether the token was used, so "unused" says nothing."""
    first = sign_in_at_client(ada)
    refresh(ada, first)
    sleep(11)
    answer = ada.post("/oauth/token", data=refresh_request(first["refresh_token"]), auth=basic())
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_grant")
    assert rows(select(Token.id)) == []


@pytest.mark.parametrize(
    "settings",
    [
        Settings(
            issuer=ISSUER,
            database_url="sqlite://",
            secret_key=SECRET_KEY,
            signup="open",
            access_token_lifetime=30 * 24 * 3600,
        )
    ],
)
def test_none_lives_longer_than_its_key_is_published(ada):
    tokens = sign_in_at_client(ada)
    assert tokens["expires_in"] == 24 * 3600
    said = verified(ada, tokens["access_token"], "at+jwt")[1]
    assert said["exp"] - said["iat"] == 24 * 3600
