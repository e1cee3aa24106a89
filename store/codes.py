"""Authorization codes: kept until they are spent or expire, found and claimed by their digest (RFC 6749 §4.1.2)."""

from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select

from models import AuthorizationCode, db, table
from store import sweep

codes = table(AuthorizationCode)

FIND = select(codes).where(
    codes.c.code_digest == bindparam("code_digest"),
    codes.c.client_id == bindparam("client_id"),
    codes.c.expires_at > bindparam("now"),
)
CLAIM = delete(codes).where(codes.c.code_digest == bindparam("digest")).returning(codes.c.code_digest)
DELETE_SOME_EXPIRED = sweep.expired(AuthorizationCode, AuthorizationCode.code_digest)


def find(code_digest: bytes, client_id: str, now: int) -> Row[Any] | None:
    """The unspent, unexpired code of this client, or None."""
    return db.session.execute(FIND, {"code_digest": code_digest, "client_id": client_id, "now": now}).one_or_none()


def claim(code_digest: bytes) -> bool:
    """Spend the code. Exactly one of any number of callers gets True: the row count decides, never a check before."""
    return db.session.execute(CLAIM, {"digest": code_digest}).one_or_none() is not None


def issue(now: int, **values: Any) -> None:
    """Store a new code and drop a few expired ones."""
    db.session.execute(DELETE_SOME_EXPIRED, {"now": now})
    db.session.execute(insert(codes), values)


def revoke_of_user(user_id: int, client_id: str | None = None) -> None:
    statement = delete(AuthorizationCode).where(AuthorizationCode.user_id == user_id)
    if client_id is not None:
        statement = statement.where(AuthorizationCode.client_id == client_id)
    db.session.execute(statement)
