"""`GET /.well-known/oauth-authorization-server` (RFC 8414): what this server does, read from what is registered."""

from flask import Blueprint, Response, jsonify

import store.scopes
from current import server, settings
from endpoints.introspect import IntrospectionEndpoint
from endpoints.revoke import RevocationEndpoint
from protocol.scopes import OFFLINE_ACCESS

blueprint = Blueprint("discovery", __name__)

CACHE_SECONDS = 3600


@blueprint.get("/.well-known/oauth-authorization-server")
def metadata() -> Response:
    issuer = settings.issuer
    response = jsonify(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/oauth/authorize",
        token_endpoint=f"{issuer}/oauth/token",
        introspection_endpoint=f"{issuer}/oauth/introspect",
        introspection_endpoint_auth_methods_supported=IntrospectionEndpoint.CLIENT_AUTH_METHODS,
        revocation_endpoint=f"{issuer}/oauth/revoke",
        revocation_endpoint_auth_methods_supported=RevocationEndpoint.CLIENT_AUTH_METHODS,
        scopes_supported=[*(scope.name for scope in store.scopes.all_by_name()), OFFLINE_ACCESS],
        response_types_supported=["code"],
        response_modes_supported=["query"],
        grant_types_supported=server.grant_types_supported(),
        token_endpoint_auth_methods_supported=server.auth_methods_supported(),
        code_challenge_methods_supported=["S256"],
        authorization_response_iss_parameter_supported=True,
    )
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
