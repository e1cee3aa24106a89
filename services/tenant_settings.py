"""Which settings a tenant may have of its own, and the settings of a tenant.

A value is checked as that of the environment is. All else is the process's: what all tenants share (the
database, the pool, the proxies), what bounds the process (hashes, fetches), and what a tenant could harm
others with (private addresses, logs).
"""

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from difflib import get_close_matches

from config import Settings
from crypto import credentials
from crypto.json_values import JsonObject
from errors import ConfigError
from store.tenants import TenantRow

OF_TENANT = frozenset(
    {
        "access_token_lifetime",
        "authorization_code_lifetime",
        "refresh_token_idle_lifetime",
        "refresh_token_lifetime",
        "refresh_leeway",
        "public_refresh_leeway",
        "refresh_retry_lifetime",
        "id_token_lifetime",
        "signing_key_lifetime",
        "jwks_cache_lifetime",
        "max_sessions",
        "signup",
        "failed_sign_ins_per_account_and_address",
        "failed_sign_ins_per_account",
        "failed_sign_ins_per_address",
        "sign_ups_per_address",
        "failed_client_authentications_per_client",
        "failed_client_authentications_per_address",
        "throttle_period",
        "redirect_schemes",
    }
)
VARIABLE = re.compile(r"OSTIARY_(?P<name>[A-Z_]+)")
# `issuer` and the secret keys of a tenant are made from home's.
OF_PROCESS = frozenset(
    {
        "issuer",
        "database_url",
        "secret_key",
        "old_secret_keys",
        "tenants",
        "password_hashes",
        "client_cache_lifetime",
        "client_fetches",
        "allow_private_addresses",
        "trusted_proxies",
        "log_level",
    }
)


def issuer_of(home: Settings, name: str, issuer: str | None) -> str:
    """Return the issuer of a tenant: its own, or the one below `/t/` at home's origin."""
    return issuer or f"{home.origin}/t/{name}"


def apply(home: Settings, tenant: TenantRow) -> Settings:
    """Return the settings of a tenant. Raises ConfigError, also for a value that was good when it was set."""
    return build(home, tenant.id, issuer_of(home, tenant.name, tenant.issuer), tenant.settings)


def build(home: Settings, tenant_id: int, issuer: str, own: JsonObject) -> Settings:
    """Return the process's settings with a tenant's issuer, values and secret keys. Raises ConfigError."""
    if problems := list(find_problems(own)):
        raise ConfigError(problems)
    values: JsonObject = {name: getattr(home, name) for name in Settings.model_fields}
    keys = derived_keys(tenant_id, [home.secret_key.get_secret_value()])
    old_keys = derived_keys(tenant_id, (key.get_secret_value() for key in home.old_secret_keys))
    made = {"issuer": issuer, "secret_key": keys[0], "old_secret_keys": old_keys}
    try:
        return Settings(**values | own | made)
    except ConfigError as error:
        raise ConfigError([VARIABLE.sub(member_of, text) for text in error.problems]) from None


def find_problems(own: JsonObject) -> Iterator[str]:
    """Return which members are no settings of a tenant, and which values are not of the JSON type.

    Settings itself would take texts too, as the environment has them.
    """
    for name, value in own.items():
        if name not in OF_TENANT:
            yield f"{name} is no setting of a tenant{hint_for(name)}"
            continue
        default = Settings.model_fields[name].default
        if isinstance(default, timedelta):
            if type(value) not in (int, float):
                yield f"{name} must be a number of seconds"
        elif isinstance(default, int):
            if type(value) is not int:
                yield f"{name} must be a whole number"
        elif isinstance(default, tuple) and not is_list_of_texts(value):
            yield f"{name} must be a list of texts"


def hint_for(name: str) -> str:
    """Return what may help somebody who gave a name that is no setting of a tenant."""
    plain = name.lower().removeprefix("ostiary_")
    if plain == "issuer":
        return ": it is chosen when the tenant is added, and never changes"
    if plain in OF_PROCESS:
        return ": the environment has it, for all tenants"
    similar = get_close_matches(plain, sorted(OF_TENANT), 1)
    return f". Did you mean {similar[0]}?" if similar else ""


def is_list_of_texts(value: object) -> bool:
    """Return whether a value is a list with texts and nothing else."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def member_of(variable: re.Match[str]) -> str:
    """Return the member of a tenant's settings that is called like a variable."""
    return variable["name"].lower()


def derived_keys(tenant_id: int, secret_keys: Iterable[str]) -> tuple[str, ...]:
    """Return a tenant's secret keys: what is signed or encrypted under them is nothing at another tenant."""
    return tuple(credentials.derive_key(key, f"tenant {tenant_id}").hex() for key in secret_keys)
