"""`POST /oauth/token` (RFC 6749 §3.2).

The way of a request: the front guard here, the grant that `grant_type` names (`grants/`), the client's proof
(`client_auth/`), the lock on the person and the claim of the code, `my_oauth.save_token`, and
`unit_of_work.run_in_transaction`, which commits.
"""

from flask import Response

from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Csrf, Endpoint, EndpointPolicy
from middleware.form_requests import form_endpoint
from services.current import server

policy = EndpointPolicy(
    paths=("/oauth/token",),
    methods=("POST",),
    caller=Caller.PROGRAM,
    cors=Cors.PUBLIC_CLIENTS,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata="token_endpoint",
)
blueprint = Endpoint(__name__, policy)


@blueprint.view()
@form_endpoint("grant_type")
def token() -> Response:
    return server.create_token_response()
