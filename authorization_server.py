"""Authlib's authorization server as this project uses it: what tokens look like, and how refusals leave.

`my_oauth.py` gives it the grants, the ways of client authentication and `save_token`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from authlib.integrations import flask_oauth2
from authlib.oauth2.rfc6749 import InvalidClientError, OAuth2Error
from authlib.oauth2.rfc6749.authenticate_client import ClientAuthentication
from authlib.oauth2.rfc6749.errors import UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.grants import BaseGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Flask, Response, g
from flask import Request as FlaskRequest
from flask import request as flask_request
from werkzeug.datastructures import MultiDict

import store.clients
from authorization import response
from client_auth import client_secret
from client_auth.client_secret import QueryClient
from client_auth.errors import ClientAuthenticationFailed, TooManyFailures
from crypto import credentials
from crypto.key_schedule import MAXIMUM_JWT_LIFETIME
from middleware.endpoint_policy import current_policy
from protocol.registered_client import RegisteredClient
from services import event_log, throttling
from services.current import client_cache, settings, tenant
from services.event_log import Reason, set_reason
from services.oauth2_types import AuthorizationResponse, OAuth2Request, SignIn, TokenResponse
from store.users import UserRow
from tokens.jwt_access_token import sign_access_token
from unit_of_work import mark_rollback

GrantClass: TypeAlias = type[BaseGrant]
ClientAuthMethod = Callable[[QueryClient, OAuth2Request], RegisteredClient | None]


def without_empty(parameters: MultiDict[str, str]) -> MultiDict[str, str]:
    """Return the parameters that have a value: one without counts as left out (RFC 6749 §3.1, §3.2)."""
    return MultiDict(pair for pair in parameters.items(multi=True) if pair[1])


class Request(OAuth2Request):
    """The current request, as Authlib wants it.

    A client's parameters come from the body alone (RFC 9700 §2.5); those of an authorization request are
    given. The URL is the issuer's own: behind a proxy the one that Flask sees need not be https.
    """

    def __init__(self, parameters: dict[str, str] | None = None) -> None:
        """Read the current request. parameters: of an authorization request; None for those of the form."""
        sent: FlaskRequest = flask_request._get_current_object()  # type: ignore[attr-defined]
        super().__init__(sent.method, settings.issuer + sent.path)
        self.headers = sent.headers  # Authlib would ask how many there are, and count them
        self.form = without_empty(sent.form)
        self.payload = BasicOAuth2Payload(self.form if parameters is None else parameters)


class UnsupportedGrantType(UnsupportedGrantTypeError):
    """`unsupported_grant_type` with fixed words: Authlib's would quote the request."""

    description = "this grant_type is not supported"

    def get_error_description(self) -> str:
        return self.description


def find_client(client_id: str) -> RegisteredClient | None:
    """Return the client as it is, or None; the log of a refusal says which one was asked for."""
    client = store.clients.find(client_id)
    g.asked_for = client_id, client is not None
    return client


def find_cached_client(client_id: str) -> RegisteredClient | None:
    """Return the client as this process knows it, for a request that changes nothing of it; or None."""
    client = client_cache.find(client_id)
    g.asked_for = client_id, client is not None
    return client


def note_failure(client_id: str) -> None:
    """Note for the log why no way of client authentication was right."""
    if "asked_for" not in g and client_id:
        g.asked_for = client_id, store.clients.find(client_id) is not None
    if event_log.get_field("reason") is not None:
        return
    if "asked_for" not in g:
        set_reason(Reason.CLIENT_NOT_NAMED)
    else:
        set_reason(Reason.WRONG_AUTH_METHOD if g.asked_for[1] else Reason.UNKNOWN_CLIENT)


class AuthorizationServer(flask_oauth2.AuthorizationServer):
    """Authlib's authorization server with our tokens, refusals and client authentication.

    The rooms below see it as `services.oauth2.Server`.
    """

    def __init__(
        self,
        app: Flask,
        *,
        grants: Sequence[tuple[GrantClass, list[object]]],
        client_auth: Mapping[str, ClientAuthMethod],
        endpoints: Iterable[type],
        save_token: Callable[[TokenResponse, OAuth2Request], None],
    ) -> None:
        """Register what the server offers.

        grants: each with its extensions. client_auth: by the name that clients are registered with.
        """
        self.grant_types: list[str] = [grant.GRANT_TYPE for grant, _extensions in grants]
        self.client_auth_methods = list(client_auth)
        super().__init__(app, query_client=find_client, save_token=save_token)
        self.client_authentication = ClientAuthentication(find_cached_client)
        for method, authenticate in client_auth.items():
            self.client_authentication.register(method, authenticate)
        for grant, extensions in grants:
            self.register_grant(grant, extensions)
        for endpoint in endpoints:
            self.register_endpoint(endpoint)

    @property
    def refresh_tokens(self) -> credentials.RefreshTokenMaker:
        """Return what makes and verifies the refresh tokens of the current tenant."""
        return tenant().refresh_tokens

    def code_lifetime(self) -> int:
        """Return for how many seconds an authorization code is good."""
        return int(settings.authorization_code_lifetime.total_seconds())

    def create_oauth2_request(self, request: OAuth2Request | None) -> OAuth2Request:
        """Return the request that Authlib works on: the given one, or for None the current one."""
        return request if isinstance(request, OAuth2Request) else Request()

    def kept_request(self, parameters: dict[str, str]) -> OAuth2Request:
        """Return an authorization request from its parameters, as they came or as a ticket kept them."""
        return Request(parameters)

    # ---- tokens --------------------------------------------------------------------------------------------

    def create_bearer_token_generator(self, config: object) -> Callable[..., TokenResponse]:
        """Return what Authlib makes tokens with."""
        return self.new_token

    def new_token(
        self,
        grant_type: str,
        client: RegisteredClient,
        user: UserRow | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
        sign_in: SignIn | None = None,
    ) -> TokenResponse:
        """Return a new token response (RFC 6749 §5.1), of which nothing is stored yet.

        scope: as the grant decided it. expires_in: ignored, the client's registration decides. user, sign_in:
        None for client credentials.
        """
        lifetime = client.access_token_lifetime
        if lifetime is None:
            lifetime = int(settings.access_token_lifetime.total_seconds())
        if client.has_jwt_access_tokens:
            lifetime = min(lifetime, int(MAXIMUM_JWT_LIFETIME.total_seconds()))
            access_token = sign_access_token(client, user, scope, lifetime, sign_in)
        else:
            access_token = credentials.new_access_token()
        token: TokenResponse = {
            "token_type": "Bearer",
            "access_token": access_token,
            "expires_in": lifetime,
        }
        if include_refresh_token:
            token["refresh_token"] = str(self.refresh_tokens.new())
        if scope:
            token["scope"] = scope
        return token

    def validate_requested_scope(self, scope: str | None) -> None:
        """Accept every scope: each grant compares it with the client's registration."""

    # ---- client authentication -----------------------------------------------------------------------------

    def authenticate_client(
        self, request: OAuth2Request, methods: list[str], endpoint: str = "token"
    ) -> RegisteredClient:
        """Return the client that proves who it is, by one of `methods`.

        Raises ClientAuthenticationFailed, or its TooManyFailures.
        """
        client: RegisteredClient
        try:
            client = self.client_authentication(request, methods, endpoint)
        except InvalidClientError:
            client = self.authenticate_changed_client(request, methods, endpoint)
        if "log_fields" in g:
            # A method that failed before the right one has left its reason for the log.
            event_log.add_fields(reason=None, detail=None)
        return client

    def authenticate_changed_client(
        self, request: OAuth2Request, methods: list[str], endpoint: str
    ) -> RegisteredClient:
        """Return the client whose registration has changed since this process read it, and is right now.

        Nobody is refused for an old row: a new secret is good at once. Raises as `authenticate_client`.
        """
        client: RegisteredClient
        try:
            if client_cache.has_changed(client_secret.presented_client_id(flask_request)):
                client = self.client_authentication(request, methods, endpoint)
                return client
        except InvalidClientError:
            pass
        raise self.failed_authentication()

    @staticmethod
    def failed_authentication() -> ClientAuthenticationFailed:
        """Count a failed client authentication, and return its error.

        Throttles are read only after a failure: the right secret is accepted whatever failed before, so that
        nobody can lock a client out.
        """
        client_id = client_secret.presented_client_id(flask_request)
        failures = throttling.for_client(client_id)
        note_failure(client_id)
        if seconds := throttling.seconds_to_wait(failures):
            set_reason(Reason.THROTTLED)
            return TooManyFailures(seconds)
        throttling.count_failure(failures)
        return ClientAuthenticationFailed()

    def get_token_grant(self, request: OAuth2Request) -> BaseGrant:
        """Return the grant of the request's `grant_type`. Raises UnsupportedGrantType."""
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError:
            raise UnsupportedGrantType(None) from None

    # ---- refusals ------------------------------------------------------------------------------------------

    def handle_error_response(self, request: OAuth2Request | None, error: OAuth2Error) -> Response:
        """Return the answer to a refused request, and mark it for rollback.

        An error of an authorization request goes to the client where its redirect URI is known to be right.
        """
        if error.redirect_uri and request is not None:
            return self.refuse_authorization(error, request.payload.data)
        self.note_refusal(error)
        refusal: Response = super().handle_error_response(request, error)
        return refusal

    def refuse_authorization(self, error: OAuth2Error, parameters: dict[str, str]) -> Response:
        """Return an error for the client, at its own redirect URI, in the response mode that it asked for."""
        self.note_refusal(error)
        mode = parameters.get("response_mode")
        refusal: Response = self.handle_response(
            *self.answer_to_client(error.redirect_uri, error.get_body(), mode)
        )
        return refusal

    def note_refusal(self, error: OAuth2Error) -> None:
        """Mark this request for rollback, and note the error for the log."""
        mark_rollback()
        self.note_answer(error.error, error.get_error_description())

    def note_answer(self, error: str, description: str | None) -> None:
        """Note for the log which error the client gets, and which client that is."""
        if "asked_for" in g:
            event_log.set_client(*g.asked_for)
        if current_policy().member == "token_endpoint":
            grant_type = flask_request.form.get("grant_type")
            event_log.add_fields(grant_type=grant_type if grant_type in self.grant_types else None)
        event_log.set_error(error, description)

    def answer_to_client(
        self, redirect_uri: str, answer: Iterable[tuple[str, str]], response_mode: str | None
    ) -> AuthorizationResponse:
        """Return an authorization response (RFC 6749 §4.1.2). answer: its members, but for `iss`."""
        if error := dict(answer := list(answer)).get("error"):
            self.note_answer(error, None)
        return response.build(redirect_uri, answer, response_mode or "query", settings.issuer)
