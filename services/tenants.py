"""Add, change, disable and remove tenants: issuers with users, clients, scopes and keys of their own."""

import re
from collections.abc import Iterator, Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from flask import current_app

import protocol.issuer
import store.scopes
import store.tenants
import store.users
from config import Settings
from crypto.json_values import JsonObject
from database import tenancy
from database.columns import TENANT_NAME_LENGTH
from errors import ConfigError, ConflictError, NotFoundError, Problem
from models import db
from protocol import clock, scopes, typed_text
from services import tenant_settings
from services.current import state_of
from services.problems import Code, problem, refuse_if_any
from services.tenant_registry import host_of
from services.tenant_state import HOME_NAME
from store.tenants import TenantRow

NAME = re.compile(r"[a-z0-9-]+")
BRANDING = "branding."  # before the name of a member that is one of the branding
LONGEST_BRAND = 40
LONGEST_ISSUER = 300  # the column has room for no more


def add(name: str, issuer: str | None) -> TenantRow:
    """Add a tenant with the scopes of OpenID Connect, and return it.

    issuer: at a host of its own; None for `/t/<name>` at home's origin. Raises InvalidInputError or
    ConflictError.
    """
    refuse_if_off()
    refuse_if_any(find_problems(name, issuer))
    store.tenants.lock_home()  # one is added at a time: no unique key compares hosts
    refuse_if_taken(name, issuer)
    with tenancy.entered(store.tenants.add(name, issuer, {}, {})):
        for scope, description in scopes.OPENID_DESCRIPTIONS.items():
            store.scopes.add(scope, description)
        db.session.flush()
        db.session.expunge_all()  # no row of another tenant stays in the session
    return get(name)


def get(name: str) -> TenantRow:
    """Return a tenant. Raises NotFoundError, and ConflictError for home or where tenants are off."""
    refuse_if_not_there(name)
    return store.tenants.find(name) or refuse_unknown(name)


def all_others() -> list[TenantRow]:
    """Return all tenants but home, by name. Raises ConflictError where tenants are off."""
    refuse_if_off()
    return store.tenants.all_others()


def put_members(name: str, members: Mapping[str, object]) -> TenantRow:
    """Set some of a tenant's settings, and members of its branding, and return it.

    None takes one back to the process's value. The members of the branding have names after BRANDING. Raises
    NotFoundError, ConflictError, or InvalidInputError with everything that is wrong.
    """
    tenant = lock(name)
    shown = {member.removeprefix(BRANDING) for member in members if member.startswith(BRANDING)}
    branding = changed(tenant.branding, {member: normal(members[BRANDING + member]) for member in shown})
    settings = changed(
        tenant.settings, {member: members[member] for member in members if not member.startswith(BRANDING)}
    )
    problems = [*find_setting_problems(tenant, settings), *find_branding_problems(branding)]
    refuse_if_any(problem(Code.INVALID_TENANT_SETTING, text=text) for text in problems)
    store.tenants.change(tenant.id, settings=settings, branding=branding)
    return get(name)


def normal(value: object) -> object:
    """Return a text in the normal form of names; any other value unchanged."""
    return typed_text.normalize_name(value, LONGEST_BRAND) if isinstance(value, str) else value


def changed(before: JsonObject, members: Mapping[str, object]) -> JsonObject:
    """Return an object with these members in it, and without those that are None."""
    return {member: value for member, value in {**before, **members}.items() if value is not None}


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

    Its users are locked first and its own row after them, as a request does, which locks its user and then
    refers to the tenant by what it stores. So no request stores a row of the tenant meanwhile.
    """
    with tenancy.entered(get(name).id):
        store.users.lock_all()
        tenant = lock(name)
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
    refuse_if_not_there(name)
    return store.tenants.lock(name) or refuse_unknown(name)


# ---- rules -------------------------------------------------------------------------------------------------


def find_problems(name: str, issuer: str | None) -> Iterator[Problem]:
    """Return everything that is wrong with a new tenant."""
    if not is_name(name):
        yield problem(Code.INVALID_TENANT_NAME, name=name, maximum=TENANT_NAME_LENGTH)
    if issuer is not None and (reason := problem_of_issuer(issuer)):
        yield problem(Code.INVALID_ISSUER, reason=reason)


def find_stored_problems(tenant: TenantRow) -> Iterator[Problem]:
    """Return what is wrong with the issuer of a tenant since this server's own has changed."""
    if tenant.issuer is None:
        return
    if reason := problem_of_issuer(tenant.issuer):
        yield problem(Code.INVALID_ISSUER, reason=reason)
    if host_of(tenant.issuer) == host_of(home().issuer):
        yield problem(Code.ISSUER_TAKEN, issuer=tenant.issuer)


def is_name(name: str) -> bool:
    """Return whether a tenant may have this name."""
    return NAME.fullmatch(name) is not None and len(name) <= TENANT_NAME_LENGTH


def problem_of_issuer(issuer: str) -> str | None:
    """Return what is wrong with the issuer of a tenant.

    A loopback address means development, so it is refused where this server's own issuer has none.
    """
    try:
        protocol.issuer.check(issuer)
    except ValueError as error:
        return str(error)
    scheme = urlsplit(home().issuer).scheme
    if urlsplit(issuer).scheme != scheme:
        return f"must begin with {scheme}:// like this server's own"
    if len(issuer) > LONGEST_ISSUER:
        return f"must have at most {LONGEST_ISSUER} characters"
    if protocol.issuer.is_loopback(issuer) and not home().is_development:
        return "must not be a loopback address where this server's own is none"
    return None


def find_setting_problems(tenant: TenantRow, own: JsonObject) -> list[str]:
    """Return everything that is wrong with the settings that a tenant is to have of its own."""
    try:
        tenant_settings.build(home(), tenant.id, issuer_of(tenant), own)
    except ConfigError as error:
        return error.problems
    return []


def find_branding_problems(branding: JsonObject) -> Iterator[str]:
    """Return everything that is wrong with a tenant's branding: a name, and nothing else so far.

    A colour or a logo would need a stylesheet or an image of the tenant's own: pages take none but ours.
    """
    for member, value in branding.items():
        if member != "name":
            yield f"{BRANDING}{member} is no member of the branding: there is {BRANDING}name"
        elif not isinstance(value, str):
            yield f"{BRANDING}name must be a text"
        elif reason := typed_text.find_problem(value, LONGEST_BRAND):
            yield f"{BRANDING}name {reason}"


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


def refuse_if_not_there(name: str) -> None:
    """Raise ConflictError for home or where tenants are off, and NotFoundError for what can be no name."""
    refuse_if_off()
    if name == HOME_NAME:
        raise ConflictError([problem(Code.HOME_STAYS)])
    if not is_name(name):
        refuse_unknown(name)


def refuse_unknown(name: str) -> NoReturn:
    """Raise NotFoundError."""
    raise NotFoundError([problem(Code.UNKNOWN_TENANT, name=name)])
