"""Live tokens: found by a digest, marked when first used, revoked. `my_oauth.save_token` alone replaces them.

Who revokes a user's tokens locks the user's row first (`store.users.lock`): otherwise the DELETE could run
just before a refresh inserts a row, and would miss it.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import and_, bindparam, case, delete, func, not_, or_, select, update

from crypto.json_values import JsonObject
from database.session import CompiledOnce
from database.tables import table
from database.tenancy import own
from models import Client, ClientSession, Token, User, db
from protocol.scopes import OFFLINE_ACCESS, OPENID
from store.rows import columns, fetch_one
from store.users import UserRow, find_and_lock, with_its_user

tokens, users, clients = table(Token), table(User), table(Client)


class FamilyRow(NamedTuple):
    """The token row of a family: one sign-in of a user at a client, and all its refreshes."""

    id: int
    client_id: str
    user_id: int
    slot: int
    scope: str
    access_token_expires_at: int
    issued_at: int  # microseconds
    used_at: int | None
    auth_time: int
    acr: str | None
    sid: str | None
    openid: JsonObject | None
    family_digest: bytes
    refresh_token_digest: bytes
    previous_refresh_token_digest: bytes | None
    sealed_pair: bytes | None
    refresh_token_expires_at: int | None
    family_expires_at: int | None
    code_digest: bytes | None
    redirect_uri_digest: bytes | None
    code_challenge: str | None


class TokenRow(NamedTuple):
    """A token with what is asked of its client, and with its user.

    The columns of the user are None for a client's own token, and where the user was removed.
    """

    id: int
    client_id: str
    user_id: int | None
    scope: str
    access_token_scope: str
    access_token_digest: bytes
    access_token_expires_at: int
    issued_at: int  # microseconds
    used_at: int | None
    auth_time: int | None
    acr: str | None
    openid: JsonObject | None
    family_digest: bytes | None
    refresh_token_digest: bytes | None
    refresh_token_expires_at: int | None
    token_endpoint_auth_method: str
    refresh_leeway: int | None
    sub: str | None
    name: str | None
    email: str | None
    email_verified_at: int | None
    claims: JsonObject | None
    created_at: int | None
    updated_at: int | None
    disabled_at: int | None

    @property
    def is_user_gone(self) -> bool:
        """Return whether the token had a user who has been removed or disabled since."""
        return self.user_id is not None and (self.sub is None or self.disabled_at is not None)


class SpentCodeRow(NamedTuple):
    """What a token row remembers of the authorization code that it was issued for."""

    user_id: int
    redirect_uri_digest: bytes
    code_challenge: str | None


WITH_USER = (
    select(*columns(TokenRow, tokens, clients, users))
    .join_from(tokens, clients)
    .outerjoin(users, and_(users.c.tenant_id == tokens.c.tenant_id, users.c.id == tokens.c.user_id))
    .where(own(tokens))
)
BY_ACCESS_TOKEN = CompiledOnce(
    WITH_USER.where(tokens.c.access_token_digest == bindparam("access_token_digest"))
)
BY_FAMILY = CompiledOnce(WITH_USER.where(tokens.c.family_digest == bindparam("family_digest")))
_family = select(*columns(FamilyRow, tokens)).where(
    own(tokens), tokens.c.family_digest == bindparam("family_digest")
)
FAMILY, FAMILY_WITH_USER = CompiledOnce(_family), with_its_user(_family, tokens)
OF_CODE = select(*columns(SpentCodeRow, tokens)).where(
    own(tokens),
    tokens.c.code_digest == bindparam("code_digest"),
    tokens.c.client_id == bindparam("client_id"),
)
# The mark is set once in a token's life. Within the leeway a repeat still gets the first response, so that is
# kept until the leeway is over.
MARK_USED = CompiledOnce(
    update(tokens)
    .where(own(tokens), tokens.c.id == bindparam("token_id"), tokens.c.used_at.is_(None))
    .values(
        used_at=bindparam("now"),
        sealed_pair=case((tokens.c.issued_at > bindparam("leeway_start"), tokens.c.sealed_pair), else_=None),
    )
)


def find_by_access_token(access_token_digest: bytes) -> TokenRow | None:
    """Return the token and its user, or None. One SELECT."""
    return fetch_one(TokenRow, BY_ACCESS_TOKEN, {"access_token_digest": access_token_digest})


def find_family(family_digest: bytes) -> FamilyRow | None:
    """Return the one row of a family, which all its refresh tokens lead to; or None. One SELECT."""
    return fetch_one(FamilyRow, FAMILY, {"family_digest": family_digest})


def find_family_and_lock_user(family_digest: bytes) -> tuple[FamilyRow, UserRow | None] | None:
    """Return the row of a family with its user, whose row is locked; None where one of them is gone.

    The user is None when disabled. Another request may have replaced the family's row before the lock was
    free: the claim shows it, and `find_family` finds the row as it is now.
    """
    return find_and_lock(FamilyRow, FAMILY, FAMILY_WITH_USER, {"family_digest": family_digest})


def find_by_family(family_digest: bytes) -> TokenRow | None:
    """Return the token of a family and its user, or None. One SELECT."""
    return fetch_one(TokenRow, BY_FAMILY, {"family_digest": family_digest})


def find_of_code(code_digest: bytes, client_id: str) -> SpentCodeRow | None:
    """Return what the token of a spent code remembers of it; None if the token is gone. One SELECT."""
    return fetch_one(SpentCodeRow, OF_CODE, {"code_digest": code_digest, "client_id": client_id})


def mark_used(token_id: int, now: int, leeway_start: int) -> None:
    """Record the first use of an access token. One UPDATE.

    leeway_start: microseconds; rows that were issued before it lose the encrypted response.
    """
    db.session.execute(MARK_USED, {"token_id": token_id, "now": now, "leeway_start": leeway_start})


def note_presentation(token_id: int, now: int) -> None:
    """Record that the current refresh token was presented and refused.

    Who sent it has got the response with it, so that response is never given again.
    """
    statement = update(tokens).where(own(tokens), tokens.c.id == token_id)
    db.session.execute(statement.values(used_at=func.coalesce(tokens.c.used_at, now), sealed_pair=None))


def replace_access_token(token_id: int, **columns: object) -> None:
    """Replace the access token of a row by another one, with the columns that depend on it."""
    db.session.execute(update(tokens).where(own(tokens), tokens.c.id == token_id).values(columns))


def revoke_family(family_digest: bytes) -> None:
    """Revoke the tokens of a family."""
    db.session.execute(delete(Token).where(own(Token), Token.family_digest == family_digest))


def revoke_access_token(access_token_digest: bytes) -> None:
    """Revoke a token that has no family: a client's own, or that of a client without refresh tokens."""
    db.session.execute(delete(Token).where(own(Token), Token.access_token_digest == access_token_digest))


def revoke_of_code(code_digest: bytes) -> None:
    """Revoke what an authorization code has issued."""
    db.session.execute(delete(Token).where(own(Token), Token.code_digest == code_digest))


def revoke_of_user(user_id: int, client_id: str | None = None) -> int:
    """Revoke all tokens of a user, or those at one client, and return how many they were."""
    condition = and_(own(Token), Token.user_id == user_id)
    if client_id is not None:
        condition = and_(condition, Token.client_id == client_id)
    return len(db.session.execute(delete(Token).where(condition).returning(Token.id)).all())


def revoke_of_sids(user_id: int, sids: Collection[str]) -> int:
    """Revoke a user's tokens of sessions that have ended, and return how many they were.

    Those with `offline_access` stay: a client asks for this scope to have access when the user is not there
    (OpenID Connect Core §11).
    """
    words = " " + tokens.c.scope + " "
    ended = delete(tokens).where(
        own(tokens),
        tokens.c.user_id == user_id,
        tokens.c.sid.in_(sids),
        words.contains(f" {OPENID} "),
        not_(words.contains(f" {OFFLINE_ACCESS} ", autoescape=True)),
    )
    return len(db.session.execute(ended.returning(tokens.c.id)).all())


def revoke_of_other_sessions(user_id: int, session_id: int) -> None:
    """Revoke a user's tokens, but those that clients got by this session."""
    of_session = select(ClientSession.sid).where(own(ClientSession), ClientSession.session_id == session_id)
    is_other = or_(Token.sid.is_(None), Token.sid.not_in(of_session))
    db.session.execute(delete(Token).where(own(Token), Token.user_id == user_id, is_other))


def revoke_of_client(client_id: str) -> int:
    """Revoke all tokens of a client, its own included, and return how many they were."""
    return len(
        db.session.execute(
            delete(Token).where(own(Token), Token.client_id == client_id).returning(Token.id)
        ).all()
    )


def users_with_tokens(client_id: str) -> list[int]:
    """Return the users who have tokens at a client, in the order in which to lock them."""
    statement = (
        select(Token.user_id)
        .where(own(Token), Token.client_id == client_id, Token.user_id.is_not(None))
        .distinct()
    )
    return sorted(user_id for user_id in db.session.scalars(statement) if user_id is not None)


def count_of_user(user_id: int) -> int:
    """Return how many token rows a user has."""
    return (
        db.session.scalar(select(func.count()).select_from(Token).where(own(Token), Token.user_id == user_id))
        or 0
    )


def access_token_digests(client_id: str, user_id: int | None) -> list[bytes]:
    """Return the digests of a user's access tokens at a client; of the client's own for None."""
    statement = select(Token.access_token_digest).where(
        own(Token), Token.client_id == client_id, Token.user_id == user_id
    )
    return list(db.session.scalars(statement))
