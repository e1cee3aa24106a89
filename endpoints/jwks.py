"""`GET /oauth/jwks` (RFC 7517 §5): the public keys that what this server signs is verified with."""

from flask import Blueprint, Response, json

from current import keyring, settings

blueprint = Blueprint("jwks", __name__)


@blueprint.get("/oauth/jwks")
def jwks() -> Response:
    """It may be kept for `jwks_cache_lifetime`: a key that signs was in here for longer than that before."""
    response = Response(json.dumps(keyring.jwks()), mimetype="application/jwk-set+json")
    response.headers["Cache-Control"] = f"public, max-age={int(settings.jwks_cache_lifetime.total_seconds())}"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
