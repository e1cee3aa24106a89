"""Signed-in browsers. The cookie holds a random value, the row its digest, so ending a session is deleting a row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, or_, select, update

from models import User, UserSession, db
from protocol import credentials

LIFETIME_SECONDS = 30 * 24 * 3600
PER_PERSON = 20  # the oldest go

SIGNED_IN = (
    select(
        UserSession.session_digest,
        UserSession.id.label("session_id"),
        UserSession.auth_time,
        UserSession.amr,
        User.id,
        User.sub,
        User.name,
        User.email,
        User.is_admin,
        User.pairwise_secret,
    )
    .join(UserSession, UserSession.user_id == User.id)
    .where(UserSession.expires_at > bindparam("now"), User.disabled_at.is_(None))
)
FIND = SIGNED_IN.where(UserSession.session_digest == bindparam("session_digest"))
FIND_ALL = SIGNED_IN.where(UserSession.session_digest.in_(bindparam("session_digests", expanding=True)))

# The person comes first, as everywhere; a join would lock in the order that the planner likes.
LOCK_PERSON = (
    select(User.id)
    .where(User.id == select(UserSession.user_id).where(UserSession.id == bindparam("session_id")).scalar_subquery())
    .with_for_update(key_share=True)
)
FIND_AND_LOCK = FIND_ALL.where(UserSession.id == bindparam("session_id")).with_for_update(key_share=True)


@dataclass(frozen=True)
class SignedIn:
    """A person and the session of theirs that this browser holds, in the form that Flask-Login asks for."""

    id: int
    sub: str
    name: str
    email: str
    is_admin: bool
    pairwise_secret: bytes
    session_id: int
    auth_time: int
    amr: tuple[str, ...]
    cookie_value: str
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        return self.cookie_value

    def get_user_id(self) -> int:
        return self.id


def from_row(row: Row[Any], cookie_value: str) -> SignedIn:
    return SignedIn(
        row.id,
        row.sub,
        row.name,
        row.email,
        row.is_admin,
        row.pairwise_secret,
        row.session_id,
        row.auth_time,
        tuple(row.amr.split()),
        cookie_value,
    )


def find_signed_in(cookie_value: str, now: int) -> SignedIn | None:
    """Who is signed in with this session; None when it has ended or the person is disabled. One SELECT."""
    row = db.session.execute(FIND, {"session_digest": credentials.digest(cookie_value), "now": now}).one_or_none()
    return None if row is None else from_row(row, cookie_value)


def find_among(cookie_values: Sequence[str], session_id: int, now: int) -> SignedIn | None:
    """The same for one of several sessions, by its id, with the person's row and its own locked. Two SELECTs."""
    by_digest = {credentials.digest(value): value for value in cookie_values}
    values = {"session_digests": list(by_digest), "session_id": session_id, "now": now}
    db.session.execute(LOCK_PERSON, {"session_id": session_id})
    row = db.session.execute(FIND_AND_LOCK, values).one_or_none()
    return None if row is None else from_row(row, by_digest[row.session_digest])


def find_all_signed_in(cookie_values: Sequence[str], now: int) -> list[SignedIn]:
    """The sessions of `cookie_values` that live, in that order. One SELECT, none for none."""
    if not cookie_values:
        return []
    by_digest = {credentials.digest(value): value for value in cookie_values}
    found = db.session.execute(FIND_ALL, {"session_digests": list(by_digest), "now": now})
    live = {by_digest[row.session_digest]: row for row in found}
    return [from_row(live[value], value) for value in cookie_values if value in live]


def find_surplus(user_id: int, now: int) -> list[int]:
    """The sessions that end when this person begins another: expired ones, and all but the newest PER_PERSON - 1."""
    newest = (
        select(UserSession.id)
        .where(UserSession.user_id == user_id)
        .order_by(UserSession.created_at.desc(), UserSession.id.desc())
        .limit(PER_PERSON - 1)
        .subquery("newest")
    )
    too_many = UserSession.id.not_in(select(newest.c.id))
    statement = select(UserSession.id).where(
        UserSession.user_id == user_id, or_(UserSession.expires_at <= now, too_many)
    )
    return list(db.session.scalars(statement))


def of_user(user_id: int, now: int) -> list[Row[Any]]:
    """The live sessions of a person as they are shown, without what the cookie could be told by; the last sign-in first."""
    statement = (
        select(
            UserSession.id,
            UserSession.created_at,
            UserSession.auth_time,
            UserSession.amr,
            UserSession.user_agent,
            UserSession.remote_addr,
        )
        .where(UserSession.user_id == user_id, UserSession.expires_at > now)
        .order_by(UserSession.auth_time.desc(), UserSession.id.desc())
    )
    return list(db.session.execute(statement))


def others_of_user(user_id: int, session_id: int) -> list[int]:
    """All sessions of a person but this one, expired ones too."""
    statement = select(UserSession.id).where(UserSession.user_id == user_id, UserSession.id != session_id)
    return list(db.session.scalars(statement))


def start(cookie_value: str, user_id: int, now: int, amr: str, user_agent: str, remote_addr: str) -> int:
    """Store a new session and return its id."""
    values = proven(cookie_value, now, amr, user_agent, remote_addr) | {"user_id": user_id, "created_at": now}
    session_id: int = db.session.scalars(insert(UserSession).returning(UserSession.id), values).one()
    return session_id


def renew(session_id: int, cookie_value: str, now: int, amr: str, user_agent: str, remote_addr: str) -> None:
    """The person has signed in again: the session goes on under another value, and its clients with it."""
    values = proven(cookie_value, now, amr, user_agent, remote_addr)
    db.session.execute(update(UserSession).where(UserSession.id == session_id).values(values))


def proven(cookie_value: str, now: int, amr: str, user_agent: str, remote_addr: str) -> dict[str, Any]:
    """The columns that a sign-in sets."""
    return {
        "session_digest": credentials.digest(cookie_value),
        "auth_time": now,
        "amr": amr,
        "expires_at": now + LIFETIME_SECONDS,
        "user_agent": user_agent[:300],
        "remote_addr": remote_addr[:45],
    }


def end_of_user(user_id: int, session_ids: Collection[int] | None = None) -> int:
    """All sessions of a person, or these of them. Returns how many. `session_end.py` ends what depends on them as well."""
    statement = delete(UserSession).where(UserSession.user_id == user_id).returning(UserSession.id)
    if session_ids is not None:
        statement = statement.where(UserSession.id.in_(session_ids))
    return len(db.session.execute(statement).all())
