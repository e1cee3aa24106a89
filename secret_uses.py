"""Which secrets of clients were right lately, as this process knows it: an operator sees whether an old one is still in use.

Enters: a secret that a client has just proven itself with. Leaves: once an hour for each, its number and the time, for whoever
stores that (`courier.py`). A request stores nothing of it: it would wait for others of the same client, and cost a statement more.
"""

import threading
import time

from protocol import clock

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
