"""`/healthz`: the process lives.

`/readyz`: the database answers and is migrated. On any Host, and telling nothing.
"""

from flask import Blueprint, Response

import store.schema

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> Response:
    """503 while the database is away (answered in `errors.py`) or not migrated."""
    if store.schema.is_migrated():
        return Response("ok\n", mimetype="text/plain")
    return Response("not migrated\n", 503, mimetype="text/plain")
