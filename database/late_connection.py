"""PyMySQL's connection in autocommit mode: a transaction begins when somebody sends BEGIN."""

from typing import Self

import pymysql
from pymysql.constants import SERVER_STATUS

from database.dialect import Arguments


class LateConnection(pymysql.Connection):
    """In autocommit mode; it sends COMMIT and ROLLBACK only in a transaction, as the other drivers do."""

    def is_in_transaction(self) -> bool:
        """Return whether a transaction was open after the last answer of the server."""
        return bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def commit(self) -> None:
        """Commit the transaction, if there is one."""
        if self.is_in_transaction():
            self.query("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if there is one. The pool asks for it after each COMMIT too."""
        if self.is_in_transaction():
            self.query("ROLLBACK")

    @classmethod
    def make(cls, arguments: list[str], named: Arguments) -> Self:
        """Return a new connection, whose server must send its first packet within `connect_timeout` too.

        PyMySQL 1.2 applies `read_timeout` to that packet, so it is set to the longer value afterwards.
        """
        greeting = {"read_timeout": named["connect_timeout"]}
        connection = cls(*arguments, **named | greeting | {"autocommit": True})
        connection._read_timeout = named["read_timeout"]
        return connection
