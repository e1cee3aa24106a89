"""A registration that was narrowed after the sign-in counts at the next refresh (RFC 6749 §3.3, §6), and at a
repeat of one.
"""

import json

import pytest

from crypto.credentials import digest
from database.tenancy import HOME
from models import Client, Token, db
from tests.builders import a_user, basic, refresh_request
from tests.openid import an_openid_client, id_token_of, refresh, sign_in_at_client, userinfo, verified
from tests.pages.steps import sign_in
from tests.statements import select

WISH = json.dumps({"id_token": {"email": None, "name": None}, "userinfo": {"email": None}})


@pytest.fixture
def ada(http, seed, sleep):
    """Ada has signed in, and the clock stands still."""
    seed(a_user(), an_openid_client())
    sign_in(http)
    return http


@pytest.fixture
def register(app):
    def register(**changed):
        with app.app_context():
            client = db.session.get(Client, (HOME, "web"))
            for name, value in changed.items():
                setattr(client, name, value)
            db.session.commit()

    return register


def refused(http, tokens, **changed):
    answer = http.post("/oauth/token", data=refresh_request(tokens["refresh_token"], **changed), auth=basic())
    assert answer.status_code == 400
    return answer.json["error"]


@pytest.mark.threat("T085")
@pytest.mark.parametrize("asked", [{}, {"scope": "openid profile email"}])
def test_the_next_access_token_has_what_is_left(ada, register, rows, asked):
    """The answer says so; the grant stays, for a registration that is widened again: the person has allowed
    it.
    """
    first = sign_in_at_client(ada)
    register(scope="openid profile")
    second = refresh(ada, first, **asked)
    assert second["scope"] == "openid profile"
    assert rows(select(Token.scope, Token.access_token_scope)) == [("openid profile email", "openid profile")]
    assert "email" not in userinfo(ada, second).json
    register(scope="openid profile email")
    assert refresh(ada, second)["scope"] == "openid profile email"


def test_without_openid_there_is_no_id_token_any_more(ada, register):
    first = sign_in_at_client(ada)
    register(scope="profile")
    assert "id_token" not in refresh(ada, first)


def test_claims_that_were_asked_for_one_by_one_go_with_their_scopes(ada, register):
    first = sign_in_at_client(ada, scope="openid", claims=WISH)
    assert id_token_of(ada, first)["email"] == "ada@example.com"
    register(scope="openid profile")
    second = refresh(ada, first)
    said = id_token_of(ada, second)
    assert (said.get("email"), said["name"]) == (None, "Ada")
    assert "email" not in userinfo(ada, second).json


@pytest.mark.threat("T085")
@pytest.mark.parametrize("asked", [{}, {"scope": "email"}])
def test_where_nothing_is_left_nothing_is_given_and_nothing_ends(ada, register, rows, asked):
    first = sign_in_at_client(ada, scope="profile email")
    register(scope="read")
    assert refused(ada, first, **asked) == "invalid_scope"
    assert rows(select(Token.access_token_digest)) == [(digest(first["access_token"]),)]
    register(scope="email")
    assert refresh(ada, first)["scope"] == "email"


def test_a_theft_is_found_where_nothing_is_left_too(ada, register, rows):
    first = sign_in_at_client(ada, scope="profile")
    refresh(ada, refresh(ada, first))
    register(scope="read")
    assert refused(ada, first) == "invalid_grant"
    assert rows(select(Token.id)) == []


def test_a_grant_without_any_scope_goes_on(ada, register, seed):
    register(scope="")
    first = sign_in_at_client(ada, scope=None)
    assert "scope" not in refresh(ada, first)


@pytest.mark.parametrize("form", ["opaque", "jwt"])
def test_a_repeat_hands_out_no_more_than_what_is_left(ada, register, rows, form):
    """The access token of the lost answer is worth too much: another one takes its place, and the refresh
    token stays.
    """
    register(extra_metadata={"access_token_format": form})
    first = sign_in_at_client(ada)
    lost = refresh(ada, first)
    register(scope="openid profile")
    again = refresh(ada, first)
    assert (again["scope"], again["refresh_token"]) == ("openid profile", lost["refresh_token"])
    assert again["access_token"] != lost["access_token"]
    if form == "jwt":
        assert verified(ada, again["access_token"], "at+jwt")[1]["scope"] == "openid profile"
    assert userinfo(ada, lost).status_code == 401
    assert "email" not in userinfo(ada, again).json
    third = refresh(ada, first)
    assert (third["access_token"], third["scope"]) == (again["access_token"], again["scope"])
    assert refresh(ada, again)["scope"] == "openid profile"
    assert len(rows(select(Token.id))) == 1


def test_a_repeat_of_which_nothing_is_left_is_refused_and_ends_nothing(ada, register, rows):
    first = sign_in_at_client(ada, scope="email")
    lost = refresh(ada, first)
    register(scope="profile")
    assert refused(ada, first) == "invalid_scope"
    assert rows(select(Token.access_token_digest)) == [(digest(lost["access_token"]),)]


def test_a_repeat_after_the_registration_was_widened_gets_the_same_pair(ada, register):
    """What the first refresh asked for decides whether it is the same again, not what it got."""
    first = sign_in_at_client(ada)
    register(scope="openid profile")
    lost = refresh(ada, first)
    register(scope="openid profile email")
    again = refresh(ada, first)
    assert (again["access_token"], again["scope"]) == (lost["access_token"], "openid profile")


@pytest.mark.threat("T068")
def test_a_client_without_the_grant_any_more_gets_nothing(ada, register, rows):
    first = sign_in_at_client(ada)
    register(grant_types=["authorization_code"])
    assert refused(ada, first) == "unauthorized_client"
    assert len(rows(select(Token.id))) == 1


def test_a_redirect_uri_that_is_registered_no_more_ends_no_sign_in(ada, register):
    """RFC 6749 §6 does not ask for it: the code went there long ago."""
    first = sign_in_at_client(ada)
    register(redirect_uris=["https://app.example/another"])
    assert refresh(ada, first)["scope"] == "openid profile email"
