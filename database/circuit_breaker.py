"""A circuit breaker for connecting: while the database is away, only one thread at a time tries.

A host that is gone is noticed only by a time-out. Without the circuit breaker every thread of a process would
wait for that time-out, request after request, and requests that need no database would find no free thread.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from errors import StorageBusyError

Connected = TypeVar("Connected")


class CircuitBreaker:
    """The circuit breaker of one engine."""

    def __init__(self) -> None:
        self._is_open = False
        self._trial = threading.Lock()

    def connect(self, connect: Callable[[], Connected]) -> Connected:
        """Return the result of `connect()`, or raise what it raises.

        Raises StorageBusyError where the last try failed and another thread is trying.
        """
        is_alone = self._trial.acquire(blocking=False)
        try:
            if self._is_open and not is_alone:
                raise StorageBusyError
            return self._try(connect)
        finally:
            if is_alone:
                self._trial.release()

    def _try(self, connect: Callable[[], Connected]) -> Connected:
        try:
            connection = connect()
        except BaseException:
            self._is_open = True
            raise
        self._is_open = False
        return connection
