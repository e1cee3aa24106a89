"""The members of a client's registration as services take them, and warnings about what was given.

Which values they may have is in `services/client_rules.py`.
"""

from collections.abc import Iterator, Mapping
from typing import TypedDict

from errors import Problem
from models import Client
from protocol import client_metadata
from services.current import settings
from services.problems import Code, problem

LONG_JWT_SECONDS = 3600
LONG_PUBLIC_LEEWAY_SECONDS = 60
JWT_LIFETIME_MEMBERS = frozenset({"access_token_lifetime", "extra_metadata"})


class ClientMembers(TypedDict, total=False):
    """The members of a registration that have a column, and `extra_metadata` for all others."""

    client_name: str
    redirect_uris: list[str]
    grant_types: list[str]
    scope: str
    token_endpoint_auth_method: str
    is_resource_server: bool
    require_pkce: bool
    rotate_refresh_tokens: bool
    max_sessions: int | None
    access_token_lifetime: int | None
    refresh_token_idle_lifetime: int | None
    refresh_token_lifetime: int | None
    refresh_leeway: int | None
    refresh_retry_lifetime: int | None
    extra_metadata: Mapping[str, object]


def without_nulls(members: Mapping[str, object]) -> dict[str, object]:
    """Return the members that are not null: null means left out (RFC 7591 §2, RFC 7592 §2.2)."""
    return {name: value for name, value in members.items() if value is not None}


def find_warnings(client: Client, members: ClientMembers) -> list[Problem]:
    """Return what is allowed and may not be what was meant. members: those that were given now."""
    metadata = members.get("extra_metadata", {})
    risks = {
        Code.WITHOUT_PKCE: members.get("require_pkce") is False,
        Code.WITHOUT_USE: not client.grant_types and not client.is_resource_server,
        Code.AUDIENCE_INJECTION: metadata.get("assertion_audience") == "token_endpoint",
        Code.LONG_LIVED_JWT: bool(JWT_LIFETIME_MEMBERS & members.keys()) and has_long_lived_jwt(client),
        Code.LONG_PUBLIC_LEEWAY: client.is_public
        and (client.refresh_leeway or 0) > LONG_PUBLIC_LEEWAY_SECONDS,
    }
    warnings = [problem(code) for code, is_so in risks.items() if is_so]
    return [*warnings, *find_unused_members(metadata)]


def has_long_lived_jwt(client: Client) -> bool:
    """Return whether the client gets access tokens that live long and cannot be revoked."""
    seconds = client.lifetime(client.access_token_lifetime, settings.access_token_lifetime)
    return client.has_jwt_access_tokens and (seconds or 0) > LONG_JWT_SECONDS


def find_unused_members(metadata: Mapping[str, object]) -> Iterator[Problem]:
    """Return the members that mean nothing here: whoever misspelt one should hear of it (RFC 7591 §2)."""
    for member, similar in client_metadata.find_unknown(without_nulls(metadata)):
        if similar is None:
            yield problem(Code.UNUSED_MEMBER, member=member)
        else:
            yield problem(Code.MISSPELT_MEMBER, member=member, similar=similar)
