"""Signed request objects: which are taken, what they may say, and that nothing beside them counts."""

import json

import pytest
from authlib.oauth2.rfc6749 import OAuth2Error

from crypto import jwt
from protocol import request_object
from tests.builders import AUTHORIZATION_REQUEST, CHALLENGE, ISSUER, REDIRECT_URI, a_client
from tests.jose import assertion_claims, key_for, public, secret_key, segment, sign

NOW = 1_800_000_000
KEY = key_for("ES256")
REQUEST = AUTHORIZATION_REQUEST | {"scope": "openid profile", "state": "s"}


def an_object(**changed):
    """The claims of a request object. A value of None leaves one out."""
    claims = (
        REQUEST
        | {"iss": "web", "aud": ISSUER, "exp": NOW + 300, "iat": NOW, "nbf": NOW, "jti": "x"}
        | changed
    )
    return {name: value for name, value in claims.items() if value is not None}


def find_keys(client, token):
    return [("a", KEY)]


def nobody_asks(client, token):
    raise AssertionError("no key is needed")


def unpack(request=None, keys=find_keys, client=None, /, **outside):
    """The parameters that come out; `request`: a token, or the claims of one that KEY signs."""
    if request is not None:
        outside["request"] = request if isinstance(request, str) else sign(request, KEY)
    parameters = {"client_id": "web"} | outside
    client = client or a_client(extra_metadata={})
    return request_object.unpack(
        {name: value for name, value in parameters.items() if value is not None}, client, keys, ISSUER, NOW
    )


def refusal(*arguments, **outside):
    """The code of the error that this must end with."""
    with pytest.raises(OAuth2Error) as caught:
        unpack(*arguments, **outside)
    assert caught.value.get_error_description()
    return caught.value.error


# ---- what works --------------------------------------------------------------------------------------------


def test_what_was_signed_is_what_counts():
    assert unpack(an_object()) == REQUEST


def test_a_request_without_one_is_left_as_it_is():
    assert unpack(None, nobody_asks, **REQUEST) == REQUEST


@pytest.mark.parametrize("alg", jwt.ASYMMETRIC)
def test_an_object_under_every_algorithm_is_read(alg):
    keys = [("a", key_for(alg))]
    assert unpack(sign(an_object(), key_for(alg), alg), lambda client, token: keys) == REQUEST


@pytest.mark.parametrize("typ", [None, "JWT", "oauth-authz-req+jwt", "application/oauth-authz-req+jwt"])
def test_types_that_it_may_have(typ):
    assert unpack(sign(an_object(), KEY, typ=typ)) == REQUEST


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"client_id": None},
        {"aud": [ISSUER]},
        {"aud": ["https://other.example", ISSUER]},
        {"exp": None},
        {"exp": None, "iat": None, "nbf": None},
        {"jti": None},
        {"sub": "somebody"},
        {"unknown": {"a": [1]}},
        {
            "grant_type": "password",
            "ticket": "x",
            "client_secret": "x",
            "client_assertion": "x",
            "decision": "allow",
        },
        {"nonce": ""},
    ],
)
def test_what_it_may_leave_out_and_what_nobody_reads(changed):
    assert unpack(an_object(**changed)) == REQUEST


def test_numbers_and_objects_become_what_a_form_has():
    wanted = {"userinfo": {"name": None}, "id_token": {"acr": {"essential": True, "value": "é"}}}
    parameters = unpack(an_object(max_age=0, claims=wanted, nonce="n"))
    assert parameters["max_age"] == "0"
    assert json.loads(parameters["claims"]) == wanted
    assert parameters["nonce"] == "n"
    assert unpack(an_object(max_age="60", claims="{}")) == REQUEST | {"max_age": "60", "claims": "{}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", 7),
        ("state", ["s"]),
        ("scope", ["openid"]),
        ("scope", {"openid": True}),
        ("nonce", True),
        ("redirect_uri", [REDIRECT_URI]),
        ("code_challenge", {}),
        ("max_age", True),
        ("max_age", 6.5),
        ("max_age", [1]),
        ("claims", []),
        ("claims", 7),
        ("prompt", ["login"]),
    ],
)
def test_other_types_are_refused(name, value):
    assert refusal(an_object(**{name: value})) == "invalid_request_object"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redirect_uri", "https://app.example/\0"),
        ("scope", "é"),
        ("state", "x" * 9_000),
        ("claims", {"a": "\ud800"}),
    ],
)
def test_the_syntax_of_parameters_is_the_same_inside(name, value):
    assert refusal(an_object(**{name: value})) == "invalid_request"


# ---- beside it ---------------------------------------------------------------------------------------------


@pytest.mark.threat("T138")
@pytest.mark.parametrize(
    "outside",
    [
        {},
        {"response_type": "code", "scope": "openid"},
        {"response_type": "code", "scope": "profile openid"},
        REQUEST,
    ],
)
def test_the_same_may_be_said_outside(outside):
    assert unpack(an_object(), **outside) == REQUEST


@pytest.mark.threat("T138")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redirect_uri", "https://app.example/other"),
        ("state", "other"),
        ("scope", "openid profile email"),
        ("scope", "email"),
        ("response_type", "token"),
        ("code_challenge", "x" * 43),
        ("code_challenge_method", "plain"),
        ("nonce", "n"),
        ("prompt", "none"),
        ("max_age", "0"),
        ("response_mode", "form_post"),
        ("claims", "{}"),
    ],
)
def test_other_parameters_beside_an_object_are_refused(name, value):
    assert refusal(an_object(), **{name: value}) == "invalid_request"


@pytest.mark.threat("T138")
@pytest.mark.parametrize("name", ["code_challenge", "code_challenge_method", "state", "redirect_uri"])
def test_what_was_not_signed_is_not_taken_from_outside(name):
    assert refusal(an_object(**{name: None}), **{name: REQUEST[name]}) == "invalid_request"


@pytest.mark.threat("T138")
def test_a_request_that_was_signed_without_a_challenge_has_none():
    parameters = unpack(an_object(code_challenge=None, code_challenge_method=None))
    assert parameters == {
        name: value
        for name, value in REQUEST.items()
        if name not in ("code_challenge", "code_challenge_method")
    }


def test_response_type_and_scope_may_stand_outside_alone():
    assert (
        unpack(an_object(response_type=None, scope=None), response_type="code", scope="openid profile")
        == REQUEST
    )
    assert "scope" not in unpack(an_object(response_type=None, scope=None))


@pytest.mark.threat("T138")
@pytest.mark.parametrize(
    "changed",
    [{"client_id": "other"}, {"client_id": ["web"]}, {"client_id": ""}, {"iss": "other"}, {"iss": ["web"]}],
)
def test_it_is_of_the_client_that_is_named_outside(changed):
    assert refusal(an_object(**changed)) == "invalid_request_object"


@pytest.mark.threat("T138")
@pytest.mark.parametrize(
    "inner", [{"request": "a.b.c"}, {"request": ""}, {"request_uri": "https://app.example/request"}]
)
def test_there_is_no_other_in_it(inner):
    assert refusal(an_object(**inner)) == "invalid_request_object"


# ---- by reference ------------------------------------------------------------------------------------------


@pytest.mark.threat("T139", "T140")
@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/request",
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "urn:ietf:params:oauth:request_uri:x",
        "x",
    ],
)
def test_nothing_is_fetched(uri):
    assert refusal(None, nobody_asks, request_uri=uri, **REQUEST) == "request_uri_not_supported"
    assert refusal(an_object(), nobody_asks, request_uri=uri) == "request_uri_not_supported"


# ---- the token ---------------------------------------------------------------------------------------------


@pytest.mark.threat("T141")
@pytest.mark.parametrize(
    "token",
    [
        "x",
        "..",
        "a.b.c",
        f"{segment({'alg': 'none'})}.{segment(REQUEST)}.",
        f"{segment({'alg': 'none'})}.{segment(REQUEST)}.AAAA",
        f"{segment({'alg': 'NONE', 'typ': 'JWT'})}.{segment(REQUEST)}.AAAA",
        f"{segment({'alg': 'ES256'})}.{segment(REQUEST)}.{segment(bytes(64))}",
        f"{segment({'alg': 'RSA-OAEP', 'enc': 'A128GCM'})}.AAAA.AAAA.AAAA.AAAA",
        json.dumps(REQUEST),
    ],
)
def test_unsigned_objects_are_refused(token):
    assert refusal(token) == "invalid_request_object"


@pytest.mark.threat("T141")
def test_an_object_under_another_key_is_refused():
    assert refusal(sign(an_object(), key_for("ES256", "b"))) == "invalid_request_object"
    assert refusal(sign(an_object(), key_for("ES256", "b"), kid="a")) == "invalid_request_object"
    assert refusal(an_object(), lambda client, token: []) == "invalid_request_object"
    for secret in ("s" * 64, KEY.as_pem(private=False), json.dumps(public(KEY))):
        assert refusal(sign(an_object(), secret_key(secret), "HS256", kid="a")) == "invalid_request_object"


@pytest.mark.threat("T141")
def test_another_algorithm_than_the_registered_one():
    client = a_client(extra_metadata={"request_object_signing_alg": "RS256"})
    keys = [("a", key_for("RS256"))]
    assert unpack(sign(an_object(), key_for("RS256"), "RS256"), lambda client, token: keys, client) == REQUEST
    assert refusal(sign(an_object(), key_for("RS256"), "PS256"), lambda client, token: keys, client)
    assert refusal(an_object(), find_keys, client) == "invalid_request_object"


@pytest.mark.threat("T141")
@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        "https://other.example",
        f"{ISSUER}/",
        f"{ISSUER}/oauth/authorize",
        [],
        ["https://other.example"],
        {},
        7,
    ]
    + [{ISSUER: 1}, [[ISSUER]]],
)
def test_an_object_for_another_audience_is_refused(audience):
    assert refusal(an_object(aud=audience)) == "invalid_request_object"


@pytest.mark.threat("T141")
@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({"exp": NOW + 1}, True),
        ({"exp": NOW}, False),
        ({"exp": NOW - 300}, False),
        ({"exp": NOW + 3600}, True),
        ({"exp": NOW + 3601}, False),
        ({"exp": NOW + 3601, "nbf": None, "iat": None}, False),
        ({"exp": NOW + 60, "nbf": NOW - 3540}, True),
        ({"exp": NOW + 61, "nbf": NOW - 3540}, False),
        ({"nbf": NOW - 3601, "iat": None}, False),
        ({"nbf": NOW - 3601, "exp": None}, False),
        ({"nbf": None, "iat": NOW - 3601, "exp": None}, False),
        ({"nbf": NOW + 60}, True),
        ({"nbf": NOW + 61}, False),
        ({"iat": NOW + 61}, False),
        ({"exp": "later"}, False),
        ({"nbf": True}, False),
        ({"iat": [NOW]}, False),
    ],
)
def test_when_it_is_good(changed, good):
    if good:
        assert unpack(an_object(**changed)) == REQUEST
    else:
        assert refusal(an_object(**changed)) == "invalid_request_object"


@pytest.mark.threat("T135")
@pytest.mark.parametrize("typ", ["client-authentication+jwt", "at+jwt", "logout+jwt", "dpop+jwt", "", "x", 7])
def test_another_kind_of_token(typ):
    assert refusal(sign(an_object(), KEY, typ=typ)) == "invalid_request_object"


@pytest.mark.threat("T135")
def test_a_client_assertion_is_no_request():
    assert refusal(assertion_claims("web", exp=NOW + 60, iat=NOW) | REQUEST) == "invalid_request_object"


# ---- clients that must sign, and where errors go -----------------------------------------------------------


@pytest.mark.threat("T138")
def test_who_signs_requests_always_does():
    client = a_client(extra_metadata={"require_signed_request_object": True})
    assert refusal(None, nobody_asks, client, **REQUEST) == "invalid_request"
    assert (
        refusal(sign(an_object(), key_for("ES256", "b")), find_keys, client, **REQUEST)
        == "invalid_request_object"
    )
    assert unpack(an_object(), find_keys, client) == REQUEST


@pytest.mark.parametrize(
    ("outside", "place"),
    [
        ({"redirect_uri": REDIRECT_URI, "state": "s"}, (REDIRECT_URI, "s")),
        ({"redirect_uri": REDIRECT_URI}, (REDIRECT_URI, None)),
        ({}, (REDIRECT_URI, None)),
        ({"redirect_uri": "https://evil.example/", "state": "s"}, (None, None)),
    ],
)
def test_an_error_goes_to_a_registered_address_or_nowhere(outside, place):
    with pytest.raises(OAuth2Error) as caught:
        unpack("x", **outside)
    assert (caught.value.redirect_uri, caught.value.state) == place


def test_where_none_is_named_and_several_are_registered():
    client = a_client(redirect_uris=[REDIRECT_URI, "https://app.example/other"], extra_metadata={})
    with pytest.raises(OAuth2Error) as caught:
        unpack("x", find_keys, client)
    assert not caught.value.redirect_uri


def test_the_challenge_is_the_signed_one():
    assert unpack(an_object())["code_challenge"] == CHALLENGE
