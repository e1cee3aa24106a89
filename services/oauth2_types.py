"""Types for what Authlib carries from hook to hook: the request, the presented credential, the response.

Authlib has no types of its own. `grants/`, `client_auth/`, `tokens/` and `my_oauth.py` share these; `Server`
is what the rooms below `authorization_server.py` know of it.
"""

import hmac
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, NotRequired, Protocol, TypedDict

from authlib.oauth2 import rfc6749
from authlib.oauth2.rfc6749 import OAuth2Error
from flask import Response
from werkzeug.datastructures import Headers, MultiDict

from crypto import credentials
from crypto.json_values import JsonObject
from protocol.authentication_request import AuthenticationRequest
from protocol.registered_client import RegisteredClient
from services.event_log import Reason, set_reason
from store.codes import CodeRow
from store.tokens import FamilyRow
from store.user_sessions import SignedIn
from store.users import UserRow

AuthorizationResponse = tuple[int, str, dict[str, str]]  # status, body, headers


class TokenResponse(TypedDict):
    """The members of a token response (RFC 6749 §5.1); `expires_in` in seconds."""

    token_type: str
    access_token: str
    expires_in: int
    refresh_token: NotRequired[str]
    scope: NotRequired[str]
    id_token: NotRequired[str]


class SignIn(NamedTuple):
    """How and when a user signed in, as a code and the tokens after it remember it.

    openid: what ID tokens and userinfo need of the authorization request (OpenID Connect Core §12.2).
    """

    auth_time: int
    acr: str | None
    sid: str | None
    openid: JsonObject | None


@dataclass(frozen=True)
class PresentedCode:
    """An authorization code that was presented, with the methods that Authlib calls.

    row: not spent yet. user: locked; None when disabled. openid: of the row, decrypted. redirect_uri_sent:
    None where it was left out.
    """

    row: CodeRow
    user: UserRow | None
    openid: JsonObject | None
    redirect_uri_sent: str | None

    @property
    def sign_in(self) -> SignIn:
        """Return how the user signed in who allowed this code."""
        return SignIn(self.row.auth_time, self.row.acr, self.row.sid, self.openid)

    def get_redirect_uri(self) -> str | None:
        """Return what the request's `redirect_uri` must equal; None where it was left out and may be."""
        return None if self.redirect_uri_sent is None else self.row.redirect_uri

    def get_scope(self) -> str:
        """Return the scope that the user allowed."""
        return self.row.scope


@dataclass
class PresentedRefreshToken:
    """A refresh token that was presented, with the methods that Authlib calls.

    family: its row, as it was before the lock. user: locked; None when disabled. openid: of the row, without
    the claims that the client is not registered for any more.
    """

    presented: credentials.RefreshToken
    family: FamilyRow
    user: UserRow | None
    openid: JsonObject | None
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.digest = credentials.digest(str(self.presented))

    @cached_property
    def sign_in(self) -> SignIn:
        """Return how the user signed in whose family this is."""
        return SignIn(self.family.auth_time, self.family.acr, self.family.sid, self.openid)

    def is_current(self) -> bool:
        """Return whether it is the newest of its family, as the row was before the lock."""
        return hmac.compare_digest(self.digest, self.family.refresh_token_digest)

    def check_client(self, client: RegisteredClient) -> bool:
        """Return whether it was issued to this client; Authlib raises InvalidGrantError where not."""
        if self.family.client_id == client.client_id:
            return True
        set_reason(Reason.WRONG_CLIENT)
        return False

    def get_scope(self) -> str:
        """Return the scope that was granted at the sign-in."""
        return self.family.scope


class Payload(Protocol):
    """The parameters of a request: of the body for a client, of the query for a browser. None: left out."""

    data: dict[str, str]
    client_id: str | None
    response_type: str | None
    grant_type: str | None
    redirect_uri: str | None
    scope: str | None
    state: str | None


class OAuth2Request(rfc6749.OAuth2Request):
    """A request as Authlib hands it from hook to hook, with the types of its attributes.

    What a phase has not found yet is None; `client` and `auth_method` are typed as they are afterwards.
    user: the locked user of a token request; None for client credentials (RFC 6749 §4.4), and in a refresh
    until the token is saved.
    """

    form: MultiDict[str, str] = MultiDict()
    args: MultiDict[str, str] = MultiDict()
    headers: Headers
    payload: Payload
    client: RegisteredClient
    auth_method: str
    user: UserRow | None
    authorization_code: PresentedCode | None
    refresh_token: PresentedRefreshToken | None
    scope: str | None


class AuthorizationGrant(Protocol):
    """An authorization request that was found valid, as the pages see it."""

    request: OAuth2Request
    authentication: AuthenticationRequest
    redirect_uri: str

    def scope_to_allow(self) -> str: ...


class Server(Protocol):
    """The authorization server, as the rooms below `authorization_server.py` see it."""

    grant_types: list[str]
    client_auth_methods: list[str]
    refresh_tokens: credentials.RefreshTokenMaker

    def query_client(self, client_id: str) -> RegisteredClient | None: ...

    def code_lifetime(self) -> int: ...

    def new_token(
        self,
        grant_type: str,
        client: RegisteredClient,
        user: UserRow | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
        sign_in: SignIn | None = None,
    ) -> TokenResponse: ...

    def kept_request(self, parameters: dict[str, str]) -> OAuth2Request: ...

    def get_consent_grant(self, request: OAuth2Request) -> AuthorizationGrant: ...

    def create_authorization_response(
        self, request: OAuth2Request, grant_user: SignedIn | None, grant: AuthorizationGrant
    ) -> Response: ...

    def create_token_response(self) -> Response: ...

    def create_endpoint_response(self, name: str) -> Response: ...

    def answer_to_client(
        self, redirect_uri: str, answer: list[tuple[str, str]], response_mode: str | None
    ) -> AuthorizationResponse: ...

    def refuse_authorization(self, error: OAuth2Error, parameters: dict[str, str]) -> Response: ...

    def handle_error_response(self, request: OAuth2Request | None, error: OAuth2Error) -> Response: ...

    def note_refusal(self, error: OAuth2Error) -> None: ...
