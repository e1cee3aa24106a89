"""`GET /api/me`: tell the holder of a token about its user, as the scopes allow.

An example of a protected resource.
"""

from authlib.oauth2.rfc6750 import InsufficientScopeError

from crypto.json_values import JsonObject
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
def me() -> JsonObject:
    """Return `sub`, `client_id` and `scope`; `name` with the scope profile, `email` with the scope email.

    A token without a user (client credentials) gets 403.
    """
    with require_oauth.acquire() as token:
        row = token.row
        if row.sub is None:
            raise InsufficientScopeError("this needs the token of a user")
    granted = scopes.split(row.access_token_scope)
    answer: JsonObject = {
        "sub": claims.remembered_subject(row.openid, row.sub),
        "client_id": row.client_id,
        "scope": row.access_token_scope,
    }
    if "profile" in granted:
        answer["name"] = row.name
    if "email" in granted:
        answer["email"] = row.email
    return answer
