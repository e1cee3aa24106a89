"""Add, change, disable and remove tenants: issuers with users, clients, scopes and keys of their own."""

import re
from collections.abc import Iterator, Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from flask import current_app

import protocol.issuer
import store.scopes
import store.tenants
from config import Settings
from database import tenancy
from errors import ConfigError, ConflictError, InvalidInputError, NotFoundError, Problem
from models import TENANT_NAME_LENGTH, db
from protocol import clock, scopes
from services import tenant_settings
from services.current import state_of
from services.problems import Code, problem, refuse_if_any
from services.tenant_registry import host_of
from services.tenant_state import HOME_NAME
from store.tenants import TenantRow

NAME = re.compile(r"[a-z0-9-]+")
NEVER_STORED = 0  # the number of a tenant that is only checked


def add(name: str, issuer: str | None) -> TenantRow:
    """Add a tenant with the scopes of OpenID Connect, and return it.

    issuer: at a host of its own; None for `/t/<name>` at home's origin. Raises InvalidInputError or
    ConflictError.
    """
    refuse_if_off()
    refuse_if_any(find_problems(name, issuer))
    store.tenants.lock_home()  # one is added after the other, so that no two have one host
    refuse_if_taken(name, issuer)
    with tenancy.entered(store.tenants.add(name, issuer, {}, {})):
        for scope, description in scopes.OPENID_DESCRIPTIONS.items():
            store.scopes.add(scope, description)
        db.session.flush()
        db.session.expunge_all()  # no row of another tenant stays in the session
    return get(name)


def get(name: str) -> TenantRow:
    """Return a tenant. Raises NotFoundError, and ConflictError for home or where tenants are off."""
    refuse_if_off()
    refuse_home(name)
    return store.tenants.find(name) or refuse_unknown(name)


def put_settings(name: str, members: Mapping[str, object]) -> TenantRow:
    """Set some of a tenant's settings, and return it; None takes one back to the process's value.

    Raises NotFoundError, ConflictError, or InvalidInputError with everything that is wrong.
    """
    tenant = lock(name)
    own = {name: value for name, value in {**tenant.settings, **members}.items() if value is not None}
    try:
        tenant_settings.build(home(), tenant.id, issuer_of(tenant), own)
    except ConfigError as error:
        raise InvalidInputError(
            [problem(Code.INVALID_TENANT_SETTING, text=text) for text in error.problems]
        ) from None
    store.tenants.change(tenant.id, settings=own)
    return get(name)


def disable(name: str) -> None:
    """Let a tenant answer nothing, as if it were not there. Its rows stay."""
    tenant = lock(name)
    if tenant.disabled_at is None:
        store.tenants.change(tenant.id, disabled_at=clock.now())


def enable(name: str) -> None:
    """Let a disabled tenant answer again."""
    store.tenants.change(lock(name).id, disabled_at=None)


def remove(name: str) -> dict[str, int]:
    """Remove a tenant with all its rows, and return how many each table had.

    Its row is locked first, so nobody stores one of its rows meanwhile.
    """
    tenant = lock(name)
    with tenancy.entered(tenant.id):
        removed = store.tenants.remove_rows()
    store.tenants.remove(tenant.id)
    return removed


def issuer_of(tenant: TenantRow) -> str:
    """Return the issuer of a tenant."""
    return tenant_settings.issuer_of(home(), tenant.name, tenant.issuer)


def home() -> Settings:
    """Return the settings of this server's own issuer."""
    return state_of(current_app).settings


def lock(name: str) -> TenantRow:
    """Return a tenant, locked. Raises as `get`."""
    refuse_if_off()
    refuse_home(name)
    return store.tenants.lock(name) or refuse_unknown(name)


# ---- rules -------------------------------------------------------------------------------------------------


def find_problems(name: str, issuer: str | None) -> Iterator[Problem]:
    """Return everything that is wrong with a new tenant."""
    if NAME.fullmatch(name) is None or len(name) > TENANT_NAME_LENGTH:
        yield problem(Code.INVALID_TENANT_NAME, name=name, maximum=TENANT_NAME_LENGTH)
    if issuer is not None and (reason := problem_of_issuer(issuer)):
        yield problem(Code.INVALID_ISSUER, reason=reason)


def problem_of_issuer(issuer: str) -> str | None:
    """Return what is wrong with the issuer of a tenant."""
    try:
        protocol.issuer.check(issuer)
    except ValueError as error:
        return str(error)
    scheme = urlsplit(home().issuer).scheme
    return None if urlsplit(issuer).scheme == scheme else f"must begin with {scheme}: as this server's own"


def refuse_if_taken(name: str, issuer: str | None) -> None:
    """Raise ConflictError where another tenant has the name, or another issuer the host."""
    others = store.tenants.all_others()
    if name == HOME_NAME or any(other.name == name for other in others):
        raise ConflictError([problem(Code.TENANT_EXISTS, name=name)])
    issuers = [home().issuer, *(other.issuer for other in others if other.issuer is not None)]
    if issuer is not None and host_of(issuer) in map(host_of, issuers):
        raise ConflictError([problem(Code.ISSUER_TAKEN, issuer=issuer)])


def refuse_if_off() -> None:
    """Raise ConflictError where tenants are off."""
    if home().tenants != "on":
        raise ConflictError([problem(Code.TENANTS_ARE_OFF)])


def refuse_home(name: str) -> None:
    """Raise ConflictError for home."""
    if name == HOME_NAME:
        raise ConflictError([problem(Code.HOME_STAYS)])


def refuse_unknown(name: str) -> NoReturn:
    """Raise NotFoundError."""
    raise NotFoundError([problem(Code.UNKNOWN_TENANT, name=name)])
