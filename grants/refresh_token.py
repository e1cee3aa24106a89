"""`grant_type=refresh_token` (RFC 6749 §6): find the token's family, lock its user, and call `save_token`.

Whether the token is the current one, a repeat or stolen is not decided here: another refresh may have
replaced the family's row before the lock was free. `protocol/refresh.py` has the rules, `my_oauth.save_token`
applies them.
"""

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from authlib.oauth2.rfc6749 import grants as rfc6749

import store.tokens
from crypto import credentials
from protocol import auth_methods, claims, clock, scopes
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request, PresentedRefreshToken, Server, TokenResponse
from store.users import UserRow
from unit_of_work import after_rollback


class RefreshTokenGrant(rfc6749.RefreshTokenGrant):
    """Authlib's grant on our tables. Its methods stand in the order in which Authlib calls them."""

    TOKEN_ENDPOINT_AUTH_METHODS = auth_methods.ALL

    request: OAuth2Request
    server: Server

    def authenticate_refresh_token(self, refresh_token: str) -> PresentedRefreshToken:
        """Return the refresh token with its family, and lock the user's row. One SELECT.

        Raises InvalidGrantError for a token that this server never issued, or whose family is gone. A wrong
        tag is refused without a SELECT: only who held a token of a family can have the family revoked.
        """
        presented = self.server.refresh_tokens.read(refresh_token)
        if presented is None:
            set_reason(Reason.REFRESH_UNKNOWN)
            raise InvalidGrantError("this refresh token was not issued here")
        found = store.tokens.find_family_and_lock_user(credentials.digest(presented.family))
        if found is None:
            set_reason(Reason.REFRESH_ENDED)
            raise InvalidGrantError("the sign-in of this refresh token has ended")
        family, user = found
        openid = claims.still_allowed(family.openid, self.request.client)
        return PresentedRefreshToken(presented, family, user, openid)

    def _validate_token_scope(self, token: PresentedRefreshToken) -> None:
        """Check that the request asks for no more than was granted. Raises InvalidScopeError."""
        if scopes.is_within(self.request.payload.scope or "", token.get_scope()):
            return
        if token.is_current():
            after_rollback(store.tokens.note_presentation, token.family.id, clock.now())
        raise InvalidScopeError("the scope is wider than what was granted")

    def authenticate_user(self, refresh_token: PresentedRefreshToken) -> UserRow:
        """Return the user, whose row is locked. Raises InvalidGrantError where the user is disabled."""
        if refresh_token.user is None:
            set_reason(Reason.DISABLED)
            raise InvalidGrantError("the user of this refresh token has no account any more")
        return refresh_token.user

    def issue_token(self, user: UserRow, refresh_token: PresentedRefreshToken) -> TokenResponse:
        """Return a new token response, with the scope that the client may still have (RFC 6749 §3.3)."""
        client = self.request.client
        scope = client.still_allowed(self.request.payload.scope or refresh_token.get_scope())
        token = self.server.new_token(
            self.GRANT_TYPE, client, user, scope, include_refresh_token=False, sign_in=refresh_token.sign_in
        )
        presented = refresh_token.presented
        rotates = client.rotate_refresh_tokens or client.is_public
        token["refresh_token"] = str(
            self.server.refresh_tokens.new(presented.family) if rotates else presented
        )
        return token

    def revoke_old_credential(self, refresh_token: PresentedRefreshToken) -> None:
        """Leave it: `save_token` has deleted the old row, and its key may be another row's by now."""
