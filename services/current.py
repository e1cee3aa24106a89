"""The parts of the running app, for code that cannot import it: `settings`, `issuer`, `keyring`, `server`, ….

What is a tenant's own is that of the current tenant: the one at the request's address, or the one that a
command or a delivery works for. All else is the process's, and shared.
"""

from dataclasses import dataclass
from functools import partial

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from config import Settings
from crypto.passwords import ConcurrencyLimit
from outbound.document_cache import DocumentCache
from outbound.http_client import HttpClient
from outbound.logout_delivery import LogoutDelivery, Sender
from services.client_cache import ClientCache
from services.oauth2_types import Server
from services.secret_uses import SecretUses, store_uses
from services.signing_keys import Keyring
from services.single_flight import SingleFlight
from services.tenant_registry import TenantRegistry
from services.tenant_state import TenantState, find_entered

EXTENSION = "ostiary"
SOFTWARE = "Ostiary"


@dataclass
class ProcessState:
    """What one app keeps in one process.

    It is lost when the process ends: only the database keeps data.
    """

    settings: Settings
    tenants: TenantRegistry
    http_client: HttpClient
    documents: DocumentCache
    client_cache: ClientCache
    secret_uses: SecretUses
    delivery: LogoutDelivery
    password_hashes: ConcurrencyLimit
    forms_in_flight: SingleFlight
    server: Server | None = None  # `my_oauth.init_app` puts it here

    @property
    def home(self) -> TenantState:
        """Return what is kept of home."""
        return self.tenants.home


def state_of(app: Flask) -> ProcessState:
    """Return what this app keeps in this process."""
    state: ProcessState = app.extensions[EXTENSION]
    return state


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app an empty `ProcessState`; called again, it forgets all but Authlib's server."""
    before: ProcessState | None = app.extensions.get(EXTENSION)
    http_client, uses = HttpClient(settings), SecretUses()
    tenants = TenantRegistry(app, TenantState(settings))
    sender = Sender(
        app,
        http_client,
        tenants.entered,
        lambda: tenant().settings.issuer,
        lambda *token: tenant().keyring.sign(*token),
    )
    app.extensions[EXTENSION] = ProcessState(
        settings=settings,
        tenants=tenants,
        http_client=http_client,
        documents=DocumentCache(http_client, settings.client_fetches),
        client_cache=ClientCache(settings.client_cache_lifetime),
        secret_uses=uses,
        delivery=LogoutDelivery(sender, [partial(store_uses, app, uses, tenants.entered)]),
        password_hashes=ConcurrencyLimit(settings.password_hashes),
        forms_in_flight=SingleFlight(),
        server=before.server if before is not None else None,
    )


def _state() -> ProcessState:
    state: ProcessState = current_app.extensions[EXTENSION]
    return state


def forget_clients() -> None:
    """Forget the clients that this process keeps: a change of one may be why a request lost a race."""
    _state().client_cache.clear()


def tenant() -> TenantState:
    """Return the current tenant: where tenants are off, home. Raises NoTenantError where none is entered."""
    return find_entered() or _state().tenants.default()


def is_gone() -> bool:
    """Return whether the current tenant was removed since this process has read the tenants."""
    return _state().tenants.is_gone(tenant().id)


def brand_name() -> str:
    """Return the name that pages show: the current tenant's, else that of this software."""
    name: str = tenant().branding.get("name", SOFTWARE)
    return name


# A request reads a dozen settings, and has entered its tenant: that is asked for at once.
settings: Settings = LocalProxy(lambda: (find_entered() or tenant()).settings)  # type: ignore[assignment]
issuer: str = LocalProxy(lambda: (find_entered() or tenant()).settings.issuer)  # type: ignore[assignment]
keyring: Keyring = LocalProxy(lambda: (find_entered() or tenant()).keyring)  # type: ignore[assignment]
delivery: LogoutDelivery = LocalProxy(lambda: _state().delivery)  # type: ignore[assignment]
http_client: HttpClient = LocalProxy(lambda: _state().http_client)  # type: ignore[assignment]
documents: DocumentCache = LocalProxy(lambda: _state().documents)  # type: ignore[assignment]
client_cache: ClientCache = LocalProxy(lambda: _state().client_cache)  # type: ignore[assignment]
secret_uses: SecretUses = LocalProxy(lambda: _state().secret_uses)  # type: ignore[assignment]
password_hashes: ConcurrencyLimit = LocalProxy(lambda: _state().password_hashes)  # type: ignore[assignment]
forms_in_flight: SingleFlight = LocalProxy(lambda: _state().forms_in_flight)  # type: ignore[assignment]
server: Server = LocalProxy(lambda: _state().server)  # type: ignore[assignment]
