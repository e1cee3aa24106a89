"""Let a process work on one thing once at a time: whoever brings the same thing meanwhile waits for the
first.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_SECONDS = 5


class SingleFlight:
    """The forms that this process works on. The same one again waits for the first, so it needs no place for
    a password hash.

    One of each waits, and no longer than a form takes, so there are no more threads that wait than threads
    that work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[bytes, threading.Event] = {}
        self._waited_for: set[bytes] = set()

    @contextmanager
    def one(self, form: bytes) -> Iterator[None]:
        """The work on one form, begun after that on the same one has ended."""
        is_first = self._is_first(form)
        try:
            yield
        finally:
            if is_first:
                with self._lock:
                    self._done.pop(form).set()

    def _is_first(self, form: bytes) -> bool:
        with self._lock:
            done = self._done.get(form)
            if done is None:
                self._done[form] = threading.Event()
                return True
            if form in self._waited_for:
                return False
            self._waited_for.add(form)
        done.wait(WAIT_SECONDS)
        with self._lock:
            self._waited_for.discard(form)
        return False
