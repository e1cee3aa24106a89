"""The options of `flask clients add` and `flask clients set`, read into the members of a registration.

What the members may be is in `services/client_rules.py`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, cast

import click

from commands.members import read_members, repeatable
from protocol.registered_client import NEVER
from services.client_members import ClientMembers
from services.clients import LARGEST_LIFETIME, LARGEST_MAX_SESSIONS, LEEWAYS, LIFETIMES

DURATION = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[dhms]?)")
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}
LONGEST_OVERLAP = 366 * UNITS["d"]
EMPTY = [""]  # what an empty value given to a repeatable option becomes
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
} | {name: "--" + name.replace("_", "-") for name in (*LIFETIMES, *LEEWAYS)}
NOT_BY_SET = {name: f"use {option}" for name, option in WITH_AN_OPTION.items()} | dict.fromkeys(
    MADE_BY_THE_SERVER, "the server makes it"
)

Command = TypeVar("Command", bound=Callable[..., object])


class ClientOptions(TypedDict):
    """What Click passes to a command for each of `OPTIONS`."""

    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    scopes_given: tuple[str, ...]
    token_endpoint_auth_method: str | None
    max_sessions: int | None
    require_pkce: bool | None
    rotate_refresh_tokens: bool | None
    access_token_lifetime: int | None
    refresh_token_idle_lifetime: int | None
    refresh_token_lifetime: int | None
    refresh_leeway: int | None
    refresh_retry_lifetime: int | None
    members: tuple[str, ...]
    is_resource_server: bool | None


class Lifetime(click.IntRange):
    """Read seconds, at least one; `never` is NEVER."""

    name = "seconds|never"

    def __init__(self) -> None:
        super().__init__(1, LARGEST_LIFETIME)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return NEVER if value == "never" else super().convert(value, param, ctx)


class Duration(click.ParamType[int]):
    """Read seconds, or a number with d, h, m or s after it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = DURATION.fullmatch(str(value))
        seconds = int(match["number"]) * UNITS[match["unit"]] if match else 0
        if not 1 <= seconds <= LONGEST_OVERLAP:
            self.fail("write 7d, 12h, 30m or a number of seconds; a year at most", param, ctx)
        return seconds


OPTIONS = (
    repeatable("--redirect-uri", "redirect_uris", "URI", "Where authorization answers may go."),
    repeatable(
        "--post-logout-redirect-uri",
        "post_logout_redirect_uris",
        "URI",
        "Where people may go after signing out.",
    ),
    repeatable(
        "--grant-type", "grant_types", "G", "authorization_code, refresh_token or client_credentials."
    ),
    repeatable("--scope", "scopes_given", "S", "A scope that the client may ask for."),
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
        help="How many sign-ins one person may have at the same time.",
    ),
    click.option("--pkce/--no-pkce", "require_pkce", default=None, help="Whether PKCE is required."),
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
        help="How many seconds a repeated refresh gets the same pair; 0: never.",
    ),
    click.option(
        "--refresh-retry-lifetime",
        type=click.IntRange(0, LARGEST_LIFETIME),
        metavar="S",
        help="For so many seconds it may be repeated while nobody has used the pair; not for a public"
        " client.",
    ),
    repeatable(
        "--set", "members", "MEMBER=JSON", "Any other registration member, such as logo_uri='\"https://…\"'."
    ),
    click.option(
        "--resource-server/--no-resource-server",
        "is_resource_server",
        default=None,
        help="It may introspect, and gets no tokens itself.",
    ),
)


def registration_options(function: Command) -> Command:
    """Give a command the options that `add` and `set` share."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def read_options(options: ClientOptions) -> tuple[ClientMembers, list[str]]:
    """Return the members that were given, and what is wrong with how `--set` was written."""
    values: dict[str, object] = {
        name: as_list_or_value(value)
        for name, value in options.items()
        if name not in ("post_logout_redirect_uris", "scopes_given", "members") and value not in (None, ())
    }
    if options["scopes_given"]:
        values["scope"] = " ".join(options["scopes_given"])
    metadata, problems = read_members(options["members"], NOT_BY_SET)
    if options["post_logout_redirect_uris"]:
        metadata["post_logout_redirect_uris"] = as_list_or_value(options["post_logout_redirect_uris"])
    if metadata:
        values["extra_metadata"] = metadata
    return cast(ClientMembers, values), problems  # an option has the name and the type of its member


def as_list_or_value(value: object) -> object:
    """Return what was given several times as a list, each once, in order."""
    return list(dict.fromkeys(value)) if isinstance(value, tuple) else value


def with_empty_lists(members: ClientMembers) -> ClientMembers:
    """Return the members of a change, in which "" empties a list and takes other metadata away."""
    values: dict[str, object] = {
        name: [] if value == EMPTY else without_empty(value) if isinstance(value, Mapping) else value
        for name, value in members.items()
    }
    return cast(ClientMembers, values)  # their types stay


def without_empty(metadata: Mapping[str, object]) -> dict[str, object]:
    """Return the metadata with null in the place of every [""]."""
    return {name: None if value == EMPTY else value for name, value in metadata.items()}
