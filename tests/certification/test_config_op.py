"""The module of `oidcc-config-certification-test-plan`: the metadata, read as a program reads them that knows
the issuer alone.
"""

import re

import pytest

from tests.builders import ISSUER
from tests.certification import conditions
from tests.certification.relying_party import DISCOVERY_URL

SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3
LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")  # BCP 47, in its usual letters
BOOLEANS = {
    "authorization_response_iss_parameter_supported",
    "backchannel_logout_session_supported",
    "backchannel_logout_supported",
    "claims_parameter_supported",
    "request_parameter_supported",
    "request_uri_parameter_supported",
    "require_signed_request_object",
}
ADDRESSES = {
    "issuer",
    "authorization_endpoint",
    "end_session_endpoint",
    "introspection_endpoint",
    "jwks_uri",
    "revocation_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
}
LISTS = {
    "acr_values_supported",
    "claim_types_supported",
    "claims_supported",
    "code_challenge_methods_supported",
    "display_values_supported",
    "grant_types_supported",
    "id_token_signing_alg_values_supported",
    "introspection_endpoint_auth_methods_supported",
    "introspection_endpoint_auth_signing_alg_values_supported",
    "introspection_signing_alg_values_supported",
    "prompt_values_supported",
    "request_object_signing_alg_values_supported",
    "response_modes_supported",
    "response_types_supported",
    "revocation_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_signing_alg_values_supported",
    "scopes_supported",
    "subject_types_supported",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "ui_locales_supported",
    "userinfo_signing_alg_values_supported",
}


@pytest.mark.certification("oidcc-discovery-endpoint-verification")
def test_oidcc_discovery_endpoint_verification(http):
    answer = http.get(DISCOVERY_URL)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    metadata = answer.json
    check_issuer(metadata["issuer"])
    check_types(metadata)
    check_values(metadata)
    conditions.check_keys(http.get(metadata["jwks_uri"]))


def check_issuer(issuer):
    """It is where its metadata came from, and an identifier as RFC 8414 §2 has it."""
    assert issuer == ISSUER == DISCOVERY_URL.removesuffix("/.well-known/openid-configuration")
    conditions.check_address(issuer)
    assert "?" not in issuer and "#" not in issuer


def check_types(metadata):
    """No member that the suite does not know, and each of the type that it has; every address is https."""
    assert metadata.keys() <= BOOLEANS | ADDRESSES | LISTS
    for name, value in metadata.items():
        if name in BOOLEANS:
            assert type(value) is bool, name
        elif name in ADDRESSES:
            conditions.check_address(value)
        else:
            assert type(value) is list and value and all(type(item) is str for item in value), name
    assert metadata.keys() >= {"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"}


def check_values(metadata):
    assert metadata["response_types_supported"] == ["code"]
    assert set(metadata["subject_types_supported"]) <= {"public", "pairwise"}
    assert "RS256" in metadata["id_token_signing_alg_values_supported"]
    assert "RS256" in metadata["userinfo_signing_alg_values_supported"]
    assert "RS256" in metadata["request_object_signing_alg_values_supported"]
    assert metadata["request_parameter_supported"] is True
    assert metadata["claims_parameter_supported"] is True
    assert {"sub", "name", "email"} <= set(metadata["claims_supported"])
    assert {"authorization_code", "refresh_token"} <= set(metadata["grant_types_supported"])
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert "openid" in metadata["scopes_supported"]
    assert all(SCOPE_TOKEN.fullmatch(scope) for scope in metadata["scopes_supported"])
    assert all(LANGUAGE_TAG.fullmatch(tag) for tag in metadata["ui_locales_supported"])
