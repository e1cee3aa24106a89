"""Authorization codes: kept until they are spent or expire, found and claimed by their digest (RFC 6749 §4.1.2)."""

from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select

from models import AuthorizationCode, db
from store import sweep

FIND = select(
    AuthorizationCode.code_digest,
    AuthorizationCode.client_id,
    AuthorizationCode.user_id,
    AuthorizationCode.redirect_uri,
    AuthorizationCode.scope,
    AuthorizationCode.code_challenge,
    AuthorizationCode.auth_time,
).where(
    AuthorizationCode.code_digest == bindparam("code_digest"),
    AuthorizationCode.client_id == bindparam("client_id"),
    AuthorizationCode.expires_at > bindparam("now"),
)
CLAIM = (
    delete(AuthorizationCode)
    .where(AuthorizationCode.code_digest == bindparam("digest"))
    .returning(AuthorizationCode.code_digest)
    .execution_options(synchronize_session=False)
)
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
    db.session.execute(insert(AuthorizationCode), values)


def revoke_of_user(user_id: int, client_id: str | None = None) -> None:
    statement = delete(AuthorizationCode).where(AuthorizationCode.user_id == user_id)
    if client_id is not None:
        statement = statement.where(AuthorizationCode.client_id == client_id)
    db.session.execute(statement)
