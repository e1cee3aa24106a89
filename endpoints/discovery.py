"""Discovery: tell clients what this server does, read from the lists that enforce it.

`/.well-known/oauth-authorization-server` (RFC 8414) and `/.well-known/openid-configuration` (OpenID Connect
Discovery 1.0).
"""

from flask import Response, jsonify

import store.scopes
from crypto import jwt
from crypto.json_values import JsonObject
from endpoints.introspect import IntrospectionEndpoint
from endpoints.revoke import RevocationEndpoint
from middleware.endpoint_policy import (
    Caller,
    Cors,
    Csrf,
    Endpoint,
    EndpointPolicy,
    Metadata,
    advertised_paths,
)
from protocol import claims
from protocol.authentication_request import DISPLAYS, PROMPTS, RESPONSE_MODES
from protocol.scopes import OFFLINE_ACCESS
from services.current import server, settings

policy = EndpointPolicy(
    paths=("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
    methods=("GET", "HEAD"),
    caller=Caller.PROGRAM,
    cors=Cors.ANY_ORIGIN,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=0,
    metadata=Metadata.DOCUMENT,
)
blueprint = Endpoint(__name__, policy)

CACHE_SECONDS = 3600
ASSERTIONS = [*jwt.ASYMMETRIC, *jwt.SYMMETRIC]


@blueprint.view()
def metadata() -> Response:
    """Return the one document for both addresses: RFC 8414 §2 takes the members of OpenID Connect."""
    response = jsonify(addresses() | oauth_members() | openid_members())
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    return response


def addresses() -> JsonObject:
    """Return the issuer, and the address of each endpoint whose policy names a member for it."""
    issuer = str(settings.issuer)
    return {"issuer": issuer} | {member: issuer + path for member, path in advertised_paths().items()}


def oauth_members() -> JsonObject:
    """Return the members of RFC 8414 §2."""
    return {
        "introspection_endpoint_auth_methods_supported": IntrospectionEndpoint.CLIENT_AUTH_METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTIONS,
        "introspection_signing_alg_values_supported": list(jwt.SIGNING),
        "revocation_endpoint_auth_methods_supported": RevocationEndpoint.CLIENT_AUTH_METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTIONS,
        "scopes_supported": [*(scope.name for scope in store.scopes.all_by_name()), OFFLINE_ACCESS],
        "response_types_supported": ["code"],
        "response_modes_supported": list(RESPONSE_MODES),
        "grant_types_supported": server.grant_types,
        "token_endpoint_auth_methods_supported": server.client_auth_methods,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTIONS,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": ["en"],
    }


def openid_members() -> JsonObject:
    """Return the members that OpenID Connect adds."""
    return {
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "subject_types_supported": list(claims.SUBJECT_TYPES),
        "id_token_signing_alg_values_supported": list(jwt.SIGNING),
        "userinfo_signing_alg_values_supported": list(jwt.SIGNING),
        "claim_types_supported": ["normal"],
        "claims_supported": list(claims.SUPPORTED),
        "claims_parameter_supported": True,
        "acr_values_supported": list(claims.ACR_VALUES),
        "prompt_values_supported": list(PROMPTS),
        "display_values_supported": list(DISPLAYS),
        "request_parameter_supported": True,
        "request_object_signing_alg_values_supported": list(jwt.ASYMMETRIC),
        "require_signed_request_object": False,
        "request_uri_parameter_supported": False,
    }
