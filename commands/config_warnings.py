"""What `flask config check` finds in settings that are allowed and may not be what was meant."""

import os
from collections.abc import Iterator
from datetime import timedelta

from config import CREATES, Settings
from environment import env_file
from protocol.client_address import UNIX
from services.current import settings

LONG_ACCESS_TOKEN = timedelta(hours=1)
LONG_PUBLIC_LEEWAY = timedelta(minutes=1)


def find_process_warnings() -> Iterator[str]:
    """Return what is allowed and may not be what was meant, in settings of the process."""
    yield from find_misspelt_variables()
    if settings.is_development:
        yield "the issuer is a loopback address: this is a server for development"
    if settings.is_https and not settings.is_development and not settings.trusted_proxies:
        yield "OSTIARY_TRUSTED_PROXIES is not set: behind a proxy, every visitor has the address of the proxy"
    if any(proxy != UNIX and proxy.prefixlen == 0 for proxy in settings.trusted_proxies):
        yield (
            "OSTIARY_TRUSTED_PROXIES names every address: anybody can say who they are, and no"
            " throttle holds them"
        )
    if settings.old_secret_keys:
        yield "OSTIARY_OLD_SECRET_KEYS is set: what these keys signed is still accepted"


def find_warnings(prefix: str) -> Iterator[str]:
    """Return the same of settings that a tenant may have of its own. prefix: of their names."""

    def named(name: str) -> str:
        return prefix + (name.upper() if prefix else name)

    if settings.signup == "open" and not settings.is_development:
        yield f"{named('signup')} is open: anybody may make an account"
    if settings.access_token_lifetime > LONG_ACCESS_TOKEN:
        yield (
            f"{named('access_token_lifetime')} is more than an hour: a leaked token is of use for long"
            " (RFC 9700 §2.2)"
        )
    if settings.refresh_token_idle_lifetime > settings.refresh_token_lifetime:
        yield (
            f"{named('refresh_token_idle_lifetime')} is longer than {named('refresh_token_lifetime')},"
            " which ends tokens first"
        )
    if not settings.refresh_leeway and not settings.refresh_retry_lifetime:
        both = f"{named('refresh_leeway')} and {named('refresh_retry_lifetime')}"
        yield f"{both} are 0: a client that loses one answer is signed out"
    if not settings.public_refresh_leeway:
        yield f"{named('public_refresh_leeway')} is 0: a public client that loses one answer is signed out"
    if settings.public_refresh_leeway > LONG_PUBLIC_LEEWAY:
        yield (
            f"{named('public_refresh_leeway')} is more than a minute: for so long a thief who refreshes"
            " first stays unseen"
        )


def find_misspelt_variables() -> Iterator[str]:
    """Return variables that look like settings and are none: the default is in force in their place."""
    known = {env_file.variable_of(name) for name in Settings.model_fields}
    known |= {env_file.NAMED_FILE, CREATES, *map(env_file.file_variable_of, env_file.IN_FILES)}
    for name in sorted(os.environ):
        if name.upper().startswith("OSTIARY_") and name.upper() not in known:
            yield f"{name} is no setting of this version"
