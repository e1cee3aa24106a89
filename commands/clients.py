"""`flask clients …`: registering clients and changing what they are registered for (RFC 7591 as commands).

Enters: options. Leaves: a stored registration and, with `--json`, the response of RFC 7591 §3.2.1. A secret is made here, shown
once and stored as its digest. What may be registered is in `commands/registration.py`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import click

import store.clients
from commands.lookup import find_client, lock_client, lock_people_of
from commands.output import Answer, Noun, Refused, counted, details, refuse_if_any, table
from commands.registration import find_problems, read_members, response
from models import NEVER, Client
from protocol import clock, credentials, scopes

LARGEST_LIFETIME = 2**31 - 1  # what the column holds
LARGEST_MAX_SESSIONS = 100_000
EMPTIED = [""]  # what an empty value given to a repeatable option becomes
KEEP_THE_SECRET = "Keep the client secret now: it is not shown again."  # noqa: S105 - says so, is none
WITHOUT_PKCE = (
    "Warning: without PKCE a stolen code can be used; this client must check state or nonce (RFC 9700 §2.1.1)."
)
WITHOUT_USE = (
    "Warning: this client can do nothing yet. Give it a redirect URI, a grant type, or make it a resource server."
)

clients = Noun("clients", help="Applications and resource servers that are registered here.")


class Lifetime(click.IntRange):
    """Seconds, at least one; `never` is NEVER."""

    name = "seconds|never"

    def __init__(self) -> None:
        super().__init__(1, LARGEST_LIFETIME)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return NEVER if value == "never" else super().convert(value, param, ctx)


def several(option: str, name: str, metavar: str, text: str) -> Callable[..., Any]:
    return click.option(option, name, multiple=True, metavar=metavar, help=f"{text} May be given several times.")


OPTIONS = (
    several("--redirect-uri", "redirect_uris", "URI", "Where authorization answers may go."),
    several("--post-logout-redirect-uri", "post_logout_redirect_uris", "URI", "Where people may go after signing out."),
    several("--grant-type", "grant_types", "G", "authorization_code, refresh_token or client_credentials."),
    several("--scope", "scopes_given", "S", "A scope that the client may ask for."),
    click.option(
        "--auth-method",
        "token_endpoint_auth_method",
        metavar="M",
        help="client_secret_basic (the default), client_secret_post, or none for a public client.",
    ),
    click.option(
        "--max-sessions",
        type=click.IntRange(1, LARGEST_MAX_SESSIONS),
        metavar="N",
        help="How many sign-ins of one person live at once.",
    ),
    click.option("--pkce/--no-pkce", "require_pkce", default=None, help="Whether PKCE is demanded."),
    click.option(
        "--rotation/--no-rotation", "rotate_refresh_tokens", default=None, help="Whether a refresh token is used once."
    ),
    click.option("--access-token-lifetime", type=click.IntRange(1, LARGEST_LIFETIME), metavar="S", help="In seconds."),
    click.option("--refresh-token-idle-lifetime", type=Lifetime(), metavar="S|never", help="Seconds without use."),
    click.option("--refresh-token-lifetime", type=Lifetime(), metavar="S|never", help="Seconds since the sign-in."),
    several("--set", "members", "MEMBER=JSON", "Any other registration member, such as logo_uri='\"https://…\"'."),
    click.option(
        "--resource-server/--no-resource-server",
        "is_resource_server",
        default=None,
        help="It may introspect and gets no tokens itself.",
    ),
)
DEFAULTS: dict[str, Any] = {
    "token_endpoint_auth_method": "client_secret_basic",
    "redirect_uris": [],
    "scope": "",
    "is_resource_server": False,
    "require_pkce": True,
    "rotate_refresh_tokens": True,
    "extra_metadata": {},
}


def registration_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `add` and `set` share."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@clients.command("add")
@click.argument("name")
@registration_options
def add(name: str, **options: Any) -> Answer:
    """Register a client. Without --grant-type, one that has a redirect URI gets authorization_code and refresh_token."""
    given, problems = columns_given(**options)
    columns = DEFAULTS | {"grant_types": default_grant_types(given)} | given
    columns["extra_metadata"] = without_nulls(columns["extra_metadata"])
    client = Client(
        client_id=credentials.new_client_id(), client_name=name.strip(), client_id_issued_at=clock.now(), **columns
    )
    refuse_if_any([*problems, *find_problems(client)])
    client_secret = bring_secret_in_line(client)
    store.clients.add(client)
    return registration_answer(client, f"Registered {client.client_id}.", warnings_about(client, given), client_secret)


def default_grant_types(given: dict[str, Any]) -> list[str]:
    with_code = given.get("redirect_uris") and not given.get("is_resource_server")
    return ["authorization_code", "refresh_token"] if with_code else []


@clients.command("set")
@click.argument("client_id")
@click.option("--name", "client_name", help="What people see.")
@registration_options
def set_(client_id: str, client_name: str | None, **options: Any) -> Answer:
    """Change what is given and nothing else. A list is replaced as a whole; an empty value ("") empties it."""
    given, problems = columns_given(**options)
    if client_name is not None:
        given["client_name"] = client_name.strip()
    if not given and not problems:
        raise click.UsageError("Nothing to change: give at least one option.")
    client = lock_client(client_id)
    for name, value in given.items():
        setattr(client, name, changed(getattr(client, name), value))
    refuse_if_any([*problems, *find_problems(client)])
    client_secret = bring_secret_in_line(client)
    store.clients.set_origins(client)
    return registration_answer(client, f"Changed {client.client_id}.", warnings_about(client, given), client_secret)


def changed(old: Any, new: Any) -> Any:
    """The new value of a column: metadata is merged into what was there, everything else takes its place."""
    if isinstance(new, dict):
        return without_nulls(old | {name: None if value == EMPTIED else value for name, value in new.items()})
    return [] if new == EMPTIED else new


def without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    """RFC 7591 §2: a member that is null is the same as one that is left out."""
    return {name: value for name, value in members.items() if value is not None}


def columns_given(
    members: Iterable[str], post_logout_redirect_uris: Iterable[str], scopes_given: Iterable[str], **options: Any
) -> tuple[dict[str, Any], list[str]]:
    """The columns that the options speak of, and what is wrong with `--set`. What was not given is left out."""
    given = {name: as_list_or_value(value) for name, value in options.items() if value is not None and value != ()}
    if scopes_given:
        given["scope"] = scopes.join(scopes.split(" ".join(scopes_given)))
    metadata, problems = read_members(members)
    if post_logout_redirect_uris:
        metadata["post_logout_redirect_uris"] = as_list_or_value(post_logout_redirect_uris)
    if metadata:
        given["extra_metadata"] = metadata
    return given, problems


def as_list_or_value(value: Any) -> Any:
    """What was given several times as a list, each once, in order."""
    return list(dict.fromkeys(value)) if isinstance(value, tuple) else value


def bring_secret_in_line(client: Client) -> str | None:
    """A public client has no secret, any other has one. Returns one that was made now."""
    if client.is_public:
        client.client_secret_digest = None
    elif client.client_secret_digest is None:
        return renew_secret(client)
    return None


def renew_secret(client: Client) -> str:
    client_secret = credentials.new_client_secret()
    client.client_secret_digest = credentials.digest(client_secret)
    return client_secret


def warnings_about(client: Client, given: dict[str, Any]) -> list[str]:
    warnings = []
    if given.get("require_pkce") is False:
        warnings.append(WITHOUT_PKCE)
    if not client.grant_types and not client.is_resource_server:
        warnings.append(WITHOUT_USE)
    return warnings


def registration_answer(
    client: Client, message: str, warnings: Iterable[str] = (), client_secret: str | None = None
) -> Answer:
    members = response(client, client_secret)
    hint = [KEEP_THE_SECRET] if client_secret else []
    return Answer(members, details(members), (message, *hint, *warnings))


@clients.command("list")
def list_() -> Answer:
    """List all clients, by name."""
    known = [response(client) for client in store.clients.all_by_name()]
    columns = ("client_id", "client_name", "token_endpoint_auth_method", "grant_types", "scope", "is_resource_server")
    return Answer(known, table(known, columns))


@clients.command("show")
@click.argument("client_id")
def show(client_id: str) -> Answer:
    """Show one client, with the number of its live tokens."""
    client = find_client(client_id)
    members = response(client) | {"tokens": store.clients.count_tokens(client.client_id)}
    return Answer(members, details(members))


@clients.command("rotate-secret")
@click.argument("client_id")
def rotate_secret(client_id: str) -> Answer:
    """Make a new secret. The old one is of no use from this moment on."""
    client = lock_client(client_id)
    if client.is_public:
        raise Refused(f"{client.client_id} is a public client: it has no secret")
    return registration_answer(client, f"{client.client_id} has a new secret.", client_secret=renew_secret(client))


@clients.command("remove")
@click.argument("client_id")
def remove(client_id: str) -> Answer:
    """Remove a client with its tokens, codes and consents."""
    client = find_client(client_id)
    lock_people_of(client.client_id)
    ended = store.clients.count_tokens(client.client_id)
    answer = Answer(
        {"client_id": client.client_id, "tokens": ended},
        messages=(f"Removed {client.client_id}. Ended: {counted(ended, 'token')}.",),
    )
    store.clients.remove(client)
    return answer
