"""`grant_type=authorization_code` and the authorization request before it (RFC 6749 §4.1, OAuth 2.1 §4.1).

A code is spent by deleting its row, behind the lock on its user's row; the row count decides who spent it.
The token row remembers the code. When the code comes again, with everything else right, it is a replay, and
what it issued is revoked (RFC 6749 §4.1.2). When anything else is wrong it is merely refused: a thief who
only saw the code cannot end the user's sign-in.
"""

import hmac

from authlib.oauth2.rfc6749 import (
    AccessDeniedError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc6749 import grants as rfc6749

import store.client_sessions
import store.codes
import store.tokens
import store.users
from crypto import credentials
from crypto.encryption import decrypt, encrypt
from crypto.json_values import JsonObject
from protocol import auth_methods, authentication_request, claims, clock, pkce, redirect_uris, scopes
from protocol.authentication_request import AuthenticationRequest
from protocol.claims import ACR_PASSWORD
from protocol.registered_client import RegisteredClient
from services.event_log import Reason, set_reason
from services.oauth2_types import AuthorizationResponse, OAuth2Request, PresentedCode, Server, TokenResponse
from store.codes import CodeRow
from store.user_sessions import SignedIn
from store.users import UserRow
from unit_of_work import after_rollback


class UnsupportedResponseType(UnsupportedResponseTypeError):
    """`unsupported_response_type` with fixed words: Authlib's would quote the request."""

    description = "response_type must be code"

    def get_error_description(self) -> str:
        return self.description


class AuthorizationCodeGrant(rfc6749.AuthorizationCodeGrant):
    """Authlib's grant on our tables, with the rules of OAuth 2.1."""

    TOKEN_ENDPOINT_AUTH_METHODS = auth_methods.ALL

    request: OAuth2Request
    server: Server
    authentication: AuthenticationRequest

    # ---- the authorization endpoint ------------------------------------------------------------------------

    @classmethod
    def check_authorization_endpoint(cls, request: OAuth2Request) -> bool:
        """Return True always, so that client and redirect URI are checked first (RFC 9700 §4.11)."""
        return True

    def validate_authorization_request(self) -> str:
        """Check an authorization request, and return its redirect URI. Raises OAuth2Error.

        An error without `redirect_uri` is shown on a page: nothing is sent to an address that is not this
        client's.
        """
        payload = self.request.payload
        client = self.server.query_client(payload.client_id) if payload.client_id else None
        if client is None:
            raise InvalidClientError("client_id is missing or unknown")
        redirect_uri = self.validate_authorization_redirect_uri(self.request, client)
        try:
            if not payload.response_type:
                raise InvalidRequestError("response_type is missing")
            if payload.response_type != "code":
                raise UnsupportedResponseType(payload.response_type)
            self.authentication = authentication_request.parse(payload.data)
            if self.authentication.response_mode == "form_post" and not redirect_uris.is_web(redirect_uri):
                raise InvalidRequestError("response_mode form_post needs a web address as redirect URI")
            if payload.scope and not payload.scope.strip():
                raise InvalidScopeError("the scope is blank")
            if client.get_allowed_scope(payload.scope) is None:
                raise InvalidScopeError("the client is not registered for this scope")
            authentication_request.check_still_registered(payload.data, self.authentication, client)
        except OAuth2Error as error:
            error.redirect_uri = redirect_uri
            raise
        return str(super().validate_authorization_request())

    @staticmethod
    def validate_authorization_redirect_uri(request: OAuth2Request, client: RegisteredClient) -> str:
        """Return the redirect URI: the requested one, or the only one that is registered.

        Raises InvalidRequestError.
        """
        requested = request.payload.redirect_uri
        redirect_uri = requested or client.get_default_redirect_uri()
        if redirect_uri is None or not client.check_redirect_uri(redirect_uri):
            set_reason(Reason.REDIRECT_URI_NOT_REGISTERED)
            raise InvalidRequestError("redirect_uri is missing or not registered for this client")
        return redirect_uri

    def scope_to_allow(self) -> str:
        """Return what the user is asked to allow: the scope, and the scopes of claims that are requested."""
        asked = scopes.split(self.request.scope)
        if scopes.OPENID not in asked:
            return scopes.join(asked)
        return scopes.join(
            tuple(dict.fromkeys([*asked, *claims.scopes_of_request(self.authentication.claims)]))
        )

    def create_authorization_response(
        self, redirect_uri: str, grant_user: SignedIn | None
    ) -> AuthorizationResponse:
        """Return the answer to the client: a code, or `access_denied`.

        grant_user: who has allowed the request; None for Deny.
        """
        state = [("state", self.request.payload.state)] if self.request.payload.state else []
        if grant_user is None:
            answer = [*AccessDeniedError().get_body(), *state]
        else:
            answer = [("code", self.issue_code(grant_user, redirect_uri)), *state]
        return self.server.answer_to_client(redirect_uri, answer, self.authentication.response_mode)

    def issue_code(self, user: SignedIn, redirect_uri: str) -> str:
        """Store a new authorization code, and return it."""
        client, now = self.request.client, clock.now()
        code = credentials.new_authorization_code()
        openid = self.openid_to_remember(user)
        row = CodeRow(
            code_digest=credentials.digest(code),
            client_id=client.client_id,
            user_id=user.id,
            redirect_uri=redirect_uri,
            scope=self.request.scope or "",
            code_challenge=self.request.payload.data.get("code_challenge"),
            auth_time=user.auth_time,
            acr=ACR_PASSWORD,
            sid=store.client_sessions.find_or_make_sid(user.session_id, client.client_id, now),
            sealed_openid=encrypt(openid, code) if openid else None,
            expires_at=now + self.server.code_lifetime(),
        )
        store.codes.issue(row, now)
        return code

    def openid_to_remember(self, user: SignedIn) -> JsonObject:
        """Return what all later ID tokens will need, {} for nothing (OpenID Connect Core §12.2)."""
        client, asked = self.request.client, self.authentication
        openid: JsonObject = {}
        if (sub := claims.subject(client, user.sub, user.pairwise_secret)) != user.sub:
            openid["sub"] = sub
        if scopes.OPENID not in scopes.split(self.request.scope):
            return openid
        openid |= {"acr": ACR_PASSWORD, "amr": list(user.amr)}
        if asked.nonce is not None:
            openid["nonce"] = asked.nonce
        if asked.claims:
            openid["claims"] = asked.claims
        return openid

    # ---- the token endpoint, in the order in which Authlib calls -------------------------------------------

    def query_authorization_code(self, code: str, client: RegisteredClient) -> PresentedCode | None:
        """Return the unspent code, and lock its user's row; or None. One SELECT; one more where it is gone.

        The lock comes before the rest is checked: who sends a wrong verifier holds it until the rollback.
        Raises InvalidGrantError where the redirect URI is missing and may not be.
        """
        code_digest = credentials.digest(code)
        found = store.codes.find_and_lock_user(code_digest)
        if found is None:
            set_reason(Reason.CODE_UNKNOWN)
            self.refuse_replay(code_digest, client)
            return None
        row, user = found
        if row.client_id != client.client_id or row.expires_at <= clock.now():
            set_reason(Reason.CODE_EXPIRED if row.client_id == client.client_id else Reason.WRONG_CLIENT)
            return None
        after_rollback(store.codes.count_failure, code_digest)  # if this exchange is refused, whatever for
        openid = decrypt(row.sealed_openid, code) if row.sealed_openid else None
        presented = PresentedCode(row, user, openid, self.request.form.get("redirect_uri"))
        # It may be missing only where a challenge binds the code (OAuth 2.1 §10.2).
        if presented.redirect_uri_sent is None and row.code_challenge is None:
            set_reason(Reason.WRONG_REDIRECT_URI)
            raise InvalidGrantError("redirect_uri is missing")
        if presented.redirect_uri_sent not in (None, row.redirect_uri):
            set_reason(Reason.WRONG_REDIRECT_URI)  # Authlib raises the error
        return presented

    def refuse_replay(self, code_digest: bytes, client: RegisteredClient) -> None:
        """Revoke the tokens of a spent code after the rollback, if all that was sent with it is right."""
        spent = store.tokens.find_of_code(code_digest, client.client_id)
        if spent is None:
            return
        sent = self.request.form.get("redirect_uri")
        if sent is None:
            is_same_uri = spent.code_challenge is not None
        else:
            is_same_uri = hmac.compare_digest(credentials.digest(sent), spent.redirect_uri_digest)
        if is_same_uri and pkce.matches(self.request.form.get("code_verifier"), spent.code_challenge):
            set_reason(Reason.CODE_REPLAYED)
            after_rollback(revoke_tokens_of_code, spent.user_id, code_digest)

    def authenticate_user(self, authorization_code: PresentedCode) -> UserRow:
        """Spend the code, and return its user, whose row is locked. One DELETE.

        Client, redirect URI and verifier are right by now. Raises InvalidGrantError where the user is
        disabled, or the code was spent before the lock was free.
        """
        row, user = authorization_code.row, authorization_code.user
        if user is None:
            set_reason(Reason.DISABLED)
            raise InvalidGrantError("the user of this code has no account any more")
        if not store.codes.claim(row.code_digest):
            after_rollback(revoke_tokens_of_code, row.user_id, row.code_digest)
            set_reason(Reason.CODE_REPLAYED)
            raise InvalidGrantError("this code was used before")
        return user

    def generate_token(
        self, user: UserRow | None = None, scope: str | None = None, *, include_refresh_token: bool = True
    ) -> TokenResponse:
        """Return a new token response; Authlib's own would not know which sign-in it comes from."""
        code = self.request.authorization_code
        return self.server.new_token(
            self.GRANT_TYPE,
            self.request.client,
            user,
            scope,
            include_refresh_token=include_refresh_token,
            sign_in=None if code is None else code.sign_in,
        )

    def delete_authorization_code(self, authorization_code: PresentedCode) -> None:
        """Leave it: `authenticate_user` deleted the code, before there was a token."""


def revoke_tokens_of_code(user_id: int, code_digest: bytes) -> None:
    """Revoke the tokens that a replayed code issued, under the lock: a refresh may be on its way."""
    store.users.lock(user_id)
    store.tokens.revoke_of_code(code_digest)
