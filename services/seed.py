"""Bring scopes, users and clients in line with a description of them, for development and tests.

A description may choose what is otherwise random, so callers allow it for a loopback issuer only. What it
does not name stays as it is: a second run changes nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import store.clients
import store.scopes
import store.users
from errors import Problem
from models import Client, User
from protocol import clock
from protocol.scopes import OFFLINE_ACCESS
from services import client_members, client_rules, client_secrets, clients, passwords, scopes, users
from services.client_members import ClientMembers
from services.clients import Registration
from services.problems import Code, problem, refuse_if_any
from services.users import NewUser, PreparedUser


class NewScope(NamedTuple):
    """A scope, and what the consent page says of it."""

    name: str
    description: str


class NewClient(NamedTuple):
    """A client under a chosen id; client_secret: None for the one that it has, or for a random one."""

    client_id: str
    client_secret: str | None
    members: ClientMembers


class Seed(NamedTuple):
    """What there should be, each under its path in the input, which stands before its problems."""

    scopes: Mapping[str, NewScope]
    users: Mapping[str, NewUser]
    clients: Mapping[str, NewClient]


class Seeded(NamedTuple):
    """What there is now. The secret of a client is the chosen one, or one that was made now."""

    scopes: list[NewScope]
    users: list[User]
    clients: list[Registration]


def apply(seed: Seed) -> Seeded:
    """Check everything, then store everything. Raise InvalidInputError."""
    for client in seed.clients.values():
        client_rules.fetch_sector_document(build(client))
    refuse_if_any(find_problems(seed))
    prepared = [prepare(user) for user in seed.users.values()]  # slow, so before the first lock
    for scope in seed.scopes.values():
        scopes.put(scope.name, scope.description)
    return Seeded(
        list(seed.scopes.values()),
        [put_user(user) for user in prepared],
        [put_client(client) for client in seed.clients.values()],
    )


# ---- rules -------------------------------------------------------------------------------------------------


def find_problems(seed: Seed) -> Iterator[Problem]:
    """Return everything that is wrong, each with its path in the input."""
    new_scopes = [scope.name for scope in seed.scopes.values()]
    for path, scope in seed.scopes.items():
        yield from at(path, find_scope_problems(scope))
    for path, user in seed.users.items():
        yield from at(path, find_user_problems(user))
    for path, client in seed.clients.items():
        yield from at(path, find_client_problems(client, new_scopes))
    emails = {path: store.users.normal_email(user.email) for path, user in seed.users.items()}
    yield from find_repeats("name", {path: scope.name for path, scope in seed.scopes.items()})
    yield from find_repeats("email", emails)
    yield from find_repeats("sub", {path: user.sub for path, user in seed.users.items()})
    yield from find_repeats("client_id", {path: client.client_id for path, client in seed.clients.items()})


def at(path: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Return the problems of what is at this path."""
    return (found._replace(path=path) for found in problems)


def find_repeats(member: str, values: Mapping[str, str | None]) -> Iterator[Problem]:
    """Return a problem for each value that an earlier entry has already."""
    first: dict[str, str] = {}
    for path, value in values.items():
        if value is not None and first.setdefault(value, path) != path:
            yield problem(Code.REPEATED, other=first[value])._replace(path=f"{path}.{member}")


def find_scope_problems(scope: NewScope) -> Iterator[Problem]:
    """Return what is wrong with a scope that is new or described anew."""
    yield from scopes.find_problems(scope.name, scopes.normal_description(scope.description))
    if scope.name == OFFLINE_ACCESS:
        yield problem(Code.RESERVED_SCOPE, scope=OFFLINE_ACCESS)


def find_user_problems(new: NewUser) -> Iterator[Problem]:
    """Return what is wrong with a user who is new or changed."""
    yield from users.find_problems(new)
    user = store.users.find_by_email(new.email) if new.sub is not None else None
    if user is not None and user.sub != new.sub:
        yield problem(Code.SUB_NEVER_CHANGES, email=user.email)


def find_client_problems(new: NewClient, new_scopes: Collection[str]) -> Iterator[Problem]:
    """Return what is wrong with a client that is new or changed."""
    yield from client_rules.find_client_id_problems(new.client_id)
    client = build(new)
    yield from client_rules.find_problems(client, new_scopes)
    yield from client_rules.find_sector_problems(client)
    if new.client_secret is not None:
        yield from client_rules.find_secret_problems(client, new.client_secret)
    elif (known := store.clients.find(new.client_id)) is not None:
        client.sealed_client_secret = known.sealed_client_secret
        yield from client_rules.find_signing_secret_problems(client)


def build(new: NewClient) -> Client:
    """Return the client as it will be, not stored."""
    return clients.build(new.members, new.client_id)


# ---- store -------------------------------------------------------------------------------------------------


def prepare(new: NewUser) -> PreparedUser:
    """Return the user in the form in which it is stored, with "" for a password that it has already."""
    user = store.users.find_by_email(new.email)
    if user is not None and passwords.is_right(new.password, user.password_hash):
        return users.normalize(new, password_hash="")
    return users.prepare(new)


def put_user(new: PreparedUser) -> User:
    """Add or change a user; a new password signs one who was there already out."""
    if store.users.find_by_email(new.email) is None:
        user = users.add(new._replace(claims={}), is_verified=True)
    else:
        user = users.lock_fresh(new.email)
        if new.password_hash:
            users.set_password(user, new.password_hash)
    users.change_profile(user, new.name, new.claims)
    return user


def put_client(new: NewClient) -> Registration:
    """Add or change a client, and return it with its secret where that was chosen or made now."""
    client = clients.find_and_lock(new.client_id)
    is_new = client is None
    client = client or Client(client_id=new.client_id, client_id_issued_at=clock.now())
    members = clients.complete(new.members)
    for name, value in members.items():
        setattr(client, name, value)
    if new.client_secret is not None:
        client_secrets.put(client, new.client_secret)
    secret = client_secrets.follow_auth_method(client) or new.client_secret
    if is_new:
        store.clients.add(client)
    else:
        store.clients.set_origins(client)
    return Registration(client, secret, client_members.find_warnings(client, members))
