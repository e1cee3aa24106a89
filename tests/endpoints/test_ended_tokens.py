"""What has ended is nothing more to anybody, and what has not ended is not taken along (RFC 7662 §2.2, RFC
7009 §2).
"""

import pytest

from crypto.credentials import digest
from models import Token
from protocol import clock
from tests.builders import a_client, a_refresh_token, a_token, a_user, basic, refresh_request
from tests.statements import select

ACCESS_TOKENS = ["ost_at_" + letter * 43 for letter in "abc"]
INACTIVE = {"active": False}


@pytest.fixture
def post(http):
    return lambda path, client_id="web", **body: http.post(path, data=body, auth=basic(client_id))


@pytest.fixture
def family(seed):
    token = a_refresh_token()
    seed(
        a_user(),
        a_client(),
        a_client(client_id="api", grant_types=[], redirect_uris=[], is_resource_server=True),
    )
    seed(a_token(token, access_token_digest=digest(ACCESS_TOKENS[0])))
    return token


@pytest.mark.threat("T089")
def test_nothing_is_said_of_a_revoked_token(post, family):
    assert post("/oauth/introspect", "api", token=ACCESS_TOKENS[0]).json["active"] is True
    post("/oauth/revoke", token=family)
    for client_id, token in (("api", ACCESS_TOKENS[0]), ("web", ACCESS_TOKENS[0]), ("web", family)):
        answer = post("/oauth/introspect", client_id, token=token)
        assert (answer.status_code, answer.json) == (200, INACTIVE)


@pytest.mark.threat("T089")
def test_nor_of_one_that_was_rotated_or_ran_out(post, family, sleep):
    current = post("/oauth/token", **refresh_request(family)).json
    for client_id, token in (("api", ACCESS_TOKENS[0]), ("web", family)):
        assert post("/oauth/introspect", client_id, token=token).json == INACTIVE
    sleep(600)
    assert post("/oauth/introspect", "api", token=current["access_token"]).json == INACTIVE
    sleep(30 * 86_400)
    assert post("/oauth/introspect", "web", token=current["refresh_token"]).json == INACTIVE


@pytest.mark.threat("T086")
def test_a_token_without_a_family_ends_alone(post, seed, rows, http):
    """A client without refresh tokens: nothing in the rows is equal but what is missing in all of them."""
    seed(*(a_user(id=number, sub=f"sub{number}", email=f"p{number}@example.com") for number in (1, 2, 3)))
    seed(a_client(grant_types=["authorization_code"]))
    for number, token in enumerate(ACCESS_TOKENS, 1):
        seed(
            a_token(user_id=number, access_token_digest=digest(token), issued_at=clock.now_in_microseconds())
        )
    assert rows(select(Token.family_digest).distinct()) == [(None,)]
    assert post("/oauth/revoke", token=ACCESS_TOKENS[1]).status_code == 200
    assert sorted(rows(select(Token.user_id))) == [(1,), (3,)]
    assert http.get("/api/me", headers={"Authorization": f"Bearer {ACCESS_TOKENS[0]}"}).status_code == 200
