"""`POST /oauth/revoke` (RFC 7009): revoke a token of the client that asks, with its whole family.

One row holds both tokens. Each token of a family will do, a replaced one too. An unknown token is answered
200 like one that was revoked (§2.2); 200 is never said before the revocation is stored.
"""

from authlib.oauth2.rfc6749 import InvalidGrantError
from authlib.oauth2.rfc7009 import RevocationEndpoint as Rfc7009
from flask import Response

import store.tokens
import store.users
from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Csrf, Endpoint, EndpointPolicy
from middleware.form_requests import form_endpoint
from protocol import auth_methods
from protocol.registered_client import RegisteredClient
from services.current import server
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request
from tokens.lookup import KnownToken, find_token

policy = EndpointPolicy(
    paths=("/oauth/revoke",),
    methods=("POST",),
    caller=Caller.PROGRAM,
    cors=Cors.PUBLIC_CLIENTS,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata="revocation_endpoint",
)
blueprint = Endpoint(__name__, policy)


class RevocationEndpoint(Rfc7009):
    """Authlib's revocation, with our tokens."""

    CLIENT_AUTH_METHODS = auth_methods.ALL

    def check_params(self, request: OAuth2Request, client: RegisteredClient) -> None:
        """Check nothing: `form_endpoint` has, and an unknown hint is no reason to refuse (§2.1)."""

    def query_token(self, token_string: str, token_type_hint: str | None) -> KnownToken | None:
        """Return the token that was sent; None for an unknown one."""
        return find_token(token_string)

    def authenticate_token(self, request: OAuth2Request, client: RegisteredClient) -> KnownToken | None:
        """Return the token that was sent. Raises InvalidGrantError where it is another client's."""
        try:
            token: KnownToken | None = super().authenticate_token(request, client)
        except InvalidGrantError:
            set_reason(Reason.WRONG_CLIENT)
            raise
        return token

    def revoke_token(self, token: KnownToken, request: OAuth2Request) -> None:
        """Revoke the family of a token.

        The lock comes first: a refresh in flight would otherwise carry the family past the DELETE.
        """
        if token.row.user_id is not None:
            store.users.lock(token.row.user_id)
        if token.row.family_digest is not None:
            store.tokens.revoke_family(token.row.family_digest)
        else:
            store.tokens.revoke_access_token(token.row.access_token_digest)


@blueprint.view()
@form_endpoint("token")
def revoke() -> Response:
    return server.create_endpoint_response(RevocationEndpoint.ENDPOINT_NAME)
