"""Which settings a tenant may have of its own, and the settings of a tenant.

A value is checked as that of the environment is. All else is the process's: what all tenants share (the
database, the pool, the proxies), what bounds the process (hashes, fetches), and what a tenant could harm
others with (private addresses, logs).
"""

from collections.abc import Iterable

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
# `issuer` and the secret keys of a tenant are made from home's.
OF_PROCESS = frozenset(
    {
        "issuer",
        "database_url",
        "secret_key",
        "old_secret_keys",
        "tenants",
        "password_hashes",
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
    if unknown := sorted(own.keys() - OF_TENANT):
        raise ConfigError([f"{name} is no setting of a tenant" for name in unknown])
    values: JsonObject = {name: getattr(home, name) for name in Settings.model_fields}
    keys = derived_keys(tenant_id, [home.secret_key.get_secret_value()])
    old_keys = derived_keys(tenant_id, (key.get_secret_value() for key in home.old_secret_keys))
    return Settings(**values | own | {"issuer": issuer, "secret_key": keys[0], "old_secret_keys": old_keys})


def derived_keys(tenant_id: int, secret_keys: Iterable[str]) -> tuple[str, ...]:
    """Return a tenant's secret keys: what is signed or encrypted under them is nothing at another tenant."""
    return tuple(credentials.derive_key(key, f"tenant {tenant_id}").hex() for key in secret_keys)
