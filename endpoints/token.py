"""`POST /oauth/token` (RFC 6749 §3.2).

The way of a request: the front guard here, the grant that `grant_type` names (`grants/`), the client's proof (`client_auth/`),
the lock on the person and the claim of the code, `my_oauth.save_token`, and `unit_of_work.settle`, which commits.
"""

from authlib.oauth2.rfc6749 import OAuth2Error
from flask import Blueprint, Response

from current import server
from endpoints.guard import check_request

blueprint = Blueprint("token", __name__)


@blueprint.post("/oauth/token")
def token() -> Response:
    try:
        check_request("grant_type")
    except OAuth2Error as error:
        return server.handle_error_response(None, error)
    return server.create_token_response()
