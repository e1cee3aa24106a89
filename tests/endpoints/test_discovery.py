"""Server metadata (RFC 8414): it says what is enforced, in the issuer's own name."""

import pytest

from tests.builders import ISSUER, a_machine

WITH_A_PROOF = ["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt"]


@pytest.mark.threat("T162")
def test_metadata_is_what_is_registered(http, seed):
    document = http.get("/.well-known/oauth-authorization-server").json
    assert document["issuer"] == ISSUER
    assert document["authorization_endpoint"] == f"{ISSUER}/oauth/authorize"
    assert document["token_endpoint"] == f"{ISSUER}/oauth/token"
    assert document["introspection_endpoint"] == f"{ISSUER}/oauth/introspect"
    assert document["introspection_endpoint_auth_methods_supported"] == WITH_A_PROOF
    assert document["revocation_endpoint"] == f"{ISSUER}/oauth/revoke"
    assert document["revocation_endpoint_auth_methods_supported"] == [*WITH_A_PROOF, "none"]
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert document["response_types_supported"] == ["code"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["token_endpoint_auth_methods_supported"] == [*WITH_A_PROOF, "none"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert {"profile", "email", "offline_access"} <= set(document["scopes_supported"])


def test_anybody_may_read_it_from_anywhere_and_keep_it(http):
    answer = http.get("/.well-known/oauth-authorization-server", headers={"Origin": "https://x.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "max-age" in answer.headers["Cache-Control"]
    assert "Set-Cookie" not in answer.headers


@pytest.mark.threat("T160")
def test_forwarded_headers_do_not_change_the_issuer(http):
    forwarded = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "host=evil.example",
    }
    answer = http.get("/.well-known/oauth-authorization-server", headers=forwarded)
    assert answer.json["issuer"] == ISSUER


@pytest.mark.threat("T162")
def test_every_advertised_grant_type_is_understood(http, seed):
    seed(a_machine(grant_types=[]))
    for grant_type in http.get("/.well-known/oauth-authorization-server").json["grant_types_supported"]:
        answer = http.post(
            "/oauth/token",
            data={"grant_type": grant_type},
            auth=("robot", "ost_cs_" + "s" * 43),
        )
        assert answer.json["error"] != "unsupported_grant_type"
