"""Registration members without a column: what may be said, and what goes with what."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey

from protocol import client_jwks, client_metadata
from protocol.client_metadata import (
    RegistrationPolicy,
    find_problems,
    find_unknown,
    is_known,
    problem_of_sector,
)
from tests.jose import key_for, public, roca_key

PRODUCTION = RegistrationPolicy(
    is_development=False, allow_private_addresses=False, access_token_lifetime=timedelta(minutes=10)
)
DEVELOPMENT = replace(PRODUCTION, is_development=True, allow_private_addresses=True)
WEB = "https://app.example/cb"
NOBODYS = {"kty": "OKP", "crv": "X25519", "x": "A" * 43}


@dataclass
class Registration:
    extra_metadata: dict[str, Any]
    token_endpoint_auth_method: str = "client_secret_basic"
    grant_types: list[str] = field(default_factory=lambda: ["authorization_code"])
    redirect_uris: list[str] = field(default_factory=lambda: [WEB])
    access_token_lifetime: int | None = None


def problems(surroundings=PRODUCTION, members=None, **columns):
    return list(find_problems(Registration(members or {}, **columns), surroundings))


@cache
def public_jwk(kind="P-256", **members):
    key = {
        "RSA": lambda: key_for("RS256", None),
        "Ed25519": lambda: OKPKey.generate_key("Ed25519"),
    }.get(kind, lambda: ECKey.generate_key(kind))()
    return {**key.as_dict(private=False), **members}


def short_rsa_jwk():
    return {"kty": "RSA", "e": "AQAB", "n": urlsafe_b64encode(b"\xc5" * 128).decode().rstrip("=")}


def roca_jwk():
    return public(roca_key())


def private_jwk():
    return ECKey.generate_key("P-256").as_dict(private=True)


def jwks(*keys):
    return {"keys": list(keys)}


# ---- single members ----------------------------------------------------------------------------------------

GOOD = [
    ("application_type", "web"),
    ("application_type", "native"),
    ("contacts", ["ops@app.example", "+1 425 555 1212"]),
    ("contacts", []),
    ("client_name#de", "Notizen"),
    ("client_name#ja-Hani-JP", "ノート"),
    ("logo_uri#de", "https://app.example/logo.de.png"),
    ("client_uri", "https://app.example"),
    ("tos_uri", "https://app.example/terms?v=2#privacy"),
    ("policy_uri", "https://[2001:db8::1]:8443/"),
    ("software_id", "4NRB1-0XZABZI9E6-5SM3R"),
    ("software_version", "2.1"),
    ("jwks_uri", "https://app.example/jwks"),
    ("sector_identifier_uri", "https://app.example/sector.json"),
    ("subject_type", "public"),
    ("subject_type", "pairwise"),
    ("id_token_signed_response_alg", "RS256"),
    ("id_token_signed_response_alg", "ES256"),
    ("id_token_signed_response_alg", "EdDSA"),
    ("userinfo_signed_response_alg", "ES256"),
    ("introspection_signed_response_alg", "EdDSA"),
    ("require_signed_request_object", False),
    ("default_max_age", 0),
    ("default_max_age", 2**31 - 1),
    ("require_auth_time", True),
    ("default_acr_values", ["urn:ostiary:acr:password", "1"]),
    ("initiate_login_uri", "https://app.example/login"),
    ("backchannel_logout_uri", "https://app.example:8443/logout?tenant=1"),
    ("access_token_format", "opaque"),
    ("access_token_format", "jwt"),
]


@pytest.mark.parametrize(("name", "value"), GOOD, ids=lambda value: repr(value)[:40])
def test_a_value_that_is_good(name, value):
    assert problems(members={name: value}) == []
    assert is_known(name)


NO_HTTPS_URL = [
    *(
        1,
        None,
        ["https://app.example/"],
        "",
        "app.example",
        "/logo",
        "http://app.example/",
        "https://",
        "https:///x",
    ),
    *(
        "https://ada@app.example/",
        "https://app.example:x/",
        "https://app.example:99999/",
        "https://app.example/ ü",
    ),
    *(
        "javascript:alert(1)",
        "data:image/png;base64,AA",
        "https://[::1/",
        "https://app.example/" + "a" * 2000,
    ),
    *(
        'https://app.example/"onload',
        "https://app.example/\x1b[2J",
        "https://app.example/#a#b",
        "file:///etc/passwd",
    ),
]
NO_BOOLEAN = [1, 0, "true", "yes", []]
NO_SIGNING_ALG = ["none", "None", "HS256", "PS256", "RS512", "rs256", "", None, 1, ["RS256"], True]

BAD = [
    *(("application_type", value) for value in ("browser", "Web", 1, ["web"], True)),
    *(
        ("contacts", value)
        for value in ("ops@app.example", {}, [1], [""], [" "], ["a\x1b[2J"], ["x"] * 21, ["x" * 501])
    ),
    *(("client_name#de", value) for value in ("", " ", 1, "a\nb", "x" * 501)),
    *(
        (name, value)
        for name in ("logo_uri", "client_uri", "policy_uri", "tos_uri")
        for value in NO_HTTPS_URL
    ),
    *(("initiate_login_uri", value) for value in NO_HTTPS_URL),
    *(("logo_uri#de", value) for value in ("http://app.example/", 1)),
    *((name, value) for name in ("software_id", "software_version") for value in (1, "", "\x00", ["x"])),
    *((name, value) for name in sorted(client_metadata.FETCHED) for value in NO_HTTPS_URL),
    *((name, "https://app.example/jwks#here") for name in sorted(client_metadata.FETCHED)),
    *((name, "https://app.example:22/") for name in sorted(client_metadata.FETCHED)),
    *(
        (name, f"https://{host}/")
        for name in sorted(client_metadata.FETCHED)
        for host in ("127.0.0.1", "10.0.0.1", "[::1]")
    ),
    *(
        (name, f"https://{host}/")
        for name in sorted(client_metadata.FETCHED)
        for host in ("0x7f.1", "169.254.169.254")
    ),
    *(("subject_type", value) for value in ("Pairwise", "", 1, [])),
    *(("id_token_signed_response_alg", value) for value in NO_SIGNING_ALG),
    *(("userinfo_signed_response_alg", value) for value in NO_SIGNING_ALG),
    *(("introspection_signed_response_alg", value) for value in NO_SIGNING_ALG),
    *(("request_object_signing_alg", value) for value in ("none", "HS256", "RS1", "", 1)),
    *(("token_endpoint_auth_signing_alg", value) for value in ("none", "RS1", "", 1)),
    *(("require_signed_request_object", value) for value in NO_BOOLEAN),
    *(("require_auth_time", value) for value in NO_BOOLEAN),
    *(("backchannel_logout_session_required", value) for value in NO_BOOLEAN),
    *(("default_max_age", value) for value in (-1, 2**31, 1.5, "60", True, False, [])),
    *(("default_acr_values", value) for value in ("1", [1], ["a b"], [""], {"a": 1})),
    *(("access_token_format", value) for value in ("JWT", "", 1, True)),
    *(("assertion_audience", value) for value in ("both", "", 1, ["issuer"])),
]


@pytest.mark.threat("T149")
@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: ascii(value)[:40])
def test_a_value_that_is_not(name, value):
    [problem] = [problem for problem in problems(members={name: value}) if problem.startswith(f"{name} ")]
    assert problem.isprintable()


@pytest.mark.threat("T149")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("id_token_encrypted_response_alg", "encrypted tokens"),
        ("id_token_encrypted_response_enc", "encrypted tokens"),
        ("userinfo_encrypted_response_alg", "encrypted tokens"),
        ("introspection_encrypted_response_enc", "encrypted tokens"),
        ("authorization_encrypted_response_alg", "encrypted tokens"),
        ("request_object_encryption_alg", "encrypted tokens"),
        ("request_object_encryption_enc", "encrypted tokens"),
        ("frontchannel_logout_uri", "backchannel_logout_uri"),
        ("frontchannel_logout_session_required", "backchannel_logout_uri"),
        ("request_uris", "by value"),
        ("authorization_signed_response_alg", "signed authorization responses"),
        ("tls_client_auth_subject_dn", "mutual TLS"),
        ("tls_client_certificate_bound_access_tokens", "mutual TLS"),
        ("dpop_bound_access_tokens", "DPoP"),
        ("require_pushed_authorization_requests", "pushed"),
        ("authorization_details_types", "rich authorization"),
        ("backchannel_token_delivery_mode", "CIBA"),
        ("software_statement", "software statements"),
    ],
)
@pytest.mark.parametrize("value", [True, "RSA-OAEP", ["https://app.example/"]], ids=repr)
def test_what_there_is_nothing_behind_is_refused(name, words, value):
    [problem] = problems(members={name: value})
    assert problem.startswith(f"{name} cannot be registered: ")
    assert words in problem


def test_none_is_refused_with_a_reason():
    told = " ".join(
        problems(
            members={
                "id_token_signed_response_alg": "none",
                "userinfo_signed_response_alg": "none",
                "request_object_signing_alg": "none",
            },
        )
    )
    assert "not signed proves nothing" in told
    assert "leave it out" in told
    assert "must be signed with the client's own key" in told


@pytest.mark.parametrize("name", ["jwks_uri", "sector_identifier_uri", "backchannel_logout_uri"])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000/x", "http://client.internal/x", "https://10.0.0.1:22/x"]
)
def test_addresses_of_ones_own_are_called_where_that_is_allowed(name, url):
    assert problems(DEVELOPMENT, members={name: url}) == []
    assert problems(PRODUCTION, members={name: url}) != []


def test_members_that_nobody_knows_are_no_problem_and_told():
    members = {
        "x_team": {"a": 1},
        "backchannel_logout_url": "https://app.example/",
        "client_name#!": 1,
        "contacts": [],
    }
    assert problems(members=members) == []
    assert list(find_unknown(members)) == [
        ("x_team", None),
        ("backchannel_logout_url", "backchannel_logout_uri"),
        ("client_name#!", "client_name"),
    ]
    assert list(find_unknown({"post_logout_redirect_uris": []})) == []


def test_all_together_have_a_limit():
    assert problems(members={"x_notes": "n" * 32_000}) == []
    [problem] = problems(members={"x_notes": "n" * 33_000})
    assert "32768" in problem


def test_every_problem_is_told():
    told = problems(
        members={"logo_uri": 1, "contacts": 1, "jwks": 1, "default_max_age": -1, "request_uris": []}
    )
    names = [problem.partition(" ")[0] for problem in told]
    assert sorted(names) == ["contacts", "default_max_age", "jwks", "logo_uri", "request_uris"]


# ---- jwks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "P-521", "Ed25519"])
def test_public_keys_are_no_problem(kind):
    assert client_jwks.find_problem(jwks(public_jwk(kind))) is None
    assert (
        client_jwks.find_problem(jwks(public_jwk(kind, kid="1", use="sig"), public_jwk(kind, kid="2")))
        is None
    )


@pytest.mark.parametrize(
    ("kind", "members", "expected"),
    [
        ("RSA", {}, {"RS256", "PS256"}),
        ("RSA", {"alg": "PS256"}, {"PS256"}),
        ("RSA", {"alg": "RSA-OAEP"}, set()),
        ("P-256", {}, {"ES256"}),
        ("P-256", {"alg": "ES384"}, set()),
        ("P-384", {}, {"ES384"}),
        ("P-521", {}, {"ES512"}),
        ("Ed25519", {}, {"EdDSA", "Ed25519"}),
        ("P-256", {"use": "enc"}, set()),
    ],
)
def test_what_a_key_signs_with(kind, members, expected):
    assert set(client_jwks.algorithms(jwks(public_jwk(kind, **members)))) == expected


def test_a_key_for_encryption_may_stand_beside_one_that_signs():
    assert client_jwks.find_problem(jwks(public_jwk("RSA"), public_jwk("P-256", use="enc"), NOBODYS)) is None


POST_QUANTUM = {"kty": "AKP", "alg": "ML-DSA-65", "kid": "pq", "use": "sig", "pub": "AAAA"}


@pytest.mark.parametrize(
    "stranger",
    [
        POST_QUANTUM,
        POST_QUANTUM | {"kid": "ours"},
        POST_QUANTUM | {"kid": 5},
        {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "OKP", "crv": "Ed448", "x": "A" * 76},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "use": "tls"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "alg": "ESP256"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "key_ops": ["deriveBits"]},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "key_ops": "verify"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS1"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc"},
    ],
    ids=json.dumps,
)
def test_a_key_that_is_not_for_us_is_passed_over(stranger):
    """RFC 7517 §5: clients publish one set for everybody, and register it."""
    for keys in ([stranger, public_jwk(kid="ours")], [public_jwk(kid="ours"), stranger]):
        assert client_jwks.find_problem(jwks(*keys)) is None
        assert set(client_jwks.algorithms(jwks(*keys))) == {"ES256"}


@pytest.mark.parametrize(
    "words", [{"use": "sig", "new": {"a": 1}}, {"key_ops": ["verify", "encapsulate"]}, {"x5c": 7}]
)
def test_what_is_new_beside_it_makes_no_difference(words):
    assert client_jwks.find_problem(jwks({**public_jwk(), **words})) is None


def test_as_many_keys_as_fit():
    many = [{**public_jwk(), "kid": f"{number}"} for number in range(100)]
    assert client_jwks.find_problem(jwks(*many)) is None


@pytest.mark.threat("T130", "T149")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "JWK Set"),
        ([], "JWK Set"),
        ({}, "JWK Set"),
        ("https://app.example/jwks", "JWK Set"),
        ({"keys": {}}, "JWK Set"),
        (jwks(), "at least one key"),
        (jwks(1), "keys[0] is no JSON object"),
        (jwks({}), "keys[0] has no kty"),
        (jwks({"kty": ["EC"]}), "a kty that is no text"),
        (jwks({"kty": "AKP"}), "no key that this server can verify"),
        (jwks(OctKey.generate_key(256).as_dict(private=True)), "symmetric key"),
        (jwks({"kty": "oct"}), "symmetric key"),
        (jwks(public_jwk(), private_jwk()), "keys[1] is a private key"),
        (jwks({**public_jwk("RSA"), "p": "AQAB"}), "is a private key"),
        (jwks({**public_jwk(), "k": "AQAB"}), "is a private key"),
        (jwks(short_rsa_jwk()), "1024 bits"),
        (jwks({"kty": "RSA", "e": "AQAB", "n": "wA" + "A" * 1400}), "bits"),
        (jwks({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "17 bits"),
        (jwks({"kty": "RSA", "n": "w" * 342, "e": "AA"}), "cannot be read"),
        (jwks({"kty": "RSA", "n": "é", "e": "AQAB"}), "cannot be read"),
        (jwks({"kty": "RSA", "n": 1, "e": "AQAB"}), "cannot be read"),
        (jwks({"kty": "RSA"}), "cannot be read"),
        (jwks({"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"}), "cannot be read"),
        (jwks({"kty": "EC", "x": "AQAB", "y": "AQAB"}), "cannot be read"),
        (jwks({"kty": "EC", "crv": "P-9", "x": "AQAB", "y": "AQAB"}), "no key that this server can verify"),
        (jwks({"kty": "EC", "crv": ["P-256"], "x": "AQAB", "y": "AQAB"}), "a crv that is no text"),
        (jwks({"kty": "OKP", "crv": "Ed25519", "x": "é"}), "cannot be read"),
        (jwks({**public_jwk(), "use": 5}), "a use that is no text"),
        (jwks({**public_jwk(), "alg": None}), "an alg that is no text"),
        (jwks({**public_jwk(), "key_ops": ["sign"], "use": "enc"}), "no key that this server can verify"),
        (
            jwks(public_jwk(), {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA", "priv": "AAAA"}),
            "keys[1] is a private key",
        ),
        (jwks(public_jwk(), {"kty": "XYZ", "d": "AAAA"}), "keys[1] is a private key"),
        (jwks(public_jwk(), roca_jwk()), "keys[1] is an RSA key whose private part can be computed"),
        (jwks({**public_jwk(), "kid": 5}), "a kid that is no text"),
        (jwks({**public_jwk(), "kid": "k" * 257}), "a kid that is no text"),
        (jwks(public_jwk(kid="1"), public_jwk("RSA", kid="1")), "the same kid"),
        (jwks(public_jwk(use="enc")), "no key that this server can verify"),
        (jwks(NOBODYS), "no key that this server can verify"),
        (jwks({**public_jwk(), "alg": "none"}), "no key that this server can verify"),
        (jwks({**public_jwk(), "key_ops": ["deriveKey"]}), "no key that this server can verify"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # the keys are random
)
def test_a_jwk_set_that_cannot_be_registered(value, words):
    [problem] = problems(members={"jwks": value})
    assert problem.startswith("jwks ")
    assert words in problem


def test_a_secret_part_is_not_quoted():
    private = private_jwk()
    [problem] = problems(members={"jwks": jwks(private)})
    assert private["d"] not in problem


# ---- what goes with what -----------------------------------------------------------------------------------

KEYS = {"jwks": jwks(public_jwk("P-256"))}
KEYS_AT = {"jwks_uri": "https://app.example/jwks"}
SIGNS = {"token_endpoint_auth_method": "private_key_jwt"}
SIGNS_SECRET = {"token_endpoint_auth_method": "client_secret_jwt"}
NATIVE = ["com.example.app:/cb", "http://127.0.0.1/cb", "https://app.example/cb"]


@pytest.mark.parametrize(
    ("members", "columns"),
    [
        (KEYS, SIGNS),
        (KEYS_AT, SIGNS),
        (KEYS | {"token_endpoint_auth_signing_alg": "ES256", "assertion_audience": "issuer"}, SIGNS),
        (
            KEYS_AT | {"token_endpoint_auth_signing_alg": "PS256", "assertion_audience": "token_endpoint"},
            SIGNS,
        ),
        ({"token_endpoint_auth_signing_alg": "HS512"}, SIGNS_SECRET),
        (KEYS | {"request_object_signing_alg": "ES256", "require_signed_request_object": True}, {}),
        (KEYS_AT | {"request_object_signing_alg": "EdDSA"}, {}),
        ({"application_type": "native"}, {"redirect_uris": NATIVE}),
        ({}, {"redirect_uris": NATIVE}),
        ({"subject_type": "pairwise"}, {"redirect_uris": [WEB, "https://app.example:8443/other"]}),
        (
            {"subject_type": "pairwise", "sector_identifier_uri": "https://sector.example/"},
            {"redirect_uris": [WEB, "https://other.example/"]},
        ),
        (
            {
                "backchannel_logout_uri": "https://app.example/out",
                "backchannel_logout_session_required": True,
            },
            {},
        ),
        ({"backchannel_logout_session_required": False}, {}),
        ({"access_token_format": "jwt"}, {"access_token_lifetime": 86_400}),
        ({"access_token_format": "opaque"}, {"access_token_lifetime": 86_401}),
    ],
)
def test_a_registration_that_is_good(members, columns):
    assert problems(members=members, **columns) == []


@pytest.mark.threat("T149", "T153")
@pytest.mark.parametrize(
    ("members", "columns", "words"),
    [
        (KEYS | KEYS_AT, {}, "exclude each other"),
        ({"jwks": 1, "jwks_uri": 1}, {}, "exclude each other"),
        ({}, SIGNS, "auth method private_key_jwt needs jwks or jwks_uri"),
        ({"request_object_signing_alg": "ES256"}, {}, "signed request objects need jwks"),
        ({"require_signed_request_object": True}, SIGNS_SECRET, "signed request objects need jwks"),
        (
            KEYS | {"request_object_signing_alg": "RS256"},
            {},
            "request_object_signing_alg is RS256, and jwks has no key",
        ),
        (KEYS | {"token_endpoint_auth_signing_alg": "ES384"}, SIGNS, "is ES384, and jwks has no key for it"),
        (
            KEYS | {"token_endpoint_auth_signing_alg": "HS256"},
            SIGNS,
            "HS256 does not fit auth method private_key_jwt",
        ),
        (
            {"token_endpoint_auth_signing_alg": "ES256"},
            SIGNS_SECRET,
            "ES256 does not fit auth method client_secret_jwt",
        ),
        ({"token_endpoint_auth_signing_alg": "ES256"}, {}, "is of use with auth methods"),
        ({"assertion_audience": "token_endpoint"}, {}, "assertion_audience is of use with auth methods"),
        (
            {"assertion_audience": "issuer"},
            {"token_endpoint_auth_method": "none"},
            "is of use with auth methods",
        ),
        (
            {"application_type": "web"},
            {"redirect_uris": ["http://127.0.0.1/cb"]},
            "not for application_type web",
        ),
        (
            {"application_type": "web"},
            {"redirect_uris": ["com.example.app:/cb"]},
            "not for application_type web",
        ),
        (
            {"subject_type": "pairwise"},
            {"redirect_uris": [WEB, "https://b.example/"]},
            "needs a sector_identifier_uri",
        ),
        (
            {"subject_type": "pairwise"},
            {"redirect_uris": ["com.a:/", "com.b:/"]},
            "needs a sector_identifier_uri",
        ),
        (
            {"subject_type": "pairwise"},
            {"redirect_uris": []},
            "needs a redirect URI or a sector_identifier_uri",
        ),
        (
            {"backchannel_logout_uri": "https://a.example/"},
            {"grant_types": []},
            "grant type authorization_code only",
        ),
        ({"backchannel_logout_session_required": True}, {}, "of use with backchannel_logout_uri only"),
        ({"access_token_format": "jwt"}, {"access_token_lifetime": 86_401}, "at most 86400 seconds"),
    ],
)
def test_a_registration_that_does_not_fit_together(members, columns, words):
    assert [problem for problem in problems(members=members, **columns) if words in problem]


def test_a_scheme_without_a_dot_counts_where_the_operator_allows_it():
    allowed = replace(PRODUCTION, redirect_schemes=("cursor",))
    for members, uris, words in (
        ({"application_type": "web"}, ["cursor://x/cb"], "not for application_type web"),
        ({"subject_type": "pairwise"}, [WEB, "cursor://x/cb"], "needs a sector_identifier_uri"),
    ):
        assert words in problems(allowed, members, redirect_uris=uris)[0]
        # another rule says that it cannot be registered
        assert problems(PRODUCTION, members, redirect_uris=uris) == []


def test_a_web_application_in_development_may_be_on_loopback():
    members, uris = {"application_type": "web"}, ["http://127.0.0.1:5000/cb", "http://localhost/cb"]
    assert problems(DEVELOPMENT, members, redirect_uris=uris) == []
    assert len(problems(PRODUCTION, members, redirect_uris=uris)) == 2
    assert problems(DEVELOPMENT, members, redirect_uris=["com.example.app:/cb"]) != []


def test_the_lifetime_that_the_settings_give_counts_too():
    long = replace(PRODUCTION, access_token_lifetime=timedelta(days=2))
    assert problems(long, {"access_token_format": "jwt"}) != []
    assert problems(long, {"access_token_format": "jwt"}, access_token_lifetime=600) == []


# ---- sectors -----------------------------------------------------------------------------------------------


@pytest.mark.threat("T153")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([WEB, "https://b.example/cb"], None),
        ([WEB], "'https://b.example/cb'"),
        ([WEB.upper(), "https://b.example/cb"], WEB),
        ([], WEB),
        ([WEB, "https://b.example/cb", 1], "no JSON list of URIs"),
        ({"redirect_uris": [WEB]}, "no JSON list of URIs"),
        (WEB, "no JSON list of URIs"),
        (None, "no JSON list of URIs"),
    ],
)
def test_the_document_of_a_sector_names_every_redirect_uri(document, words):
    problem = problem_of_sector(document, [WEB, "https://b.example/cb"])
    assert problem is None if words is None else words in problem
