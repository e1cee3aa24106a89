"""Authlib's authorization server as this project uses it: how tokens look, how refusals leave, how a failed
client is answered.

`my_oauth.py` gives it the grants, the ways of client authentication and `save_token`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from authlib.integrations import flask_oauth2
from authlib.oauth2.rfc6749 import InvalidClientError, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.errors import UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Flask, Response, g
from flask import request as flask_request
from werkzeug.datastructures import MultiDict

import store.clients
import store.tokens
import store.users
from authorization import response
from client_auth import client_secret
from client_auth.errors import ClientAuthenticationFailed, TooManyFailures
from config import Settings
from crypto import credentials
from crypto.key_schedule import MAXIMUM_JWT_LIFETIME
from middleware.endpoint_policy import current_policy
from models import Client
from services import event_log, throttling
from services.current import settings as current_settings
from services.event_log import Reason, set_reason
from tokens.jwt_access_token import sign_access_token
from unit_of_work import mark_rollback


def with_values(parameters: MultiDict[str, str]) -> MultiDict[str, str]:
    """A parameter without a value counts as left out (RFC 6749 §3.1, §3.2)."""
    return MultiDict(pair for pair in parameters.items(multi=True) if pair[1])


class Request(OAuth2Request):
    """Authlib's request: parameters of a machine from the body alone (RFC 9700 §2.5), those of a person as
    they were kept.

    Its URL is the issuer's own: behind a proxy the one that Flask sees need not be https.
    """

    form: Any = None  # properties to fill in, in Authlib's class
    args: Any = None

    def __init__(self, parameters: dict[str, str] | None = None) -> None:
        super().__init__(
            flask_request.method, current_settings.issuer + flask_request.path, headers=flask_request.headers
        )
        self.form = with_values(flask_request.form)
        self.args = with_values(flask_request.args)
        self.payload = BasicOAuth2Payload(self.form if parameters is None else parameters)


class UnsupportedGrantType(UnsupportedGrantTypeError):
    """With fixed words: Authlib's would quote the request."""

    description = "this grant_type is not supported"

    def get_error_description(self) -> str:
        return self.description


def find_client(client_id: str) -> Client | None:
    """The client of this id, or None.

    Which was asked for is remembered for the line of a refusal; a success writes none.
    """
    client = store.clients.find(client_id)
    g.asked_for = client_id, client is not None
    return client


def note_failure(client_id: str) -> None:
    """For the log: why no way of client authentication was right."""
    if "asked_for" not in g and client_id:
        g.asked_for = client_id, store.clients.find(client_id) is not None
    if event_log.get_field("reason") is not None:
        return
    if "asked_for" not in g:
        set_reason(Reason.CLIENT_NOT_NAMED)
    else:
        set_reason(Reason.WRONG_AUTH_METHOD if g.asked_for[1] else Reason.UNKNOWN_CLIENT)


class AuthorizationServer(flask_oauth2.AuthorizationServer):
    """Authlib's authorization server: how its answers leave, what its tokens look like, how a client that
    failed is told.
    """

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        *,
        grants: Sequence[tuple[Any, list[Any]]],
        client_auth: Mapping[str, Callable[..., Any]],
        endpoints: Iterable[Any],
        save_token: Callable[[dict[str, Any], Any], None],
    ) -> None:
        """grants: each with its extensions. client_auth: by the name that clients are registered with."""
        self.settings = settings
        self.grant_types = [grant.GRANT_TYPE for grant, _extensions in grants]
        self.client_auth_methods = list(client_auth)
        old_keys = tuple(key.get_secret_value() for key in settings.old_secret_keys)
        self.refresh_tokens = credentials.RefreshTokenMaker(settings.secret_key.get_secret_value(), old_keys)
        super().__init__(app, query_client=find_client, save_token=save_token)
        for method, authenticate in client_auth.items():
            self.register_client_auth_method(method, authenticate)
        for grant, extensions in grants:
            self.register_grant(grant, extensions)
        for endpoint in endpoints:
            self.register_endpoint(endpoint)

    def code_lifetime(self) -> int:
        return int(self.settings.authorization_code_lifetime.total_seconds())

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        """Authlib passes None for the current request; the consent page passes the parameters that
        it kept.
        """
        return request if isinstance(request, OAuth2Request) else Request()

    def kept_request(self, parameters: dict[str, str]) -> OAuth2Request:
        """An authorization request from its parameters, as they came or as a ticket kept them."""
        return Request(parameters)

    def create_bearer_token_generator(self, config: Any) -> Any:
        return self.new_token

    def new_token(
        self,
        grant_type: str,
        client: Client,
        user: Any = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
        sign_in: Any = None,
    ) -> dict[str, Any]:
        """A token response (RFC 6749 §5.1). The scope was decided before: by the consent, or by what the
        client may have.

        sign_in: `auth_time` and `acr` of the person; None for a machine.
        """
        lifetime = client.lifetime(client.access_token_lifetime, self.settings.access_token_lifetime)
        access_token = credentials.new_access_token()
        if client.has_jwt_access_tokens:
            lifetime = min(lifetime or 0, int(MAXIMUM_JWT_LIFETIME.total_seconds()))
            access_token = sign_access_token(client, user, scope, lifetime, sign_in)
        token: dict[str, Any] = {"token_type": "Bearer", "access_token": access_token, "expires_in": lifetime}
        if include_refresh_token:
            token["refresh_token"] = str(self.refresh_tokens.new())
        if scope:
            token["scope"] = scope
        return token

    def validate_requested_scope(self, scope: str | None) -> None:
        """Nothing to do here: each grant compares the scope with the client's registration."""

    def authenticate_client(self, request: Any, methods: list[str], endpoint: str = "token") -> Client:
        try:
            client: Client = super().authenticate_client(request, methods, endpoint)
        except InvalidClientError:
            raise self.failed_authentication() from None
        if "noted" in g:
            # of a way that was tried in vain before the right one
            event_log.add_fields(reason=None, detail=None)
        return client

    @staticmethod
    def failed_authentication() -> ClientAuthenticationFailed:
        """Asked and counted only once it failed: a right secret costs nothing, and nobody can lock its client
        out.
        """
        client_id = client_secret.presented_client_id(flask_request)
        failures = throttling.for_client(client_id)
        note_failure(client_id)
        if seconds := throttling.seconds_to_wait(failures):
            set_reason(Reason.THROTTLED)
            return TooManyFailures(seconds)
        throttling.count_failure(failures)
        return ClientAuthenticationFailed()

    def get_token_grant(self, request: Any) -> Any:
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError:
            raise UnsupportedGrantType(None) from None

    def handle_error_response(self, request: Any, error: OAuth2Error) -> Response:
        """A refusal is rolled back.

        One of an authorization request goes back to the client where that is known to be safe.
        """
        if error.redirect_uri:
            return self.refuse_authorization(error, request.payload.data)
        self.note_refusal(error)
        response: Response = super().handle_error_response(request, error)
        return response

    def refuse_authorization(self, error: OAuth2Error, parameters: dict[str, str]) -> Response:
        """An error to the client, at a redirect URI that is known to be its own, in the mode that it asked
        for.
        """
        self.note_refusal(error)
        mode = parameters.get("response_mode")
        return self.handle_response(*self.answer_to_client(error.redirect_uri, error.get_body(), mode))

    def note_refusal(self, error: OAuth2Error) -> None:
        mark_rollback()
        self.note_answer(error.error, error.get_error_description())

    def note_answer(self, error: str, description: str | None) -> None:
        """For the log: what the client is told, and which client that is."""
        if "asked_for" in g:
            event_log.set_client(*g.asked_for)
        if current_policy().member == "token_endpoint":
            grant_type = flask_request.form.get("grant_type")
            event_log.add_fields(grant_type=grant_type if grant_type in self.grant_types else None)
        event_log.set_error(error, description)

    def answer_to_client(
        self, redirect_uri: str, answer: Iterable[tuple[str, str]], response_mode: str | None
    ) -> response.Response:
        """An authorization response (RFC 6749 §4.1.2): the arguments of `handle_response`."""
        if error := dict(answer := list(answer)).get("error"):
            self.note_answer(error, None)
        return response.build(redirect_uri, answer, response_mode or "query", self.settings.issuer)
