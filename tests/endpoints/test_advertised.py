"""What discovery says is what is enforced: a walk through the whole document.

For each member there is a check here, or this file fails. For each list: every value in it works, and one
that is not in it does not.
"""

import json
from urllib.parse import urlsplit

import pytest

import store.logout_notices
from crypto.encryption import Cipher
from models import Scope
from protocol import clock
from tests.builders import CHALLENGE, ISSUER, REDIRECT_URI, SECRET_KEY, a_machine, a_user, basic
from tests.jose import assertion_claims, jwks, key_for, secret_key, sign, with_assertion
from tests.openid import (
    SCOPE,
    an_openid_client,
    authorize,
    id_token_of,
    sign_in_at_client,
    userinfo,
    verified,
)
from tests.pages.steps import answer_to_client, ask, authorization_path, follow, page, press, sign_in
from tests.protocol.test_client_metadata import problems

pytestmark = pytest.mark.thorough

DOCUMENTS = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
SECRET = "s" * 64
FULL = {
    "given_name": "Ada",
    "family_name": "King",
    "middle_name": "Augusta",
    "nickname": "Countess",
    "preferred_username": "ada",
    "profile": "https://ada.example/",
    "picture": "https://ada.example/a.png",
    "website": "https://ada.example/w",
    "gender": "female",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "phone_number": "+442079460000",
    "phone_number_verified": True,
    "address": {"country": "GB"},
    "groups": ["admins"],
}


@pytest.fixture
def ada(http, seed):
    seed(a_user(claims=FULL, email_verified_at=1), an_openid_client(client_name="Notebook"), a_machine())
    sign_in(http)
    return http


@pytest.fixture
def client(seed):
    """Register another client with these members and return its id."""
    made = iter(range(1_000))

    def client(**changed):
        client_id = f"c{next(made)}"
        seed(an_openid_client(client_id=client_id, **changed))
        return client_id

    return client


# ---- how a value shows that it works -----------------------------------------------------------------------


def asks(http, **parameters):
    """Whether a request with these parameters is put before the person, or answered with a code."""
    answer = follow(http, http.get(authorization_path(**{"scope": SCOPE} | parameters)))
    return answer.status_code == 200 or (
        answer.status_code == 303 and "error" not in answer.headers["Location"]
    )


def error_of(http, **parameters):
    return answer_to_client(http.get(authorization_path(**{"scope": SCOPE} | parameters)))["error"][0]


def scopes_work(http, client, seed, value):
    own = {"scope": value}
    return asks(http, client_id=client(**own), **own)


def response_types_work(http, client, seed, value):
    return asks(http, response_type=value)


def response_modes_work(http, client, seed, value):
    return asks(http, response_mode=value)


def grant_types_work(http, client, seed, value):
    body = {"grant_type": value}
    return http.post("/oauth/token", data=body, auth=basic()).json["error"] != "unsupported_grant_type"


def challenge_methods_work(http, client, seed, value):
    return asks(http, code_challenge=CHALLENGE, code_challenge_method=value)


def id_token_algs_work(http, client, seed, value):
    client_id = client(extra_metadata={"id_token_signed_response_alg": value})
    return verified(http, sign_in_at_client(http, client_id=client_id)["id_token"])[0]["alg"] == value


def userinfo_algs_work(http, client, seed, value):
    client_id = client(extra_metadata={"userinfo_signed_response_alg": value})
    answer = userinfo(http, sign_in_at_client(http, client_id=client_id))
    return verified(http, answer.text)[0]["alg"] == value


def introspection_algs_work(http, client, seed, value):
    client_id = client(extra_metadata={"introspection_signed_response_alg": value})
    headers = {"Accept": "application/token-introspection+jwt"}
    answer = http.post("/oauth/introspect", data={"token": "x"}, auth=basic(client_id), headers=headers)
    return verified(http, answer.text, "token-introspection+jwt")[0]["alg"] == value


def request_object_algs_work(http, client, seed, value):
    key = key_for(value)
    client_id = client(extra_metadata={"jwks": jwks(key)})
    said = {
        "aud": ISSUER,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": SCOPE,
        "exp": clock.now() + 60,
    }
    said |= {"client_id": client_id, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    outside = dict.fromkeys(("code_challenge", "code_challenge_method", "state"))
    return asks(http, client_id=client_id, request=sign(said, key, value), **outside)


def assertions_work(path, body):
    def works(http, client, seed, value):
        symmetric = value.startswith("HS")
        key = secret_key(SECRET) if symmetric else key_for(value)
        how = "client_secret_jwt" if symmetric else "private_key_jwt"
        seed(
            an_openid_client(
                client_id=value,
                token_endpoint_auth_method=how,
                client_secret_digest=None,
                sealed_client_secret=Cipher([SECRET_KEY], "client secrets").encrypt(SECRET.encode(), value),
                extra_metadata={} if symmetric else {"jwks": jwks(key)},
                grant_types=["authorization_code", "client_credentials"],
                scope="read",
            )
        )
        assertion = sign(assertion_claims(value), key, value)
        return http.post(path, data=with_assertion(assertion, **body)).status_code == 200

    return works


def subject_types_work(http, client, seed, value):
    client_id = client(extra_metadata={"subject_type": value})
    sub = id_token_of(http, sign_in_at_client(http, client_id=client_id))["sub"]
    return (sub == "sub-of-ada") is (value == "public")


def claims_work(http, client, seed, value):
    wanted = json.dumps({"id_token": {value: None}, "userinfo": {value: None}})
    tokens = sign_in_at_client(http, client_id=client(), scope="openid", claims=wanted, nonce="n")
    return value in id_token_of(http, tokens) and (value in userinfo(http, tokens).json or value not in FULL)


def acrs_work(http, client, seed, value):
    wanted = json.dumps({"id_token": {"acr": {"essential": True, "value": value}}})
    return id_token_of(http, sign_in_at_client(http, client_id=client(), claims=wanted))["acr"] == value


def prompts_work(http, client, seed, value):
    if value == "none":
        return error_of(http, client_id=client(), prompt=value) == "login_required"
    heading = {
        "login": "Sign in",
        "consent": "Web asks for access",
        "select_account": "Choose an account",
        "create": "Create an account",
    }[value]
    return page(ask(http, client_id=client(), scope=SCOPE, prompt=value)).headings == [heading]


def displays_work(http, client, seed, value):
    return asks(http, display=value)


def locales_work(http, client, seed, value):
    return f'<html lang="{value}"' in ask(http, ui_locales=value).text


# By member: how a value shows that it works, and values that are not in the list and must not work.
LISTS = {
    "scopes_supported": (scopes_work, []),
    "response_types_supported": (response_types_work, ["token", "id_token", "code id_token", "none"]),
    "response_modes_supported": (response_modes_work, ["fragment", "query.jwt"]),
    "grant_types_supported": (
        grant_types_work,
        ["password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    ),
    "code_challenge_methods_supported": (challenge_methods_work, ["plain", "S512"]),
    "id_token_signing_alg_values_supported": (id_token_algs_work, []),
    "userinfo_signing_alg_values_supported": (userinfo_algs_work, []),
    "introspection_signing_alg_values_supported": (introspection_algs_work, []),
    "request_object_signing_alg_values_supported": (request_object_algs_work, ["RS512", "PS384"]),
    "token_endpoint_auth_signing_alg_values_supported": (
        assertions_work("/oauth/token", {"grant_type": "client_credentials"}),
        ["RS512", "PS384"],
    ),
    "introspection_endpoint_auth_signing_alg_values_supported": (
        assertions_work("/oauth/introspect", {"token": "x"}),
        ["RS512", "PS384"],
    ),
    "revocation_endpoint_auth_signing_alg_values_supported": (
        assertions_work("/oauth/revoke", {"token": "x"}),
        ["RS512", "PS384"],
    ),
    "subject_types_supported": (subject_types_work, []),
    "claims_supported": (claims_work, ["iban", "is_admin"]),
    "acr_values_supported": (acrs_work, []),
    "prompt_values_supported": (prompts_work, []),
    "display_values_supported": (displays_work, ["wall"]),
    "ui_locales_supported": (locales_work, []),
}
REFUSED_AT_REGISTRATION = {  # their other values cannot be registered: tests/protocol/test_client_metadata.py
    "id_token_signing_alg_values_supported": "id_token_signed_response_alg",
    "userinfo_signing_alg_values_supported": "userinfo_signed_response_alg",
    "introspection_signing_alg_values_supported": "introspection_signed_response_alg",
    "subject_types_supported": "subject_type",
}
# Their values are tried one by one, where they are and where they are not, in test_every_endpoint.py.
WAYS_OF_AUTHENTICATION = {
    f"{endpoint}_endpoint_auth_methods_supported" for endpoint in ("token", "introspection", "revocation")
}


@pytest.mark.threat("T162")
@pytest.mark.parametrize("path", DOCUMENTS)
def test_no_member_without_a_check(http, path):
    document = http.get(path).json
    addresses = {name for name, value in document.items() if isinstance(value, str)}
    switches = {name for name, value in document.items() if isinstance(value, bool)}
    assert set(document) - addresses - switches - WAYS_OF_AUTHENTICATION - {"claim_types_supported"} == set(
        LISTS
    )
    assert switches == set(SWITCHES)
    assert document["issuer"] == ISSUER and document["claim_types_supported"] == ["normal"]
    for name in addresses - {"issuer"}:
        parts = urlsplit(document[name])
        assert f"{parts.scheme}://{parts.netloc}" == ISSUER and not parts.query
        assert http.get(parts.path).status_code != 404


@pytest.mark.threat("T162")
def test_both_documents_say_the_same(http):
    assert http.get(DOCUMENTS[0]).json == http.get(DOCUMENTS[1]).json


@pytest.mark.threat("T162")
@pytest.mark.parametrize("name", LISTS)
def test_every_value_of_the_list_works(ada, client, seed, name):
    works, _others = LISTS[name]
    values = ada.get(DOCUMENTS[0]).json[name]
    assert values and len(values) == len(set(values))
    assert [value for value in values if not works(ada, client, seed, value)] == []


@pytest.mark.threat("T162")
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_works, others) in LISTS.items() for value in others]
)
def test_what_is_not_in_the_list_does_not_work(ada, client, seed, name, value):
    works, _others = LISTS[name]
    assert value not in ada.get(DOCUMENTS[0]).json[name]
    assert not works(ada, client, seed, value)


@pytest.mark.threat("T162")
@pytest.mark.parametrize(("name", "member"), REFUSED_AT_REGISTRATION.items())
def test_other_values_cannot_be_registered(http, name, member):
    advertised = http.get(DOCUMENTS[0]).json[name]
    for value in (*advertised, "none", "HS256", "RS512", "ephemeral"):
        assert (problems(members={member: value}) == []) is (value in advertised), value


@pytest.mark.threat("T162")
def test_a_scope_that_nobody_described_is_not_there(ada, client, seed):
    assert error_of(ada, scope="openid admin") == "invalid_scope"
    seed(Scope(name="admin", description="Everything"))
    assert "admin" in ada.get(DOCUMENTS[0]).json["scopes_supported"]
    assert scopes_work(ada, client, seed, "admin")


# ---- what is said with yes or no ---------------------------------------------------------------------------


def sends_iss(http, client):
    return authorize(http)["iss"] == ISSUER


def takes_claims(http, client):
    return "given_name" in id_token_of(
        http, sign_in_at_client(http, claims='{"id_token": {"given_name": null}}')
    )


def takes_request_objects(http, client):
    return error_of(http, request="x") == "invalid_request_object"


def takes_request_uris(http, client):
    return error_of(http, request_uri="https://client.example/r") != "request_uri_not_supported"


def wants_signed_requests(http, client):
    return not asks(http)


def tells_clients_of_logout(http, client):
    """A notice is written; tests/outbound/test_logout_delivery.py has the rest."""
    client_id = client(extra_metadata={"backchannel_logout_uri": "https://app.example/logout"})
    sign_in_at_client(http, client_id=client_id)
    press(http, http.get("/logout"), "Sign out")
    with http.application.app_context():
        notices = store.logout_notices.of_user(1)
    sign_in(http)
    return [len(notice.sid) for notice in notices] == [22]


SWITCHES = {
    "authorization_response_iss_parameter_supported": sends_iss,
    "claims_parameter_supported": takes_claims,
    "request_parameter_supported": takes_request_objects,
    "request_uri_parameter_supported": takes_request_uris,
    "require_signed_request_object": wants_signed_requests,
    "backchannel_logout_supported": tells_clients_of_logout,
    "backchannel_logout_session_supported": tells_clients_of_logout,
}


@pytest.mark.threat("T162")
@pytest.mark.parametrize("name", SWITCHES)
def test_a_yes_is_a_yes_and_a_no_a_no(ada, client, name):
    assert SWITCHES[name](ada, client) is ada.get(DOCUMENTS[0]).json[name]
