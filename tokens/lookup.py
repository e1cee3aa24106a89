"""Find the token that a client wants to have revoked or introspected, and tell whether it is active."""

import hmac

import store.tokens
from crypto import credentials
from protocol import clock
from protocol.registered_client import RegisteredClient
from services.current import server
from store.tokens import TokenRow


class KnownToken:
    """A row and which of its tokens was sent, with the methods that Authlib calls.

    refresh_token_digest: of the refresh token that was sent; None where it was the access token.
    """

    def __init__(self, row: TokenRow, refresh_token_digest: bytes | None = None) -> None:
        self.row = row
        self.is_refresh_token = refresh_token_digest is not None
        self._digest = refresh_token_digest or b""

    def check_client(self, client: RegisteredClient) -> bool:
        """Return whether the token was issued to this client."""
        return self.row.client_id == client.client_id

    def get_scope(self) -> str:
        """Return the scope of the token that was sent."""
        return self.row.scope if self.is_refresh_token else self.row.access_token_scope

    def expires_at(self) -> int | None:
        """Return when the token expires; None for a refresh token that never does."""
        if self.is_refresh_token:
            return self.row.refresh_token_expires_at
        return self.row.access_token_expires_at

    def is_active(self) -> bool:
        """Return whether the token would be accepted now (RFC 7662 §2.2).

        Of the refresh tokens of a family only the current one is active.
        """
        end = self.expires_at()
        if (end is not None and end <= clock.now()) or self.row.is_user_gone:
            return False
        current = self.row.refresh_token_digest or b""
        return not self.is_refresh_token or hmac.compare_digest(self._digest, current)


def find_token(text: str) -> KnownToken | None:
    """Return an access token, or any refresh token that its family ever had; else None. One SELECT."""
    refresh_token = server.refresh_tokens.read(text)
    if refresh_token is not None:
        row = store.tokens.find_by_family(credentials.digest(refresh_token.family))
        return None if row is None else KnownToken(row, credentials.digest(text))
    row = store.tokens.find_by_access_token(credentials.digest(text))
    return None if row is None else KnownToken(row)
