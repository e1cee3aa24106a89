"""`GET /oauth/jwks` (RFC 7517 §5): publish the public keys that verify what this server signs."""

import logging

from flask import Response, json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from crypto.json_values import JsonObject
from database import is_unavailable
from errors import StorageBusyError
from middleware.endpoint_policy import Caller, Cors, Csrf, Endpoint, EndpointPolicy
from middleware.error_responses import answer_bug, answer_unavailable
from services.current import tenant

log = logging.getLogger("ostiary.jwks")

policy = EndpointPolicy(
    paths=("/oauth/jwks",),
    methods=("GET", "HEAD"),
    caller=Caller.PROGRAM,
    cors=Cors.ANY_ORIGIN,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=0,
    metadata="jwks_uri",
)
blueprint = Endpoint(__name__, policy)


@blueprint.view()
def jwks() -> Response:
    """Return the key set; a key is in it for longer than `jwks_cache_lifetime` before it signs."""
    return publish(tenant().keyring.jwks())


@blueprint.errorhandler(DBAPIError)
@blueprint.errorhandler(PoolTimeoutError)
@blueprint.errorhandler(StorageBusyError)
def answer_from_memory(error: Exception) -> Response:
    """Return the keys that were published last, while the database is away.

    As long as others may still cache them.
    """
    if isinstance(error, DBAPIError) and not is_unavailable(error):
        return answer_bug(error)
    remembered = tenant().keyring.remembered_jwks()
    if remembered is None:
        return answer_unavailable(error)
    log.warning("storage unavailable, keys from memory: %s", type(error).__name__)
    return publish(remembered)


def publish(keys: JsonObject) -> Response:
    """Return a key set as a response that may be cached."""
    response = Response(json.dumps(keys), mimetype="application/jwk-set+json")
    response.headers["Cache-Control"] = f"public, max-age={tenant().keyring.seconds_to_keep()}"
    return response
