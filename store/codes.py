"""Authorization codes: stored until they are spent or expire, found by their digest (RFC 6749 §4.1.2)."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update

from database.session import CompiledOnce
from database.tables import table
from database.tenancy import own
from models import AuthorizationCode, db
from store import sweep
from store.rows import columns
from store.users import UserRow, find_and_lock, with_its_user

codes = table(AuthorizationCode)


class CodeRow(NamedTuple):
    """An authorization code that was not spent yet."""

    code_digest: bytes
    client_id: str
    user_id: int
    redirect_uri: str
    scope: str
    code_challenge: str | None
    auth_time: int
    acr: str | None
    sid: str | None
    sealed_openid: bytes | None
    expires_at: int


_find = select(*columns(CodeRow, codes)).where(own(codes), codes.c.code_digest == bindparam("code_digest"))
FIND, FIND_WITH_USER = CompiledOnce(_find), with_its_user(_find, codes)
CLAIM = CompiledOnce(
    delete(codes).where(own(codes), codes.c.code_digest == bindparam("digest")).returning(codes.c.code_digest)
)
FAILURES = 5  # refused exchanges, the last of which deletes the code
DELETE_GUESSED = delete(codes).where(
    own(codes), codes.c.code_digest == bindparam("digest"), codes.c.failures >= FAILURES - 1
)
COUNT_FAILURE = (
    update(codes)
    .where(own(codes), codes.c.code_digest == bindparam("digest"))
    .values(failures=codes.c.failures + 1)
)
sweep_some = sweep.expired(codes)


def find_and_lock_user(code_digest: bytes) -> tuple[CodeRow, UserRow | None] | None:
    """Return the unspent code, expired or not, with its user, whose row is locked; None where it is gone.

    The user is None when disabled. Another request may have spent the code before the lock was free: `claim`.
    """
    return find_and_lock(CodeRow, FIND, FIND_WITH_USER, {"code_digest": code_digest})


def claim(code_digest: bytes) -> bool:
    """Spend a code by deleting it, and return whether this caller did. One DELETE.

    Of any number of callers exactly one gets True: the row count decides, never a check before.
    """
    return db.session.execute(CLAIM, {"digest": code_digest}).one_or_none() is not None


def count_failure(code_digest: bytes) -> None:
    """Count a refused exchange of a code, and delete the code at the fifth."""
    db.session.execute(DELETE_GUESSED, {"digest": code_digest})
    db.session.execute(COUNT_FAILURE, {"digest": code_digest})


def issue(code: CodeRow, now: int) -> None:
    """Store a new code, and delete a few expired ones."""
    sweep_some(now)
    db.session.execute(insert(codes), code._asdict())


def users_with_codes(client_id: str) -> list[int]:
    """Return the users who have an unspent code at a client: it may become a token a moment later."""
    return sorted(
        db.session.scalars(
            select(codes.c.user_id).where(own(codes), codes.c.client_id == client_id).distinct()
        )
    )


def delete_of_sids(user_id: int, sids: Collection[str]) -> int:
    """Delete a user's unspent codes of sessions that have ended, and return how many they were.

    Like `delete_pending`, it comes before the DELETE of tokens.
    """
    statement = (
        delete(codes)
        .where(own(codes), codes.c.user_id == user_id, codes.c.sid.in_(sids))
        .returning(codes.c.code_digest)
    )
    return len(db.session.execute(statement).all())


def delete_pending(user_id: int | None = None, client_id: str | None = None) -> int:
    """Delete the unspent codes of a user, of a client, or of a user at a client, and return their number.

    It comes before the DELETE of tokens: it waits for an exchange that is spending such a code, so that the
    next statement sees its token.
    """
    assert user_id is not None or client_id is not None  # noqa: S101 - otherwise everybody's
    statement = delete(codes).where(own(codes)).returning(codes.c.code_digest)
    if user_id is not None:
        statement = statement.where(codes.c.user_id == user_id)
    if client_id is not None:
        statement = statement.where(codes.c.client_id == client_id)
    return len(db.session.execute(statement).all())


def count_of_client(client_id: str) -> int:
    """Return how many unspent codes a client has."""
    return (
        db.session.scalar(
            select(func.count()).select_from(codes).where(own(codes), codes.c.client_id == client_id)
        )
        or 0
    )
