"""The queue for SQLite's one writer: an exclusive lock on a file beside the database, with a bounded wait."""

import fcntl
import os
import threading
from datetime import timedelta

from database.timeouts import POOL_SIZE
from errors import StorageBusyError

WAITERS = threading.BoundedSemaphore(2 * POOL_SIZE)  # threads that stand in line for a lock file


class LockFile:
    """An exclusive flock with a bounded wait.

    The kernel queues the waiters and frees the lock of a process that dies.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, timeout: timedelta) -> None:
        """Raises StorageBusyError after `timeout`."""
        if self._file is not None:
            return
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:  # no room, no more files, a file system that has become read-only
            raise StorageBusyError from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(file, timeout)
        except OSError as error:
            os.close(file)
            raise StorageBusyError from error
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _wait(file: int, timeout: timedelta) -> None:
        """flock cannot time out, and polling would lose the queue: a thread of its own waits, and may be
        given up.
        """
        # so many stand in line, or have given up in it: nothing moves
        if not WAITERS.acquire(blocking=False):
            os.close(file)
            raise StorageBusyError
        turn = threading.Lock()  # decides once between "it is our turn" and "we gave up"
        arrived = threading.Event()

        def wait_in_line() -> None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            finally:
                WAITERS.release()
            if turn.acquire(blocking=False):
                arrived.set()
            else:
                os.close(file)  # too late: nobody waits any more

        try:
            threading.Thread(target=wait_in_line, name="lock file", daemon=True).start()
        except RuntimeError as error:  # there are too many threads
            WAITERS.release()
            os.close(file)
            raise StorageBusyError from error
        if not arrived.wait(timeout.total_seconds()) and turn.acquire(blocking=False):
            raise StorageBusyError
        arrived.wait()
