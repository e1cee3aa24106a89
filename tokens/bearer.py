"""`require_oauth`: the check of a bearer token (RFC 6750), for the resources that this server itself has.

One SELECT, and one UPDATE at the first use of a token: a refresh may be repeated only while the access token
that it issued is unused.
"""

from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc6749.errors import MissingAuthorizationError, UnsupportedTokenTypeError
from authlib.oauth2.rfc6750 import BearerTokenValidator, InsufficientScopeError, InvalidTokenError
from flask import Request, Response, abort, json
from flask import request as flask_request

import store.tokens
from crypto import credentials
from middleware.error_responses import oauth_error_body
from protocol import clock
from protocol.auth_methods import NONE
from protocol.clock import MICROSECONDS
from protocol.refresh import leeway_of
from services import event_log
from services.current import settings
from services.event_log import Reason, set_reason
from store.tokens import TokenRow
from unit_of_work import after_rollback

REALM = "ostiary"


class BearerToken:
    """An access token that was presented, and its user, with the methods that Authlib calls."""

    def __init__(self, row: TokenRow) -> None:
        self.row = row

    def is_expired(self) -> bool:
        """Return whether the life of the access token is over."""
        return self.row.access_token_expires_at <= clock.now()

    def is_revoked(self) -> bool:
        """Return whether its user is gone. A token that was revoked has no row, so it never comes here."""
        return self.row.is_user_gone

    def get_scope(self) -> str:
        """Return the scope that the access token was issued for."""
        return self.row.access_token_scope


class Validator(BearerTokenValidator):
    """Authlib's validator on our table; it writes the reason of a refusal to the log."""

    def authenticate_token(self, token_string: str) -> BearerToken | None:
        """Return the access token of this text, or None."""
        row = store.tokens.find_by_access_token(credentials.digest(token_string))
        if row is None:
            return None
        event_log.add_fields(client_id=row.client_id, client_known=True, sub=row.sub)
        return BearerToken(row)

    def validate_token(self, token: BearerToken | None, scopes: list[str] | None, request: Request) -> None:
        """Check that the token is good for `scopes`, and record its first use.

        Raises InvalidTokenError or InsufficientScopeError.
        """
        try:
            super().validate_token(token, scopes, request)
        except InvalidTokenError:
            set_reason(why_refused(token))
            raise
        except InsufficientScopeError:
            note_use(token.row)  # type: ignore[union-attr]  # there is no scope without a token
            raise
        note_use(token.row)  # type: ignore[union-attr]


def why_refused(token: BearerToken | None) -> Reason:
    """Return the reason that the log has for a token that is not valid."""
    if token is None:
        return Reason.TOKEN_UNKNOWN
    return Reason.TOKEN_EXPIRED if token.is_expired() else Reason.DISABLED


def note_use(row: TokenRow) -> None:
    """Record the first use of an access token, also when the request is then refused.

    Who sent it has the token, so the response with it has arrived. Later uses send no statement.
    """
    if row.used_at is not None:
        return
    leeway = leeway_of(row.token_endpoint_auth_method == NONE, row.refresh_leeway, settings)
    leeway_start = clock.now_in_microseconds() - int(leeway.total_seconds() * MICROSECONDS)
    arguments = (row.id, clock.now(), leeway_start)
    store.tokens.mark_used(*arguments)
    after_rollback(store.tokens.mark_used, *arguments)


class RequireOAuth(ResourceProtector):
    """`with require_oauth.acquire("scope") as token:` in a view, or `@require_oauth("scope")` around it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_token_validator(Validator(realm=REALM))

    def acquire_token(self, scope: str | None = None) -> BearerToken:
        """Return the token of the current request, which Authlib would put together once more, with its URL.

        Raises an OAuth2Error.
        """
        request = flask_request._get_current_object()  # type: ignore[attr-defined]
        token: BearerToken = self.validate_request(None if scope is None else [scope], request)
        return token

    def parse_request_authorization(self, request: Request) -> tuple[Validator, str]:
        """Return the token of the header (RFC 6750 §2.1) or of the form (§2.2), and who validates it.

        Raises InvalidRequestError for a token in the URL (RFC 9700 §4.3.2), and for one that is sent twice.
        """
        sent = request.form.getlist("access_token")
        if "access_token" in request.args:
            raise InvalidRequestError("a token does not belong into the URL")
        if len(sent) + ("Authorization" in request.headers) > 1:
            raise InvalidRequestError("send the token once")
        if sent:
            return self.get_token_validator(Validator.TOKEN_TYPE), sent[0]
        parsed: tuple[Validator, str] = super().parse_request_authorization(request)
        return parsed

    def raise_error_response(self, error: OAuth2Error) -> None:
        """Raise the response to a refused request: 401 or 403 with the challenge of RFC 6750 §3.

        For a request without a token the challenge has no error code (§3.1).
        """
        challenge = f'Bearer realm="{REALM}"'
        if isinstance(error, MissingAuthorizationError | UnsupportedTokenTypeError):
            set_reason(Reason.TOKEN_MISSING)
            event_log.set_error("invalid_request", None)
            body = oauth_error_body(
                "invalid_request", "a bearer token is required in the Authorization header"
            )
            status = 401
        else:
            event_log.set_error(error.error, error.get_error_description())
            body = oauth_error_body(error.error, error.get_error_description())
            challenge += f', error="{error.error}", error_description="{error.get_error_description()}"'
            status = error.status_code
        response = Response(json.dumps(body), status, mimetype="application/json")
        response.headers["WWW-Authenticate"] = challenge
        abort(response)


require_oauth = RequireOAuth()
