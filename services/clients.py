"""Register, change and remove clients (RFC 7591, RFC 7592), for commands and for a future registration
endpoint.

Each function works in the caller's transaction, checks everything first, and raises what `errors.py` calls a
`ServiceError`. `services/client_rules.py` has the rules, `services/client_secrets.py` the secrets.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import store.clients
import store.codes
import store.tokens
import store.users
from crypto import credentials
from database.tenancy import current_tenant
from errors import NotFoundError, Problem
from models import Client
from protocol import claims, client_metadata, clock, scopes, typed_text
from protocol.registered_client import NEVER
from services import client_rules, client_secrets
from services.client_members import ClientMembers, find_warnings, without_nulls
from services.current import client_cache
from services.problems import Code, problem, refuse_if_any
from unit_of_work import after_commit

LARGEST_LIFETIME = 2**31 - 1  # what the column holds
LARGEST_MAX_SESSIONS = 100_000
LIFETIMES = ("access_token_lifetime", "refresh_token_idle_lifetime", "refresh_token_lifetime")
LEEWAYS = ("refresh_leeway", "refresh_retry_lifetime")  # here 0 is none
SECTOR_MEMBERS = frozenset({"redirect_uris", "extra_metadata"})


DEFAULTS: ClientMembers = {
    "token_endpoint_auth_method": "client_secret_basic",
    "redirect_uris": [],
    "scope": "",
    "is_resource_server": False,
    "require_pkce": True,
    "rotate_refresh_tokens": True,
    "max_sessions": None,
    "access_token_lifetime": None,
    "refresh_token_idle_lifetime": None,
    "refresh_token_lifetime": None,
    "refresh_leeway": None,
    "refresh_retry_lifetime": None,
    "extra_metadata": {},
}


class Registration(NamedTuple):
    """A client as it is stored now, the secret that was made just now, and what its operator should know."""

    client: Client
    client_secret: str | None = None
    warnings: Sequence[Problem] = ()


# ---- find --------------------------------------------------------------------------------------------------


def find(client_id: str) -> Client:
    """Return a client. Raise NotFoundError."""
    client = store.clients.find(client_id) if client_id.isascii() else None
    if client is None:
        raise unknown(client_id)
    return client


def lock(client_id: str) -> Client:
    """Return a client as it is now, locked for a change of its registration. Raise NotFoundError.

    Of two changes at once, the second is checked against the result of the first.
    """
    client = find_and_lock(client_id) if client_id.isascii() else None
    if client is None:
        raise unknown(client_id)
    return client


def find_and_lock(client_id: str) -> Client | None:
    """Return a client as it is now, locked for a change of its registration; or None."""
    forget_after_commit(client_id)
    return store.clients.lock(client_id)


def forget_after_commit(client_id: str) -> None:
    """Let this process read a client anew once this change of it is committed; after a rollback it need not.

    Whoever adds, changes or removes a client comes by here.
    """
    after_commit(partial(client_cache.forget, current_tenant(), client_id))


def unknown(client_id: str) -> NotFoundError:
    """Return the error for a client that nobody has registered."""
    return NotFoundError([problem(Code.UNKNOWN_CLIENT, client_id=client_id)])


def information_response(client: Client, client_secret: str | None = None) -> dict[str, object]:
    """Return the members of the client information response (RFC 7591 §3.2.1), and our own.

    client_secret: what was made just now; it can never be read again.
    """
    members: dict[str, object] = {"client_id": client.client_id}
    if client_secret is not None:
        members |= {"client_secret": client_secret, "client_secret_expires_at": 0}
    members |= {
        "client_id_issued_at": client.client_id_issued_at,
        "client_name": client.client_name,
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grant_types,
        "response_types": ["code"] if client.check_response_type("code") else [],
        "scope": client.scope,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "is_resource_server": client.is_resource_server,
        "require_pkce": client.require_pkce,
        "rotate_refresh_tokens": client.rotate_refresh_tokens,
    }
    if client.max_sessions is not None:
        members["max_sessions"] = client.max_sessions
    for name in LIFETIMES:
        if (lifetime := getattr(client, name)) is not None:
            members[name] = "never" if lifetime == NEVER else lifetime
    leeways = {name: getattr(client, name) for name in LEEWAYS}
    members |= {name: seconds for name, seconds in leeways.items() if seconds is not None}
    return members | client.extra_metadata


# ---- register ----------------------------------------------------------------------------------------------


def register(members: ClientMembers, client_id: str | None = None) -> Registration:
    """Store a new client and return it with its secret. Raise InvalidInputError.

    client_id: one that was chosen; None for a random one. A second client with it violates the unique key,
    which runs the transaction again.
    """
    client = build(members, client_id or credentials.new_client_id())
    client_rules.fetch_sector_document(client)
    refuse_if_any([*client_rules.find_problems(client), *client_rules.find_sector_problems(client)])
    client_secret = client_secrets.follow_auth_method(client)
    forget_after_commit(client.client_id)
    store.clients.add(client)
    return Registration(client, client_secret, find_warnings(client, members))


def build(members: ClientMembers, client_id: str) -> Client:
    """Return a client with every column filled, which is neither checked nor stored yet."""
    return Client(client_id=client_id, client_id_issued_at=clock.now(), **complete(members))


def complete(members: ClientMembers) -> ClientMembers:
    """Return a value for every member, in the form in which it is stored."""
    columns = DEFAULTS | {"grant_types": default_grant_types(members)} | normal(members)
    columns["extra_metadata"] = without_nulls(columns["extra_metadata"])
    return columns


def default_grant_types(members: ClientMembers) -> list[str]:
    """Return the grant types of a client that names none: those of a sign-in where it has a redirect URI."""
    signs_users_in = members.get("redirect_uris") and not members.get("is_resource_server")
    return ["authorization_code", "refresh_token"] if signs_users_in else []


def normal(members: ClientMembers) -> ClientMembers:
    """Return the members in the form in which they are stored."""
    members = members.copy()
    if "client_name" in members:
        members["client_name"] = typed_text.normalize_name(members["client_name"])
    if "scope" in members:
        members["scope"] = scopes.join(scopes.split(members["scope"]))
    if "extra_metadata" in members:
        members["extra_metadata"] = client_metadata.normalize(members["extra_metadata"])
    return members


# ---- change and remove -------------------------------------------------------------------------------------


def change(client_id: str, members: ClientMembers) -> Registration:
    """Change these members of a client and no others. Raise NotFoundError or InvalidInputError.

    `extra_metadata` is merged into what is there, and null takes a member away.
    """
    members = normal(members)
    if touches_sector := bool(SECTOR_MEMBERS & members.keys()):
        known = find(client_id)
        metadata = merged(known, members)
        client_rules.fetch_sector_document(Client(redirect_uris=[], extra_metadata=metadata))
    client = lock(client_id)
    sector_before = sector_of(client)
    put_members(client, members)
    problems = [*client_rules.find_problems(client), *client_rules.find_signing_secret_problems(client)]
    refuse_if_any([*problems, *(client_rules.find_sector_problems(client) if touches_sector else ())])
    client_secret = client_secrets.follow_auth_method(client)
    store.clients.set_origins(client)
    warnings = find_warnings(client, members)
    if sector_of(client) != sector_before:
        warnings.append(problem(Code.SUBJECTS_CHANGE))
    return Registration(client, client_secret, warnings)


def put_members(client: Client, members: ClientMembers) -> None:
    """Give the client's row the new values."""
    metadata = merged(client, members)
    for name, value in members.items():
        setattr(client, name, metadata if name == "extra_metadata" else value)


def merged(client: Client, members: ClientMembers) -> dict[str, object]:
    """Return the client's metadata after the change."""
    return without_nulls(client.extra_metadata | dict(members.get("extra_metadata", {})))


def sector_of(client: Client) -> str | None:
    """Return the sector whose `sub` this client knows users by; None for that which all clients share."""
    uris = client.redirect_uris or client.member("sector_identifier_uri")
    return claims.sector_identifier(client) if uris and client.member("subject_type") == "pairwise" else None


def set_redirect_uris(client: Client, uris: list[str]) -> None:
    """Replace the redirect URIs of a locked client; they are not checked."""
    client.redirect_uris = uris
    store.clients.set_origins(client)


def rotate_secret(client_id: str, overlap: int | None = None) -> Registration:
    """Give a client a new secret. Raise NotFoundError or ConflictError; `client_secrets.rotate` has more."""
    client = lock(client_id)
    return Registration(client, client_secrets.rotate(client, overlap))


def delete_older_secret(client_id: str) -> Client:
    """End the older of a client's two secrets. Raise NotFoundError or ConflictError."""
    client = lock(client_id)
    client_secrets.delete_older(client)
    return client


def remove(client_id: str) -> int:
    """Delete a client with its consents, codes and tokens; return how many tokens. Raise NotFoundError."""
    client = find(client_id)
    lock_users_of(client.client_id)
    tokens = store.clients.count_tokens(client.client_id)
    forget_after_commit(client.client_id)
    store.clients.remove(client)
    return tokens


def lock_users_of(client_id: str) -> None:
    """Lock every user with a token or a pending code at a client, in the order of ids: nobody deadlocks."""
    user_ids = {*store.tokens.users_with_tokens(client_id), *store.codes.users_with_codes(client_id)}
    for user_id in sorted(user_ids):
        store.users.lock(user_id)
