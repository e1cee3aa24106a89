"""`grant_type=client_credentials` (RFC 6749 §4.4): a client gets a token of its own, without a user.

Public clients cannot: anybody could name them.
"""

from authlib.oauth2.rfc6749 import InvalidScopeError
from authlib.oauth2.rfc6749 import grants as rfc6749

from protocol import auth_methods, scopes
from protocol.registered_client import RegisteredClient
from services.oauth2_types import OAuth2Request, Server, TokenResponse


class ClientCredentialsGrant(rfc6749.ClientCredentialsGrant):
    """Authlib's grant with our rules for scopes."""

    TOKEN_ENDPOINT_AUTH_METHODS = auth_methods.CONFIDENTIAL

    request: OAuth2Request
    server: Server
    client: RegisteredClient

    def validate_requested_scope(self) -> None:
        """Decide the scope of the token: what is asked for, or all that is registered and needs no user.

        Raises InvalidScopeError.
        """
        requested = scopes.split(self.request.payload.scope)
        if scopes.REQUIRE_USER & set(requested):
            raise InvalidScopeError("this scope needs a user")
        if self.client.get_allowed_scope(scopes.join(requested)) is None:
            raise InvalidScopeError("the client is not registered for this scope")
        registered = [name for name in scopes.split(self.client.scope) if name not in scopes.REQUIRE_USER]
        self.request.scope = scopes.join(requested or registered)

    def generate_token(
        self, scope: str | None = None, *, include_refresh_token: bool = False
    ) -> TokenResponse:
        """Return a new token response.

        scope: as it was sent; the one that was decided counts. There is no refresh token (RFC 6749 §4.4.3).
        """
        return self.server.new_token(
            self.GRANT_TYPE, self.client, scope=self.request.scope, include_refresh_token=False
        )
