"""The queue for SQLite's single writer: an exclusive lock on a file beside the database."""

import fcntl
import os
import threading
from datetime import timedelta

from database.timeouts import POOL_SIZE
from errors import StorageBusyError

WAITERS = threading.BoundedSemaphore(2 * POOL_SIZE)  # threads of this process that wait for a lock file


class LockFile:
    """An exclusive flock with a time-out.

    The kernel queues the waiting threads, and releases the lock of a process that dies.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, timeout: timedelta) -> None:
        """Wait for the lock. Raises StorageBusyError after `timeout`."""
        if self._file is not None:
            return
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:  # disk full, too many open files, read-only file system
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
        """Release the lock, if it is held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _wait(file: int, timeout: timedelta) -> None:
        """Wait in the kernel's queue. Raises StorageBusyError after `timeout`.

        flock has no time-out, and polling would lose the place in the queue. So another thread waits, and is
        abandoned after the time-out.
        """
        # so many threads wait, or were abandoned while waiting: the lock does not move on
        if not WAITERS.acquire(blocking=False):
            os.close(file)
            raise StorageBusyError
        turn = threading.Lock()  # acquired once: by the thread that got the lock, or by the time-out
        arrived = threading.Event()

        def wait_in_line() -> None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            finally:
                WAITERS.release()
            if turn.acquire(blocking=False):
                arrived.set()
            else:
                os.close(file)  # too late: the time-out was first

        try:
            threading.Thread(target=wait_in_line, name="lock file", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            WAITERS.release()
            os.close(file)
            raise StorageBusyError from error
        if not arrived.wait(timeout.total_seconds()) and turn.acquire(blocking=False):
            raise StorageBusyError
        arrived.wait()
