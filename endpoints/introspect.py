"""`POST /oauth/introspect` (RFC 7662): tell a client what a token is.

A resource server asks about an access token, a confidential client about its own tokens. Who may not know is
told what everybody is told of an unknown token: `{"active": false}` and nothing else (§2.2). To look at an
access token is to use it: its first use is recorded, because a refresh may be repeated only while its
successor is unused.
"""

from authlib.oauth2.rfc7662 import IntrospectionEndpoint as Rfc7662
from flask import Response
from flask import request as flask_request

from crypto.json_values import JsonObject
from crypto.jwt import DEFAULT_ALG
from middleware.endpoint_policy import MAXIMUM_BODY, Caller, Cors, Csrf, Endpoint, EndpointPolicy
from middleware.form_requests import form_endpoint
from protocol import auth_methods, claims, clock
from protocol.clock import MICROSECONDS
from protocol.registered_client import RegisteredClient
from services.current import keyring, server, settings
from services.oauth2_types import OAuth2Request
from tokens.bearer import note_use
from tokens.lookup import KnownToken, find_token

policy = EndpointPolicy(
    paths=("/oauth/introspect",),
    methods=("POST",),
    caller=Caller.PROGRAM,
    cors=Cors.NONE,
    csrf=Csrf.NO_FORM,
    any_host=False,
    body_limit=MAXIMUM_BODY,
    metadata="introspection_endpoint",
)
blueprint = Endpoint(__name__, policy)

Headers = list[tuple[str, str]]

SIGNED = "application/token-introspection+jwt"


class IntrospectionEndpoint(Rfc7662):
    """Authlib's introspection, with our tokens and permissions."""

    CLIENT_AUTH_METHODS = auth_methods.CONFIDENTIAL

    def check_params(self, request: OAuth2Request, client: RegisteredClient) -> None:
        """Check nothing: `form_endpoint` has, and an unknown hint is no reason to refuse (§2.1)."""

    def query_token(self, token_string: str, token_type_hint: str | None) -> KnownToken | None:
        """Return the token that was sent; None for an unknown one."""
        keyring.note_presentation(token_string)
        return find_token(token_string)

    def check_permission(self, token: KnownToken, client: RegisteredClient, request: OAuth2Request) -> bool:
        """Return whether this client may know about the token."""
        if client.is_resource_server:
            return not token.is_refresh_token
        return token.check_client(client)

    def create_introspection_payload(self, token: KnownToken | None) -> JsonObject:
        """Return the answer as an object. token: None where it is unknown, or not for this client."""
        if token is None or not token.is_active():
            return {"active": False}
        if not token.is_refresh_token:
            note_use(token.row)
        return self.introspect_token(token)

    def create_endpoint_response(self, request: OAuth2Request) -> tuple[int, JsonObject | str, Headers]:
        """Return status, body and headers.

        JSON, or a JWT for a resource server that wants to prove what it was told (RFC 9701 §4, §5).
        """
        status, body, headers = super().create_endpoint_response(request)
        if flask_request.accept_mimetypes.best_match(["application/json", SIGNED]) != SIGNED:
            return status, body, headers
        client = request.client
        claims_set: JsonObject = {
            "iss": str(settings.issuer),
            "aud": client.client_id,
            "iat": clock.now(),
            "token_introspection": body,
        }
        alg = client.member("introspection_signed_response_alg", DEFAULT_ALG)
        signed = keyring.sign(claims_set, alg, "token-introspection+jwt")
        return status, signed, [("Content-Type", SIGNED), ("Cache-Control", "no-store")]

    def introspect_token(self, token: KnownToken) -> JsonObject:
        """Return what is told about an active token (§2.2)."""
        row = token.row
        members: JsonObject = {
            "active": True,
            "iss": str(settings.issuer),
            "client_id": row.client_id,
            "scope": token.get_scope(),
            "sub": None if row.sub is None else claims.remembered_subject(row.openid, row.sub),
            "token_type": None if token.is_refresh_token else "Bearer",
            "iat": row.issued_at // MICROSECONDS,
            "exp": token.expires_at(),
            "username": claims.username(row, token.get_scope()),
            "auth_time": row.auth_time,  # RFC 9470 §6.2
            "acr": claims.acr(row),
        }
        return {name: value for name, value in members.items() if value is not None}


@blueprint.view()
@form_endpoint("token")
def introspect() -> Response:
    return server.create_endpoint_response(IntrospectionEndpoint.ENDPOINT_NAME)
