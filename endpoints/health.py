"""`/healthz`: the process lives.

`/readyz`: the database answers and is migrated. On any Host, and telling nothing.
"""

from flask import Response

import store.schema
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
    return Response("ok\n", mimetype="text/plain")


@blueprint.view("/readyz")
def readyz() -> Response:
    """503 while the database is away (answered in `errors.py`) or not migrated."""
    if store.schema.is_migrated():
        return Response("ok\n", mimetype="text/plain")
    return Response("not migrated\n", 503, mimetype="text/plain")
