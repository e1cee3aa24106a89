"""`/healthz` and `/readyz`: tell a supervisor whether the process lives, and whether it can serve.

On any Host, and nothing more.
"""

from flask import Response

import store.migration_state
from middleware.endpoint_policy import Caller, Cors, Csrf, Endpoint, EndpointPolicy, Metadata

policy = EndpointPolicy(
    paths=("/healthz", "/readyz"),
    methods=("GET", "HEAD"),
    caller=Caller.PROGRAM,
    cors=Cors.NONE,
    csrf=Csrf.NO_FORM,
    any_host=True,
    body_limit=0,
    metadata=Metadata.NONE,
)
blueprint = Endpoint(__name__, policy)


@blueprint.view("/healthz")
def healthz() -> Response:
    """Return 200 as long as the process answers."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.view("/readyz")
def readyz() -> Response:
    """Return 200 once the database is migrated; 503 before, and while it is away."""
    if store.migration_state.is_migrated():
        return Response("ok\n", mimetype="text/plain")
    return Response("not migrated\n", 503, mimetype="text/plain")
