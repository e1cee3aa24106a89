"""`grant_type=authorization_code` and the authorization request that leads to it (RFC 6749 §4.1, OAuth 2.1
§4.1).

A code is spent by deleting its row, decided by the row count, after the person's row is locked. The token row
remembers the code: one that comes again, with everything else right, is a replay, and what it issued dies
(RFC 6749 §4.1.2). With anything wrong it is merely refused: a thief who only saw the code cannot end the
sign-in that it made.
"""

import hmac
from typing import Any

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
from sqlalchemy import Row

import store.client_sessions
import store.codes
import store.tokens
import store.users
from crypto import credentials
from crypto.encryption import decrypt, encrypt
from models import Client
from protocol import auth_methods, authentication_request, claims, clock, pkce, redirect_uris, scopes
from protocol.claims import ACR_PASSWORD
from services.event_log import Reason, set_reason
from unit_of_work import after_rollback


class UnsupportedResponseType(UnsupportedResponseTypeError):
    """With fixed words: Authlib's would quote the request."""

    description = "response_type must be code"

    def get_error_description(self) -> str:
        return self.description


class AuthorizationCodeGrant(rfc6749.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = auth_methods.ANY

    # ---- the authorization endpoint ------------------------------------------------------------------------

    @classmethod
    def check_authorization_endpoint(cls, request: Any) -> bool:
        """Takes every request, so that client and redirect URI are checked before anything is redirected (RFC
        9700 §4.11).
        """
        return True

    def validate_authorization_request(self) -> str:
        """The redirect URI of a request that may be put before a person.

        Errors without a `redirect_uri` are for a page: nothing is sent to an address that is not this
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
    def validate_authorization_redirect_uri(request: Any, client: Client) -> str:
        requested = request.payload.redirect_uri
        redirect_uri = requested or client.get_default_redirect_uri()
        if redirect_uri is None or not client.check_redirect_uri(redirect_uri):
            set_reason(Reason.REDIRECT_URI_NOT_REGISTERED)
            raise InvalidRequestError("redirect_uri is missing or not registered for this client")
        return redirect_uri

    def scope_to_allow(self) -> str:
        """What the person is asked to allow: the scope, and those that stand for the claims that are asked
        for one by one.
        """
        asked = scopes.split(self.request.scope)
        if scopes.OPENID not in asked:
            return scopes.join(asked)
        return scopes.join(
            tuple(dict.fromkeys([*asked, *claims.scopes_of_wishes(self.authentication.claims)]))
        )

    def create_authorization_response(self, redirect_uri: str, grant_user: Any) -> Any:
        """The person's decision as a redirect: status, body, headers. `grant_user` is None for Deny."""
        state = [("state", self.request.payload.state)] if self.request.payload.state else []
        if grant_user is None:
            error = AccessDeniedError()
            answer = [*error.get_body(), *state]
        else:
            self.request.user = grant_user
            code = self.generate_authorization_code()
            self.save_authorization_code(code, self.request)
            answer = [("code", code), *state]
        return self.server.answer_to_client(redirect_uri, answer, self.authentication.response_mode)

    def generate_authorization_code(self) -> str:
        return credentials.new_authorization_code()

    def save_authorization_code(self, code: str, request: Any) -> None:
        now = clock.now()
        store.codes.issue(
            now=now,
            code_digest=credentials.digest(code),
            client_id=request.client.client_id,
            user_id=request.user.id,
            redirect_uri=request.payload.redirect_uri or request.client.get_default_redirect_uri(),
            scope=request.scope,
            code_challenge=request.payload.data.get("code_challenge"),
            auth_time=request.user.auth_time,
            acr=ACR_PASSWORD,
            sid=store.client_sessions.find_or_make_sid(
                request.user.session_id, request.client.client_id, now
            ),
            sealed_openid=encrypt(needs, code) if (needs := self.what_the_id_token_needs()) else None,
            expires_at=now + self.server.code_lifetime(),
        )

    def what_the_id_token_needs(self) -> dict[str, Any] | None:
        """Kept with the code, and but for the nonce with the tokens after it (OpenID Connect Core §12.2)."""
        person, client, asked = self.request.user, self.request.client, self.authentication
        needs: dict[str, Any] = {}
        if (sub := claims.subject(client, person.sub, person.pairwise_secret)) != person.sub:
            needs["sub"] = sub
        if scopes.OPENID not in scopes.split(self.request.scope):
            return needs or None
        needs |= {"acr": ACR_PASSWORD, "amr": list(person.amr)}
        if asked.nonce is not None:
            needs["nonce"] = asked.nonce
        if asked.claims:
            needs["claims"] = asked.claims
        return needs

    # ---- the token endpoint --------------------------------------------------------------------------------

    def generate_token(self, user: Any = None, scope: str | None = None, **options: Any) -> dict[str, Any]:
        """Authlib's would not say which sign-in it comes from."""
        token: dict[str, Any] = self.server.new_token(
            self.GRANT_TYPE,
            self.request.client,
            user,
            scope,
            sign_in=self.request.authorization_code,
            **options,
        )
        return token

    def query_authorization_code(self, code: str, client: Client) -> "PresentedCode | None":
        """The unspent code. One that was spent leaves only the token that it made: see `refuse_replay`."""
        code_digest = credentials.digest(code)
        row = store.codes.find(code_digest)
        if row is None:
            set_reason(Reason.CODE_UNKNOWN)
            self.refuse_replay(code_digest, client)
            return None
        if row.client_id != client.client_id or row.expires_at <= clock.now():
            set_reason(Reason.CODE_EXPIRED if row.client_id == client.client_id else Reason.WRONG_CLIENT)
            return None
        after_rollback(store.codes.count_failure, code_digest)  # if this exchange is refused, whatever for
        openid = decrypt(row.sealed_openid, code) if row.sealed_openid else None
        presented = PresentedCode(row, openid, self.request.form.get("redirect_uri"))
        # May be missing only where a challenge binds the code (OAuth 2.1 §10.2).
        if presented.redirect_uri_sent is None and row.code_challenge is None:
            set_reason(Reason.WRONG_REDIRECT_URI)
            raise InvalidGrantError("redirect_uri is missing")
        if presented.redirect_uri_sent not in (None, row.redirect_uri):
            set_reason(Reason.WRONG_REDIRECT_URI)  # Authlib raises it
        return presented

    def refuse_replay(self, code_digest: bytes, client: Client) -> None:
        """If the code was spent here and everything sent with it is right, end what it issued."""
        spent = store.tokens.find_of_code(code_digest, client.client_id)
        if spent is None:
            return
        sent = self.request.form.get("redirect_uri")
        if sent is None:
            same_uri = spent.code_challenge is not None
        else:
            same_uri = hmac.compare_digest(credentials.digest(sent), spent.redirect_uri_digest)
        if same_uri and pkce.matches(self.request.form.get("code_verifier"), spent.code_challenge):
            set_reason(Reason.CODE_REPLAYED)
            after_rollback(revoke_what_the_code_issued, spent.user_id, code_digest)

    def authenticate_user(self, authorization_code: "PresentedCode") -> Row[Any]:
        """Called when client, redirect URI and verifier are right: lock the person, then claim the code."""
        owner = store.users.lock(authorization_code.user_id)
        if owner is None:
            set_reason(Reason.DISABLED)
            raise InvalidGrantError("the person of this code has no account any more")
        if not store.codes.claim(authorization_code.code_digest):
            after_rollback(
                revoke_what_the_code_issued, authorization_code.user_id, authorization_code.code_digest
            )
            set_reason(Reason.CODE_REPLAYED)
            raise InvalidGrantError("this code was used before")
        return owner

    def delete_authorization_code(self, authorization_code: "PresentedCode") -> None:
        """Nothing is left to do: the claim deleted it, before there was a token."""


class PresentedCode:
    """The row of a code, with the methods that Authlib asks of it."""

    def __init__(self, row: Row[Any], openid: dict[str, Any] | None, redirect_uri_sent: str | None) -> None:
        self.code_digest: bytes = row.code_digest
        self.user_id: int = row.user_id
        self.redirect_uri: str = row.redirect_uri
        self.scope: str = row.scope
        self.code_challenge: str | None = row.code_challenge
        self.auth_time: int = row.auth_time
        self.acr: str | None = row.acr
        self.sid: str | None = row.sid
        self.openid = openid
        self.redirect_uri_sent = redirect_uri_sent

    def get_redirect_uri(self) -> str | None:
        """What the request's `redirect_uri` must equal; None where it was left out and may be."""
        return None if self.redirect_uri_sent is None else self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


def revoke_what_the_code_issued(user_id: int, code_digest: bytes) -> None:
    """Penalty of a replay.

    The lock comes first: a refresh in flight would otherwise carry the family past the DELETE.
    """
    store.users.lock(user_id)
    store.tokens.revoke_of_code(code_digest)
