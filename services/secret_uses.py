"""Note which secrets of clients were right lately, so that an operator sees whether an old one is still in
use.

A request stores nothing of it: it would wait for others of the same client, and cost a statement more. Each
secret is stored once an hour with the time of its use, beside the delivery of logout notices.
"""

import logging
import threading
import time
from functools import partial

from flask import Flask

import store.client_secrets
from protocol import clock
from unit_of_work import run_in_app

log = logging.getLogger("ostiary.secret_uses")

HOUR = 3600
MAXIMUM_KNOWN = 10_000  # when there are more, all are forgotten, and noted once more

Secret = tuple[str, int]  # client_id, number


class SecretUses:
    """One for each app; threads share it. Only right secrets come here, so no stranger can fill it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted_at: dict[Secret, float] = {}  # on this process's own clock
        self._waiting: dict[Secret, int] = {}

    def note(self, client_id: str, number: int) -> bool:
        """Whether this is news: the first use for an hour."""
        secret, now = (client_id, number), time.monotonic()
        with self._lock:
            if now - self._noted_at.get(secret, -HOUR) < HOUR:
                return False
            if len(self._noted_at) >= MAXIMUM_KNOWN:
                self._noted_at.clear()
            self._noted_at[secret] = now
            self._waiting[secret] = clock.now()
        return True

    def take(self) -> dict[Secret, int]:
        """The news, with their times; whoever takes them stores them."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return taken

    def forget(self, secret: Secret) -> None:
        """It could not be stored: its next use is news again."""
        with self._lock:
            self._noted_at.pop(secret, None)


def store_uses(app: Flask, uses: SecretUses) -> None:
    """Store which secrets of clients were in use, each in a transaction of its own.

    One that fails stops no other, and is noted at its next use.
    """
    for secret, at in uses.take().items():
        try:
            run_in_app(app, partial(store.client_secrets.note_use, *secret, at))
        except Exception as error:
            uses.forget(secret)
            log.warning("the use of a client's secret is not noted: reason=%s", type(error).__name__)
