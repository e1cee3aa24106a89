"""While the database is away one thread at a time finds out whether it is back; the others are told at once.

A host that vanished is found out by a time-out only. Without the gate every thread of a process would stand
in one, request after request, and what needs no database would find no thread either.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from errors import StorageBusyError

Connected = TypeVar("Connected")


class CircuitBreaker:
    """One for each engine, around the making of its connections."""

    def __init__(self) -> None:
        self._is_away = False
        self._turn = threading.Lock()

    def connect(self, connect: Callable[[], Connected]) -> Connected:
        """`connect()`, and what it raises; StorageBusyError where another thread is at it and the last try
        failed.
        """
        is_alone = self._turn.acquire(blocking=False)
        try:
            if self._is_away and not is_alone:
                raise StorageBusyError
            return self._try(connect)
        finally:
            if is_alone:
                self._turn.release()

    def _try(self, connect: Callable[[], Connected]) -> Connected:
        try:
            connection = connect()
        except BaseException:
            self._is_away = True
            raise
        self._is_away = False
        return connection
