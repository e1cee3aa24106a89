"""Authlib wired to our tables. The heart of the server is `save_token`: one DELETE, one INSERT, in the request's one transaction.

Enters: Authlib's calls. Leaves: token rows. A grant, a way of client authentication or an endpoint is one file and one line in
`GRANTS` or `CLIENT_AUTH`. The server is built once for each app: a shared one would collect the grants of all of them.
"""

import logging
from collections.abc import Iterable
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidGrantError, InvalidScopeError, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.errors import UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Flask, Response, g
from flask import request as flask_request
from sqlalchemy import Row, bindparam, delete, func, insert, literal, select, union_all
from werkzeug.datastructures import MultiDict

import events
import store.clients
import store.tokens
import throttling
from client_auth import client_assertion, client_secret, none
from config import Settings
from current import settings as current_settings
from endpoints import authorization_response
from endpoints.bearer import RequireOAuth
from endpoints.introspect import IntrospectionEndpoint
from endpoints.revoke import RevocationEndpoint
from events import Reason, because
from grants.authorization_code import AuthorizationCodeGrant
from grants.client_credentials import ClientCredentialsGrant
from grants.openid import IdToken, sign_access_token
from grants.refresh_token import PresentedRefreshToken, RefreshTokenGrant
from models import Client, Token, db, table
from protocol import clock, credentials, scopes
from protocol.pkce import S256CodeChallenge
from protocol.refresh import Verdict, judge, patience_with
from protocol.seal import seal, unseal
from protocol.signing_keys import MAXIMUM_JWT_LIFETIME
from unit_of_work import lock_owner, penalize, refuse

log = logging.getLogger("ostiary.oauth")

GRANTS: list[tuple[Any, list[Any]]] = [
    (AuthorizationCodeGrant, [S256CodeChallenge(), IdToken()]),
    (RefreshTokenGrant, [IdToken()]),
    (ClientCredentialsGrant, []),
]

ENDPOINTS = [RevocationEndpoint, IntrospectionEndpoint]

CLIENT_AUTH = {
    "client_secret_basic": client_secret.authenticate_basic,
    "client_secret_post": client_secret.authenticate_post,
    "private_key_jwt": client_assertion.authenticate_private_key,
    "client_secret_jwt": client_assertion.authenticate_client_secret,
    "none": none.authenticate,
}

require_oauth = RequireOAuth()

# ---- save_token and its three DELETEs ---------------------------------------------------------------------------------

tokens = table(Token)
_pair = (tokens.c.client_id == bindparam("client_id"), tokens.c.user_id == bindparam("user_id"))

_newest = (
    select(tokens.c.id)
    .where(*_pair)
    .order_by(tokens.c.issued_at.desc(), tokens.c.id.desc())
    .limit(bindparam("keep"))
    .subquery("newest")
)
# A sign-in: room for one row among the pair's max_sessions.
DELETE_ALL_BUT_THE_NEWEST = (
    delete(tokens).where(*_pair, tokens.c.id.not_in(select(_newest.c.id))).returning(tokens.c.slot)
)
# A refresh: exactly one row, and taking it is the claim.
DELETE_THE_PRESENTED = (
    delete(tokens)
    .where(tokens.c.id == bindparam("token_id"), tokens.c.refresh_token_digest == bindparam("current_digest"))
    .returning(tokens.c.slot)
)
# A machine: only what has expired, because workers of one client must not end each other's tokens.
DELETE_EXPIRED_MACHINE_TOKENS = delete(tokens).where(
    tokens.c.client_id == bindparam("client_id"),
    tokens.c.user_id.is_(None),
    tokens.c.access_token_expires_at <= bindparam("now"),
)

INSERT_TOKEN = insert(tokens)

# The same for a sign-in that freed no slot: the smallest number that no row of the pair has.
_taken = tokens.alias("taken")
_candidates = union_all(select(literal(0).label("slot")), select(tokens.c.slot + 1).where(*_pair)).subquery(
    "candidates"
)
_is_taken = select(_taken.c.id).where(
    _taken.c.client_id == bindparam("client_id"),
    _taken.c.user_id == bindparam("user_id"),
    _taken.c.slot == _candidates.c.slot,
)
_smallest_free_slot = select(func.min(_candidates.c.slot)).where(~_is_taken.exists()).scalar_subquery()
_columns = [column for column in tokens.columns if column.key not in ("id", "slot")]
INSERT_TOKEN_IN_A_FREE_SLOT = insert(tokens).from_select(
    ["slot", *(column.key for column in _columns)],
    select(_smallest_free_slot, *(bindparam(column.key, type_=column.type) for column in _columns)),
    include_defaults=False,
)


def save_token(token: dict[str, Any], request: Any) -> None:
    """Replace the tokens of this person at this client by the one just issued.

    token: the response of RFC 6749 §5.1; `expires_in` in seconds. For a repeated refresh it is filled with the pair issued before.
    request: Authlib's OAuth2Request; `user` is None for client_credentials (§4.4), where only expired tokens go.
    The person's row is locked already: the grant did it before it claimed the code.
    Sends one DELETE, then one INSERT, in this order: an INSERT that came first would be deleted with the rest. Never commits.
    Raises InvalidGrantError for a refresh token that was replaced; one that was stolen ends its family. InvalidScopeError where the
    client is registered no more for anything that was granted.
    """
    row = new_row(token, request)
    if request.user is None:
        db.session.execute(DELETE_EXPIRED_MACHINE_TOKENS, {"client_id": row["client_id"], "now": clock.now()})
    elif request.refresh_token is None:
        keep = (request.client.max_sessions or current_settings.max_sessions) - 1
        pair = {"client_id": row["client_id"], "user_id": row["user_id"], "keep": keep}
        row["slot"] = min(db.session.scalars(DELETE_ALL_BUT_THE_NEWEST, pair), default=None)
        if row["slot"] is None:
            db.session.execute(INSERT_TOKEN_IN_A_FREE_SLOT, row)
            return
    else:
        row["slot"] = claim_for_refresh(token, request)
        check_something_is_left(token, request)
        if row["slot"] is None:
            return  # a repeat: `token` is now the pair that was issued the first time
    db.session.execute(INSERT_TOKEN, row)


def claim_for_refresh(token: dict[str, Any], request: Any) -> int | None:
    """Take the presented token's row and return its slot; or, for a repeat, fill `token` and return None.

    The family was read before the lock. When its row is gone another refresh was faster, or this one is a repeat: then what
    the row says now, under the lock, decides.
    """
    presented: PresentedRefreshToken = request.refresh_token
    if verdict_on(presented, presented.family, request.client) is Verdict.ROTATE:
        slot = delete_presented(presented.family)
        if slot is not None:
            return slot
    family = store.tokens.find_family(presented.family.family_digest)
    if family is None:
        because(Reason.REFRESH_ENDED)
        raise InvalidGrantError("the sign-in of this refresh token has ended")
    verdict = verdict_on(presented, family, request.client)
    if verdict is Verdict.THEFT:
        log.warning("a replaced refresh token was used again, its family ends: client_id=%s", family.client_id)
        penalize(end_stolen_family, family.user_id, family.family_digest)
        because(Reason.REFRESH_REUSED)
        raise InvalidGrantError("this refresh token was replaced by another")
    if verdict is not Verdict.ROTATE:
        pair = open_sealed_pair(presented, family, request)
        if verdict is not Verdict.REPEAT:
            seconds = (clock.now_in_microseconds() - family.issued_at) // clock.MICROSECONDS
            log.warning("a refresh was repeated after the leeway: client_id=%s seconds=%d", family.client_id, seconds)
        if verdict is not Verdict.REPLACE:
            give_again(token, pair, family, request)
            return None
    slot = delete_presented(family)
    if slot is None:
        because(Reason.REFRESH_ENDED)
        raise InvalidGrantError("the sign-in of this refresh token has ended")
    return slot


def verdict_on(presented: PresentedRefreshToken, family: Row[Any], client: Client) -> Verdict:
    """What the token means; raises InvalidGrantError when its life is over, or the family's.

    A theft is one after that too: the family's access token may live longer than its refresh token.
    """
    patience = patience_with(client, current_settings)
    verdict = judge(family, presented.digest, clock.now_in_microseconds(), patience)
    ends = (family.refresh_token_expires_at, family.family_expires_at)
    if verdict is not Verdict.THEFT and any(end is not None and end <= clock.now() for end in ends):
        because(Reason.REFRESH_EXPIRED)
        raise InvalidGrantError("this refresh token has expired")
    return verdict


def delete_presented(family: Row[Any]) -> int | None:
    """The claim: the slot that this caller freed, or None when somebody else was faster."""
    claim = {"token_id": family.id, "current_digest": family.refresh_token_digest}
    return db.session.scalars(DELETE_THE_PRESENTED, claim).one_or_none()


def open_sealed_pair(presented: PresentedRefreshToken, family: Row[Any], request: Any) -> dict[str, Any]:
    """The pair that was issued for this token before. A repeat that asks differently is refused and ends nothing."""
    sealed = unseal(family.sealed_pair, str(presented.presented))
    if sealed is None:
        because(Reason.REFRESH_REUSED)
        raise InvalidGrantError("this refresh token was replaced by another")
    if sealed["auth_method"] != request.auth_method:
        because(Reason.WRONG_AUTH_METHOD)
        raise ClientAuthenticationFailed
    pair: dict[str, Any] = sealed["token"]
    asked_first = sealed.get("asked", pair.get("scope"))
    if set(scopes.split(scope_asked(request))) != set(scopes.split(asked_first)):
        raise InvalidScopeError("the first refresh asked for another scope")
    return pair


def scope_asked(request: Any) -> str:
    """Of a refresh: what it names, else all that was granted (RFC 6749 §6). What the client gets may be less."""
    return str(request.payload.scope or request.refresh_token.get_scope())


def give_again(token: dict[str, Any], pair: dict[str, Any], family: Row[Any], request: Any) -> None:
    """Fill `token` with the pair that was issued before.

    Where the client's registration has been narrowed since, the access token that was just made takes the place of the one before
    it: that one is worth more than the client may have now.
    """
    granted = pair.get("scope", "")
    if request.client.still_allowed(granted) == granted:
        token.clear()
        token.update(pair, expires_in=max(family.access_token_expires_at - clock.now(), 0))
        return
    token["refresh_token"] = pair["refresh_token"]
    store.tokens.replace_access_token(
        family.id,
        access_token_digest=credentials.digest(token["access_token"]),
        access_token_expires_at=clock.now() + token["expires_in"],
        access_token_scope=token.get("scope", ""),
        openid=request.refresh_token.openid,
        sealed_pair=sealed_answer(token, request),
    )


def sealed_answer(token: dict[str, Any], request: Any) -> bytes:
    """For whoever presents the same refresh token again, in the same way."""
    answer = {"auth_method": request.auth_method, "asked": scope_asked(request), "token": token}
    return seal(answer, str(request.refresh_token.presented))


def check_something_is_left(token: dict[str, Any], request: Any) -> None:
    """Raises InvalidScopeError. Whoever sent the current refresh token has the pair, so that it is never given out again."""
    presented: PresentedRefreshToken = request.refresh_token
    if token.get("scope") or not presented.get_scope():
        return
    if presented.is_current():
        penalize(store.tokens.note_presentation, presented.family.id, clock.now())
    raise InvalidScopeError("the client is not registered any more for what was granted")


def new_row(token: dict[str, Any], request: Any) -> dict[str, Any]:
    """The columns of the row to insert; the slot is found by `save_token`."""
    now = clock.now()
    client: Client = request.client
    scope = token.get("scope", "")
    row: dict[str, Any] = dict.fromkeys(column.key for column in tokens.columns if column.key != "id")
    row.update(
        client_id=client.client_id,
        user_id=request.user.id if request.user else None,
        scope=scope,
        access_token_scope=scope,
        access_token_digest=credentials.digest(token["access_token"]),
        access_token_expires_at=now + token["expires_in"],
        issued_at=clock.now_in_microseconds(),
    )
    if code := request.authorization_code:
        row.update(
            auth_time=code.auth_time,
            acr=code.acr,
            sid=code.sid,
            openid=without_nonce(code.openid),
            code_digest=code.code_digest,
            redirect_uri_digest=credentials.digest(code.redirect_uri),
            code_challenge=code.code_challenge,
        )
    if refresh_token := token.get("refresh_token"):
        row.update(family_columns(refresh_token, token, request, now))
    return row


def without_nonce(openid: dict[str, Any] | None) -> dict[str, Any] | None:
    """A nonce belongs to one ID token only (OpenID Connect Core §12.2)."""
    return None if openid is None else {name: value for name, value in openid.items() if name != "nonce"}


CARRIED_THROUGH_REFRESHES = (
    "scope",
    "auth_time",
    "acr",
    "sid",
    "family_digest",
    "family_expires_at",
    "code_digest",
    "redirect_uri_digest",
    "code_challenge",
)


def family_columns(refresh_token: str, token: dict[str, Any], request: Any, now: int) -> dict[str, Any]:
    """What a row says of its family: made at the sign-in, carried on by each refresh."""
    client: Client = request.client
    settings = current_settings
    idle = client.lifetime(client.refresh_token_idle_lifetime, settings.refresh_token_idle_lifetime)
    absolute = client.lifetime(client.refresh_token_lifetime, settings.refresh_token_lifetime)
    columns: dict[str, Any] = {"refresh_token_digest": credentials.digest(refresh_token)}
    presented: PresentedRefreshToken | None = request.refresh_token
    if presented is None:
        family = credentials.RefreshToken.parse(refresh_token)
        assert family is not None  # noqa: S101 - we made it a moment ago
        columns["family_digest"] = credentials.digest(family.family)
        columns["family_expires_at"] = None if absolute is None else now + absolute
    else:
        columns.update({name: getattr(presented.family, name) for name in CARRIED_THROUGH_REFRESHES})
        columns["openid"] = presented.openid
        columns["previous_refresh_token_digest"] = presented.digest
        if not patience_with(client, settings).is_strict:
            columns["sealed_pair"] = sealed_answer(token, request)
    ends = (None if idle is None else now + idle, columns["family_expires_at"])
    columns["refresh_token_expires_at"] = min((end for end in ends if end is not None), default=None)
    return columns


def end_stolen_family(user_id: int, family_digest: bytes) -> None:
    """Penalty of a theft. The lock comes first: a refresh in flight would otherwise carry the family past the DELETE."""
    lock_owner(user_id)
    store.tokens.end_family(family_digest)


# ---- Authlib's server, with what it leaves to us ----------------------------------------------------------------------


def with_values(parameters: MultiDict[str, str]) -> MultiDict[str, str]:
    """A parameter without a value counts as left out (RFC 6749 §3.1, §3.2)."""
    return MultiDict(pair for pair in parameters.items(multi=True) if pair[1])


class Request(OAuth2Request):
    """Authlib's request: parameters of a machine from the body alone (RFC 9700 §2.5), those of a person as they were kept.

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


class ClientAuthenticationFailed(InvalidClientError):
    """One answer for an unknown client, a wrong secret and a wrong method (RFC 6749 §5.2). The challenge is for who tried Basic."""

    description = "client authentication failed"
    status_code = 401

    def get_headers(self) -> list[tuple[str, str]]:
        headers = [header for header in super().get_headers() if header[0] != "WWW-Authenticate"]
        if "Authorization" in flask_request.headers:
            headers.append(("WWW-Authenticate", 'Basic realm="ostiary"'))
        return headers


class TooManyFailures(ClientAuthenticationFailed):
    """429 after too many failed client authentications. What a client with the right secret sends is still answered."""

    description = "too many failed client authentications, wait before the next"
    status_code = 429

    def __init__(self, seconds_to_wait: int) -> None:
        super().__init__()
        self.seconds_to_wait = seconds_to_wait

    def get_headers(self) -> list[tuple[str, str]]:
        return [*super().get_headers(), ("Retry-After", str(self.seconds_to_wait))]


def find_client(client_id: str) -> Client | None:
    """The client of this id, or None. Which was asked for is remembered for the line of a refusal; a success writes none."""
    client = store.clients.find(client_id)
    g.asked_for = client_id, client is not None
    return client


def note_failure(client_id: str) -> None:
    """For the log: why no way of client authentication was right."""
    if "asked_for" not in g and client_id:
        g.asked_for = client_id, store.clients.find(client_id) is not None
    if events.noted("reason") is not None:
        return
    if "asked_for" not in g:
        because(Reason.CLIENT_NOT_NAMED)
    else:
        because(Reason.WRONG_AUTH_METHOD if g.asked_for[1] else Reason.UNKNOWN_CLIENT)


class Server(AuthorizationServer):
    """Authlib's authorization server: how its answers leave, what its tokens look like, how a client that failed is told."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self.settings = settings
        old_keys = tuple(key.get_secret_value() for key in settings.old_secret_keys)
        self.refresh_tokens = credentials.RefreshTokenMaker(settings.secret_key.get_secret_value(), old_keys)
        super().__init__(app, query_client=find_client, save_token=save_token)
        for method, authenticate in CLIENT_AUTH.items():
            self.register_client_auth_method(method, authenticate)
        for grant, extensions in GRANTS:
            self.register_grant(grant, extensions)
        for endpoint in ENDPOINTS:
            self.register_endpoint(endpoint)

    def code_lifetime(self) -> int:
        return int(self.settings.authorization_code_lifetime.total_seconds())

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        """Authlib passes None for the current request; the consent page passes the parameters that it kept."""
        return request if isinstance(request, OAuth2Request) else Request()

    def kept_request(self, parameters: dict[str, str]) -> OAuth2Request:
        """An authorization request from its parameters, as they came or as a ticket kept them."""
        return Request(parameters)

    def grant_types_supported(self) -> list[str]:
        return [grant.GRANT_TYPE for grant, _extensions in GRANTS]

    def auth_methods_supported(self) -> list[str]:
        return list(CLIENT_AUTH)

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
        """A token response (RFC 6749 §5.1). The scope was decided before: by the consent, or by what the client may have.

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
            events.note(reason=None, detail=None)  # of a way that was tried in vain before the right one
        return client

    @staticmethod
    def failed_authentication() -> ClientAuthenticationFailed:
        """Asked and counted only once it failed: a right secret costs nothing, and nobody can lock its client out."""
        client_id = client_secret.presented_client_id(flask_request)
        failures = throttling.for_client(client_id)
        note_failure(client_id)
        if seconds := throttling.seconds_to_wait(failures):
            because(Reason.THROTTLED)
            return TooManyFailures(seconds)
        throttling.count_failure(failures)
        return ClientAuthenticationFailed()

    def get_token_grant(self, request: Any) -> Any:
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError:
            raise UnsupportedGrantType(None) from None

    def handle_error_response(self, request: Any, error: OAuth2Error) -> Response:
        """A refusal is rolled back. One of an authorization request goes back to the client where that is known to be safe."""
        if error.redirect_uri:
            return self.refuse_authorization(error, request.payload.data)
        self.note_refusal(error)
        response: Response = super().handle_error_response(request, error)
        return response

    def refuse_authorization(self, error: OAuth2Error, parameters: dict[str, str]) -> Response:
        """An error to the client, at a redirect URI that is known to be its own, in the mode that it asked for."""
        self.note_refusal(error)
        mode = parameters.get("response_mode")
        return self.handle_response(*self.answer_to_client(error.redirect_uri, error.get_body(), mode))

    def note_refusal(self, error: OAuth2Error) -> None:
        refuse()
        self.note_answer(error.error, error.get_error_description())

    def note_answer(self, error: str, description: str | None) -> None:
        """For the log: what the client is told, and which client that is."""
        if "asked_for" in g:
            events.note_client(*g.asked_for)
        if flask_request.path == "/oauth/token":
            grant_type = flask_request.form.get("grant_type")
            events.note(grant_type=grant_type if grant_type in self.grant_types_supported() else None)
        events.note_error(error, description)

    def answer_to_client(
        self, redirect_uri: str, answer: Iterable[tuple[str, str]], response_mode: str | None
    ) -> authorization_response.Response:
        """An authorization response (RFC 6749 §4.1.2): the arguments of `handle_response`."""
        if error := dict(answer := list(answer)).get("error"):
            self.note_answer(error, None)
        return authorization_response.build(redirect_uri, answer, response_mode or "query", self.settings.issuer)


def init_app(app: Flask, settings: Settings) -> None:
    """Build this app's server and its bearer check, and put them where `current` finds them."""
    app.extensions["ostiary.server"] = Server(app, settings)
    app.extensions["ostiary.require_oauth"] = require_oauth
