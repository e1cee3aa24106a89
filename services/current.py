"""The parts of the running app, for code that cannot import it: `settings`, `issuer`, `keyring`, `server`, ….

Endpoints and pages read `settings` here, never from `config`, so that one process may one day serve several
issuers.
"""

from dataclasses import dataclass
from functools import partial

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from config import Settings
from crypto import credentials
from crypto.passwords import ConcurrencyLimit
from outbound.document_cache import DocumentCache
from outbound.http_client import HttpClient
from outbound.logout_delivery import LogoutDelivery, Sender
from services.oauth2_types import Server
from services.secret_uses import SecretUses, store_uses
from services.signing_keys import Keyring
from services.single_flight import SingleFlight

EXTENSION = "ostiary"


@dataclass
class ProcessState:
    """What one app keeps in one process.

    It is lost when the process ends: only the database keeps data.
    """

    settings: Settings
    keyring: Keyring
    http_client: HttpClient
    documents: DocumentCache
    secret_uses: SecretUses
    delivery: LogoutDelivery
    password_hashes: ConcurrencyLimit
    forms_in_flight: SingleFlight
    device_keys: list[bytes]  # for the device cookie; the first signs, all verify
    server: Server | None = None  # `my_oauth.init_app` puts it here


def state_of(app: Flask) -> ProcessState:
    """Return what this app keeps in this process."""
    state: ProcessState = app.extensions[EXTENSION]
    return state


def init_app(app: Flask, settings: Settings) -> None:
    """Give the app an empty `ProcessState`; called again, it forgets all but Authlib's server."""
    before: ProcessState | None = app.extensions.get(EXTENSION)
    keyring, http_client, uses = Keyring(settings), HttpClient(settings), SecretUses()
    sender = Sender(app, settings.issuer, http_client, lambda *token: state_of(app).keyring.sign(*token))
    app.extensions[EXTENSION] = ProcessState(
        settings=settings,
        keyring=keyring,
        http_client=http_client,
        documents=DocumentCache(http_client, settings.client_fetches),
        secret_uses=uses,
        delivery=LogoutDelivery(sender, [partial(store_uses, app, uses)]),
        password_hashes=ConcurrencyLimit(settings.password_hashes),
        forms_in_flight=SingleFlight(),
        device_keys=[
            credentials.derive_key(key.get_secret_value(), "known device")
            for key in (settings.secret_key, *settings.old_secret_keys)
        ],
        server=before.server if before is not None else None,
    )


def _state() -> ProcessState:
    state: ProcessState = current_app.extensions[EXTENSION]
    return state


settings: Settings = LocalProxy(lambda: _state().settings)  # type: ignore[assignment]
issuer: str = LocalProxy(lambda: _state().settings.issuer)  # type: ignore[assignment]
keyring: Keyring = LocalProxy(lambda: _state().keyring)  # type: ignore[assignment]
delivery: LogoutDelivery = LocalProxy(lambda: _state().delivery)  # type: ignore[assignment]
http_client: HttpClient = LocalProxy(lambda: _state().http_client)  # type: ignore[assignment]
documents: DocumentCache = LocalProxy(lambda: _state().documents)  # type: ignore[assignment]
secret_uses: SecretUses = LocalProxy(lambda: _state().secret_uses)  # type: ignore[assignment]
password_hashes: ConcurrencyLimit = LocalProxy(lambda: _state().password_hashes)  # type: ignore[assignment]
forms_in_flight: SingleFlight = LocalProxy(lambda: _state().forms_in_flight)  # type: ignore[assignment]
device_keys: list[bytes] = LocalProxy(lambda: _state().device_keys)  # type: ignore[assignment]
server: Server = LocalProxy(lambda: _state().server)  # type: ignore[assignment]
