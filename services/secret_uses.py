"""The last uses of clients' secrets, so that an operator sees whether an old secret is still in use.

A request stores nothing: it would wait for other requests of the same client, and take one more statement.
The thread that delivers logout notices stores each use, once an hour for each secret.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from flask import Flask

import store.client_secrets
from database.tenancy import current_tenant
from protocol import clock
from unit_of_work import run_in_app

log = logging.getLogger("ostiary.secret_uses")

HOUR = 3600
MAXIMUM_KNOWN = 10_000  # with more, all are forgotten, and their next uses stored again

Secret = tuple[int, str, int]  # tenant, client_id, number
Enter = Callable[[int], AbstractContextManager[None]]


class SecretUses:
    """The uses of one app that are not stored yet; its threads share it.

    Only correct secrets are noted, so an attacker cannot fill it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted_at: dict[Secret, float] = {}  # on the monotonic clock
        self._waiting: dict[Secret, int] = {}

    def note(self, client_id: str, number: int) -> bool:
        """Note a use at the current tenant, and return whether it is the first one for an hour."""
        secret, now = (current_tenant(), client_id, number), time.monotonic()
        with self._lock:
            if now - self._noted_at.get(secret, -HOUR) < HOUR:
                return False
            if len(self._noted_at) >= MAXIMUM_KNOWN:
                self._noted_at.clear()
            self._noted_at[secret] = now
            self._waiting[secret] = clock.now()
        return True

    def take(self) -> dict[Secret, int]:
        """Return the uses that are to be stored, each with its time, and forget them."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return taken

    def forget(self, secret: Secret) -> None:
        """Forget a use that could not be stored, so that the next one is noted."""
        with self._lock:
            self._noted_at.pop(secret, None)


def store_uses(app: Flask, uses: SecretUses, enter: Enter) -> None:
    """Store the uses of clients' secrets, each in a transaction of its own.

    One that fails stops no other, and is noted again at its next use. enter: makes a tenant, by its number,
    the current one.
    """
    for secret, at in uses.take().items():
        tenant_id, client_id, number = secret
        try:
            with enter(tenant_id):
                run_in_app(app, partial(store.client_secrets.note_use, client_id, number, at))
        except Exception as error:
            uses.forget(secret)
            log.warning("the use of a client's secret could not be stored: reason=%s", type(error).__name__)
