"""How many connections a process keeps, and how long anything that has to do with the database may take."""

from datetime import timedelta

POOL_SIZE = 8
POOL_TIMEOUT = timedelta(seconds=3)
POOL_RECYCLE = timedelta(minutes=30)
CONNECT_TIMEOUT = timedelta(seconds=3)
LOCK_TIMEOUT = timedelta(seconds=2)
STATEMENT_TIMEOUT = timedelta(seconds=5)
# For an answer, before the line counts as broken: a server that is well ends a statement before that.
ANSWER_TIMEOUT = STATEMENT_TIMEOUT + timedelta(seconds=2)
IDLE_TRANSACTION_TIMEOUT = timedelta(seconds=10)  # a client that vanished keeps its locks for so long
MIGRATION_LOCK_TIMEOUT = timedelta(minutes=1)


def milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def seconds(duration: timedelta) -> int:
    return duration // timedelta(seconds=1)


def pool_options() -> dict[str, int | float]:
    """Arguments of `create_engine` for an engine that several threads share."""
    return {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT.total_seconds()}
