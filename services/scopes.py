"""Add, describe and remove the scopes that clients can be registered for (RFC 6749 §3.3)."""

from collections.abc import Iterator

import store.clients
import store.scopes
from errors import ConflictError, NotFoundError, Problem
from protocol import typed_text
from protocol.scopes import OFFLINE_ACCESS, is_scope_token
from services.problems import Code, problem, refuse_if_any

MAXIMUM_DESCRIPTION_LENGTH = 300


def find_problems(name: str, description: str) -> Iterator[Problem]:
    """Return everything that is wrong with a new scope. description: in its normal form."""
    if not is_scope_token(name):
        yield problem(Code.INVALID_SCOPE_NAME, scope=name)
    if reason := typed_text.find_problem(description, MAXIMUM_DESCRIPTION_LENGTH):
        yield problem(Code.INVALID_SCOPE_DESCRIPTION, reason=reason)


def normal_description(description: str) -> str:
    """Return a description in the form in which it is stored."""
    return typed_text.normalize_sentence(description, MAXIMUM_DESCRIPTION_LENGTH)


def add(name: str, description: str) -> str:
    """Add a scope, and return its description as it is stored. Raise InvalidInputError or ConflictError."""
    description = normal_description(description)
    refuse_if_any(find_problems(name, description))
    if name == OFFLINE_ACCESS or store.scopes.find(name) is not None:
        raise ConflictError([problem(Code.SCOPE_EXISTS, scope=name)])
    store.scopes.add(name, description)
    return description


def put(name: str, description: str) -> None:
    """Add a scope that was checked, or change what the consent page says of it."""
    known = store.scopes.find(name)
    if known is None:
        store.scopes.add(name, normal_description(description))
    else:
        known.description = normal_description(description)


def remove(name: str) -> None:
    """Remove a scope. Raise NotFoundError, or ConflictError where clients are registered for it."""
    scope = store.scopes.find(name) if is_scope_token(name) else None
    if scope is None:
        raise NotFoundError([problem(Code.NO_SUCH_SCOPE, scope=name)])
    if clients := store.clients.with_scope(name):
        client_ids = [client.client_id for client in clients]
        raise ConflictError([problem(Code.SCOPE_IN_USE, scope=name, client_ids=client_ids)])
    store.scopes.remove(scope)
