"""Single flight: a form that is sent twice at the same time is processed one after the other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_SECONDS = 5  # no form takes longer


class SingleFlight:
    """The forms that one process is working on.

    The same form again waits for the first one, so the two never hash a password at the same time. Only one
    of each waits, so there are never more waiting threads than working ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[bytes, threading.Event] = {}
        self._waited_for: set[bytes] = set()

    @contextmanager
    def process(self, form: bytes) -> Iterator[None]:
        """Process one form, after waiting for the same one to end. form: its digest."""
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
