"""`grant_type=refresh_token` (RFC 6749 §6): find the family of the presented token, and hand it to
`my_oauth.save_token`.

Whether the token is the current one, a repeat or stolen is not decided here: only under the lock on the
person's row is the family's row what it seems. `protocol/refresh.py` has the rules, `save_token` applies
them.
"""

import hmac
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from authlib.oauth2.rfc6749 import grants as rfc6749
from sqlalchemy import Row

import store.tokens
import store.users
from crypto import credentials
from protocol import auth_methods, claims, clock, scopes
from services.event_log import Reason, set_reason
from unit_of_work import after_rollback


class RefreshTokenGrant(rfc6749.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = auth_methods.ANY

    def authenticate_refresh_token(self, refresh_token: str) -> "PresentedRefreshToken":
        """Raises InvalidGrantError for a token that this server never issued, or whose family has ended.

        A wrong tag is refused before the database is asked: only a token that was real once may end a family.
        """
        presented = self.server.refresh_tokens.read(refresh_token)
        if presented is None:
            set_reason(Reason.REFRESH_UNKNOWN)
            raise InvalidGrantError("this refresh token was not issued here")
        family = store.tokens.find_family(credentials.digest(presented.family))
        if family is None:
            set_reason(Reason.REFRESH_ENDED)
            raise InvalidGrantError("the sign-in of this refresh token has ended")
        return PresentedRefreshToken(
            presented, family, claims.still_allowed(family.openid, self.request.client)
        )

    def _validate_token_scope(self, token: "PresentedRefreshToken") -> None:
        if scopes.is_within(self.request.payload.scope or "", token.get_scope()):
            return
        if token.is_current():
            after_rollback(store.tokens.note_presentation, token.family.id, clock.now())
        raise InvalidScopeError("the scope is wider than what was granted")

    def authenticate_user(self, refresh_token: "PresentedRefreshToken") -> Row[Any]:
        owner = store.users.lock(refresh_token.family.user_id)
        if owner is None:
            set_reason(Reason.DISABLED)
            raise InvalidGrantError("the person of this refresh token has no account any more")
        return owner

    def issue_token(self, user: Row[Any], refresh_token: "PresentedRefreshToken") -> dict[str, Any]:
        """What was granted, in the bounds of the registration as it is by now; the answer names the scope
        (RFC 6749 §3.3).
        """
        client = self.request.client
        scope = client.still_allowed(self.request.payload.scope or refresh_token.get_scope())
        token: dict[str, Any] = self.server.new_token(
            self.GRANT_TYPE, client, user, scope, include_refresh_token=False, sign_in=refresh_token
        )
        presented = refresh_token.presented
        rotates = client.rotate_refresh_tokens or client.is_public
        token["refresh_token"] = str(
            self.server.refresh_tokens.new(presented.family) if rotates else presented
        )
        return token

    def revoke_old_credential(self, refresh_token: "PresentedRefreshToken") -> None:
        """Nothing is left to do: the DELETE in `save_token` took the old row.

        Its key may already be another row's.
        """


class PresentedRefreshToken:
    """A refresh token as it was presented, and the row of its family as it was read before the lock.

    openid: what ID tokens and userinfo need to know, but for claims that the client is registered for no
    more.
    """

    def __init__(
        self, presented: credentials.RefreshToken, family: Row[Any], openid: dict[str, Any] | None
    ) -> None:
        self.presented = presented
        self.digest = credentials.digest(str(presented))
        self.family = family
        self.auth_time: int | None = family.auth_time
        self.acr: str | None = family.acr
        self.sid: str | None = family.sid
        self.openid = openid

    def is_current(self) -> bool:
        return hmac.compare_digest(self.digest, self.family.refresh_token_digest)

    def check_client(self, client: Any) -> bool:
        if self.family.client_id == client.client_id:
            return True
        set_reason(Reason.WRONG_CLIENT)  # Authlib raises it
        return False

    def get_scope(self) -> str:
        return str(self.family.scope)
