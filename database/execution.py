"""Look at each statement of an engine just before the driver gets it, however it is executed.

So a transaction begins late on each engine: the driver is in autocommit mode, and BEGIN comes before the
first statement that locks or writes. Reads before it show what READ COMMITTED would, and a request that only
reads sends neither BEGIN nor COMMIT. ADR 22 has the reasons.
"""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

# The driver's cursor, the SQL as it is sent, and what SQLAlchemy knows of the statement.
Look = Callable[[DBAPICursor, str, DefaultExecutionContext], None]

IS_NO_SELECT = object()
READING_TEXT = re.compile(r"\s*(SELECT|SHOW|SET|PRAGMA)\b(?!.*\bFOR\b)", re.IGNORECASE | re.DOTALL)


def before_execution(engine: Engine, look: Look) -> None:
    """Call `look` before each execution from now on; what it raises is raised in place of the execution.

    What was added first is called first. These are events of the dialect: one event of the engine would make
    SQLAlchemy look for four kinds of listeners at every statement, 33 calls more for each.
    """

    def with_parameters(
        cursor: DBAPICursor, sql: str, parameters: object, context: DefaultExecutionContext
    ) -> None:
        look(cursor, sql, context)

    event.listen(engine, "do_execute", with_parameters)
    event.listen(engine, "do_executemany", with_parameters)
    event.listen(engine, "do_execute_no_params", look)


def only_reads(sql: str, context: DefaultExecutionContext) -> bool:
    """Return whether a statement can be sent outside of a transaction: it changes nothing and locks nothing.

    What is not known to be so gets a transaction; so does a cursor of the server, which lives in one.
    """
    if context.isinsert or context.isupdate or context.isdelete or context.isddl:
        return False
    compiled: Any = context.compiled
    if compiled is None or context.is_text:
        return READING_TEXT.match(sql) is not None
    if compiled.ctes or context.execution_options.get("stream_results"):
        return False
    return getattr(compiled.statement, "_for_update_arg", IS_NO_SELECT) is None
