"""OpenID Connect, judged by clients of others: npm's oauth4webapi and openid-client, all their checks on, on
each engine.

Clients are registered by `flask clients add` as an operator does it, without a setting for the sake of a
library. What the libraries told of each step (`judges.py`) is compared here.
"""

import json

import pytest

from tests.builders import REDIRECT_URI
from tests.flows.browser_journey import EMAIL, add_client, add_person
from tests.flows.judges import body_error, challenged, judged, sent_back
from tests.jose import jwks, key_for

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

SCOPE = "openid profile email"
GOODBYE = "https://app.example/goodbye"


# ---- what each step has to come to -------------------------------------------------------------------------

ID_TOKEN = ["acr", "amr", "at_hash", "aud", "auth_time", "azp", "exp", "iat", "iss", "nonce", "sid", "sub"]
OF_THE_PERSON = ["email", "email_verified", "name", "sub", "updated_at"]
WITH_A_CODE = ["code", "iss", "state"]
SAME_SIGN_IN = {"same_sub": True, "same_sid": True, "same_auth_time": True}
GRANTED = {"scope": SCOPE}
AT_GOODBYE = {"to": GOODBYE, "state": "the state"}
BAD_TOKEN = challenged(401, scheme="bearer", error="invalid_token")
BAD_CLIENT = body_error("invalid_client", 401)
BAD_GRANT = body_error("invalid_grant")
LIVE = {"active": True, "scope": SCOPE, "is_of_the_client": True, "is_ours": True}
USERINFO = {"type": "application/json", "names": OF_THE_PERSON, "email": EMAIL}
SIGNED_USERINFO = USERINFO | {"type": "application/jwt", "names": sorted(["aud", "iss", *OF_THE_PERSON])}


def tokens(alg="RS256", scope=SCOPE, claims=()):
    return {
        "token_type": "bearer",
        "expires_in": 600,
        "scope": scope,
        "has_refresh_token": True,
        "alg": alg,
        "claims": sorted([*ID_TOKEN, *claims]),
    }


def sign_in(alg="RS256", userinfo=USERINFO):
    return {
        "authorize": WITH_A_CODE,
        "exchange": tokens(alg),
        "userinfo": userinfo,
        "refresh": SAME_SIGN_IN | {"has_nonce": False},
        "userinfo with what was replaced": BAD_TOKEN,
        "introspect": LIVE,
        "authorize without asking": WITH_A_CODE,
        "exchange what came of it": SAME_SIGN_IN | {"has_nonce": True},
        "revoke": "done",
        "userinfo with what was revoked": BAD_TOKEN,
        "refresh what was revoked": BAD_GRANT,
    }


def wish(name):
    return {f"authorize: {name}": WITH_A_CODE, f"exchange: {name}": GRANTED}


def refused_assertions(name, userinfo):
    return {
        f"authorize as {name}": WITH_A_CODE,
        f"for another server, as {name}": BAD_CLIENT,
        f"that has expired, as {name}": BAD_CLIENT,
        f"of another client, as {name}": BAD_CLIENT,
        f"with a jti, as {name}": tokens(),
        f"authorize again as {name}": WITH_A_CODE,
        f"with the same jti, as {name}": BAD_CLIENT,
        f"userinfo as {name}": userinfo,
    }


OAUTH4WEBAPI = {
    "discovery": {"discover": "done"},
    "RS256, client_secret_basic": sign_in(),
    "ES256, client_secret_post, form_post": sign_in("ES256"),
    "EdDSA, none": sign_in("EdDSA"),
    "signed userinfo, private_key_jwt": sign_in(userinfo=SIGNED_USERINFO),
    "client_secret_jwt": sign_in(),
    "signed requests, form_post": sign_in(),
    "wishes": {
        "authorize": WITH_A_CODE,
        "exchange": tokens(),
        **wish("sign in again"),
        **wish("a sign-in of this moment"),
        **wish("ask for consent again"),
        **wish("whoever the ID token names"),
        **wish("whoever the address names"),
        **wish("the language"),
        "authorize: claims": WITH_A_CODE,
        "exchange: claims": tokens(scope="openid", claims=["email"]),
        "userinfo: claims": {"type": "application/json", "names": ["name", "sub"]},
    },
    "pairwise": {
        "authorize at plain": WITH_A_CODE,
        "exchange at plain": GRANTED,
        "userinfo at plain": USERINFO,
        "authorize at pairwise": WITH_A_CODE,
        "exchange at pairwise": GRANTED,
        "userinfo at pairwise": USERINFO,
        "compare": {"are_the_same": False},
    },
    "access tokens": {
        "authorize": WITH_A_CODE,
        "exchange": tokens(),
        "read the access token": {"scope": SCOPE, "is_of_the_client": True, "same_sub": True},
        "introspect, signed": LIVE,
        "userinfo": USERINFO,
    },
    "logout": {
        "authorize": WITH_A_CODE,
        "exchange": tokens(),
        "sign out": AT_GOODBYE,
        "authorize without asking": sent_back("login_required"),
        "sign out where nobody is signed in": AT_GOODBYE,
        "sign in again": WITH_A_CODE,
        "sign out after a question": AT_GOODBYE,
        "authorize without asking again": sent_back("login_required"),
    },
    "refused authorization": {
        "authorize": WITH_A_CODE,
        "silently at a client that was never allowed": sent_back("login_required"),
        "silently and not": sent_back("invalid_request"),
        "a prompt that there is not": sent_back("invalid_request"),
        "an age that is none": sent_back("invalid_request"),
        "claims that are no JSON": sent_back("invalid_request"),
        "a way to sign in that there is not": sent_back("unmet_authentication_requirements"),
        "an ID token of nobody": sent_back("invalid_request"),
        "the person denies": sent_back("access_denied"),
        "a request object by reference": sent_back("request_uri_not_supported"),
        "the implicit flow": sent_back("unsupported_response_type"),
        "without PKCE": sent_back("invalid_request"),
    },
    "refused request objects": {
        "authorize": WITH_A_CODE,
        "nothing signed": sent_back("invalid_request"),
        "without a signature": sent_back("invalid_request_object"),
        "for another server": sent_back("invalid_request_object"),
        "of another client": sent_back("invalid_request_object"),
        "that has expired": sent_back("invalid_request_object"),
        "with another scope inside": sent_back("invalid_request"),
        "with another key": sent_back("invalid_request_object"),
        "with an unknown scope": sent_back("invalid_scope"),
    },
    "refused assertions": refused_assertions("private-key", SIGNED_USERINFO)
    | refused_assertions("secret-jwt", USERINFO),
    "refused userinfo": {
        "authorize": WITH_A_CODE,
        "exchange": {"scope": "email", "has_id_token": False},
        "userinfo": challenged(403, scheme="bearer", error="insufficient_scope"),
        "userinfo with an invented token": BAD_TOKEN,
    },
    "watchful": {
        "authorize": WITH_A_CODE,
        "another nonce": "OAUTH_JWT_CLAIM_COMPARISON_FAILED",
        "authorize at the client with ES256": WITH_A_CODE,
        "another alg": "OAUTH_INVALID_RESPONSE",
    },
}


def short_sign_in(is_public=False):
    return {
        "discover": "done",
        "authorize and exchange": {"scope": SCOPE, "has_refresh_token": True, "claims": ID_TOKEN},
        "userinfo": {"email": EMAIL, "name": "Ada"},
        "refresh": {"same_sub": True, "same_auth_time": True},
        "renew without asking": {"same_sub": True, "same_auth_time": True},
        **({} if is_public else {"introspect": {"active": True, "is_its_own": True}}),
        "revoke": "done",
        "userinfo with what was revoked": BAD_TOKEN,
        "refresh what was revoked": BAD_GRANT,
        "sign out": "/goodbye",
        "come back": {"has_its_state": True},
        "renew without asking after that": sent_back("login_required"),
    }


OPENID_CLIENT = {
    "RS256, client_secret_basic": short_sign_in(),
    "ES256, client_secret_post, form_post": short_sign_in(),
    "EdDSA, none": short_sign_in(is_public=True),
    "signed userinfo, private_key_jwt": short_sign_in(),
    "client_secret_jwt": short_sign_in(),
    "signed requests, form_post": short_sign_in(),
    "refusals": {
        "discover": "done",
        "nobody is signed in": sent_back("login_required"),
        "the person denies": sent_back("access_denied"),
        "an age that is none": sent_back("invalid_request"),
        # This library sends nothing beside its request object: without the state of a refused one, it could
        # not match the error.
        "a request object of a client without keys": sent_back("invalid_request_object"),
        "discover as a client that signs": "done",
        "nothing signed": sent_back("invalid_request"),
        "signed with another key": sent_back("invalid_request_object"),
    },
}

SCRIPTS = {"oauth4webapi-openid.mjs": OAUTH4WEBAPI, "openid-client-openid.mjs": OPENID_CLIENT}


# ---- the clients -------------------------------------------------------------------------------------------


def options(auth_method="client_secret_basic", **members):
    """Of `flask clients add`, for a client of a person."""
    given = {
        "--auth-method": auth_method,
        "--redirect-uri": REDIRECT_URI,
        "--post-logout-redirect-uri": GOODBYE,
    }
    scopes = [argument for scope in SCOPE.split() for argument in ("--scope", scope)]
    sets = [
        argument for name, value in members.items() for argument in ("--set", f"{name}={json.dumps(value)}")
    ]
    return [argument for option in given.items() for argument in option] + scopes + sets


KEYS = {"private-key": ("ES256", key_for("ES256", "mine")), "signed": ("RS256", key_for("RS256", "mine"))}
CLIENTS = {
    "plain": options(),
    "ES256": options("client_secret_post", id_token_signed_response_alg="ES256"),
    "EdDSA": options("none", id_token_signed_response_alg="EdDSA"),
    "private-key": options(
        "private_key_jwt", jwks=jwks(KEYS["private-key"][1]), userinfo_signed_response_alg="ES256"
    ),
    "secret-jwt": options("client_secret_jwt", token_endpoint_auth_signing_alg="HS256"),
    "signed": options(
        jwks=jwks(KEYS["signed"][1]), request_object_signing_alg="RS256", require_signed_request_object=True
    ),
    "pairwise": options(subject_type="pairwise"),
    "jwt": options(access_token_format="jwt"),
    "stranger": options(),
    "api": ["--resource-server"],
    "signed-api": ["--resource-server", "--set", 'introspection_signed_response_alg="RS256"'],
}


@pytest.fixture(scope="module")
def clients(judged_server):
    """By name, as they know themselves: their registration, and their own keys."""
    add_person(judged_server)
    clients = {
        name: {"name": name} | add_client(judged_server, name, *given) for name, given in CLIENTS.items()
    }
    for name, (alg, key) in KEYS.items():
        clients[name]["key"] = {"alg": alg, "jwk": key.as_dict(private=True)}
    return clients


test_step, test_every_step_is_compared = judged(SCRIPTS)
