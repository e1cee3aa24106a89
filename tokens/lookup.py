"""A token that somebody sent to have it revoked or explained: which row it belongs to, and whether it is good
for anything.
"""

import hmac
from typing import Any

from sqlalchemy import Row

import store.tokens
from crypto import credentials
from protocol import clock
from services.current import server


class KnownToken:
    """The row of a token and which of its tokens was sent, with the methods that Authlib asks of it."""

    def __init__(self, row: Row[Any], refresh_token_digest: bytes | None = None) -> None:
        self.row = row
        self.is_refresh_token = refresh_token_digest is not None
        self._digest = refresh_token_digest or b""

    def check_client(self, client: Any) -> bool:
        return bool(self.row.client_id == client.client_id)

    def get_scope(self) -> str:
        return str(self.row.scope if self.is_refresh_token else self.row.access_token_scope)

    def expires_at(self) -> int | None:
        """None for a refresh token that never expires."""
        return (
            self.row.refresh_token_expires_at if self.is_refresh_token else self.row.access_token_expires_at
        )

    def is_active(self) -> bool:
        """Live, of a person who is there and not disabled; of the refresh tokens of a family, only the
        current one.
        """
        end = self.expires_at()
        if end is not None and end <= clock.now():
            return False
        if self.row.user_id is not None and (self.row.sub is None or self.row.disabled_at is not None):
            return False
        return not self.is_refresh_token or hmac.compare_digest(self._digest, self.row.refresh_token_digest)


def find_token(text: str) -> KnownToken | None:
    """What `text` belongs to: an access token, or any refresh token that its family ever had. One SELECT."""
    refresh_token = server.refresh_tokens.read(text)
    if refresh_token is not None:
        row = store.tokens.find_family_and_person(credentials.digest(refresh_token.family))
        return None if row is None else KnownToken(row, credentials.digest(text))
    row = store.tokens.find_bearer(credentials.digest(text))
    return None if row is None else KnownToken(row)
