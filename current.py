"""What the running app is made of, for code that must not import it: `issuer`, `settings`, `keyring`, `courier`, `fetcher`,
`documents`, `secret_uses`, `password_hashes`, `server`, `require_oauth`.

Endpoints and pages ask here and never the settings module, so that one process may one day serve several issuers.
"""

from typing import Any, cast

from flask import current_app
from werkzeug.local import LocalProxy

from config import Settings
from courier import Courier
from fetching import Documents, Fetcher
from keyring import Keyring
from protocol.passwords import Slots
from secret_uses import SecretUses


def _settings() -> Settings:
    return cast(Settings, current_app.extensions["ostiary.settings"])


settings: Settings = LocalProxy(_settings)  # type: ignore[assignment]
issuer: str = LocalProxy(lambda: _settings().issuer)  # type: ignore[assignment]
keyring: Keyring = LocalProxy(lambda: current_app.extensions["ostiary.keyring"])  # type: ignore[assignment]
courier: Courier = LocalProxy(lambda: current_app.extensions["ostiary.courier"])  # type: ignore[assignment]
fetcher: Fetcher = LocalProxy(lambda: current_app.extensions["ostiary.fetcher"])  # type: ignore[assignment]
documents: Documents = LocalProxy(lambda: current_app.extensions["ostiary.documents"])  # type: ignore[assignment]
secret_uses: SecretUses = LocalProxy(lambda: current_app.extensions["ostiary.secret_uses"])  # type: ignore[assignment]
password_hashes: Slots = LocalProxy(lambda: current_app.extensions["ostiary.password_hashes"])  # type: ignore[assignment]
server: Any = LocalProxy(lambda: current_app.extensions["ostiary.server"])
require_oauth: Any = LocalProxy(lambda: current_app.extensions["ostiary.require_oauth"])
