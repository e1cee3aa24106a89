"""The clients' rows as this process read them, for requests that only read them.

A token request, an introspection, a revocation and userinfo need the row of their client each time, and it
hardly ever changes. So each process keeps the rows that it has read for `client_cache_lifetime`. Pages, the
authorization endpoint and whatever changes a client read the row itself. What this process changes it forgets
at once (`services/clients.py`); changes of other processes are seen when that time is over.
"""

import threading
from datetime import timedelta
from time import monotonic

import store.clients
from database.tenancy import current_tenant
from store.clients import ReadOnlyClient

MAXIMUM_CLIENTS = 1_000  # with more, the one that was read longest ago goes

Key = tuple[int, str]  # tenant, client_id
Kept = tuple[float, ReadOnlyClient | None]  # when it was read, on the monotonic clock
NOTHING: Kept = (float("-inf"), None)


class ClientCache:
    """The clients that one app has read; its threads share it.

    Only clients that exist are kept, so unknown names cannot fill it.
    """

    def __init__(self, lifetime: timedelta) -> None:
        self._seconds = lifetime.total_seconds()
        self._lock = threading.Lock()
        self._kept: dict[Key, Kept] = {}  # the one that was read longest ago comes first
        self._changes = 0  # counts what was forgotten

    def find(self, client_id: str) -> ReadOnlyClient | None:
        """Return a client of the current tenant as it was a few seconds ago at most, or None."""
        read_at, client = self._kept.get((current_tenant(), client_id), NOTHING)
        return client if monotonic() - read_at < self._seconds else self.read(client_id)

    def read(self, client_id: str) -> ReadOnlyClient | None:
        """Return a client as it is, and keep it; or None. One SELECT.

        What was read before a change, and comes back after it, is not kept.
        """
        key, read_at, changes = (current_tenant(), client_id), monotonic(), self._changes
        client = store.clients.find_read_only(client_id)
        with self._lock:
            if changes == self._changes and read_at >= self._kept.get(key, NOTHING)[0]:
                self._kept.pop(key, None)
                self._keep(key, (read_at, client))
        return client

    def _keep(self, key: Key, kept: Kept) -> None:
        """Keep a client as the one that was read last. Called under the lock."""
        if kept[1] is None or not self._seconds:
            return
        self._kept[key] = kept
        if len(self._kept) > MAXIMUM_CLIENTS:
            del self._kept[next(iter(self._kept))]

    def has_changed(self, client_id: str) -> bool:
        """Return whether a client is not what `find` says; from now on `find` says what it is."""
        _read_at, kept = self._kept.get((current_tenant(), client_id), NOTHING)
        return kept is not None and kept != self.read(client_id)

    def forget(self, tenant_id: int, client_id: str) -> None:
        """Forget a client, once a change of it is committed: before that, a request reads the old row."""
        with self._lock:
            self._changes += 1
            self._kept.pop((tenant_id, client_id), None)

    def clear(self) -> None:
        """Forget all clients."""
        with self._lock:
            self._changes += 1
            self._kept.clear()
