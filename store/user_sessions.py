"""Signed-in browsers. The cookie holds a random value, the row its digest; deleting the row ends the session.

The row decides how long a user is signed in, not the cookie: browsers that restore their tabs restore session
cookies too. With an expired row no one is signed in. It stays for as long as a kept one would, because it
knows the clients: a sign-in on the same device renews it, with every `sid`, and a sign-out everywhere
notifies them. A new session deletes the user's sessions that were unused for longer than that, and those
beyond PER_USER.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from crypto import credentials
from crypto.json_values import JsonObject
from database.tables import table
from database.tenancy import own
from models import User, UserSession, db
from protocol import typed_text
from store.rows import fetch_all, fetch_one, update_one

KEPT_SECONDS = 30 * 24 * 3600  # after the last use, where the user wants to stay signed in
UNKEPT_SECONDS = 12 * 3600  # the same where not
SEEN_SECONDS = 3600  # a use is not recorded again for so long
PER_USER = 20  # those that were unused for longest are deleted

sessions = table(UserSession)


class LiveSessionRow(NamedTuple):
    """A session that may be used, and its user."""

    session_digest: bytes
    session_id: int
    auth_time: int
    amr: str
    is_kept: bool | None
    last_seen_at: int | None
    id: int
    sub: str
    name: str
    email: str
    pairwise_secret: bytes


class ExpiredSessionRow(NamedTuple):
    """The user of a session that has expired, and the device that it was on."""

    user_id: int
    device_digest: bytes | None
    email: str


class SessionRow(NamedTuple):
    """A session as its user sees it, without the cookie's digest."""

    id: int
    created_at: int
    auth_time: int
    amr: str
    user_agent: str
    remote_addr: str
    is_kept: bool | None
    expires_at: int
    last_seen: int


class OlderSessionRow(NamedTuple):
    """A session of a user who begins another."""

    id: int
    device_digest: bytes | None
    expires_at: int
    last_seen: int


LAST_SEEN = func.coalesce(sessions.c.last_seen_at, sessions.c.auth_time)

SIGNED_IN = (
    select(
        UserSession.session_digest,
        UserSession.id.label("session_id"),
        UserSession.auth_time,
        UserSession.amr,
        UserSession.is_kept,
        UserSession.last_seen_at,
        User.id,
        User.sub,
        User.name,
        User.email,
        User.pairwise_secret,
    )
    .join_from(UserSession, User)
    .where(own(UserSession), UserSession.expires_at > bindparam("now"), User.disabled_at.is_(None))
)
FIND = SIGNED_IN.where(UserSession.session_digest == bindparam("session_digest"))
FIND_ALL = SIGNED_IN.where(UserSession.session_digest.in_(bindparam("session_digests", expanding=True)))

# The user is locked first, as everywhere; a join would lock in an order that the planner chooses.
LOCK_USER = (
    select(User.id)
    .where(
        own(User),
        User.id
        == select(UserSession.user_id)
        .where(own(UserSession), UserSession.id == bindparam("session_id"))
        .scalar_subquery(),
    )
    .with_for_update(key_share=True)
)
FIND_AND_LOCK = FIND_ALL.where(UserSession.id == bindparam("session_id")).with_for_update(key_share=True)


@dataclass(frozen=True)
class SignedIn:
    """A user and the session that this browser has, in the form that Flask-Login asks for."""

    id: int
    sub: str
    name: str
    email: str
    pairwise_secret: bytes
    session_id: int
    auth_time: int
    amr: tuple[str, ...]
    is_kept: bool
    last_seen_at: int | None
    cookie_value: str
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        return self.cookie_value

    def get_user_id(self) -> int:
        return self.id


def from_row(row: LiveSessionRow, cookie_value: str) -> SignedIn:
    """Return a row as Flask-Login's user."""
    return SignedIn(
        row.id,
        row.sub,
        row.name,
        row.email,
        row.pairwise_secret,
        row.session_id,
        row.auth_time,
        tuple(row.amr.split()),
        bool(row.is_kept),
        row.last_seen_at,
        cookie_value,
    )


def find_signed_in(cookie_value: str, now: int) -> SignedIn | None:
    """Return who is signed in with this session, or None. One SELECT."""
    values = {"session_digest": credentials.digest(cookie_value), "now": now}
    row = fetch_one(LiveSessionRow, FIND, values)
    return None if row is None else from_row(row, cookie_value)


def find_among(cookie_values: Sequence[str], session_id: int, now: int) -> SignedIn | None:
    """Lock one of several sessions and its user, and return it; None when it has ended. Two SELECTs."""
    by_digest = {credentials.digest(value): value for value in cookie_values}
    values = {"session_digests": list(by_digest), "session_id": session_id, "now": now}
    db.session.execute(LOCK_USER, {"session_id": session_id})
    row = fetch_one(LiveSessionRow, FIND_AND_LOCK, values)
    return None if row is None else from_row(row, by_digest[row.session_digest])


def find_all_signed_in(cookie_values: Sequence[str], now: int) -> list[SignedIn]:
    """Return those of the sessions that have not ended, in the given order. One SELECT, none for none."""
    if not cookie_values:
        return []
    by_digest = {credentials.digest(value): value for value in cookie_values}
    found = fetch_all(LiveSessionRow, FIND_ALL, {"session_digests": list(by_digest), "now": now})
    live = {by_digest[row.session_digest]: row for row in found}
    return [from_row(live[value], value) for value in cookie_values if value in live]


def find_older(user_id: int, device_digest: bytes | None, now: int) -> tuple[int | None, list[int]]:
    """Return a user's session on this device, and the ids of those that a new session ends. One SELECT.

    What ends: all but the newest PER_USER - 1, and what was unused for as long as a kept session lives.
    """
    statement = (
        select(sessions.c.id, sessions.c.device_digest, sessions.c.expires_at, LAST_SEEN.label("last_seen"))
        .where(own(sessions), sessions.c.user_id == user_id)
        .order_by(LAST_SEEN.desc(), sessions.c.id.desc())
    )
    rows = fetch_all(OlderSessionRow, statement)
    of_device = next(
        (row.id for row in rows if device_digest is not None and row.device_digest == device_digest), None
    )
    others = [row for row in rows if row.id != of_device]
    unused = {row.id for row in others if row.expires_at <= now and row.last_seen + KEPT_SECONDS <= now}
    too_many = [row.id for row in others[PER_USER - 1 :]]
    return of_device, sorted(unused.union(too_many))


def find_expired(session_id: int, now: int) -> ExpiredSessionRow | None:
    """Return an expired session; None for one that is live or gone."""
    statement = (
        select(sessions.c.user_id, sessions.c.device_digest, User.email)
        .join_from(sessions, User)
        .where(own(sessions), sessions.c.id == session_id, sessions.c.expires_at <= now)
    )
    return fetch_one(ExpiredSessionRow, statement)


def of_user(user_id: int, now: int) -> list[SessionRow]:
    """Return the live sessions of a user, the last used first."""
    statement = (
        select(
            UserSession.id,
            UserSession.created_at,
            UserSession.auth_time,
            UserSession.amr,
            UserSession.user_agent,
            UserSession.remote_addr,
            UserSession.is_kept,
            UserSession.expires_at,
            LAST_SEEN.label("last_seen"),
        )
        .where(own(UserSession), UserSession.user_id == user_id, UserSession.expires_at > now)
        .order_by(LAST_SEEN.desc(), UserSession.id.desc())
    )
    return fetch_all(SessionRow, statement)


def others_of_user(user_id: int, session_id: int) -> list[int]:
    """Return the ids of all sessions of a user but this one, expired ones too."""
    statement = select(UserSession.id).where(
        own(UserSession), UserSession.user_id == user_id, UserSession.id != session_id
    )
    return list(db.session.scalars(statement))


@dataclass(frozen=True)
class SignIn:
    """What a sign-in writes into the session that it begins or renews."""

    cookie_value: str
    at: int
    amr: str
    user_agent: str = ""
    remote_addr: str = ""
    is_kept: bool = False
    device_digest: bytes | None = None

    def columns(self) -> JsonObject:
        """Return the columns that a sign-in sets."""
        return {
            "session_digest": credentials.digest(self.cookie_value),
            "auth_time": self.at,
            "amr": self.amr,
            "last_seen_at": self.at,
            "expires_at": self.at + lifetime(self.is_kept),
            "user_agent": typed_text.normalize_label(self.user_agent, 300),
            "remote_addr": self.remote_addr[:45],
            "is_kept": self.is_kept,
            "device_digest": self.device_digest,
        }


def lifetime(is_kept: bool) -> int:
    """Return for how many seconds a session lives after its last use."""
    return KEPT_SECONDS if is_kept else UNKEPT_SECONDS


def start(user_id: int, sign_in: SignIn) -> int:
    """Store a new session, and return its id."""
    values = sign_in.columns() | {"user_id": user_id, "created_at": sign_in.at}
    session_id: int = db.session.scalars(insert(UserSession).returning(UserSession.id), values).one()
    return session_id


def renew(session_id: int, sign_in: SignIn) -> None:
    """Give a session another cookie value, because the user has signed in again; its clients stay."""
    db.session.execute(
        update(UserSession).where(own(UserSession), UserSession.id == session_id).values(sign_in.columns())
    )


def is_use_due(user: SignedIn, now: int) -> bool:
    """Return whether a use of this session has to be recorded."""
    return user.last_seen_at is None or user.last_seen_at + SEEN_SECONDS <= now


def record_use(user: SignedIn, now: int) -> bool:
    """Record that a session is in use, which prolongs it, and return whether that was stored.

    It is not when another request has recorded a use just before, or the session has ended.
    """
    statement = (
        update(sessions)
        .where(
            own(sessions),
            sessions.c.id == user.session_id,
            sessions.c.session_digest == credentials.digest(user.cookie_value),
            or_(sessions.c.last_seen_at.is_(None), sessions.c.last_seen_at <= now - SEEN_SECONDS),
        )
        .values(last_seen_at=now, expires_at=now + lifetime(user.is_kept))
    )
    return update_one(statement)


def delete_of_user(user_id: int, session_ids: Collection[int] | None = None) -> int:
    """Delete all sessions of a user, or these, and return how many they were.

    `services/sessions.py` also deletes what depends on them.
    """
    statement = (
        delete(UserSession).where(own(UserSession), UserSession.user_id == user_id).returning(UserSession.id)
    )
    if session_ids is not None:
        statement = statement.where(UserSession.id.in_(session_ids))
    return len(db.session.execute(statement).all())
