"""`/oauth/userinfo`: which claims for which scope, in which form, and for which tokens (OpenID Connect Core
§5.3, §5.4, §5.5).
"""

import json

import pytest

from models import Scope, Token, User, db
from protocol import clock
from tests.builders import a_machine, a_user, basic
from tests.openid import (
    an_openid_client,
    authorize,
    id_token_of,
    refresh,
    sign_in_at_client,
    userinfo,
    verified,
)
from tests.pages.steps import ask, page, press, sign_in
from tests.statements import select, update
from unit_of_work import transaction

ADDRESS = {"formatted": "12 St James's Square\nLondon", "country": "GB"}
CLAIMS = {
    "given_name": "Ada",
    "family_name": "Lovelace",
    "locale": "en-GB",
    "phone_number": "+44 20 7946 0000",
    "phone_number_verified": False,
    "address": ADDRESS,
}


@pytest.fixture
def ada(http, seed):
    seed(a_user(created_at=1000, updated_at=2000, claims=CLAIMS), an_openid_client())
    sign_in(http)
    return http


PROFILE = {
    "name": "Ada",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "locale": "en-GB",
    "updated_at": 2000,
}
EMAIL = {"email": "ada@example.com", "email_verified": False}
PHONE = {"phone_number": "+44 20 7946 0000", "phone_number_verified": False}


@pytest.mark.parametrize(
    ("scope", "members"),
    [
        ("openid", {}),
        ("openid profile", PROFILE),
        ("openid email", EMAIL),
        ("openid address", {"address": ADDRESS}),
        ("openid phone", PHONE),
        ("phone email openid address profile", PROFILE | EMAIL | PHONE | {"address": ADDRESS}),
    ],
)
def test_the_claims_of_a_scope(ada, scope, members):
    answer = userinfo(ada, sign_in_at_client(ada, scope=scope))
    assert answer.status_code == 200
    assert answer.json == {"sub": "sub-of-ada"} | members
    assert answer.headers["Cache-Control"] == "no-store" and answer.mimetype == "application/json"


def test_a_refresh_with_less_tells_less(ada):
    tokens = refresh(ada, sign_in_at_client(ada, scope="openid profile email"), scope="openid email")
    assert userinfo(ada, tokens).json == {"sub": "sub-of-ada"} | EMAIL


def test_claims_that_were_asked_for_by_name(ada):
    wanted = {
        "userinfo": {
            "given_name": {"essential": True},
            "nickname": {"essential": True},
            "odd": None,
            "sub": None,
        }
    }
    tokens = sign_in_at_client(ada, scope="openid", claims=json.dumps(wanted))
    assert userinfo(ada, tokens).json == {"sub": "sub-of-ada", "given_name": "Ada"}
    assert userinfo(ada, refresh(ada, tokens)).json == {"sub": "sub-of-ada", "given_name": "Ada"}


def test_what_has_changed_is_told_at_once(ada, app):
    tokens = sign_in_at_client(ada, scope="openid email")
    with app.app_context(), transaction():
        db.session.execute(update(User).values(email="new@example.com", email_verified_at=clock.now()))
    assert userinfo(ada, tokens).json == {
        "sub": "sub-of-ada",
        "email": "new@example.com",
        "email_verified": True,
    }


# ---- how the token comes -----------------------------------------------------------------------------------


@pytest.fixture
def token(ada):
    return sign_in_at_client(ada, scope="openid")["access_token"]


@pytest.mark.threat("T092")
def test_in_the_header_of_both_methods_or_in_the_form(ada, token):
    header = {"Authorization": f"Bearer {token}"}
    answers = [
        ada.get("/oauth/userinfo", headers=header),
        ada.post("/oauth/userinfo", headers=header),
        ada.post("/oauth/userinfo", data={"access_token": token}),
    ]
    assert [(answer.status_code, answer.json) for answer in answers] == [(200, {"sub": "sub-of-ada"})] * 3


@pytest.mark.threat("T092")
def test_ways_that_are_refused(ada, token):
    header = {"Authorization": f"Bearer {token}"}
    for answer in (
        ada.post("/oauth/userinfo", headers=header, data={"access_token": token}),
        ada.post("/oauth/userinfo", data={"access_token": [token, token]}),
        ada.get("/oauth/userinfo", query_string={"access_token": token}),
        ada.get("/oauth/userinfo", headers=header, query_string={"access_token": token}),
    ):
        assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")
        assert token not in answer.text


@pytest.mark.threat("T092", "T135")
def test_tokens_that_are_refused(ada, seed):
    tokens = sign_in_at_client(ada)
    nothing = ada.get("/oauth/userinfo")
    assert (nothing.status_code, nothing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="ostiary"')
    for text in ("x", tokens["refresh_token"], tokens["id_token"], "ost_at_" + "x" * 43):
        answer = userinfo(ada, {"access_token": text})
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.threat("T092")
def test_a_token_without_openid(ada, seed):
    seed(a_machine())
    machine = ada.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("robot")).json
    for tokens in (sign_in_at_client(ada, scope="profile email"), machine):
        answer = userinfo(ada, tokens)
        assert (answer.status_code, answer.json["error"]) == (403, "insufficient_scope")
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_the_first_use_is_noted(ada, token, rows):
    userinfo(ada, {"access_token": token})
    assert rows(select(Token.used_at)) != [(None,)]


# ---- as a signed JWT ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_signed_for_a_client_that_asked_for_it(http, seed, alg):
    seed(a_user(claims=CLAIMS), an_openid_client(extra_metadata={"userinfo_signed_response_alg": alg}))
    sign_in(http)
    answer = userinfo(http, sign_in_at_client(http, scope="openid phone"))
    assert answer.mimetype == "application/jwt"
    header, members = verified(http, answer.text)
    assert header["alg"] == alg
    assert members == {"iss": "https://op.example", "aud": "web", "sub": "sub-of-ada"} | PHONE


def test_the_budget(ada, token, statements):
    userinfo(ada, {"access_token": token})
    statements.clear()
    userinfo(ada, {"access_token": token})
    assert len([sql for sql in statements if sql not in ("COMMIT", "ROLLBACK")]) <= 2


# ---- groups ------------------------------------------------------------------------------------------------


@pytest.fixture
def grace(http, seed):
    """Somebody in two groups, at a client that is registered for the scope and at one that is not."""
    seed(Scope(name="groups", description="See which groups you are in"))
    seed(a_user(claims={"groups": ["admins", "Domain Users"]}), an_openid_client(scope="openid groups"))
    seed(an_openid_client(client_id="other", scope="openid"))
    sign_in(http)
    return http


def test_groups_are_told_to_a_client_that_the_person_lets_see_them(grace):
    assert "See which groups you are in" in page(ask(grace, scope="openid groups")).text
    tokens = sign_in_at_client(grace, scope="openid groups")
    assert userinfo(grace, tokens).json == {"sub": "sub-of-ada", "groups": ["admins", "Domain Users"]}
    assert "groups" not in id_token_of(grace, tokens)


def test_groups_stand_in_the_id_token_where_they_are_asked_for_there(grace):
    wish = json.dumps({"id_token": {"groups": {"essential": True}}})
    assert "See which groups you are in" in page(ask(grace, scope="openid", claims=wish)).text
    assert id_token_of(grace, sign_in_at_client(grace, scope="openid", claims=wish))["groups"] == [
        "admins",
        "Domain Users",
    ]


def test_groups_are_for_clients_that_are_registered_for_them(grace):
    assert authorize(grace, client_id="other", scope="openid groups")["error"] == "invalid_scope"
    wish = json.dumps({"userinfo": {"groups": None}})
    tokens = sign_in_at_client(grace, client_id="other", scope="openid", claims=wish)
    assert userinfo(grace, tokens).json == {"sub": "sub-of-ada"}


@pytest.mark.parametrize(("claims", "told"), [({}, {}), ({"groups": []}, {"groups": []})])
def test_who_is_in_no_group(http, seed, claims, told):
    """An empty list is said, so that an application takes away what it gave."""
    seed(
        Scope(name="groups", description="x"), a_user(claims=claims), an_openid_client(scope="openid groups")
    )
    sign_in(http)
    tokens = sign_in_at_client(http, scope="openid groups")
    assert userinfo(http, tokens).json == {"sub": "sub-of-ada"} | told


# ---- asked for by name, allowed by scope -------------------------------------------------------------------

WISH = json.dumps({"userinfo": {"phone_number": None, "email": None}, "id_token": {"email": None}})


def test_a_claim_by_itself_is_no_way_around_the_registration(http, seed):
    seed(a_user(claims=CLAIMS), an_openid_client(scope="openid"))
    sign_in(http)
    assert "See your email address" not in page(ask(http, scope="openid", claims=WISH)).text
    tokens = sign_in_at_client(http, scope="openid", claims=WISH)
    assert userinfo(http, tokens).json == {"sub": "sub-of-ada"}
    assert "email" not in id_token_of(http, tokens)


def test_what_is_asked_for_by_name_is_shown_and_remembered(ada):
    """A consent to `openid` alone is none to an address."""
    sign_in_at_client(ada, scope="openid")
    shown = ask(ada, scope="openid", claims=WISH)
    assert "See your email address" in page(shown).text
    press(ada, shown, "Allow")
    assert ask(ada, scope="openid", claims=WISH, prompt="none").status_code == 303
    tokens = sign_in_at_client(ada, scope="openid", claims=WISH)
    assert userinfo(ada, tokens).json == {
        "sub": "sub-of-ada",
        "email": "ada@example.com",
        "phone_number": CLAIMS["phone_number"],
    }
    assert tokens["scope"] == "openid"
