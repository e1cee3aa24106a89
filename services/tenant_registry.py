"""Which tenant a request, a command or a delivery is for, from what one process knows of the tenants.

Enters: a Host and a path, or a tenant's number. Leaves: the `TenantState`, made when it is first asked for.
The rows are read again every half minute, in a transaction of their own; for an address that is not
known at most once a second, so a stranger cannot make this server ask the database for each request.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Flask

import store.tenants
from config import Settings
from database.tenancy import HOME
from errors import ConfigError, NoTenantError, StorageBusyError
from protocol import authority
from services import tenant_settings, tenant_state
from services.tenant_state import TenantState
from store.tenants import TenantRow
from unit_of_work import run_in_app

log = logging.getLogger("ostiary.tenants")

REREAD_SECONDS = 30.0
UNKNOWN_SECONDS = 1.0  # between two reads because of addresses that are not known
KEPT = 1_000  # states of tenants; those made first go first, and are made again when they are asked for
# Where a tenant is at home's origin: its name without `/t/` could be one of the server's own paths.
BELOW = re.compile(r"/t/([^/]*)")
METADATA = re.compile(r"/\.well-known/[^/]+/t/([^/]+)")

Find = Callable[["Snapshot"], TenantRow | None]


class Snapshot(NamedTuple):
    """The tenants at one moment. hosts: by normal authority; read_at: on the monotonic clock."""

    by_id: dict[int, TenantRow]
    by_name: dict[str, TenantRow]
    by_host: dict[tuple[str, int] | None, TenantRow]
    read_at: float


class TenantRegistry:
    """The tenants of one app. Threads share it: a snapshot is replaced as a whole, never changed."""

    def __init__(self, app: Flask, home: TenantState) -> None:
        """Know none yet. Raises ConfigError where home is in the tenants' place."""
        self.home = home
        self.is_on = home.settings.tenants == "on"
        if self.is_on and BELOW.match(f"{home.settings.path}/"):
            raise ConfigError(["OSTIARY_ISSUER has a path below /t/, where the tenants are"])
        self._app = app
        self._scheme = urlsplit(home.settings.issuer).scheme  # of all issuers
        self._home_netloc = urlsplit(home.settings.issuer).netloc
        self._home_host = host_of(home.settings.issuer)
        self._snapshot = Snapshot({}, {}, {}, float("-inf"))
        self._states: dict[int, tuple[TenantRow, TenantState]] = {}
        self._reading = threading.Lock()
        self._failed_at = float("-inf")  # the last time that nothing was known and could be read

    def default(self) -> TenantState:
        """Return the tenant of whoever has entered none: home. Raises NoTenantError where tenants are on."""
        if self.is_on:
            raise NoTenantError("no tenant is entered")
        return self.home

    # ---- by address ----------------------------------------------------------------------------------------

    def find(self, host: str, path: str) -> TenantState | None:
        """Return the tenant at an address; home for a Host of no issuer, and for what is not below `/t/`.

        None for a path below `/t/` of no tenant. host: as the request has it. path: whole, as it was asked
        for. Raises ConfigError where the tenant's settings cannot be used.
        """
        if not self.is_on:
            return self.home
        is_home = host == self._home_netloc  # as nearly all spell it
        normal = self._home_host if is_home else authority.normalize(host, self._scheme)
        if normal == self._home_host:
            name = name_in(path)
            if name is None:
                return self.home
            row = self._known(lambda known: known.by_name.get(name))
            return self._answering(row) if row is not None and row.issuer is None else None
        row = self._known(lambda known: known.by_host.get(normal)) if normal is not None else None
        return self.home if row is None else self._answering(row)

    def _answering(self, row: TenantRow) -> TenantState | None:
        return None if row.disabled_at is not None else self.state_of(row)

    def _known(self, find: Find) -> TenantRow | None:
        """Return what is found among the rows that were read lately, else among those of this moment."""
        self._read_if_older(REREAD_SECONDS)
        found = find(self._snapshot)
        if found is None and self._read_if_older(UNKNOWN_SECONDS):
            found = find(self._snapshot)
        return found

    def _read_if_older(self, seconds: float) -> bool:
        """Read the rows where that was so long ago, and return whether they were read.

        One thread reads, the others go on with what is known. While the database is away that is kept.
        Where nothing is known the others wait: who has waited for a read that failed does not try again.
        """
        asked_at = time.monotonic()
        if asked_at - self._snapshot.read_at < seconds:
            return False
        is_first_time = self._snapshot.read_at == float("-inf")
        if not self._reading.acquire(blocking=is_first_time):
            return False
        try:
            if is_first_time and self._snapshot.read_at != float("-inf"):
                return False
            if is_first_time and self._failed_at >= asked_at:
                raise StorageBusyError
            self._snapshot = self._read()
            for gone in self._states.keys() - self._snapshot.by_id.keys():
                self._states.pop(gone, None)
        except Exception as error:
            if is_first_time:
                self._failed_at = time.monotonic()
                raise
            log.warning("the tenants could not be read again: reason=%s", type(error).__name__)
            self._snapshot = self._snapshot._replace(read_at=time.monotonic())
        finally:
            self._reading.release()
        return True

    def _read(self) -> Snapshot:
        rows = run_in_app(self._app, store.tenants.all_others)
        return Snapshot(
            {row.id: row for row in rows},
            {row.name: row for row in rows},
            {host_of(row.issuer): row for row in rows if row.issuer is not None},
            time.monotonic(),
        )

    def forget(self) -> None:
        """Read the rows again at the next request."""
        self._snapshot = self._snapshot._replace(read_at=float("-inf"))

    # ---- by number and by name -----------------------------------------------------------------------------

    @contextmanager
    def entered(self, tenant_id: int) -> Iterator[None]:
        """Work for a tenant, also for one that is disabled, until the block ends. Raises NoTenantError."""
        with tenant_state.entered(self.by_id(tenant_id)):
            yield

    def by_id(self, tenant_id: int) -> TenantState:
        """Return a tenant by its number. Raises NoTenantError."""
        if tenant_id == HOME:
            return self.home
        row = self._known(lambda known: known.by_id.get(tenant_id)) if self.is_on else None
        if row is None:
            raise NoTenantError(f"there is no tenant number {tenant_id}, or tenants are off")
        return self.state_of(row)

    def is_gone(self, tenant_id: int) -> bool:
        """Return whether a tenant was removed; the rows are read again, at most once a second."""
        if tenant_id == HOME:
            return False
        self._read_if_older(UNKNOWN_SECONDS)
        return tenant_id not in self._snapshot.by_id

    def state_of(self, row: TenantRow) -> TenantState:
        """Return what is kept of a tenant; it is made anew when the row has changed.

        Raises ConfigError, which names the tenant.
        """
        kept = self._states.get(row.id)
        if kept is not None and kept[0] == row:
            return kept[1]
        try:
            settings: Settings = tenant_settings.apply(self.home.settings, row)
        except ConfigError as error:
            raise ConfigError([f"tenant {row.name}: {text}" for text in error.problems]) from None
        state = TenantState(settings, row.id, row.name, row.branding)
        self._states[row.id] = row, state
        while len(self._states) > KEPT:
            self._states.pop(next(iter(list(self._states))), None)  # a list: other threads change it
        return state


def host_of(issuer: str) -> tuple[str, int] | None:
    """Return host and port of an issuer, in their normal form; None for what is none."""
    try:
        parts = urlsplit(issuer)
    except ValueError:  # a row that was changed by hand: the other tenants answer all the same
        return None
    return authority.normalize(parts.netloc, parts.scheme)


def name_in(path: str) -> str | None:
    """Return which tenant a path at home's origin names, by its beginning or as the end of its metadata's
    address (RFC 8414 §3.1); None for a path of home. No tenant is named "".
    """
    found = BELOW.match(path) or METADATA.fullmatch(path)
    return found[1] if found is not None else None
