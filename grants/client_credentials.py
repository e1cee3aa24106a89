"""`grant_type=client_credentials` (RFC 6749 §4.4): a machine acts for itself.

Public clients cannot: anybody could name them.
"""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidScopeError
from authlib.oauth2.rfc6749 import grants as rfc6749

from protocol import auth_methods, scopes


class ClientCredentialsGrant(rfc6749.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = auth_methods.WITH_A_PROOF

    def validate_requested_scope(self) -> None:
        """An omitted scope is all that is registered and needs no person; naming one that does is refused."""
        requested = scopes.split(self.request.payload.scope)
        if scopes.NEED_A_PERSON & set(requested):
            raise InvalidScopeError("this scope needs a person")
        if self.client.get_allowed_scope(scopes.join(requested)) is None:
            raise InvalidScopeError("the client is not registered for this scope")
        registered = [name for name in scopes.split(self.client.scope) if name not in scopes.NEED_A_PERSON]
        self.request.scope = scopes.join(requested or registered)

    def generate_token(self, **values: Any) -> dict[str, Any]:
        """With the scope that was found above; Authlib would pass the one that was sent."""
        token: dict[str, Any] = super().generate_token(**values | {"scope": self.request.scope})
        return token
