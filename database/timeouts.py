"""Size of the connection pool, and time-outs of everything that has to do with the database."""

from datetime import timedelta

POOL_SIZE = 8
POOL_TIMEOUT = timedelta(seconds=3)
POOL_RECYCLE = timedelta(minutes=30)
CONNECT_TIMEOUT = timedelta(seconds=3)
LOCK_TIMEOUT = timedelta(seconds=2)
STATEMENT_TIMEOUT = timedelta(seconds=5)
# After this the connection counts as broken: a healthy server has ended the statement before.
ANSWER_TIMEOUT = STATEMENT_TIMEOUT + timedelta(seconds=2)
IDLE_TRANSACTION_TIMEOUT = timedelta(seconds=10)  # how long a client that is gone may keep its locks
MIGRATION_LOCK_TIMEOUT = timedelta(minutes=1)


def milliseconds(duration: timedelta) -> int:
    """Return the whole milliseconds of a duration."""
    return duration // timedelta(milliseconds=1)


def seconds(duration: timedelta) -> int:
    """Return the whole seconds of a duration."""
    return duration // timedelta(seconds=1)


def pool_options() -> dict[str, int | float]:
    """Return the arguments of `create_engine` for an engine that several threads share."""
    return {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT.total_seconds()}
