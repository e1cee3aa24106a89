"""Notices of logout: an outbox, and receipts of what became of them (Back-Channel Logout §2.5).

A notice is *due* from `next_attempt_at` on. It is *finished* when there is no next attempt: delivered, or
given up. Who claims a notice counts the attempt and sets the time of the next one, so an attempt is made
again if its process dies. A result counts only for the newest attempt. The newest PER_USER of each user are
kept.
"""

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from sqlalchemy import (
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    tuple_,
    update,
)

from database.tables import table
from database.tenancy import EVERY_TENANT, own
from models import Client, LogoutNotice, User, db
from store.rows import columns, fetch_all, update_one

notices, users = table(LogoutNotice), table(User)
registrations = table(Client)

PER_USER = 100  # finished notices
WAITING_PER_USER = 1_000  # all notices
RECENT = 500
ATTEMPTS = 6
ATTEMPT_SECONDS = 20  # after that an attempt counts as lost; it has 5 s for the network
UNFINISHED = "the attempt was not finished"
OUTCOME_LENGTH = 100
NEVER = -1


ClientOfTenant = tuple[int, str]  # tenant, client_id


class NoticeRow(NamedTuple):
    """A notice whose next attempt was claimed; `attempts` counts that one."""

    tenant_id: int
    id: int
    client_id: str
    sub: str
    sid: str
    attempts: int

    @property
    def client(self) -> ClientOfTenant:
        """Return whose client it is for: two tenants may have clients with the same id."""
        return self.tenant_id, self.client_id


class ReceiptRow(NamedTuple):
    """A notice and what became of it, with the name of the client and the address of the user."""

    client_id: str
    sid: str
    created_at: int
    next_attempt_at: int | None
    attempts: int
    delivered_at: int | None
    outcome: str
    client_name: str
    email: str | None  # None: the user was removed


class Priority(Enum):
    """First attempts at clients that have not failed come first, apart from all others."""

    FAST = "fast"
    SLOW = "slow"


# ---- written with the end of a session ---------------------------------------------------------------------


def add(user_id: int, now: int, clients: Sequence[Mapping[str, str]]) -> None:
    """Store a notice, due at once, for each of `clients` (`client_id`, `sub`, `sid`).

    One INSERT and one DELETE; nothing for no client.
    """
    if not clients:
        return
    common = {"user_id": user_id, "created_at": now, "next_attempt_at": now, "attempts": 0, "outcome": ""}
    db.session.execute(insert(notices), [common | dict(client) for client in clients])
    db.session.execute(TRIM, {"of_user": user_id})


def oldest_to_keep(number: int) -> Select[tuple[int]]:
    """Return a SELECT of the id of a user's newest notice but `number`.

    The derived table keeps the LIMIT out of a place where some databases refuse it.
    """
    older = (
        select(notices.c.id)
        .where(own(notices), notices.c.user_id == bindparam("of_user"))
        .order_by(notices.c.id.desc())
        .offset(number)
        .limit(1)
        .subquery(f"after_{number}")
    )
    return select(older.c.id)


# Receipts of users who were removed are kept until another user's are written. COALESCE keeps SQLite from
# searching for them among all that are finished. Each part names the tenant: SQLite searches for each by an
# index then, and would read all notices of the tenant if it stood before them.
TRIM = delete(notices).where(
    or_(
        and_(
            own(notices),
            notices.c.user_id == bindparam("of_user"),
            notices.c.next_attempt_at.is_(None),
            notices.c.id <= oldest_to_keep(PER_USER).scalar_subquery(),
        ),
        and_(
            own(notices),
            notices.c.user_id == bindparam("of_user"),
            notices.c.id <= oldest_to_keep(WAITING_PER_USER).scalar_subquery(),
        ),
        and_(
            own(notices),
            notices.c.user_id.is_(None),
            func.coalesce(notices.c.next_attempt_at, NEVER) == NEVER,
        ),
    ),
)


# ---- delivered ---------------------------------------------------------------------------------------------

# The delivery of a process serves all tenants: it asks across them, and acts as the one whose notice it has.
ACROSS_TENANTS = {EVERY_TENANT: "one delivery serves all tenants"}

IS_ANY_DUE = (
    select(notices.c.id)
    .where(notices.c.next_attempt_at <= bindparam("now"))
    .limit(1)
    .execution_options(**ACROSS_TENANTS)
)

CLIENT = tuple_(notices.c.tenant_id, notices.c.client_id)
# Clients with an attempt under way, or whose last attempt failed: no other client must wait for them.
struggling = table(LogoutNotice).alias("struggling")
STRUGGLING = select(struggling.c.tenant_id, struggling.c.client_id).where(
    struggling.c.next_attempt_at >= 0, struggling.c.attempts > 0
)
WITH_PRIORITY = {
    Priority.FAST: and_(notices.c.attempts == 0, CLIENT.not_in(STRUGGLING)),
    Priority.SLOW: or_(notices.c.attempts > 0, CLIENT.in_(STRUGGLING)),
}


def is_any_due(now: int) -> bool:
    """Return whether any notice is due. One SELECT on an index; on SQLite it waits for no writer."""
    return db.session.scalar(IS_ANY_DUE, {"now": now}) is not None


# What a claim returns: `attempts` counts the one that begins.
BEGUN = select(
    notices.c.tenant_id,
    notices.c.id,
    notices.c.client_id,
    notices.c.sub,
    notices.c.sid,
    (notices.c.attempts + 1).label("attempts"),
)
BEGIN_ATTEMPTS = (
    update(notices)
    .where(notices.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        attempts=notices.c.attempts + 1,
        next_attempt_at=case((notices.c.attempts + 1 < ATTEMPTS, bindparam("lost_at")), else_=null()),
        outcome=UNFINISHED,
    )
    .execution_options(**ACROSS_TENANTS)
)


def claim_due(
    now: int, limit: int, priority: Priority | None = None, busy: Collection[ClientOfTenant] = ()
) -> list[NoticeRow]:
    """Claim the next attempts that are due, those that have waited longest first. No one else gets the same.

    priority: None for both. busy: clients to leave out. Two statements: one locks, and skips what others have
    locked; the other begins the attempts.
    """
    due = (
        BEGUN.where(notices.c.next_attempt_at <= now, CLIENT.not_in(busy))
        .order_by(notices.c.next_attempt_at, notices.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(**ACROSS_TENANTS)
    )
    if priority is not None:
        due = due.where(WITH_PRIORITY[priority])
    claimed = fetch_all(NoticeRow, due)
    if claimed:
        ids = [notice.id for notice in claimed]
        db.session.execute(BEGIN_ATTEMPTS, {"ids": ids, "lost_at": now + ATTEMPT_SECONDS})
    return claimed


def record(
    notice_id: int,
    attempt: int,
    outcome: str,
    *,
    delivered_at: int | None = None,
    next_attempt_at: int | None = None,
) -> bool:
    """Record what became of an attempt, and return whether that counts.

    It does not when another attempt was begun since, or the notice is gone.
    """
    statement = (
        update(notices)
        .where(
            own(notices),
            notices.c.id == notice_id,
            notices.c.attempts == attempt,
            notices.c.delivered_at.is_(None),
        )
        .values(delivered_at=delivered_at, next_attempt_at=next_attempt_at, outcome=outcome[:OUTCOME_LENGTH])
    )
    return update_one(statement)


# ---- receipts ----------------------------------------------------------------------------------------------

RECEIPTS = (
    select(*columns(ReceiptRow, notices, registrations, users))
    .join(
        registrations,
        and_(
            registrations.c.tenant_id == notices.c.tenant_id, registrations.c.client_id == notices.c.client_id
        ),
    )
    .outerjoin(users, and_(users.c.tenant_id == notices.c.tenant_id, users.c.id == notices.c.user_id))
    .where(own(notices))
    .order_by(notices.c.id.desc())
)


def of_user(user_id: int) -> list[ReceiptRow]:
    """Return the receipts of a user, the newest first. One SELECT."""
    return fetch_all(ReceiptRow, RECEIPTS.where(notices.c.user_id == user_id).limit(PER_USER))


def newest_ids(user_id: int, number: int) -> list[int]:
    """Return the ids of a user's newest notices. One SELECT, none for a number of 0."""
    if not number:
        return []
    newest = (
        select(notices.c.id)
        .where(own(notices), notices.c.user_id == user_id)
        .order_by(notices.c.id.desc())
        .limit(number)
    )
    return list(db.session.scalars(newest))


def find_recent(ids: Collection[int], since: int) -> list[ReceiptRow]:
    """Return those of these receipts that are not older than `since`. One SELECT, none for no id."""
    if not ids:
        return []
    return fetch_all(ReceiptRow, RECEIPTS.where(notices.c.id.in_(ids), notices.c.created_at >= since))


def all_recent(*, undelivered: bool = False) -> list[ReceiptRow]:
    """Return the newest RECENT receipts of all users; with `undelivered` those that wait or were given up."""
    statement = RECEIPTS.where(notices.c.delivered_at.is_(None)) if undelivered else RECEIPTS
    return fetch_all(ReceiptRow, statement.limit(RECENT))


def state_of(notice: ReceiptRow) -> str:
    """Return `delivered`, `waiting` for the next attempt, or `undelivered` for good."""
    if notice.delivered_at is not None:
        return "delivered"
    return "waiting" if notice.next_attempt_at is not None else "undelivered"
