"""Users: found by address or id, added, changed. Addresses are stored in one normal form."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Select, Table, and_, bindparam, delete, func, select, update

from crypto import credentials
from crypto.json_values import JsonObject
from database import can_lock_one_of_a_join
from database.session import CompiledOnce
from database.tables import table
from database.tenancy import current_tenant, own
from models import LogoutNotice, Token, User, UserSession, db
from protocol import clock, typed_text
from store.rows import columns, fetch_one

users = table(User)


class UserRow(NamedTuple):
    """A user whose row is locked."""

    id: int
    sub: str
    name: str
    email: str
    email_verified_at: int | None
    claims: JsonObject | None
    created_at: int
    updated_at: int | None
    disabled_at: int | None
    pairwise_secret: bytes
    password_hash: str | None


class Owned(Protocol):
    """A row that belongs to a user."""

    @property
    def user_id(self) -> int: ...


OwnedRow = TypeVar("OwnedRow", bound=Owned)
USER_WIDTH = len(UserRow._fields)
LOCK = CompiledOnce(
    select(*columns(UserRow, users))
    .where(own(users), users.c.id == bindparam("user_id"))
    .with_for_update(key_share=True)
)


def normal_email(text: str) -> str | None:
    """Return the form in which an address is stored, or None for a text that is no address."""
    return typed_text.normalize_address(text)


def account_of(typed: str) -> str:
    """Return a name for throttles and devices from what was typed, account or not."""
    return normal_email(typed) or typed


def find_by_email(email: str) -> User | None:
    """Return the user of an address, or None. `email` may have any form that means the same address.

    An address that was stored in an older form is found when it is typed in that form.
    """
    forms = typed_text.find_stored_forms(email)
    if not forms:
        return None
    found = {
        user.email: user for user in db.session.scalars(select(User).where(own(User), User.email.in_(forms)))
    }
    return next((found[form] for form in reversed(forms) if form in found), None)


def find(user_id: int) -> User | None:
    """Return a user, or None."""
    return db.session.get(User, (current_tenant(), user_id))


def lock(user_id: int) -> UserRow | None:
    """Lock a user's row until the transaction ends, and return it; None when it is gone or disabled.

    One SELECT. Every change to a user's tokens takes this lock first. It makes a queue where the unique key
    would make collisions, and it orders refreshes against revocations, sign-outs and removals. NO KEY UPDATE
    lets the foreign-key checks of others pass.
    """
    user = fetch_one(UserRow, LOCK, {"user_id": user_id})
    return None if user is None else unless_disabled(user)


def with_its_user(find: Select[Any], found: Table) -> CompiledOnce:
    """Return a SELECT from `found` with the user's columns added, which locks the user's row and no other."""
    is_its_user = and_(users.c.tenant_id == found.c.tenant_id, users.c.id == found.c.user_id)
    joined = find.add_columns(*columns(UserRow, users)).join_from(found, users, is_its_user)
    return CompiledOnce(joined.with_for_update(key_share=True, of=users))


def find_and_lock(
    row_class: Callable[..., OwnedRow],
    find: CompiledOnce,
    with_user: CompiledOnce,
    values: Mapping[str, object],
) -> tuple[OwnedRow, UserRow | None] | None:
    """Find a row, lock its user's row, and return both; None when either is gone.

    In place of a disabled user stands None. with_user: `with_its_user(find, …)`. One SELECT; two where the
    database cannot lock one table of a join.

    The row may be gone when this returns: it is as it was before a wait for the lock, and only the user is as
    after it. So the row says which user to lock and which credential to claim. Whether it is still there, the
    row count of the claim says.
    """
    if can_lock_one_of_a_join(db.engine.dialect.name):
        both = db.session.execute(with_user, values).one_or_none()
        if both is None:
            return None
        row, user = row_class(*both[:-USER_WIDTH]), UserRow(*both[-USER_WIDTH:])
        return row, unless_disabled(user)
    found = fetch_one(row_class, find, values)
    locked = None if found is None else fetch_one(UserRow, LOCK, {"user_id": found.user_id})
    return None if found is None or locked is None else (found, unless_disabled(locked))


def unless_disabled(user: UserRow) -> UserRow | None:
    """Return the user, or None where it is disabled."""
    return user if user.disabled_at is None else None


def find_afresh(user_id: int) -> User | None:
    """Return a user as the row is now, whatever was read of it before; None when it is gone."""
    return db.session.get(User, (current_tenant(), user_id), populate_existing=True)


def lock_all() -> int:
    """Lock all users of the current tenant, and return how many they are.

    Each request locks its own user before it changes anything.
    """
    locked = select(users.c.id).where(own(users)).with_for_update(key_share=True)
    parts = db.session.execute(locked, execution_options={"yield_per": 1_000}).partitions()
    return sum(len(ids) for ids in parts)


def all_by_email() -> list[User]:
    """Return all users, by address."""
    return list(db.session.scalars(select(User).where(own(User)).order_by(User.email)))


def add(email: str, name: str, password_hash: str, *, is_verified: bool = False) -> User:
    """Store a new user, and return it.

    email: in normal form. A second user with it violates the unique key, and the request is run again.
    """
    now = clock.now()
    user = User(
        sub=credentials.random_text(16),
        email=email,
        name=name,
        password_hash=password_hash,
        created_at=now,
        email_verified_at=now if is_verified else None,
        disabled_at=None,
    )
    db.session.add(user)
    db.session.flush()
    return user


def set_password_hash(user_id: int, password_hash: str) -> None:
    """Set or replace the password of a user."""
    db.session.execute(update(User).where(own(User), User.id == user_id).values(password_hash=password_hash))


def set_disabled(user_id: int, disabled_at: int | None) -> None:
    """Disable a user from `disabled_at` on; None enables."""
    db.session.execute(update(User).where(own(User), User.id == user_id).values(disabled_at=disabled_at))


def remove(user_id: int) -> None:
    """Delete a user, whose row is locked, with its tokens, which have no foreign key to it.

    Its notices of logout stay, as nobody's: clients are notified all the same.
    """
    db.session.execute(delete(Token).where(own(Token), Token.user_id == user_id))
    forget = update(LogoutNotice).where(own(LogoutNotice), LogoutNotice.user_id == user_id)
    db.session.execute(forget.values(user_id=None))
    db.session.execute(delete(User).where(own(User), User.id == user_id))


def count_sessions(user_id: int, now: int) -> int:
    """Return how many browsers a user is signed in with."""
    live = select(func.count()).select_from(UserSession)
    return (
        db.session.scalar(
            live.where(own(UserSession), UserSession.user_id == user_id, UserSession.expires_at > now)
        )
        or 0
    )
