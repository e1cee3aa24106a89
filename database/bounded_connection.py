"""A psycopg connection that does not wait for an answer for ever, as libpq does.

`statement_timeout` is the server's and ends nothing where the server hangs, the network swallows what it
says, or a COMMIT waits for a standby that is away. What is not answered in time counts as lost: the
connection is closed, never asked to cancel, because a COMMIT whose wait for its standby is cancelled is
answered as a success.
"""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from database.timeouts import ANSWER_TIMEOUT

Result = TypeVar("Result")
LOOK_AGAIN_SECONDS = 0.1  # psycopg's own: how often a wait can be interrupted


class BoundedConnection(psycopg.Connection[Any]):
    """All that psycopg asks the server goes through `wait`; connecting alone has its own
    `connect_timeout`.
    """

    def wait(
        self, gen: PQGen[Result], interval: float = LOOK_AGAIN_SECONDS, timeout: float | None = None
    ) -> Result:
        try:
            return super().wait(gen, interval, timeout or ANSWER_TIMEOUT.total_seconds())
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # it has not answered
                self.close()
            raise
