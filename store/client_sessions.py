"""The clients of each session, each under a `sid` of its own (Back-Channel Logout §2.1).

A row is deleted with its session. `services/sessions.py` reads the rows before, and notifies the clients.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, select

from crypto import credentials
from database import upsert
from database.tables import table
from database.tenancy import own
from models import Client, ClientSession, User, UserSession, db
from store.rows import columns, fetch_all, fetch_one

client_sessions, sessions, users = table(ClientSession), table(UserSession), table(User)


class ClientSessionRow(NamedTuple):
    """A client that a user has used a session for."""

    sid: str
    session_id: int
    client_id: str
    user_id: int


class ClientName(NamedTuple):
    """The name of a client, for the list of a user's sessions."""

    session_id: int
    client_name: str


class KnownClient(NamedTuple):
    """A client that knows a session under `sid`, and what its `sub` for the user is made of."""

    sid: str
    client: Client
    sub: str
    pairwise_secret: bytes


SID_OCTETS = 16
FIND = (
    select(*columns(ClientSessionRow, client_sessions, sessions))
    .join(sessions)
    .where(own(client_sessions), client_sessions.c.sid == bindparam("sid"))
)


def find_or_make_sid(session_id: int, client_id: str, now: int) -> str:
    """Return the `sid` of this client in this session; the first call makes it. One statement.

    A session that has ended meanwhile violates the foreign key: the request is run again, and finds that out.
    """
    keep = upsert(
        db.engine.dialect.name,
        client_sessions,
        key=("session_id", "client_id"),
        change=lambda _new: {"sid": client_sessions.c.sid},
    )
    sid = credentials.random_text(SID_OCTETS)
    values = {"sid": sid, "session_id": session_id, "client_id": client_id, "created_at": now}
    kept: str = db.session.scalars(keep.values(values).returning(client_sessions.c.sid)).one()
    return kept


def find(sid: str) -> ClientSessionRow | None:
    """Return the session, client and user that a `sid` stands for; None once the session has ended."""
    return fetch_one(ClientSessionRow, FIND, {"sid": sid})


def sessions_with(client_id: str, session_ids: Collection[int]) -> set[int]:
    """Return those of the sessions that the user has used for this client."""
    statement = select(ClientSession.session_id).where(
        own(ClientSession), ClientSession.client_id == client_id, ClientSession.session_id.in_(session_ids)
    )
    return set(db.session.scalars(statement))


def names_of_user(user_id: int) -> list[ClientName]:
    """Return the name of each client of each session of a user, the oldest first. One SELECT."""
    statement = (
        select(ClientSession.session_id, Client.client_name)
        .join_from(ClientSession, Client)
        .join_from(ClientSession, sessions)
        .where(own(sessions), sessions.c.user_id == user_id)
        .order_by(ClientSession.created_at, ClientSession.sid)
    )
    return fetch_all(ClientName, statement)


def of_user(user_id: int, session_ids: Collection[int] | None = None) -> list[KnownClient]:
    """Return each client of all sessions of a user, or of these. One SELECT."""
    statement = (
        select(ClientSession.sid, Client, users.c.sub, users.c.pairwise_secret)
        .join_from(ClientSession, Client)
        .join_from(ClientSession, sessions)
        .join_from(sessions, users)
        .where(own(sessions), sessions.c.user_id == user_id)
        .order_by(ClientSession.created_at, ClientSession.sid)
    )
    if session_ids is not None:
        statement = statement.where(sessions.c.id.in_(session_ids))
    return fetch_all(KnownClient, statement)
