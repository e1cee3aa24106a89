"""`flask clients …`: registering clients and changing what they are registered for (RFC 7591 as commands).

Enters: options. Leaves: a stored registration and, with `--json`, the response of RFC 7591 §3.2.1. A secret
is made here, shown once and stored as its digest; that of a client that signs with it is stored sealed. What
may be registered is in `commands/registration.py`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

import store.client_secrets
import store.clients
from commands.lookup import find_client, lock_client, lock_users_of
from commands.members import read_members, several, without_nulls
from commands.output import CommandError, CommandGroup, Result, counted, details, iso, refuse_if_any, table
from commands.registration import NOT_BY_SET, fetch_sector, find_problems, problems_of_sector, response
from crypto import credentials
from crypto.jwt import MINIMUM_SECRET_OCTETS
from models import NEVER, Client
from protocol import claims, client_metadata, clock, scopes, typed_text
from services.current import keyring, settings

LARGEST_LIFETIME = 2**31 - 1  # what the column holds
LARGEST_MAX_SESSIONS = 100_000
EMPTIED = [""]  # what an empty value given to a repeatable option becomes
WITHOUT_SECRET = ("none", client_metadata.SIGNS_ITS_KEYS)
SECTOR_COLUMNS = frozenset({"redirect_uris", "extra_metadata"})
LASTING_COLUMNS = frozenset({"access_token_lifetime", "extra_metadata"})
LONG_JWT = 3600
DURATION = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[dhms]?)")
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}
LONGEST_OVERLAP = 366 * UNITS["d"]
LONG_PUBLIC_LEEWAY = 60
KEEP_THE_SECRET = "Keep the client secret now: it is not shown again."  # noqa: S105 - says so, is none
WITHOUT_PKCE = (
    "Warning: without PKCE a stolen code can be used; this client must check state or"
    " nonce (RFC 9700 §2.1.1)."
)
AUDIENCE_INJECTION = (
    "Warning: an assertion that is good for the token endpoint's URL can be got from this client by"
    " another server that claims"
    " that URL for itself. Use it only where the client cannot send the issuer (draft-ietf-oauth-rfc7523bis)."
)
LASTING_JWT = (
    "Warning: a JWT access token cannot be called back before it expires: an hour is long (RFC 9700 §2.2)."
)
LONG_LEEWAY = (
    "Warning: for so long a thief who refreshes first stays unseen, because nothing proves who asks"
    " for a public client"
    " (RFC 9700 §4.14.2)."
)
OTHER_SUBS = "Warning: from now on this client knows its people by another sub: to it they are other people."
WITHOUT_USE = (
    "Warning: this client can do nothing yet. Give it a redirect URI, a grant type, or make"
    " it a resource server."
)

clients = CommandGroup("clients", help="Applications and resource servers that are registered here.")


class Lifetime(click.IntRange):
    """Seconds, at least one; `never` is NEVER."""

    name = "seconds|never"

    def __init__(self) -> None:
        super().__init__(1, LARGEST_LIFETIME)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return NEVER if value == "never" else super().convert(value, param, ctx)


class Duration(click.ParamType[int]):
    """Seconds, or a number with d, h, m or s after it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = DURATION.fullmatch(str(value))
        seconds = int(match["number"]) * UNITS[match["unit"]] if match else 0
        if not 1 <= seconds <= LONGEST_OVERLAP:
            self.fail("write 7d, 12h, 30m or a number of seconds; a year at most", param, ctx)
        return seconds


OPTIONS = (
    several("--redirect-uri", "redirect_uris", "URI", "Where authorization answers may go."),
    several(
        "--post-logout-redirect-uri",
        "post_logout_redirect_uris",
        "URI",
        "Where people may go after signing out.",
    ),
    several("--grant-type", "grant_types", "G", "authorization_code, refresh_token or client_credentials."),
    several("--scope", "scopes_given", "S", "A scope that the client may ask for."),
    click.option(
        "--auth-method",
        "token_endpoint_auth_method",
        metavar="M",
        help="client_secret_basic (the default), client_secret_post, client_secret_jwt, private_key_jwt,"
        " or none for a public client.",
    ),
    click.option(
        "--max-sessions",
        type=click.IntRange(1, LARGEST_MAX_SESSIONS),
        metavar="N",
        help="How many sign-ins of one person live at once.",
    ),
    click.option("--pkce/--no-pkce", "require_pkce", default=None, help="Whether PKCE is demanded."),
    click.option(
        "--rotation/--no-rotation",
        "rotate_refresh_tokens",
        default=None,
        help="Whether a refresh token is used once.",
    ),
    click.option(
        "--access-token-lifetime", type=click.IntRange(1, LARGEST_LIFETIME), metavar="S", help="In seconds."
    ),
    click.option(
        "--refresh-token-idle-lifetime", type=Lifetime(), metavar="S|never", help="Seconds without use."
    ),
    click.option(
        "--refresh-token-lifetime", type=Lifetime(), metavar="S|never", help="Seconds since the sign-in."
    ),
    click.option(
        "--refresh-leeway",
        type=click.IntRange(0, LARGEST_LIFETIME),
        metavar="S",
        help="For so many seconds a repeated refresh gets the same pair; 0: never.",
    ),
    click.option(
        "--refresh-retry-lifetime",
        type=click.IntRange(0, LARGEST_LIFETIME),
        metavar="S",
        help="For so many seconds it may be repeated while nobody has used the pair; not for a public"
        " client.",
    ),
    several(
        "--set", "members", "MEMBER=JSON", "Any other registration member, such as logo_uri='\"https://…\"'."
    ),
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
def add(name: str, **options: Any) -> Result:
    """Register a client.

    Without --grant-type, one that has a redirect URI gets authorization_code and refresh_token.
    """
    given, problems = columns_given(**options)
    columns = DEFAULTS | {"grant_types": default_grant_types(given)} | given
    columns["extra_metadata"] = without_nulls(columns["extra_metadata"])
    client = Client(
        client_id=credentials.new_client_id(),
        client_name=typed_text.name(name),
        client_id_issued_at=clock.now(),
        **columns,
    )
    fetch_sector(client)
    refuse_if_any([*problems, *find_problems(client), *problems_of_sector(client)])
    client_secret = bring_secret_in_line(client)
    store.clients.add(client)
    return registration_answer(
        client, f"Registered {client.client_id}.", warnings_about(client, given), client_secret
    )


def default_grant_types(given: dict[str, Any]) -> list[str]:
    with_code = given.get("redirect_uris") and not given.get("is_resource_server")
    return ["authorization_code", "refresh_token"] if with_code else []


@clients.command("set")
@click.argument("client_id")
@click.option("--name", "client_name", help="What people see.")
@registration_options
def set_(client_id: str, client_name: str | None, **options: Any) -> Result:
    """Change what is given and nothing else.

    A list is replaced as a whole; an empty value ("") empties it.
    """
    given, problems = columns_given(**options)
    if client_name is not None:
        given["client_name"] = typed_text.name(client_name)
    if not given and not problems:
        raise click.UsageError("Nothing to change: give at least one option.")
    if touches_sector := SECTOR_COLUMNS & given.keys():
        fetch_sector(preview_of_sector(client_id, given))
    client = lock_client(client_id)
    sector_before = sector_of(client)
    for name, value in given.items():
        setattr(client, name, changed(getattr(client, name), value))
    problems += [*find_problems(client), *problems_of_signing_secret(client)]
    refuse_if_any([*problems, *(problems_of_sector(client) if touches_sector else ())])
    client_secret = bring_secret_in_line(client)
    store.clients.set_origins(client)
    warnings = warnings_about(client, given)
    if sector_of(client) != sector_before:
        warnings.append(OTHER_SUBS)
    return registration_answer(client, f"Changed {client.client_id}.", warnings, client_secret)


def preview_of_sector(client_id: str, given: dict[str, Any]) -> Client:
    now = find_client(client_id)
    members = changed(now.extra_metadata, given.get("extra_metadata", dict[str, Any]()))
    return Client(redirect_uris=[], extra_metadata=members)


def sector_of(client: Client) -> str | None:
    """What decides by which `sub` this client knows people; None where it is everybody's."""
    uris = client.redirect_uris or client.member("sector_identifier_uri")
    return claims.sector_identifier(client) if uris and client.member("subject_type") == "pairwise" else None


def changed(old: Any, new: Any) -> Any:
    """The new value of a column: metadata is merged into what was there, everything else takes its place."""
    if isinstance(new, dict):
        return without_nulls(old | {name: None if value == EMPTIED else value for name, value in new.items()})
    return [] if new == EMPTIED else new


def columns_given(
    members: Iterable[str],
    post_logout_redirect_uris: Iterable[str],
    scopes_given: Iterable[str],
    **options: Any,
) -> tuple[dict[str, Any], list[str]]:
    """The columns that the options speak of, and what is wrong with `--set`.

    What was not given is left out.
    """
    given = {
        name: as_list_or_value(value) for name, value in options.items() if value is not None and value != ()
    }
    if scopes_given:
        given["scope"] = scopes.join(scopes.split(" ".join(scopes_given)))
    metadata, problems = read_members(members, NOT_BY_SET)
    if post_logout_redirect_uris:
        metadata["post_logout_redirect_uris"] = as_list_or_value(post_logout_redirect_uris)
    if metadata:
        given["extra_metadata"] = client_metadata.normal(metadata)
    return given, problems


def as_list_or_value(value: Any) -> Any:
    """What was given several times as a list, each once, in order."""
    return list(dict.fromkeys(value)) if isinstance(value, tuple) else value


def bring_secret_in_line(client: Client) -> str | None:
    """Give the client what its auth method needs, and take away the rest.

    Returns a secret that was made now.
    """
    method = client.token_endpoint_auth_method
    if method != client_metadata.SIGNS_ITS_SECRET:
        client.sealed_client_secret = None
    if method in (client_metadata.SIGNS_ITS_SECRET, *WITHOUT_SECRET):
        client.client_secret_digest = None
    signs, sealed = method == client_metadata.SIGNS_ITS_SECRET, client.sealed_previous_secret is not None
    if method in WITHOUT_SECRET or signs != sealed:
        forget_previous_secret(client)
    if method in WITHOUT_SECRET or client.client_secret_digest or client.sealed_client_secret:
        return None
    return renew_secret(client)


def problems_of_signing_secret(client: Client) -> Iterator[str]:
    """A secret that was long enough for the algorithm before may be too short for the one that is registered
    now.
    """
    alg = client.member("token_endpoint_auth_signing_alg")
    if client.token_endpoint_auth_method != client_metadata.SIGNS_ITS_SECRET:
        return
    needed = MINIMUM_SECRET_OCTETS.get(alg, 0) if isinstance(alg, str) else 0
    cipher, boxes = keyring.client_secrets, [secret.sealed for secret in client.live_secrets(clock.now())]
    secrets = [cipher.decrypt(box, client.client_id) for box in boxes if box is not None]
    shortest = min((len(secret) for secret in secrets if secret is not None), default=needed)
    if shortest < needed:
        yield (
            f"token_endpoint_auth_signing_alg {alg} needs a secret of at least {needed} octets (RFC"
            " 7518 §3.2), and this client"
            f" has one of {shortest}: make a new one first, with `flask clients rotate-secret"
            f" {client.client_id}`"
        )


def renew_secret(client: Client, overlap: int | None = None) -> str:
    """The new secret. overlap: for how many seconds the one before stays good beside it."""
    signs = client.token_endpoint_auth_method == client_metadata.SIGNS_ITS_SECRET
    client_secret = (
        credentials.CLIENT_SECRET + credentials.random_text(64) if signs else credentials.new_client_secret()
    )
    keep_secret(client, client_secret, overlap)
    return client_secret


def keep_secret(client: Client, client_secret: str, overlap: int | None = None) -> None:
    """As a digest; sealed where it is the key of signatures, which only the secret itself can verify (RFC
    7518 §3.2).

    One that it has already stays as it is; any other takes its place, and ends those before, but for an
    overlap.
    """
    cipher, now = keyring.client_secrets, clock.now()
    signs = client.token_endpoint_auth_method == client_metadata.SIGNS_ITS_SECRET
    new_digest = None if signs else credentials.digest(client_secret)
    if signs and client.sealed_client_secret is not None:
        is_known = cipher.decrypt(client.sealed_client_secret, client.client_id) == client_secret.encode()
    else:
        is_known = not signs and client.client_secret_digest == new_digest
    if is_known:
        return
    forget_previous_secret(client)
    if overlap is not None:
        client.previous_secret_digest, client.sealed_previous_secret = (
            client.client_secret_digest,
            client.sealed_client_secret,
        )
        client.previous_secret_made_at, client.previous_secret_ends_at = (
            client.client_secret_made_at,
            now + overlap,
        )
    client.client_secret_digest = new_digest
    client.sealed_client_secret = cipher.encrypt(client_secret.encode(), client.client_id) if signs else None
    client.client_secret_number = (client.client_secret_number or 0) + 1
    client.client_secret_made_at = now
    if client.client_secret_number > 1:
        kept = client.client_secret_number - (overlap is not None)
        store.client_secrets.forget_uses_before(client.client_id, kept)


def forget_previous_secret(client: Client) -> None:
    client.previous_secret_digest = client.sealed_previous_secret = None
    client.previous_secret_made_at = client.previous_secret_ends_at = None


def warnings_about(client: Client, given: dict[str, Any]) -> list[str]:
    warnings = []
    members = given.get("extra_metadata", {})
    if given.get("require_pkce") is False:
        warnings.append(WITHOUT_PKCE)
    if not client.grant_types and not client.is_resource_server:
        warnings.append(WITHOUT_USE)
    if members.get("assertion_audience") == "token_endpoint":
        warnings.append(AUDIENCE_INJECTION)
    if client.member("access_token_format") == "jwt" and LASTING_COLUMNS & given.keys():
        default = settings.access_token_lifetime
        if (client.lifetime(client.access_token_lifetime, default) or 0) > LONG_JWT:
            warnings.append(LASTING_JWT)
    if client.is_public and (client.refresh_leeway or 0) > LONG_PUBLIC_LEEWAY:
        warnings.append(LONG_LEEWAY)
    return [*warnings, *warnings_about_unknown(members)]


def warnings_about_unknown(members: dict[str, Any]) -> Iterator[str]:
    """RFC 7591 §2 lets a server ignore what it does not know. Whoever misspelt a member should hear of it."""
    for name, alike in client_metadata.find_unknown(without_nulls(members)):
        guess = f" Was {alike} meant?" if alike else ""
        yield f"Warning: {name} means nothing to this server: it is kept and shown, no more.{guess}"


def registration_answer(
    client: Client, message: str, warnings: Iterable[str] = (), client_secret: str | None = None
) -> Result:
    members = response(client, client_secret)
    hint = [KEEP_THE_SECRET] if client_secret else []
    return Result(members, details(members), (message, *hint, *warnings))


@clients.command("list")
def list_() -> Result:
    """List all clients, by name."""
    known = [response(client) for client in store.clients.all_by_name()]
    columns = (
        "client_id",
        "client_name",
        "token_endpoint_auth_method",
        "grant_types",
        "scope",
        "is_resource_server",
    )
    return Result(known, table(known, columns))


@clients.command("show")
@click.argument("client_id")
def show(client_id: str) -> Result:
    """Show one client, with the number of its live tokens."""
    client = find_client(client_id)
    members = response(client) | {"tokens": store.clients.count_tokens(client.client_id)}
    secrets = secrets_shown(client)
    shown = members | {f"client secret {number}": words for number, words in secrets_in_words(secrets)}
    return Result(members | ({"client_secrets": secrets} if secrets else {}), details(shown))


def secrets_shown(client: Client) -> list[dict[str, Any]]:
    """The live secrets, the newest first: how old they are and when they were last in use, never what they
    are.
    """
    last_uses = store.client_secrets.last_uses(client.client_id)
    return [
        {
            "number": secret.number,
            "made_at": secret.made_at,
            "last_used_at": last_uses.get(secret.number),
            "ends_at": secret.ends_at,
        }
        for secret in client.live_secrets(clock.now())
    ]


def secrets_in_words(secrets: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    for secret in secrets:
        made = f"made {iso(secret['made_at'])}" if secret["made_at"] else "made before that was noted"
        used = f"last used {iso(secret['last_used_at'])}" if secret["last_used_at"] else "not used yet"
        ends = f", ends {iso(secret['ends_at'])}" if secret["ends_at"] else ""
        yield secret["number"], f"{made}, {used}{ends}"


@clients.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--overlap", type=Duration(), metavar="DURATION", help="How long the old one stays good: 7d, 12h, 3600."
)
@click.option(
    "--now", "ends_old", is_flag=True, help="End the older of two secrets at once, and make no new one."
)
def rotate_secret(client_id: str, overlap: int | None, ends_old: bool) -> Result:
    """Make a new secret.

    The old one is of no use from this moment on, or after an overlap; two are good at once, no more.
    """
    if overlap is not None and ends_old:
        raise click.UsageError("--now ends the old secret, --overlap keeps it: give one of them.")
    client = lock_client(client_id)
    if client.is_public:
        raise CommandError(f"{client.client_id} is a public client: it has no secret")
    if client.token_endpoint_auth_method in WITHOUT_SECRET:
        raise CommandError(
            f"{client.client_id} has no secret: it signs with its own keys, which it renews itself"
        )
    older_ends_at = next(
        (secret.ends_at for secret in client.live_secrets(clock.now()) if secret.ends_at), None
    )
    if ends_old:
        return end_older_secret(client, older_ends_at)
    if overlap is not None and older_ends_at is not None:
        until = iso(older_ends_at)
        raise CommandError(
            f"{client.client_id} has two secrets already, the older until {until}: end it first, with --now"
        )
    message = f"{client.client_id} has a new secret."
    if overlap is not None:
        message += f" The one before is good until {iso(clock.now() + overlap)}."
    return registration_answer(client, message, client_secret=renew_secret(client, overlap))


def end_older_secret(client: Client, older_ends_at: int | None) -> Result:
    """The newer stays: it is in use by now."""
    if older_ends_at is None:
        instead = f"`flask clients rotate-secret {client.client_id}` alone replaces it at once"
        raise CommandError(f"{client.client_id} has one secret, and no older one to end: {instead}")
    forget_previous_secret(client)
    store.client_secrets.forget_uses_before(client.client_id, client.client_secret_number)
    return registration_answer(
        client, f"The older secret of {client.client_id} has ended. The newer one stays."
    )


@clients.command("remove")
@click.argument("client_id")
def remove(client_id: str) -> Result:
    """Remove a client with its tokens, codes and consents."""
    client = find_client(client_id)
    lock_users_of(client.client_id)
    ended = store.clients.count_tokens(client.client_id)
    answer = Result(
        {"client_id": client.client_id, "tokens": ended},
        messages=(f"Removed {client.client_id}. Ended: {counted(ended, 'token')}.",),
    )
    store.clients.remove(client)
    return answer
