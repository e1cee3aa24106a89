"""What the server offers (`GRANTS`, `CLIENT_AUTH`), and its heart `save_token`: one DELETE, then one INSERT.

Enters: Authlib's calls. Leaves: token rows. A grant, a way of client authentication or an endpoint is one
file and one line in `GRANTS` or `CLIENT_AUTH`. The server is built once for each app: a shared one would
collect the grants of all of them.
"""

import logging
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from flask import Flask
from sqlalchemy import Row, bindparam, delete, func, insert, literal, select, union_all

import store.clients
import store.tokens
import store.users
from authorization_server import AuthorizationServer
from client_auth import client_assertion, client_secret, none
from client_auth.errors import ClientAuthenticationFailed
from config import Settings
from crypto import credentials
from crypto.encryption import decrypt, encrypt
from endpoints.introspect import IntrospectionEndpoint
from endpoints.revoke import RevocationEndpoint
from grants.authorization_code import AuthorizationCodeGrant
from grants.client_credentials import ClientCredentialsGrant
from grants.pkce import S256CodeChallenge
from grants.refresh_token import PresentedRefreshToken, RefreshTokenGrant
from models import Client, Token, db, table
from protocol import clock, scopes
from protocol.refresh import RefreshDecision, classify, retry_window_of
from services.current import settings as current_settings
from services.current import state_of
from services.event_log import Reason, set_reason
from tokens.id_token import IdToken
from unit_of_work import after_rollback

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

    token: the response of RFC 6749 §5.1; `expires_in` in seconds. For a repeated refresh it is filled with
    the pair issued before.
    request: Authlib's OAuth2Request; `user` is None for client_credentials (§4.4), where only expired tokens
    go. The person's row is locked already: the grant did it before it claimed the code. Sends one DELETE,
    then one INSERT, in this order: an INSERT that came first would be deleted with the rest. Never commits.
    Raises InvalidGrantError for a refresh token that was replaced; one that was stolen ends its family.
    InvalidScopeError where the client is registered no more for anything that was granted.
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

    The family was read before the lock. When its row is gone another refresh was faster, or this one is a
    repeat: then what the row says now, under the lock, decides.
    """
    presented: PresentedRefreshToken = request.refresh_token
    if decide(presented, presented.family, request.client) is RefreshDecision.ROTATE:
        slot = delete_presented(presented.family)
        if slot is not None:
            return slot
    family = store.tokens.find_family(presented.family.family_digest)
    if family is None:
        set_reason(Reason.REFRESH_ENDED)
        raise InvalidGrantError("the sign-in of this refresh token has ended")
    verdict = decide(presented, family, request.client)
    if verdict is RefreshDecision.THEFT:
        log.warning(
            "a replaced refresh token was used again, its family ends: client_id=%s", family.client_id
        )
        after_rollback(revoke_stolen_family, family.user_id, family.family_digest)
        set_reason(Reason.REFRESH_REUSED)
        raise InvalidGrantError("this refresh token was replaced by another")
    if verdict is not RefreshDecision.ROTATE:
        pair = open_sealed_pair(presented, family, request)
        if verdict is not RefreshDecision.REPEAT:
            seconds = (clock.now_in_microseconds() - family.issued_at) // clock.MICROSECONDS
            log.warning(
                "a refresh was repeated after the leeway: client_id=%s seconds=%d", family.client_id, seconds
            )
        if verdict is not RefreshDecision.REPLACE:
            give_again(token, pair, family, request)
            return None
    slot = delete_presented(family)
    if slot is None:
        set_reason(Reason.REFRESH_ENDED)
        raise InvalidGrantError("the sign-in of this refresh token has ended")
    return slot


def decide(presented: PresentedRefreshToken, family: Row[Any], client: Client) -> RefreshDecision:
    """What the token means; raises InvalidGrantError when its life is over, or the family's.

    A theft is one after that too: the family's access token may live longer than its refresh token.
    """
    patience = retry_window_of(client, current_settings)
    verdict = classify(family, presented.digest, clock.now_in_microseconds(), patience)
    ends = (family.refresh_token_expires_at, family.family_expires_at)
    if verdict is not RefreshDecision.THEFT and any(end is not None and end <= clock.now() for end in ends):
        set_reason(Reason.REFRESH_EXPIRED)
        raise InvalidGrantError("this refresh token has expired")
    return verdict


def delete_presented(family: Row[Any]) -> int | None:
    """The claim: the slot that this caller freed, or None when somebody else was faster."""
    claim = {"token_id": family.id, "current_digest": family.refresh_token_digest}
    return db.session.scalars(DELETE_THE_PRESENTED, claim).one_or_none()


def open_sealed_pair(presented: PresentedRefreshToken, family: Row[Any], request: Any) -> dict[str, Any]:
    """The pair that was issued for this token before.

    A repeat that asks differently is refused and ends nothing.
    """
    sealed = decrypt(family.sealed_pair, str(presented.presented))
    if sealed is None:
        set_reason(Reason.REFRESH_REUSED)
        raise InvalidGrantError("this refresh token was replaced by another")
    if sealed["auth_method"] != request.auth_method:
        set_reason(Reason.WRONG_AUTH_METHOD)
        raise ClientAuthenticationFailed
    pair: dict[str, Any] = sealed["token"]
    asked_first = sealed.get("asked", pair.get("scope"))
    if set(scopes.split(scope_asked(request))) != set(scopes.split(asked_first)):
        raise InvalidScopeError("the first refresh asked for another scope")
    return pair


def scope_asked(request: Any) -> str:
    """Of a refresh: what it names, else all that was granted (RFC 6749 §6).

    What the client gets may be less.
    """
    return str(request.payload.scope or request.refresh_token.get_scope())


def give_again(token: dict[str, Any], pair: dict[str, Any], family: Row[Any], request: Any) -> None:
    """Fill `token` with the pair that was issued before.

    Where the client's registration has been narrowed since, the access token that was just made takes the
    place of the one before it: that one is worth more than the client may have now.
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
    return encrypt(answer, str(request.refresh_token.presented))


def check_something_is_left(token: dict[str, Any], request: Any) -> None:
    """Raises InvalidScopeError.

    Whoever sent the current refresh token has the pair, so that it is never given out again.
    """
    presented: PresentedRefreshToken = request.refresh_token
    if token.get("scope") or not presented.get_scope():
        return
    if presented.is_current():
        after_rollback(store.tokens.note_presentation, presented.family.id, clock.now())
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
        if not retry_window_of(client, settings).is_strict:
            columns["sealed_pair"] = sealed_answer(token, request)
    ends = (None if idle is None else now + idle, columns["family_expires_at"])
    columns["refresh_token_expires_at"] = min((end for end in ends if end is not None), default=None)
    return columns


def revoke_stolen_family(user_id: int, family_digest: bytes) -> None:
    """Penalty of a theft.

    The lock comes first: a refresh in flight would otherwise carry the family past the DELETE.
    """
    store.users.lock(user_id)
    store.tokens.revoke_family(family_digest)


def init_app(app: Flask, settings: Settings) -> None:
    """Build this app's server and its bearer check, and put them where `current` finds them."""
    state_of(app).server = AuthorizationServer(
        app, settings, grants=GRANTS, client_auth=CLIENT_AUTH, endpoints=ENDPOINTS, save_token=save_token
    )
