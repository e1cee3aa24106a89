"""Tests that stay in memory: those without the mark `integration`, which `make test-fast` runs.

Such a test starts no process, listens on no port and opens no SQLite file, or it fails. Python tells an audit
hook of each of these (PEP 578), whoever does it: our code, a library or the test itself.
"""

import sys
from contextlib import contextmanager

PROCESSES = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
MEMORY = (":memory:", "")

_watched = False


class OutsideMemoryError(AssertionError):
    """A test without the mark `integration` did what only such a test may do."""


def _audit(event, arguments):
    if _watched and (event in PROCESSES or event == "socket.bind" or is_database_file(event, arguments)):
        raise OutsideMemoryError(
            f"{event}: mark this test with pytest.mark.integration, or ask for that fixture"
        )


def is_database_file(event, arguments):
    return (
        event == "sqlite3.connect" and arguments[0] not in MEMORY and "mode=memory" not in str(arguments[0])
    )


sys.addaudithook(_audit)  # for the rest of this process: a hook cannot be taken out


@contextmanager
def only_memory(is_on=True):
    """Let nothing but memory be used meanwhile."""
    global _watched
    before, _watched = _watched, is_on
    try:
        yield
    finally:
        _watched = before
