"""What this server offers, `GRANTS` and `CLIENT_AUTH`, and the heart of it: `save_token`.

Enters: Authlib's calls. Leaves: token rows, in the request's one transaction. A grant or a way of client
authentication is one file and one line in a list here. `authorization_server.py` has what Authlib's server
does around them, `protocol/refresh.py` the rules of a refresh.
"""

import logging

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from flask import Flask
from sqlalchemy import bindparam, delete, func, insert, literal, select, union_all

import store.tokens
import store.users
from authorization_server import AuthorizationServer, ClientAuthMethod, GrantClass
from client_auth import client_assertion, client_secret, none
from crypto import credentials
from crypto.json_values import JsonObject
from database.session import CompiledOnce
from database.tables import table
from database.tenancy import TENANT, current_tenant, own
from endpoints.introspect import IntrospectionEndpoint
from endpoints.revoke import RevocationEndpoint
from grants.authorization_code import AuthorizationCodeGrant
from grants.client_credentials import ClientCredentialsGrant
from grants.pkce import S256CodeChallenge
from grants.refresh_token import RefreshTokenGrant
from grants.repeated_refresh import decrypt_response, encrypt_response, repeat_response
from models import Token, db
from protocol import auth_methods, clock
from protocol.refresh import Client, RefreshDecision, classify, retry_window_of
from services.current import settings, state_of
from services.event_log import Reason, set_reason
from services.oauth2_types import OAuth2Request, PresentedRefreshToken, TokenResponse
from store.tokens import FamilyRow
from tokens.id_token import IdToken
from unit_of_work import after_rollback

log = logging.getLogger("ostiary.oauth")

# Each grant with its extensions.
GRANTS: list[tuple[GrantClass, list[object]]] = [
    (AuthorizationCodeGrant, [S256CodeChallenge(), IdToken()]),
    (RefreshTokenGrant, [IdToken()]),
    (ClientCredentialsGrant, []),
]

ENDPOINTS = [RevocationEndpoint, IntrospectionEndpoint]

CLIENT_AUTH: dict[str, ClientAuthMethod] = {
    auth_methods.CLIENT_SECRET_BASIC: client_secret.authenticate_basic,
    auth_methods.CLIENT_SECRET_POST: client_secret.authenticate_post,
    auth_methods.PRIVATE_KEY_JWT: client_assertion.authenticate_private_key,
    auth_methods.CLIENT_SECRET_JWT: client_assertion.authenticate_client_secret,
    auth_methods.NONE: none.authenticate,
}

# ---- the statements ----------------------------------------------------------------------------------------

tokens = table(Token)
_pair = (
    own(tokens),
    tokens.c.client_id == bindparam("client_id"),
    tokens.c.user_id == bindparam("user_id"),
)

# For a sign-in: all rows of the pair of user and client, but the newest `max_sessions` - 1.
_newest = (
    select(tokens.c.id)
    .where(*_pair)
    .order_by(tokens.c.issued_at.desc(), tokens.c.id.desc())
    .limit(bindparam("keep"))
    .subquery("newest")
)
DELETE_ALL_BUT_THE_NEWEST = CompiledOnce(
    delete(tokens).where(*_pair, tokens.c.id.not_in(select(_newest.c.id))).returning(tokens.c.slot)
)
# For a refresh: exactly one row. Who deletes it has claimed the refresh token.
DELETE_THE_PRESENTED = CompiledOnce(
    delete(tokens)
    .where(
        own(tokens),
        tokens.c.id == bindparam("token_id"),
        tokens.c.refresh_token_digest == bindparam("current_digest"),
    )
    .returning(tokens.c.slot)
)
# For client credentials: expired tokens alone, because workers of one client must not end each other's.
DELETE_EXPIRED_CLIENT_TOKENS = CompiledOnce(
    delete(tokens).where(
        own(tokens),
        tokens.c.client_id == bindparam("client_id"),
        tokens.c.user_id.is_(None),
        tokens.c.access_token_expires_at <= bindparam("now"),
    )
)

EMPTY_ROW: dict[str, object] = dict.fromkeys(column.key for column in tokens.columns if column.key != "id")
INSERT_TOKEN = CompiledOnce(insert(tokens), list(EMPTY_ROW))

# For a sign-in that freed no slot: with the smallest slot that no row of the pair has.
_taken = tokens.alias("taken")
_candidates = union_all(select(literal(0).label("slot")), select(tokens.c.slot + 1).where(*_pair)).subquery()
_is_taken = select(_taken.c.id).where(
    own(_taken),
    _taken.c.client_id == bindparam("client_id"),
    _taken.c.user_id == bindparam("user_id"),
    _taken.c.slot == _candidates.c.slot,
)
_smallest_free_slot = select(func.min(_candidates.c.slot)).where(~_is_taken.exists()).scalar_subquery()
_columns = [column for column in tokens.columns if column.key not in ("tenant_id", "id", "slot")]
_row = select(TENANT, _smallest_free_slot, *(bindparam(column.key, type_=column.type) for column in _columns))
INSERT_TOKEN_IN_A_FREE_SLOT = CompiledOnce(
    insert(tokens).from_select([tokens.c.tenant_id, tokens.c.slot, *_columns], _row, include_defaults=False)
)

# ---- save_token --------------------------------------------------------------------------------------------


def save_token(token: TokenResponse, request: OAuth2Request) -> None:
    """Store the tokens that were just issued, and delete those that they replace. Never commits.

    token: for a repeated refresh it is filled with the tokens that were issued the first time.
    request: `user` is None for client credentials (RFC 6749 §4.4); else the grant has locked the user's row.
    Sends one DELETE, then one INSERT: an INSERT before the DELETE would be deleted with the rest. Raises
    InvalidGrantError for a refresh token that was replaced; if that was reused, its family is revoked. Raises
    InvalidScopeError where the client is not registered any more for anything that was granted.
    """
    row = new_row(token, request)
    if request.user is None:
        client_tokens = {"client_id": row["client_id"], "now": clock.now()}
        db.session.execute(DELETE_EXPIRED_CLIENT_TOKENS, client_tokens)
        db.session.execute(INSERT_TOKEN, row)
    elif request.refresh_token is None:
        keep = (request.client.max_sessions or settings.max_sessions) - 1
        pair = {"client_id": row["client_id"], "user_id": row["user_id"], "keep": keep}
        row["slot"] = min(db.session.scalars(DELETE_ALL_BUT_THE_NEWEST, pair), default=None)
        insert_token = INSERT_TOKEN_IN_A_FREE_SLOT if row["slot"] is None else INSERT_TOKEN
        db.session.execute(insert_token, row)
    else:
        row["slot"] = claim_for_refresh(token, request, request.refresh_token)
        check_scope_is_left(token, request.refresh_token)
        if row["slot"] is not None:  # None: a repeat, nothing is stored
            db.session.execute(INSERT_TOKEN, row)


def claim_for_refresh(
    token: TokenResponse, request: OAuth2Request, presented: PresentedRefreshToken
) -> int | None:
    """Delete the presented token's row and return its slot; for a repeat fill `token` and return None.

    The family was read before the lock. When its row is gone, another refresh was faster or this one is a
    repeat; then the row as it is now, under the lock, decides. Raises InvalidGrantError.
    """
    if decide(presented, presented.family, request.client) is RefreshDecision.ROTATE:
        slot = delete_presented(presented.family)
        if slot is not None:
            return slot
    family = store.tokens.find_family(presented.family.family_digest)
    if family is None:
        set_reason(Reason.REFRESH_ENDED)
        raise InvalidGrantError("the sign-in of this refresh token has ended")
    decision = decide(presented, family, request.client)
    if decision is RefreshDecision.REUSED:
        log.warning(
            "a replaced refresh token was used again, its family ends: client_id=%s", family.client_id
        )
        after_rollback(revoke_stolen_family, family.user_id, family.family_digest)
        set_reason(Reason.REFRESH_REUSED)
        raise InvalidGrantError("this refresh token was replaced by another")
    if decision is not RefreshDecision.ROTATE:
        first = decrypt_response(family, request, presented)
        if decision is not RefreshDecision.REPEAT:
            seconds = (clock.now_in_microseconds() - family.issued_at) // clock.MICROSECONDS
            log.warning(
                "a refresh was repeated after the leeway: client_id=%s seconds=%d", family.client_id, seconds
            )
        if decision is not RefreshDecision.REPLACE:
            repeat_response(token, first, family, request, presented)
            return None
    slot = delete_presented(family)
    if slot is None:
        set_reason(Reason.REFRESH_ENDED)
        raise InvalidGrantError("the sign-in of this refresh token has ended")
    return slot


def decide(presented: PresentedRefreshToken, family: FamilyRow, client: Client) -> RefreshDecision:
    """Return what is done with a refresh token. Raises InvalidGrantError where it has expired, or its family.

    One that was reused is answered as such also after that: the family's access token may live longer.
    """
    retry_window = retry_window_of(client, settings)
    decision = classify(family, presented.digest, clock.now_in_microseconds(), retry_window)
    ends = (family.refresh_token_expires_at, family.family_expires_at)
    if decision is not RefreshDecision.REUSED and any(end is not None and end <= clock.now() for end in ends):
        set_reason(Reason.REFRESH_EXPIRED)
        raise InvalidGrantError("this refresh token has expired")
    return decision


def delete_presented(family: FamilyRow) -> int | None:
    """Claim the current refresh token of a family: return the slot of its row, or None if it is gone."""
    claim = {"token_id": family.id, "current_digest": family.refresh_token_digest}
    return db.session.scalars(DELETE_THE_PRESENTED, claim).one_or_none()


def check_scope_is_left(token: TokenResponse, presented: PresentedRefreshToken) -> None:
    """Check that the client may still have something of what was granted. Raises InvalidScopeError.

    Who sent the current refresh token has got it, so the response with it is never given again.
    """
    if token.get("scope") or not presented.get_scope():
        return
    if presented.is_current():
        after_rollback(store.tokens.note_presentation, presented.family.id, clock.now())
    raise InvalidScopeError("the client is not registered any more for what was granted")


def revoke_stolen_family(user_id: int, family_digest: bytes) -> None:
    """Revoke the tokens of a family whose refresh token was reused, under the lock."""
    store.users.lock(user_id)
    store.tokens.revoke_family(family_digest)


# ---- the row that is inserted ------------------------------------------------------------------------------


def new_row(token: TokenResponse, request: OAuth2Request) -> dict[str, object]:
    """Return the columns of the new row, but for the slot, which `save_token` finds."""
    now = clock.now()
    scope = token.get("scope", "")
    row = EMPTY_ROW | {
        "tenant_id": current_tenant(),
        "client_id": request.client.client_id,
        "user_id": request.user.id if request.user else None,
        "scope": scope,
        "access_token_scope": scope,
        "access_token_digest": credentials.digest(token["access_token"]),
        "access_token_expires_at": now + token["expires_in"],
        "issued_at": clock.now_in_microseconds(),
    }
    if request.authorization_code is not None:
        code = request.authorization_code.row
        row.update(
            auth_time=code.auth_time,
            acr=code.acr,
            sid=code.sid,
            openid=without_nonce(request.authorization_code.openid),
            code_digest=code.code_digest,
            redirect_uri_digest=credentials.digest(code.redirect_uri),
            code_challenge=code.code_challenge,
        )
    if refresh_token := token.get("refresh_token"):
        row.update(family_columns(refresh_token, token, request, now))
    return row


def without_nonce(openid: JsonObject | None) -> JsonObject | None:
    """Return the same without the nonce, which is for one ID token only (OpenID Connect Core §12.2)."""
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


def family_columns(
    refresh_token: str, token: TokenResponse, request: OAuth2Request, now: int
) -> dict[str, object]:
    """Return the columns of the family: new ones for a sign-in, those of the old row for a refresh."""
    client = request.client
    idle = client.lifetime(client.refresh_token_idle_lifetime, settings.refresh_token_idle_lifetime)
    columns: dict[str, object] = {"refresh_token_digest": credentials.digest(refresh_token)}
    presented = request.refresh_token
    if presented is None:
        absolute = client.lifetime(client.refresh_token_lifetime, settings.refresh_token_lifetime)
        family_expires_at = None if absolute is None else now + absolute
        parsed = credentials.RefreshToken.parse(refresh_token)
        assert parsed is not None  # noqa: S101 - the server made it a moment ago
        columns["family_digest"] = credentials.digest(parsed.family)
        columns["family_expires_at"] = family_expires_at
    else:
        family_expires_at = presented.family.family_expires_at
        columns.update({name: getattr(presented.family, name) for name in CARRIED_THROUGH_REFRESHES})
        columns["openid"] = presented.openid
        columns["previous_refresh_token_digest"] = presented.digest
        if not retry_window_of(client, settings).is_strict:
            columns["sealed_pair"] = encrypt_response(token, request, presented)
    ends = (None if idle is None else now + idle, family_expires_at)
    columns["refresh_token_expires_at"] = min((end for end in ends if end is not None), default=None)
    return columns


def init_app(app: Flask) -> None:
    """Build this app's own authorization server, and put it where `services.current` finds it."""
    state_of(app).server = AuthorizationServer(
        app, grants=GRANTS, client_auth=CLIENT_AUTH, endpoints=ENDPOINTS, save_token=save_token
    )
