"""`POST /oauth/token` (RFC 6749 §3.2): issue tokens for what a client presents.

The way of a request: `form_endpoint` checks its form, `grants/` has the grant that `grant_type` names,
`client_auth/` the client's proof; then come the lock on the user, the claim of the code,
`my_oauth.save_token`, and `unit_of_work.run_in_transaction`, which commits.
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
    """Return a token response, or the registered error."""
    return server.create_token_response()
