"""What one process keeps of a tenant in memory, and which tenant is the current one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flask import has_app_context

from config import Settings
from crypto import credentials
from crypto.json_values import JsonObject
from database import tenancy
from database.tenancy import HOME
from models import db
from protocol import cookie_names
from services.signing_keys import Keyring

HOME_NAME = "home"


class TenantState:
    """What one app keeps of one tenant in one process: nothing of a tenant is kept anywhere else.

    settings: the process's, with the tenant's own issuer, values and secret keys.
    """

    def __init__(
        self,
        settings: Settings,
        tenant_id: int = HOME,
        name: str = HOME_NAME,
        branding: JsonObject | None = None,
    ) -> None:
        newest_first = [key.get_secret_value() for key in (settings.secret_key, *settings.old_secret_keys)]
        self.id = tenant_id
        self.name = name
        self.settings = settings
        self.branding = branding or {}
        self.keyring = Keyring(settings)
        self.refresh_tokens = credentials.RefreshTokenMaker(newest_first[0], tuple(newest_first[1:]))
        # For the device cookie; the first signs, all verify.
        self.device_keys = [credentials.derive_key(key, "known device") for key in newest_first]
        # For the session cookie; the last signs, all verify.
        self.session_keys = [credentials.derive_key(key, "browser session") for key in newest_first[::-1]]
        self.cookie_name = cookie_names.session_cookie_name(
            settings.path, settings.is_https, None if tenant_id == HOME else tenant_id
        )


_entered: ContextVar[TenantState | None] = ContextVar("tenant state", default=None)
find_entered, enter, leave = _entered.get, _entered.set, _entered.reset  # in memory alone


@contextmanager
def entered(tenant: TenantState) -> Iterator[None]:
    """Make a tenant the current one until the block ends, in memory and for the database.

    Raises RuntimeError where the session of the database has rows or a transaction of another tenant.
    """
    refuse_open_session()
    before = enter(tenant)
    try:
        with tenancy.entered(tenant.id):
            yield
    finally:
        leave(before)


def refuse_open_session() -> None:
    """Raise RuntimeError where the session of the database is in use already."""
    if not has_app_context() or not db.session.registry.has():
        return
    session = db.session()
    if session.in_transaction() or session.new or session.identity_map:
        raise RuntimeError("the session has rows of the tenant before: commit, and call remove() first")
