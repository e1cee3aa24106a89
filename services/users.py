"""Add, change, disable and remove users, for commands and a future API.

Each function works in the caller's transaction, and raises what `errors.py` calls a `ServiceError`. A
function that takes a `User` expects a row that `lock` or `lock_fresh` returned.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import store.codes
import store.tokens
import store.users
from database.columns import SUB_LENGTH
from errors import ConflictError, NotFoundError, Problem
from models import User, db
from protocol import clock, typed_text, user_claims
from services import passwords
from services.problems import Code, problem, refuse_if_any
from services.sessions import SignedOut, revoke_sessions


class NewUser(NamedTuple):
    """What somebody gave for a new account, as they typed it."""

    email: str
    name: str
    password: str
    claims: Mapping[str, object] = {}
    sub: str | None = None  # None: a random one


class PreparedUser(NamedTuple):
    """A new account that obeys the rules, in the form in which it is stored."""

    email: str
    name: str
    password_hash: str
    claims: dict[str, object] = {}
    sub: str | None = None


# ---- rules -------------------------------------------------------------------------------------------------


def find_problems(new: NewUser, minimum_name_length: int = 0) -> Iterator[Problem]:
    """Return everything that is wrong with a new account, except that its address may be taken."""
    if store.users.normal_email(new.email) is None:
        yield problem(Code.INVALID_EMAIL, email=new.email)
    yield from find_name_problems(typed_text.normalize_name(new.name), minimum_name_length)
    if found := passwords.find_problem(new.password):
        yield found
    yield from find_claim_problems(normal_claims(new.claims))
    if new.sub is not None and (len(new.sub) > SUB_LENGTH or not typed_text.IDENTIFIER.fullmatch(new.sub)):
        yield problem(Code.INVALID_SUB, sub=new.sub, maximum=SUB_LENGTH)


def find_name_problems(name: str, minimum: int = 0) -> Iterator[Problem]:
    """Return what is wrong with how a user is addressed. name: in its normal form."""
    if reason := typed_text.find_problem(name, typed_text.NAME_LENGTH, minimum):
        has_refused = typed_text.find_forbidden(name)
        yield problem(Code.NAME_CHARACTERS if has_refused else Code.NAME_LENGTH, reason=reason)


def find_claim_problems(claims: Mapping[str, object]) -> Iterator[Problem]:
    """Return what is wrong with claims. claims: in their normal form."""
    return (problem(Code.INVALID_CLAIM, text=text) for text in user_claims.find_problems(claims))


def normal_claims(claims: Mapping[str, object]) -> dict[str, object]:
    """Return claims in the form in which they are stored; null is the same as left out."""
    return user_claims.normalize(without_nulls(claims))


def without_nulls(claims: Mapping[str, object]) -> dict[str, object]:
    """Return the claims that are not null."""
    return {name: value for name, value in claims.items() if value is not None}


# ---- add ---------------------------------------------------------------------------------------------------


def prepare(new: NewUser) -> PreparedUser:
    """Return a checked account, its password hashed (slow). Raise InvalidInputError, TooManyHashesError."""
    refuse_if_any(find_problems(new))
    return normalize(new, passwords.hash_new(new.password))


def normalize(new: NewUser, password_hash: str) -> PreparedUser:
    """Return an account that was checked, in the form in which it is stored."""
    email, name = store.users.normal_email(new.email) or "", typed_text.normalize_name(new.name)
    return PreparedUser(email, name, password_hash, normal_claims(new.claims), new.sub)


def add(new: PreparedUser, *, is_verified: bool) -> User:
    """Store a new user. Raise ConflictError where the address is taken.

    is_verified: whether the address is known to be the user's own. Of two who take an address at once the
    second violates the unique key, which runs the transaction again.
    """
    if store.users.find_by_email(new.email) is not None:
        raise ConflictError([problem(Code.EMAIL_TAKEN, email=new.email)])
    user = store.users.add(new.email, new.name, new.password_hash, is_verified=is_verified)
    user.claims, user.sub = new.claims, new.sub or user.sub
    return user


# ---- find and change ---------------------------------------------------------------------------------------


def find(email: str) -> User:
    """Return the user with this address. Raise NotFoundError."""
    user = store.users.find_by_email(email)
    if user is None:
        raise unknown(email)
    return user


def lock(email: str) -> User:
    """Lock a user, disabled or not, and return the row. Raise NotFoundError."""
    user = find(email)
    store.users.lock(user.id)
    return user


def lock_fresh(email: str) -> User:
    """Return the user as the row is once it is locked: for a change that depends on what is there."""
    user = store.users.find_afresh(lock(email).id)
    if user is None:
        raise unknown(email)
    return user


def unknown(email: str) -> NotFoundError:
    """Return the error for an address that nobody has."""
    return NotFoundError([problem(Code.UNKNOWN_USER, email=email)])


def change(user: User, email: str | None, name: str | None, claims: Mapping[str, object]) -> bool:
    """Change what clients are told of a user, and return whether anything is new. Raise InvalidInputError.

    None leaves the address or the name as it is. claims: those to change; null takes one away.
    """
    new_name = user.name if name is None else typed_text.normalize_name(name)
    new_claims = without_nulls((user.claims or {}) | user_claims.normalize(claims))
    new_email = user.email if email is None else store.users.normal_email(email)
    problems = [problem(Code.INVALID_EMAIL, email=email)] if new_email is None else []
    problems += [*find_name_problems(new_name), *find_claim_problems(new_claims)]
    holder = None if email is None else store.users.find_by_email(email)
    if holder is not None and holder.id != user.id:
        problems.append(problem(Code.EMAIL_TAKEN, email=holder.email))
    refuse_if_any(problems)
    has_new_profile = change_profile(user, new_name, new_claims)
    return change_email(user, new_email or user.email) or has_new_profile


def change_email(user: User, email: str) -> bool:
    """Give the user another address, which counts as verified; return whether it is another one.

    Everything else stays: `sub`, password, sessions, tokens. A device is known by the address that was typed
    on it, so each device is a new one at its next sign-in.
    """
    if email == user.email:
        return False
    now = clock.now()
    user.email, user.email_verified_at, user.updated_at = email, now, now
    # Of two who take an address at once the second violates the unique key, and is told when it is run again.
    db.session.flush()
    return True


def change_profile(user: User, name: str, claims: dict[str, object]) -> bool:
    """Store a name and claims that were checked, and return whether anything is new.

    `updated_at` says when that was last so (OpenID Connect Core §5.1).
    """
    if (user.name, user.claims or {}) == (name, claims):
        return False
    user.name, user.claims, user.updated_at = name, claims, clock.now()
    return True


def public_members(user: User) -> dict[str, object]:
    """Return what an operator may see of a user: everything but the password's hash."""
    return {
        "email": user.email,
        "name": user.name,
        "sub": user.sub,
        "created_at": user.created_at,
        "email_verified_at": user.email_verified_at,
        "disabled_at": user.disabled_at,
        "updated_at": user.updated_at,
        "claims": user.claims or {},
    }


# ---- password, sign-out and removal ------------------------------------------------------------------------


def set_password(user: User, password_hash: str) -> SignedOut:
    """Give a user a new password, and sign them out everywhere. password_hash: of `passwords.hash_new`."""
    store.users.set_password_hash(user.id, password_hash)
    return sign_out(user)


def disable(user: User) -> SignedOut:
    """Keep a user from signing in, and sign them out everywhere."""
    if user.disabled_at is None:
        store.users.set_disabled(user.id, clock.now())
    return sign_out(user)


def enable(user: User) -> None:
    """Let a disabled user sign in again."""
    store.users.set_disabled(user.id, None)


def remove(user: User) -> SignedOut:
    """Delete a user with everything that belongs to them."""
    signed_out = sign_out(user)
    store.users.remove(user.id)
    return signed_out


def sign_out(user: User) -> SignedOut:
    """End all sessions, pending codes and tokens of a user, at this server and at every client."""
    ended = revoke_sessions(user.id)  # first: clients are told of sessions that are there
    codes = store.codes.delete_pending(user_id=user.id)
    tokens = store.tokens.revoke_of_user(user.id)
    return ended._replace(codes=ended.codes + codes, tokens=ended.tokens + tokens)
