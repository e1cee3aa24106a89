"""ID tokens: what they say, who signs them, and what a refresh leaves of them (OpenID Connect Core §2,
§3.1.3.6, §12.2).
"""

import hashlib
import json
from base64 import urlsafe_b64encode

import pytest

from models import AuthorizationCode, Token
from protocol import claims, clock
from tests.builders import ISSUER, REDIRECT_URI, a_user, basic, refresh_request
from tests.openid import (
    an_openid_client,
    authorize,
    id_token_of,
    refresh,
    sign_in_at_client,
    tokens_for,
    userinfo,
    verified,
)
from tests.pages.steps import sign_in
from tests.statements import select

PAIRWISE = {"subject_type": "pairwise"}


@pytest.fixture
def ada(http, seed, sleep):
    """Ada has just signed in, and the clock stands still."""
    seed(
        a_user(email_verified_at=1, claims={"given_name": "Ada", "nickname": "Countess"}), an_openid_client()
    )
    sign_in(http)
    return http


def half_digest(access_token, name):
    digest = hashlib.new(name, access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def test_what_it_says(ada):
    tokens = sign_in_at_client(ada, nonce="n-0S6_WzA2Mj")
    now, said = clock.now(), id_token_of(ada, tokens)
    sid = said.pop("sid")
    assert len(sid) == 22
    assert said == {
        "iss": ISSUER,
        "sub": "sub-of-ada",
        "aud": "web",
        "azp": "web",
        "iat": now,
        "exp": now + 3600,
        "auth_time": now,
        "nonce": "n-0S6_WzA2Mj",
        "acr": "urn:ostiary:acr:password",
        "amr": ["pwd"],
        "at_hash": half_digest(tokens["access_token"], "sha256"),
    }


def test_only_where_openid_was_granted(ada):
    assert "id_token" not in sign_in_at_client(ada, scope="profile email")
    both = sign_in_at_client(ada)
    assert "id_token" in both
    assert "id_token" not in refresh(ada, both, scope="profile")
    assert "id_token" in refresh(ada, sign_in_at_client(ada), scope="openid")


@pytest.mark.threat("T131")
@pytest.mark.parametrize(
    ("alg", "hash_name"), [("RS256", "sha256"), ("ES256", "sha256"), ("EdDSA", "sha512")]
)
def test_the_alg_that_the_client_registered(http, seed, alg, hash_name):
    seed(a_user(), an_openid_client(extra_metadata={"id_token_signed_response_alg": alg}))
    sign_in(http)
    tokens = sign_in_at_client(http)
    header, said = verified(http, tokens["id_token"])
    assert header["alg"] == alg
    assert said["at_hash"] == half_digest(tokens["access_token"], hash_name)


@pytest.mark.parametrize("nonce", ["naïve Ж 漢字 👩\u200d🚀", '"\\<>&%2B+', "n" * 4_096])
def test_a_nonce_in_any_letters_is_the_clients_own(ada, nonce):
    assert id_token_of(ada, sign_in_at_client(ada, nonce=nonce))["nonce"] == nonce


@pytest.mark.threat("T132")
def test_the_nonce_is_of_this_request_only(ada):
    first, second = authorize(ada, nonce="first"), authorize(ada, nonce="second")
    without = authorize(ada)
    assert id_token_of(ada, tokens_for(ada, second["code"]))["nonce"] == "second"
    assert "nonce" not in id_token_of(ada, tokens_for(ada, without["code"]))
    assert id_token_of(ada, tokens_for(ada, first["code"]))["nonce"] == "first"


@pytest.mark.threat("T085")
def test_a_refreshed_one_speaks_of_the_same_sign_in(ada, sleep):
    first = sign_in_at_client(ada, nonce="once")
    said = id_token_of(ada, first)
    sleep(100)
    renewed = refresh(ada, first)
    said_again = id_token_of(ada, renewed)
    assert said_again["iat"] == said["iat"] + 100
    assert "nonce" not in said_again
    for name in ("iss", "sub", "aud", "azp", "auth_time", "acr", "amr", "sid"):
        assert said_again[name] == said[name]
    assert said_again["at_hash"] == half_digest(renewed["access_token"], "sha256") != said["at_hash"]


def test_a_repeated_refresh_gets_one_made_anew(ada, sleep):
    first = sign_in_at_client(ada)
    renewed = refresh(ada, first)
    sleep(2)
    repeated = refresh(ada, first)
    assert repeated["access_token"] == renewed["access_token"]
    assert id_token_of(ada, repeated)["iat"] == id_token_of(ada, renewed)["iat"] + 2
    assert id_token_of(ada, repeated)["at_hash"] == half_digest(repeated["access_token"], "sha256")


def test_claims_that_were_asked_for_by_name(ada):
    wanted = json.dumps(
        {"id_token": {"given_name": {"essential": True}, "email": None, "phone_number": None, "odd": None}}
    )
    tokens = sign_in_at_client(ada, claims=wanted)
    said = id_token_of(ada, tokens)
    assert (said["given_name"], said["email"]) == ("Ada", "ada@example.com")
    assert "phone_number" not in said and "odd" not in said and "name" not in said
    assert id_token_of(ada, refresh(ada, tokens))["given_name"] == "Ada"


def test_the_sid_is_of_the_session_and_the_client(ada, seed):
    seed(an_openid_client(client_id="other"))
    first, second = (id_token_of(ada, sign_in_at_client(ada))["sid"] for _ in range(2))
    assert first == second
    assert id_token_of(ada, sign_in_at_client(ada, client_id="other"))["sid"] != first
    sign_in(ada)  # again, as the same person: the session goes on
    assert id_token_of(ada, sign_in_at_client(ada))["sid"] == first


# ---- pairwise subjects -------------------------------------------------------------------------------------


def test_each_sector_knows_a_person_by_another_sub(http, seed):
    elsewhere = "https://elsewhere.example/cb"
    seed(
        a_user(),
        an_openid_client(extra_metadata=PAIRWISE),
        an_openid_client(
            client_id="same",
            extra_metadata=PAIRWISE | {"sector_identifier_uri": "https://app.example/s.json"},
        ),
        an_openid_client(client_id="far", redirect_uris=[elsewhere], extra_metadata=PAIRWISE),
        an_openid_client(client_id="open"),
    )
    sign_in(http)
    subs = {}
    for client_id in ("web", "same", "far", "open"):
        uri = {"redirect_uri": elsewhere if client_id == "far" else REDIRECT_URI}
        tokens = tokens_for(http, authorize(http, client_id=client_id, **uri)["code"], client_id, **uri)
        subs[client_id] = id_token_of(http, tokens)["sub"]
        assert userinfo(http, tokens).json["sub"] == subs[client_id]
        me = http.get("/api/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json
        assert me["sub"] == subs[client_id]
        assert id_token_of(http, refresh(http, tokens, client_id))["sub"] == subs[client_id]
    assert subs["open"] == "sub-of-ada"
    assert subs["web"] == subs["same"]
    assert len(set(subs.values())) == 3
    assert all(len(sub) <= 43 for sub in subs.values())


def test_two_people_have_two(http, seed):
    seed(a_user(), a_user(id=2, sub="b", email="bo@example.com"), an_openid_client(extra_metadata=PAIRWISE))
    subs = []
    for email in ("ada@example.com", "bo@example.com"):
        sign_in(http, email=email)
        subs.append(id_token_of(http, sign_in_at_client(http))["sub"])
    assert len(set(subs)) == 2


# ---- what is stored ----------------------------------------------------------------------------------------


def test_a_code_tells_nothing_of_its_request(ada, rows):
    wanted = json.dumps({"id_token": {"nickname": None}})
    authorize(ada, nonce="planted-nonce", state="planted-state", claims=wanted)
    stored = repr(rows(select(AuthorizationCode.__table__)))
    assert "planted" not in stored and "nickname" not in stored


def test_a_plain_oauth_client_costs_no_row_space(ada, rows):
    sign_in_at_client(ada, scope="profile")
    assert rows(select(Token.openid)) == [(None,)]


# ---- the budget --------------------------------------------------------------------------------------------


def test_an_exchange_with_an_id_token_costs_at_most_seven_statements(ada, statements):
    """The very first, which makes the keys, has one more than those that only read them; most read none."""
    costs = []
    for _exchange in range(3):
        code = authorize(ada)["code"]
        statements.clear()
        tokens_for(ada, code)
        assert statements.count("COMMIT") == 1
        assert sum(sql.startswith("DELETE FROM token") for sql in statements) == 1
        costs.append(len([sql for sql in statements if sql not in ("COMMIT", "ROLLBACK")]))
    assert costs == [7, 6, 5]


def test_the_digest_of_the_access_token_belongs_to_the_alg():
    assert claims.at_hash("abc", "ES256") == half_digest("abc", "sha256")
    assert claims.at_hash("abc", "EdDSA") == half_digest("abc", "sha512")
    with pytest.raises(ValueError):
        claims.at_hash("abc", "XX999")


# ---- clocks ------------------------------------------------------------------------------------------------


@pytest.mark.threat("T170")
@pytest.mark.parametrize("jump", [-3600, 3600])
def test_a_clock_that_jumps_makes_no_token_live_longer(ada, sleep, jump):
    """Nothing counts from the end of what was before: a family's absolute end stays, and no lifetime is
    negative.
    """
    first = sign_in_at_client(ada)
    sleep(jump)
    answer = ada.post("/oauth/token", data=refresh_request(first["refresh_token"]), auth=basic())
    assert answer.status_code == 200
    assert 0 <= answer.json["expires_in"] <= 600
    introspected = ada.post(
        "/oauth/introspect", data={"token": answer.json["refresh_token"]}, auth=basic()
    ).json
    assert introspected["exp"] <= clock.now() + 30 * 24 * 3600
    said = id_token_of(ada, answer.json)
    assert said["iat"] < said["exp"] <= clock.now() + 3600
    sleep(366 * 24 * 3600 - jump)
    late = ada.post("/oauth/token", data=refresh_request(answer.json["refresh_token"]), auth=basic())
    assert (late.status_code, late.json["error"]) == (400, "invalid_grant")
