"""The fence between tenants: `own(rows)` in every statement, and a check before each execution.

Enters: a compiled statement with its parameters, just before it is sent. Leaves: nothing, or `UnfencedError`
where the statement is not held to the current tenant. The fence changes no statement, so it drops no row.
`database/statement_check.py` looks once at each compiled form; afterwards only numbers are compared. It does
not see what views, functions of the database and other programs do, what goes by a cursor of the driver's
own or by another engine, and the SQL that a column's type writes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Engine, FromClause, Integer, MetaData, Table, bindparam
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import Compiled, DBAPICursor
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.ddl import DDL

from database.execution import before_execution
from database.scopes import COLUMN
from database.statement_check import StatementCheck
from database.tenant_tables import TenantTables
from errors import UnfencedError

HOME = 1
EVERY_TENANT = "every_tenant"  # an execution option of a statement; its value says why
# In what creates, alters or drops. `ON DELETE CASCADE` is no such word.
TOUCHES_ROWS = re.compile(
    r"\b(SELECT|AS\s+TABLE|INSERT|REPLACE\s+INTO|(?<!ON )(UPDATE|DELETE)|TRUNCATE|COPY|MERGE)\b",
    re.IGNORECASE,
)

_tenant: ContextVar[int] = ContextVar("tenant", default=HOME)
# The name of the method itself: a function around it would be one more call for each statement.
current_tenant = _tenant.get
TENANT = bindparam("of_tenant", callable_=current_tenant, type_=Integer)  # read at each execution


@contextmanager
def entered(tenant_id: int) -> Iterator[None]:
    """Make a tenant the current one until the block ends."""
    token = _tenant.set(tenant_id)
    try:
        yield
    finally:
        _tenant.reset(token)


def own(rows: Any) -> ColumnElement[bool]:
    """Return the criterion that holds rows to the current tenant. rows: a table, an alias of one, a model.

    It belongs in WHERE, once for each table of a statement; for the right side of an outer join in its ON.
    """
    criterion: ColumnElement[bool] = (rows.c if isinstance(rows, FromClause) else rows).tenant_id == TENANT
    return criterion


def conflict_criterion(into: Table, key: Sequence[str]) -> ColumnElement[bool] | None:
    """Return the criterion of an upsert that keeps to rows of the same tenant; None where its key does so."""
    return own(into) if COLUMN in into.c and COLUMN not in key else None


def own_key(digest: bytes) -> bytes:
    """Return the key of a row under a digest of what another tenant may have as well; home's is the digest.

    For a table whose key has no tenant in it, so that older versions, which know home alone, find its rows.
    """
    tenant = current_tenant()
    return digest if tenant == HOME else sha256(b"tenant %d\0%b" % (tenant, digest)).digest()


class Checker:
    """Checks that each table with a column `tenant_id` in a statement is held to the current tenant."""

    def __init__(self, metadata: MetaData, find_tenant: Callable[[], int | None] = current_tenant) -> None:
        self.tables = TenantTables(metadata)
        self.find_tenant = find_tenant

    def check(self, compiled: Any, parameters: Iterable[Mapping[str, Any]]) -> None:
        """Check a compiled statement and its rows of parameters, by name. Raises UnfencedError.

        For a statement that is sent as text after it was compiled, the sender calls this.
        """
        try:
            names = compiled.tenant_binds
        except AttributeError:
            names = self.look(compiled)
        if names:
            tenant = self.find_tenant()
            for row in parameters:
                for name in names:
                    if row[name] != tenant:
                        wrong = "names another tenant than the current one" if tenant else "has no tenant"
                        raise UnfencedError(f"the parameter {name} {wrong}")
        elif names is None:
            raise UnfencedError(compiled.unfenced)

    def look(self, compiled: Any) -> tuple[str, ...] | None:
        """Return the names of the parameters that hold a statement; None where it is not held.

        The compiled statement keeps them, or what is wrong.
        """
        try:
            if isinstance(compiled, SQLCompiler):
                names = StatementCheck(compiled, self.tables).names()
            else:
                names = self.check_ddl(compiled)
        except UnfencedError as error:
            compiled.unfenced, compiled.tenant_binds = str(error), None
            return None
        compiled.tenant_binds = names
        return names

    def check_ddl(self, compiled: Any) -> tuple[str, ...]:
        """Check what creates, alters or drops: it must touch no rows. Raises UnfencedError."""
        if isinstance(compiled.statement, DDL) or TOUCHES_ROWS.search(str(compiled)):
            self.tables.check_statement(str(compiled))
        return ()


def install(engine: Engine, metadata: MetaData, *, must_be_entered: bool = False) -> Checker:
    """Check each statement of an engine from now on, before what is added after this.

    must_be_entered: refuse every statement where no tenant is entered; else it is home that counts there.
    """
    checker = Checker(metadata, partial(_tenant.get, None) if must_be_entered else current_tenant)
    check = checker.check

    def fence(cursor: DBAPICursor, sql: str, context: DefaultExecutionContext) -> None:
        if context.compiled is None:
            checker.tables.check_statement(sql)
        elif sql is not context.statement and not context.executemany:
            checker.tables.check_statement(sql)  # of a default or a sequence, sent on behalf of the statement
        else:
            try:
                check(context.compiled, () if context.isddl else context.compiled_parameters)
            except UnfencedError:
                if not is_for_every_tenant(context):
                    raise

    before_execution(engine, fence)
    return checker


def is_for_every_tenant(context: DefaultExecutionContext) -> bool:
    """Return whether the statement itself says why it is about the rows of all tenants.

    The option of a connection or of a call does not count: it would let other statements pass too.
    """
    invoked: Any = context.invoked_statement
    statement = invoked.statement if isinstance(invoked, Compiled) else invoked
    why = getattr(statement, "_execution_options", {}).get(EVERY_TENANT)
    return isinstance(why, str) and why.strip() != ""
