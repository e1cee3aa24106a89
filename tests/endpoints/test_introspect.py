"""`POST /oauth/introspect` (RFC 7662): who may know what about which token."""

import pytest

from crypto.credentials import digest
from models import Token
from protocol import clock
from protocol.registered_client import NEVER
from tests.builders import (
    CLIENT_SECRET,
    ISSUER,
    a_client,
    a_machine,
    a_public_client,
    a_refresh_token,
    a_token,
    a_user,
    basic,
    refresh_request,
)
from tests.openid import an_openid_client, refresh, sign_in_at_client, verified
from tests.pages.steps import sign_in
from tests.statements import select

ACCESS_TOKEN = "ost_at_" + "a" * 43
INACTIVE = {"active": False}


@pytest.fixture
def introspect(http):
    def introspect(token=ACCESS_TOKEN, client_id="api", **more):
        return http.post("/oauth/introspect", data={"token": token} | more, auth=basic(client_id))

    return introspect


def a_resource_server(**changed):
    return a_client(
        **{"client_id": "api", "grant_types": [], "redirect_uris": [], "is_resource_server": True} | changed
    )


@pytest.fixture
def family(seed):
    """The current refresh token of user 1 at "web", whose access token is ACCESS_TOKEN; "api" is a resource
    server.
    """
    token = a_refresh_token()
    known = {"access_token_digest": digest(ACCESS_TOKEN), "access_token_scope": "profile"}
    seed(a_user(), a_client(), a_resource_server(), a_client(client_id="other"), a_token(token, **known))
    return token


def test_a_resource_server_learns_about_an_access_token(introspect, family, rows):
    [(issued_at, expires_at, auth_time)] = rows(
        select(Token.issued_at, Token.access_token_expires_at, Token.auth_time)
    )
    answer = introspect()
    assert answer.status_code == 200
    assert answer.json == {
        "active": True,
        "iss": ISSUER,
        "client_id": "web",
        "scope": "profile",
        "sub": "sub-of-ada",
        "token_type": "Bearer",
        "iat": issued_at // clock.MICROSECONDS,
        "exp": expires_at,
        "username": "Ada",
        "auth_time": auth_time,
    }
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("scope", "person", "username"),
    [
        ("profile email read", {}, "ada@example.com"),
        ("email", {"name": ""}, "ada@example.com"),
        ("profile", {}, "Ada"),
        ("profile", {"claims": {"preferred_username": "ada.l"}}, "ada.l"),
        ("profile", {"name": ""}, None),
        ("openid read", {}, None),
        ("", {}, None),
    ],
)
def test_a_person_has_a_name_where_the_scope_shows_one(introspect, seed, scope, person, username):
    """RFC 7662 §2.2, for servers that know people by name."""
    token = {
        "access_token_digest": digest(ACCESS_TOKEN),
        "access_token_scope": scope,
        "scope": "profile email",
    }
    seed(a_user(**person), a_client(), a_resource_server(), a_token(**token))
    assert introspect().json.get("username") == username


@pytest.mark.parametrize("scope", ["openid profile", "profile"])
@pytest.mark.parametrize("form", ["opaque", "jwt"])
def test_how_and_when_the_person_signed_in(http, seed, sleep, scope, form):
    """RFC 9470 §6.2, with `openid` and without; no refresh moves it, and a JWT says the same (RFC 9068
    §2.2.1).
    """
    seed(a_user(), an_openid_client(extra_metadata={"access_token_format": form}), a_resource_server())
    sign_in(http)
    signed_in_at = clock.now()
    tokens = sign_in_at_client(http, scope=scope)
    for _time in range(3):
        said = http.post("/oauth/introspect", data={"token": tokens["access_token"]}, auth=basic("api")).json
        assert (said["auth_time"], said["acr"]) == (signed_in_at, "urn:ostiary:acr:password")
        if form == "jwt":
            inside = verified(http, tokens["access_token"], "at+jwt")[1]
            assert (inside["auth_time"], inside["acr"]) == (said["auth_time"], said["acr"])
        sleep(100)
        tokens = refresh(http, tokens)


def test_the_version_before_kept_how_with_openid_alone(introspect, seed):
    token = {"access_token_digest": digest(ACCESS_TOKEN), "openid": {"acr": "urn:ostiary:acr:password"}}
    seed(a_user(), a_client(), a_resource_server(), a_token(**token))
    assert introspect().json["acr"] == "urn:ostiary:acr:password"


def test_and_about_nothing_else(introspect, family):
    assert introspect(family).json == INACTIVE


def test_a_client_learns_about_its_own_tokens(introspect, family):
    assert introspect(client_id="web").json["sub"] == "sub-of-ada"
    of_refresh_token = introspect(family, client_id="web").json
    assert of_refresh_token["active"] is True
    assert of_refresh_token["scope"] == "profile email"
    assert "token_type" not in of_refresh_token


@pytest.mark.threat("T090")
def test_and_not_about_those_of_others(introspect, family):
    assert introspect(client_id="other").json == INACTIVE
    assert introspect(family, client_id="other").json == INACTIVE


@pytest.mark.threat("T089")
@pytest.mark.parametrize("token", ["x", "ost_at_" + "b" * 43, "ost_rt_" + "a" * 77])
def test_an_unknown_token_is_inactive(introspect, family, token):
    answer = introspect(token)
    assert (answer.status_code, answer.json) == (200, INACTIVE)


@pytest.mark.threat("T089")
def test_a_replaced_token_is_inactive(introspect, family, http):
    pair = http.post("/oauth/token", data=refresh_request(family), auth=basic()).json
    assert introspect().json == INACTIVE
    assert introspect(family, client_id="web").json == INACTIVE
    assert introspect(pair["access_token"]).json["active"] is True
    assert introspect(pair["refresh_token"], client_id="web").json["active"] is True


@pytest.mark.threat("T089")
@pytest.mark.parametrize(
    ("person", "token"),
    [({}, {"access_token_expires_at": 1}), ({"disabled_at": 1}, {}), ({"id": 2, "sub": "b"}, {})],
    ids=["expired", "the person is disabled", "the person is gone"],
)
def test_a_token_that_is_good_for_nothing(introspect, seed, person, token):
    seed(
        a_user(**person),
        a_client(),
        a_resource_server(),
        a_token(access_token_digest=digest(ACCESS_TOKEN), **token),
    )
    assert introspect().json == INACTIVE


def test_a_refresh_token_that_never_expires_says_no_exp(introspect, seed):
    token = a_refresh_token()
    seed(a_user(), a_client(refresh_token_idle_lifetime=NEVER), a_token(token, refresh_token_expires_at=None))
    assert "exp" not in introspect(token, client_id="web").json


def test_a_machines_token_is_nobodys(introspect, seed):
    machine = {"client_id": "robot", "user_id": None, "slot": None}
    seed(a_machine(), a_resource_server(), a_token(access_token_digest=digest(ACCESS_TOKEN), **machine))
    answer = introspect().json
    assert answer["client_id"] == "robot"
    assert "sub" not in answer


def test_looking_is_using(introspect, family, rows):
    introspect(client_id="other")  # who may not know it has not used it
    introspect(family, client_id="web")  # nor is the refresh token the access token
    assert rows(select(Token.used_at)) == [(None,)]
    introspect()
    assert rows(select(Token.used_at)) != [(None,)]


@pytest.mark.threat("T090")
@pytest.mark.parametrize("auth", [None, ("api", "wrong"), ("nobody", CLIENT_SECRET)])
def test_without_authentication_it_answers_401(http, family, auth):
    answer = http.post("/oauth/introspect", data={"token": ACCESS_TOKEN}, auth=auth)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.threat("T090")
def test_a_public_client_is_refused(http, family, seed):
    seed(a_public_client())
    answer = http.post("/oauth/introspect", data={"token": ACCESS_TOKEN, "client_id": "spa"})
    assert answer.status_code == 401


@pytest.mark.threat("T054")
def test_a_malformed_request_is_refused(http, family):
    for request in (
        {"data": {}},
        {"json": {"token": "x"}},
        {"data": {"token": "x"}, "query_string": "token=x"},
    ):
        answer = http.post("/oauth/introspect", auth=basic("api"), **request)
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_it_costs_at_most_two_statements(introspect, family, statements):
    introspect()
    statements.clear()
    assert introspect().json["active"] is True
    assert len([sql for sql in statements if sql != "COMMIT"]) <= 2


# ---- as a signed JWT (RFC 9701) ----------------------------------------------------------------------------

SIGNED = {"Accept": "application/token-introspection+jwt"}


@pytest.mark.parametrize(
    ("registered", "alg"), [({}, "RS256"), ({"introspection_signed_response_alg": "ES256"}, "ES256")]
)
def test_signed_for_who_asks_for_it(http, seed, sleep, registered, alg):
    api = a_client(
        client_id="api", grant_types=[], redirect_uris=[], is_resource_server=True, extra_metadata=registered
    )
    seed(a_user(), a_client(), api, a_token(access_token_digest=digest(ACCESS_TOKEN)))
    plain = http.post("/oauth/introspect", data={"token": ACCESS_TOKEN}, auth=basic("api"))
    answer = http.post("/oauth/introspect", data={"token": ACCESS_TOKEN}, auth=basic("api"), headers=SIGNED)
    assert (answer.mimetype, answer.headers["Cache-Control"]) == (
        "application/token-introspection+jwt",
        "no-store",
    )
    header, said = verified(http, answer.text, "token-introspection+jwt")
    assert header["alg"] == alg
    assert said == {"iss": ISSUER, "aud": "api", "iat": clock.now(), "token_introspection": plain.json}
    assert plain.mimetype == "application/json" and plain.json["active"] is True


def test_that_a_token_is_inactive_can_be_signed_too(http, seed):
    seed(a_client(client_id="api", grant_types=[], redirect_uris=[], is_resource_server=True))
    answer = http.post("/oauth/introspect", data={"token": "x"}, auth=basic("api"), headers=SIGNED)
    assert verified(http, answer.text, "token-introspection+jwt")[1]["token_introspection"] == {
        "active": False
    }


def test_a_refusal_is_json_all_the_same(http, seed):
    answer = http.post("/oauth/introspect", data={"token": "x"}, auth=basic("nobody"), headers=SIGNED)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json, application/token-introspection+jwt;q=0.5", "text/html", ""]
)
def test_json_where_it_is_as_welcome(http, seed, accept):
    seed(a_client())
    answer = http.post("/oauth/introspect", data={"token": "x"}, auth=basic(), headers={"Accept": accept})
    assert answer.json == {"active": False}
