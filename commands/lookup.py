"""The person or client that an operator named, and the locks that come before a change to anybody's tokens.

Enters: an address or a `client_id` as it was typed. Leaves: the row, or a refusal that says that there is
none.
"""

import store.clients
import store.codes
import store.tokens
import store.users
from commands.output import CommandError
from models import Client, User


def find_user(email: str) -> User:
    person = store.users.find_by_email(email)
    if person is None:
        raise unknown_user(email)
    return person


def unknown_user(email: str) -> CommandError:
    return CommandError(f"nobody has the address {email!r}")


def lock_user(email: str) -> User:
    """The person, whose tokens nobody else changes until the command has ended; a disabled one is
    locked too.
    """
    person = find_user(email)
    store.users.lock(person.id)
    return person


def lock_fresh_user(email: str) -> User:
    """The same, as the row is once it is locked: for a change that rests on what is there, such as that of a
    person's claims.
    """
    person = lock_user(email)
    now = store.users.find_afresh(person.id)
    if now is None:
        raise unknown_user(email)
    return now


def find_client(client_id: str) -> Client:
    client = store.clients.find(client_id) if client_id.isascii() else None
    if client is None:
        raise unknown_client(client_id)
    return client


def lock_client(client_id: str) -> Client:
    """The client for a change of its registration: two changes at once are each checked against the other's
    result.
    """
    client = store.clients.lock(client_id) if client_id.isascii() else None
    if client is None:
        raise unknown_client(client_id)
    return client


def unknown_client(client_id: str) -> CommandError:
    return CommandError(f"there is no client {client_id!r}")


def lock_users_of(client_id: str) -> None:
    """Lock everybody who has a token or a pending code at a client, in the order of ids: two commands cannot
    deadlock.
    """
    people = {*store.tokens.users_with_tokens(client_id), *store.codes.users_with_codes(client_id)}
    for user_id in sorted(people):
        store.users.lock(user_id)
