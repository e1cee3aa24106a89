"""`/oauth/userinfo` (OpenID Connect Core §5.3): tell the holder of an access token about its user.

The token needs the scope `openid`. It comes in the header, or by POST in the form (RFC 6750 §2.1, §2.2);
never in the URL, and never twice. The answer is JSON, or for a client that registered
`userinfo_signed_response_alg` a signed JWT.
"""

from flask import Response, jsonify

from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Csrf, Endpoint, EndpointPolicy
from protocol import claims, scopes
from services.current import client_cache, keyring, settings
from tokens.bearer import require_oauth

policy = EndpointPolicy(
    paths=("/oauth/userinfo",),
    methods=("GET", "POST"),
    caller=Caller.PROGRAM,
    cors=Cors.PUBLIC_CLIENTS,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata="userinfo_endpoint",
)
blueprint = Endpoint(__name__, policy)


@blueprint.view()
def userinfo() -> Response:
    """Return the claims about the token's user."""
    with require_oauth.acquire(scopes.OPENID) as token:
        row = token.row
    sub = claims.remembered_subject(row.openid, row.sub)
    members = claims.userinfo(row, sub, row.access_token_scope, row.openid)
    client = client_cache.find(row.client_id)
    alg = client.member("userinfo_signed_response_alg") if client is not None else None
    if alg is None:
        return jsonify(members)
    signed = keyring.sign({"iss": str(settings.issuer), "aud": row.client_id, **members}, alg)
    return Response(signed, mimetype="application/jwt")
