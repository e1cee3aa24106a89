"""`GET /oauth/jwks` (RFC 7517 §5): the public keys that what this server signs is verified with."""

import logging
from typing import Any

from flask import Response, json
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from database import is_unavailable
from errors import StorageBusyError
from middleware.endpoint_policy import Caller, Cors, Csrf, Endpoint, EndpointPolicy
from middleware.error_responses import answer_bug, answer_unavailable
from services.current import keyring

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
    """It may be kept for `jwks_cache_lifetime`: a key that signs was in here for longer than that before."""
    return publish(keyring.jwks())


@blueprint.errorhandler(DBAPIError)
@blueprint.errorhandler(PoolTimeoutError)
@blueprint.errorhandler(StorageBusyError)
def answer_from_memory(error: Exception) -> Response:
    """The database is away: as long as others may still go by what was published, they are told the same."""
    if isinstance(error, DBAPIError) and not is_unavailable(error):
        return answer_bug(error)
    remembered = keyring.remembered_jwks()
    if remembered is None:
        return answer_unavailable(error)
    log.warning("storage unavailable, keys from memory: %s", type(error).__name__)
    return publish(remembered)


def publish(keys: dict[str, Any]) -> Response:
    response = Response(json.dumps(keys), mimetype="application/jwk-set+json")
    response.headers["Cache-Control"] = f"public, max-age={keyring.seconds_to_keep()}"
    return response
