"""A psycopg connection that does not wait for an answer without limit, as libpq does.

`statement_timeout` is enforced by the server. It ends nothing where the server hangs, where the network loses
the answer, or where a COMMIT waits for a standby that is away. A connection that does not answer in time is
closed. The statement is never cancelled instead: a COMMIT that waits for its standby answers a cancel with
success.
"""

from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from database.timeouts import ANSWER_TIMEOUT

Result = TypeVar("Result")
POLL_SECONDS = 0.1  # psycopg's own default: how often a wait can be interrupted


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed when an answer takes longer than ANSWER_TIMEOUT.

    psycopg sends everything through `wait`, except connecting, which has `connect_timeout`.
    """

    def wait(
        self, gen: PQGen[Result], interval: float = POLL_SECONDS, timeout: float | None = None
    ) -> Result:
        """Return the answer that a generator of psycopg waits for. Raises psycopg.OperationalError."""
        try:
            return super().wait(gen, interval, timeout or ANSWER_TIMEOUT.total_seconds())
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # it has not answered
                self.close()
            raise
