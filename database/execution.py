"""Look at each statement of an engine just before the driver gets it, however it is executed."""

from collections.abc import Callable

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

# The driver's cursor, the SQL as it is sent, and what SQLAlchemy knows of the statement.
Look = Callable[[DBAPICursor, str, DefaultExecutionContext], None]


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
