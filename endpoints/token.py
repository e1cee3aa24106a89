"""`POST /oauth/token` (RFC 6749 §3.2).

The way of a request: the front guard here, the grant that `grant_type` names (`grants/`), the client's proof
(`client_auth/`), the lock on the person and the claim of the code, `my_oauth.save_token`, and
`unit_of_work.run_in_transaction`, which commits.
"""

from flask import Blueprint, Response

from middleware.endpoint_policy import form_endpoint
from services.current import server

blueprint = Blueprint("token", __name__)


@blueprint.post("/oauth/token")
@form_endpoint("grant_type")
def token() -> Response:
    return server.create_token_response()
