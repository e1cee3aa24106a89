"""What a client may be registered as, and how a registration is told (RFC 7591 §2, §3.2.1).

Enters: a `Client` with all its columns filled, stored or not. Leaves: every problem at once, in words for the
operator; or the members of the client information response. The words of the shell are read in
`commands/clients.py`; what members without a column may say is in `protocol/client_metadata.py`.
"""

from collections.abc import Collection, Iterator
from typing import Any

import store.clients
from errors import FetchError
from models import NEVER, Client
from protocol import client_metadata, redirect_uris, typed_text
from protocol.scopes import OFFLINE_ACCESS, is_scope_token, split
from services.current import documents, server, settings
from unit_of_work import release_connection

LIFETIMES = ("access_token_lifetime", "refresh_token_idle_lifetime", "refresh_token_lifetime")
REPEATS = ("refresh_leeway", "refresh_retry_lifetime")  # here 0 is none
# RFC 7591 §3.2.1 and RFC 7592 §3: made by the server, never chosen.
MADE_BY_THE_SERVER = (
    "client_id client_secret client_id_issued_at client_secret_expires_at response_types"
    " registration_access_token registration_client_uri".split()
)
WITH_AN_OPTION = {
    "client_name": "NAME",
    "redirect_uris": "--redirect-uri",
    "post_logout_redirect_uris": "--post-logout-redirect-uri",
    "grant_types": "--grant-type",
    "scope": "--scope",
    "token_endpoint_auth_method": "--auth-method",
    "is_resource_server": "--resource-server",
    "require_pkce": "--no-pkce",
    "rotate_refresh_tokens": "--no-rotation",
    "max_sessions": "--max-sessions",
} | {name: "--" + name.replace("_", "-") for name in (*LIFETIMES, *REPEATS)}
NOT_BY_SET = {name: f"use {option}" for name, option in WITH_AN_OPTION.items()} | dict.fromkeys(
    MADE_BY_THE_SERVER, "the server makes it"
)


def response(client: Client, client_secret: str | None = None) -> dict[str, Any]:
    """The members of RFC 7591 §3.2.1 and our own.

    `client_secret` is what was made just now; it can never be read again.
    """
    members: dict[str, Any] = {"client_id": client.client_id}
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
    own = {name: getattr(client, name) for name in REPEATS}
    return (
        members
        | {name: seconds for name, seconds in own.items() if seconds is not None}
        | client.extra_metadata
    )


def find_problems(client: Client, new_scopes: Collection[str] = ()) -> Iterator[str]:
    """Everything that is wrong with this registration, but for its sector.

    `new_scopes` will be added along with it.
    """
    if problem := typed_text.problem(client.client_name, typed_text.NAME_LENGTH):
        yield f"the name {problem}"
    if client.token_endpoint_auth_method not in server.client_auth_methods:
        methods = ", ".join(server.client_auth_methods)
        yield f"unknown auth method {client.token_endpoint_auth_method!r}: use one of {methods}"
    if client.is_resource_server:
        yield from problems_of_a_resource_server(client)
    else:
        yield from problems_of_grants(client)
    yield from problems_of_redirect_uris(client)
    yield from problems_of_scope(client.scope, new_scopes)
    if client.is_public:
        yield from problems_of_a_public_client(client)
    yield from client_metadata.find_problems(client, registration_policy())


def registration_policy() -> client_metadata.RegistrationPolicy:
    return client_metadata.RegistrationPolicy(
        settings.is_development,
        settings.allow_private_addresses,
        settings.access_token_lifetime,
        settings.redirect_schemes,
    )


def problems_of_sector(client: Client) -> Iterator[str]:
    """What the document at `sector_identifier_uri` lacks.

    It is fetched, so this comes before any lock; kept for a while.
    """
    uri = client.member("sector_identifier_uri")
    if uri is None or client_metadata.problem_of_member("sector_identifier_uri", uri, registration_policy()):
        return
    try:
        document = documents.get(uri).content
    except FetchError as error:
        yield f"sector_identifier_uri: {error}"
        return
    if problem := client_metadata.problem_of_sector(document, client.redirect_uris):
        yield problem


def fetch_sector(client: Client) -> None:
    """Before anything is locked, and with no connection held: it may be slow.

    What is wrong with it is told later.
    """
    if client.member("sector_identifier_uri") is not None:
        release_connection()
        list(problems_of_sector(client))


def problems_of_a_resource_server(client: Client) -> Iterator[str]:
    """It introspects tokens and gets none."""
    if client.redirect_uris or client.extra_metadata.get("post_logout_redirect_uris"):
        yield "a resource server has no redirect URIs"
    if client.grant_types:
        yield "a resource server has no grant types"
    if client.is_public:
        yield "a resource server must authenticate: auth method none will not do"


def problems_of_grants(client: Client) -> Iterator[str]:
    supported = server.grant_types
    for grant_type in client.grant_types:
        if grant_type not in supported:
            yield f"unknown grant type {grant_type!r}: use {', '.join(supported)}"
    with_code = "authorization_code" in client.grant_types
    if with_code and not client.redirect_uris:
        yield "grant type authorization_code needs a redirect URI"
    if client.redirect_uris and not with_code:
        yield "redirect URIs are of use with grant type authorization_code only"
    if "refresh_token" in client.grant_types and not with_code:
        yield "grant type refresh_token needs authorization_code"


def problems_of_redirect_uris(client: Client) -> Iterator[str]:
    for uri in (*client.redirect_uris, *client.extra_metadata.get("post_logout_redirect_uris", ())):
        if problem := redirect_uris.find_problem(uri, settings.redirect_schemes):
            yield f"redirect URI {uri!r} {problem}"


def problems_of_scope(scope: str, new_scopes: Collection[str]) -> Iterator[str]:
    words = split(scope)
    for word in words:
        if not is_scope_token(word):
            yield f"{word!r} cannot be a scope (RFC 6749 §3.3)"
    wanted = [word for word in words if is_scope_token(word) and word not in {OFFLINE_ACCESS, *new_scopes}]
    for word in store.clients.unknown_scopes(wanted):
        yield f"there is no scope {word!r}: add it with `flask scopes add`"


def problems_of_a_public_client(client: Client) -> Iterator[str]:
    """Nothing but PKCE and rotation protects what it gets (OAuth 2.1 §4.3.1, §7.5)."""
    if "client_credentials" in client.grant_types:
        yield "a public client cannot use grant type client_credentials (RFC 6749 §4.4)"
    if not client.require_pkce:
        yield "--no-pkce is not for public clients"
    if not client.rotate_refresh_tokens:
        yield "--no-rotation is not for public clients"
    if client.refresh_retry_lifetime:
        yield (
            "--refresh-retry-lifetime is not for public clients, where nothing proves who asks: use"
            " --refresh-leeway"
        )
