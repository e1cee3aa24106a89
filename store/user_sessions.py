"""Signed-in browsers. The cookie holds a random value, the row its digest, so ending a session is deleting a row."""

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, or_, select

from models import User, UserSession, db

LIFETIME_SECONDS = 30 * 24 * 3600
PER_PERSON = 20  # the oldest go

FIND = (
    select(User.id, User.sub, User.name, User.email, User.is_admin, UserSession.created_at)
    .join(UserSession, UserSession.user_id == User.id)
    .where(
        UserSession.session_digest == bindparam("session_digest"),
        UserSession.expires_at > bindparam("now"),
        User.disabled_at.is_(None),
    )
)

# Both rows: without the session's own lock PostgreSQL would go on with the version of it that was read before the wait.
FIND_AND_LOCK = FIND.with_for_update(key_share=True)


@dataclass(frozen=True)
class SignedIn:
    """The person behind a browser session, in the form that Flask-Login asks for."""

    id: int
    sub: str
    name: str
    email: str
    is_admin: bool
    auth_time: int
    session_id: str
    is_authenticated: bool = True
    is_active: bool = True
    is_anonymous: bool = False

    def get_id(self) -> str:
        return self.session_id

    def get_user_id(self) -> int:
        return self.id


def find_signed_in(session_id: str, session_digest: bytes, now: int, *, lock: bool = False) -> SignedIn | None:
    """Who is signed in with this session; None when it has ended or the person is disabled. One SELECT."""
    statement = FIND_AND_LOCK if lock else FIND
    row = db.session.execute(statement, {"session_digest": session_digest, "now": now}).one_or_none()
    if row is None:
        return None
    return SignedIn(row.id, row.sub, row.name, row.email, row.is_admin, row.created_at, session_id)


def start(session_digest: bytes, user_id: int, now: int, user_agent: str, remote_addr: str) -> None:
    """Store a new session; the person's expired ones and all but the newest PER_PERSON - 1 go."""
    newest = (
        select(UserSession.session_digest)
        .where(UserSession.user_id == user_id)
        .order_by(UserSession.created_at.desc(), UserSession.session_digest)
        .limit(PER_PERSON - 1)
        .subquery("newest")
    )
    too_many = UserSession.session_digest.not_in(select(newest.c.session_digest))
    db.session.execute(
        delete(UserSession).where(UserSession.user_id == user_id, or_(UserSession.expires_at <= now, too_many))
    )
    db.session.execute(
        insert(UserSession),
        {
            "session_digest": session_digest,
            "user_id": user_id,
            "created_at": now,
            "expires_at": now + LIFETIME_SECONDS,
            "user_agent": user_agent[:300],
            "remote_addr": remote_addr[:45],
        },
    )


def end(session_digest: bytes) -> None:
    db.session.execute(delete(UserSession).where(UserSession.session_digest == session_digest))


def end_of_user(user_id: int) -> int:
    """All sessions of a person. Returns how many."""
    ended = db.session.execute(
        delete(UserSession).where(UserSession.user_id == user_id).returning(UserSession.session_digest)
    )
    return len(ended.all())
