"""Revoke tokens, and the codes that would become tokens, for a user, for a client or for both."""

from typing import NamedTuple

import store.codes
import store.tokens
from services import clients, users


class Revoked(NamedTuple):
    """How many of each are gone."""

    codes: int
    tokens: int


def revoke_of_user(email: str, client_id: str | None = None) -> Revoked:
    """Revoke the tokens of a user, at one client or at all. Raise NotFoundError."""
    known_id = None if client_id is None else clients.find(client_id).client_id
    user = users.lock(email)
    codes = store.codes.delete_pending(user.id, known_id)
    return Revoked(codes, store.tokens.revoke_of_user(user.id, known_id))


def revoke_of_client(client_id: str) -> Revoked:
    """Revoke the tokens of a client, those of its users and its own. Raise NotFoundError."""
    client_id = clients.find(client_id).client_id
    clients.lock_users_of(client_id)
    codes = store.codes.delete_pending(client_id=client_id)
    return Revoked(codes, store.tokens.revoke_of_client(client_id))
