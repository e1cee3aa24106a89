"""Authorization codes: kept until they are spent or expire, found and claimed by their digest (RFC 6749
§4.1.2).
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from models import AuthorizationCode, db, table
from store import sweep

codes = table(AuthorizationCode)

FIND = select(codes).where(codes.c.code_digest == bindparam("code_digest"))
CLAIM = delete(codes).where(codes.c.code_digest == bindparam("digest")).returning(codes.c.code_digest)
FAILURES = 5  # refused exchanges; the last one burns the code
BURN = delete(codes).where(codes.c.code_digest == bindparam("digest"), codes.c.failures >= FAILURES - 1)
COUNT = update(codes).where(codes.c.code_digest == bindparam("digest")).values(failures=codes.c.failures + 1)
sweep_some = sweep.expired(AuthorizationCode, AuthorizationCode.code_digest)


def find(code_digest: bytes) -> Row[Any] | None:
    """The unspent code, or None. Whose it is, and whether it has expired, is for the caller to see."""
    return db.session.execute(FIND, {"code_digest": code_digest}).one_or_none()


def claim(code_digest: bytes) -> bool:
    """Spend the code.

    Exactly one of any number of callers gets True: the row count decides, never a check before.
    """
    return db.session.execute(CLAIM, {"digest": code_digest}).one_or_none() is not None


def count_failure(code_digest: bytes) -> None:
    """Penalty of an exchange that was refused: a mistake is forgiven, guessing a verifier is not."""
    db.session.execute(BURN, {"digest": code_digest})
    db.session.execute(COUNT, {"digest": code_digest})


def issue(now: int, **values: Any) -> None:
    """Store a new code and drop a few expired ones."""
    sweep_some(now)
    db.session.execute(insert(codes), values)


def users_with_codes(client_id: str) -> list[int]:
    """The people who have a code at a client that was not spent yet: a moment later it may be a token."""
    return sorted(
        db.session.scalars(select(codes.c.user_id).where(codes.c.client_id == client_id).distinct())
    )


def delete_of_sids(user_id: int, sids: Collection[str]) -> int:
    """A person's unspent codes from sessions that have ended.

    Returns how many. As `end_pending`, it comes before the tokens.
    """
    statement = (
        delete(codes).where(codes.c.user_id == user_id, codes.c.sid.in_(sids)).returning(codes.c.code_digest)
    )
    return len(db.session.execute(statement).all())


def delete_pending(user_id: int | None = None, client_id: str | None = None) -> int:
    """The unspent codes of a person, of a client, or of a person at a client. Returns how many.

    It comes before the DELETE of tokens: it waits for an exchange that is spending such a code, whose token
    is then seen.
    """
    assert user_id is not None or client_id is not None  # noqa: S101 - otherwise everybody's
    statement = delete(codes).returning(codes.c.code_digest)
    if user_id is not None:
        statement = statement.where(codes.c.user_id == user_id)
    if client_id is not None:
        statement = statement.where(codes.c.client_id == client_id)
    return len(db.session.execute(statement).all())


def count_of_client(client_id: str) -> int:
    """Codes of a client that were not spent yet."""
    return (
        db.session.scalar(select(func.count()).select_from(codes).where(codes.c.client_id == client_id)) or 0
    )
