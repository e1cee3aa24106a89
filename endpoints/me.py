"""`GET /api/me`: the example of a protected resource.

Tells the holder of a token about its person, as the scopes allow.
"""

from typing import Any

from authlib.oauth2.rfc6750 import InsufficientScopeError

from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Csrf, Endpoint, EndpointPolicy, Metadata
from protocol import claims, scopes
from tokens.bearer import require_oauth

policy = EndpointPolicy(
    paths=("/api/me",),
    methods=("GET",),
    caller=Caller.PROGRAM,
    cors=Cors.PUBLIC_CLIENTS,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata=Metadata.NONE,
)
blueprint = Endpoint(__name__, policy)


@blueprint.view()
def me() -> dict[str, Any]:
    """`sub`, `client_id`, `scope`; `name` with the scope profile, `email` with the scope email.

    A machine's token gets 403.
    """
    with require_oauth.acquire() as token:
        row = token.row
        if row.sub is None:
            raise InsufficientScopeError("this needs the token of a person")
    granted = scopes.split(row.access_token_scope)
    answer = {
        "sub": claims.remembered_subject(row.openid, row.sub),
        "client_id": row.client_id,
        "scope": row.access_token_scope,
    }
    if "profile" in granted:
        answer["name"] = row.name
    if "email" in granted:
        answer["email"] = row.email
    return answer
