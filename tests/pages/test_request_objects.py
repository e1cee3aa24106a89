"""Signed requests at the authorization endpoint (RFC 9101): `protocol/request_object.py` has the rules, here
they are in force.
"""

import json

import pytest
from joserfc.jwk import ECKey

from outbound.document_cache import DocumentCache
from protocol import clock
from services.current import state_of
from tests import jose
from tests.builders import CHALLENGE, ISSUER, REDIRECT_URI, a_user
from tests.openid import SCOPE, an_openid_client, answer_of, id_token_of, tokens_for
from tests.pages.steps import answer_to_client, ask, authorization_path, follow, page, press, sign_in

KEY = ECKey.generate_key("P-256", {"kid": "1"})
JWKS = {"keys": [KEY.as_dict(private=False)]}
ENVELOPE = {
    "redirect_uri": None,
    "code_challenge": None,
    "code_challenge_method": None,
    "state": None,
    "scope": SCOPE,
}


@pytest.fixture
def ada(http, seed):
    seed(a_user(), an_openid_client(client_name="Notebook", extra_metadata={"jwks": JWKS}))
    seed(
        an_openid_client(
            client_id="strict", extra_metadata={"jwks": JWKS, "require_signed_request_object": True}
        )
    )
    sign_in(http)
    return http


def signed(key=KEY, **changed):
    claims = {
        "iss": "web",
        "aud": ISSUER,
        "client_id": "web",
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": SCOPE,
        "state": "inside",
        "nonce": "the nonce inside",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "exp": clock.now() + 60,
    }
    return jose.sign(
        {name: value for name, value in (claims | changed).items() if value is not None}, key, "ES256"
    )


def error_of(http, **parameters):
    return answer_to_client(http.get(authorization_path(**parameters)))["error"][0]


def test_from_the_request_to_the_id_token(ada):
    shown = ask(ada, request=signed(), **ENVELOPE)
    assert page(shown).headings == ["Notebook asks for access"]
    answer = answer_of(press(ada, shown, "Allow"))
    assert answer["state"] == "inside"
    assert id_token_of(ada, tokens_for(ada, answer["code"]))["nonce"] == "the nonce inside"


def test_what_it_asks_of_the_sign_in_is_heeded(ada):
    assert page(ask(ada, request=signed(prompt="login"), **ENVELOPE)).headings == ["Sign in"]
    answer = follow(ada, ada.get(authorization_path(request=signed(prompt="none"), **ENVELOPE)))
    assert answer_to_client(answer)["error"] == ["login_required"]


@pytest.mark.threat("T138")
def test_what_was_not_signed_does_not_count(ada):
    assert (
        error_of(ada, request=signed(), **ENVELOPE | {"redirect_uri": REDIRECT_URI, "state": "outside"})
        == "invalid_request"
    )


@pytest.mark.threat("T138")
def test_an_address_inside_that_is_not_registered(ada):
    answer = ada.get(authorization_path(request=signed(redirect_uri="https://evil.example/cb"), **ENVELOPE))
    assert answer.status_code == 400 and page(answer).headings == ["This link does not work"]


@pytest.mark.threat("T141")
def test_another_key_and_no_key(ada):
    for text in (signed(ECKey.generate_key("P-256")), signed().rpartition(".")[0] + ".", "x"):
        assert error_of(ada, request=text, redirect_uri=REDIRECT_URI) == "invalid_request_object"


@pytest.mark.threat("T185")
@pytest.mark.parametrize(
    ("key", "inside", "error"),
    [
        (ECKey.generate_key("P-256"), {}, "invalid_request_object"),
        (KEY, {"nonce": "a\0"}, "invalid_request"),
        (KEY, {"scope": "é"}, "invalid_request"),
    ],
    ids=["another key", "a nonce that is none", "a scope that is none"],
)
def test_who_names_the_address_inside_hears_of_it_there(ada, key, inside, error):
    text = signed(key, **inside)
    members = answer_to_client(ada.get(authorization_path(request=text, **ENVELOPE)))
    assert (members["error"], members["state"]) == ([error], ["inside"])
    twice = answer_to_client(ada.get(authorization_path(request=text, **ENVELOPE) + "&nonce=1&nonce=2"))
    assert (twice["error"], twice["state"]) == (["invalid_request"], ["inside"])


@pytest.mark.threat("T185")
@pytest.mark.parametrize(
    "uri", ["https://evil.example/cb", "https://app.example/cb\n", 1, ["https://app.example/cb"]]
)
def test_an_address_inside_that_is_none_is_not_replaced_by_another(ada, uri):
    for key in (KEY, ECKey.generate_key("P-256")):
        answer = ada.get(authorization_path(request=signed(key, redirect_uri=uri, nonce="\0"), **ENVELOPE))
        assert answer.status_code == 400 and "Location" not in answer.headers


def test_json_inside_may_hold_line_breaks(ada):
    wishes = '{\n\t"id_token": {"nickname": {"value": "\\u007f"}}\r\n}'
    for claims in (wishes, json.loads(wishes)):
        assert page(ask(ada, request=signed(claims=claims, nonce="ñ"), **ENVELOPE)).headings == [
            "Notebook asks for access"
        ]


@pytest.mark.threat("T139")
def test_by_reference(ada):
    assert error_of(ada, request_uri="https://client.example/request.jwt") == "request_uri_not_supported"


def test_who_signs_always_does(ada):
    assert error_of(ada, client_id="strict") == "invalid_request"
    shown = ask(ada, client_id="strict", request=signed(iss="strict", client_id="strict"), **ENVELOPE)
    assert page(shown).headings == ["Web asks for access"]


def test_numbers_and_letters_that_nobody_means(ada):
    """Refused in the registered way, signed or not: none of them is worth a 500."""
    huge = 10**400
    for odd in (
        {"exp": clock.now() + 10.5, "iat": -huge},
        {"exp": huge, "nbf": 0.5},
        {"exp": 1e308, "nbf": -(10**4200)},
    ):
        for key in (KEY, ECKey.generate_key("P-256")):
            assert (
                error_of(ada, request=signed(key, **odd), redirect_uri=REDIRECT_URI)
                == "invalid_request_object"
            )
    answer = follow(
        ada, ada.get(authorization_path(request=signed(login_hint="a@\ud800.example"), **ENVELOPE))
    )
    assert page(answer).headings == ["Notebook asks for access"]


@pytest.mark.threat("T120")
@pytest.mark.parametrize("depth", [6, 100, 480, 700, 930])
def test_claims_that_are_deeply_nested(ada, depth):
    wish = '{"id_token":{"sub":{"value":' + "[" * depth + "]" * depth + "}}}"
    assert error_of(ada, claims=wish) == "invalid_request"


# ---- keys that have to be fetched --------------------------------------------------------------------------


@pytest.fixture
def full(http, seed, app, monkeypatch):
    """A client whose keys are elsewhere, while as many requests wait for such keys as may."""
    seed(an_openid_client(extra_metadata={"jwks_uri": "https://client.example/jwks"}))
    monkeypatch.setattr(state_of(app).documents, "_free_slots", 0)
    return http


@pytest.mark.threat("T063")
def test_the_client_hears_at_once_that_its_keys_are_not_at_hand(full):
    answer = answer_to_client(full.get(authorization_path(request=signed(), state=None)))
    assert answer["error"] == ["temporarily_unavailable"]
    assert answer["state"] == ["inside"]


@pytest.mark.threat("T063")
def test_a_person_hears_it_where_nobody_knows_the_way_back(full):
    answer = full.get(authorization_path(request=signed(), redirect_uri="https://elsewhere.example/"))
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.threat("T063")
def test_nothing_is_fetched_where_the_clients_failures_are_too_many(http, seed, app):
    """The throttle is that of its authentication, from the same address."""
    seed(an_openid_client(extra_metadata={"jwks_uri": "https://client.example/jwks"}))
    for _time in range(20):
        http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("web", "wrong"))
    state_of(app).documents = NeverAsked(None, 1)
    answer = answer_to_client(http.get(authorization_path(request=signed(), state=None)))
    assert answer["error"] == ["temporarily_unavailable"]


class NeverAsked(DocumentCache):
    def get(self, url):
        raise AssertionError("it was asked")
